"""Transcripts -> subtitles: SubRip (srt) and WebVTT."""

from asr.transcripts.writing import spans
from asr.transcripts.writing.record import Transcript


def srt(transcript: Transcript) -> str:
    """Return SubRip subtitles, numbered from 1; nothing where nothing was said."""
    # SubRip has no escapes; an arrow within a text could be taken for that between two times.
    return "\n".join(
        f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n{cue.text.replace('-->', '→')}\n"
        for number, cue in enumerate(spans.cues(transcript), 1)
    )


def vtt(transcript: Transcript) -> str:
    """Return WebVTT subtitles (W3C, 2019)."""
    cues = [
        f"\n{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{_escaped(cue.text)}\n"
        for cue in spans.cues(transcript)
    ]
    return "WEBVTT\n" + "".join(cues)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clock(milliseconds: int, point: str) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{point}{rest:03d}"
