"""Transcripts -> subtitles: SubRip (srt) and WebVTT."""

from asr.transcripts.records import FileResult
from asr.transcripts.writing import spans


def srt(result: FileResult) -> str:
    """Return SubRip subtitles, numbered from 1; nothing where nothing was said."""
    # SubRip has no escapes; an arrow within a text could be taken for that between two times.
    return "\n".join(
        f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n{cue.text.replace('-->', '→')}\n"
        for number, cue in enumerate(spans.cues(result), 1)
    )


def vtt(result: FileResult) -> str:
    """Return WebVTT subtitles (W3C, 2019)."""
    cues = [
        f"\n{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{_escaped(cue.text)}\n" for cue in spans.cues(result)
    ]
    return "WEBVTT\n" + "".join(cues)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clock(milliseconds: int, point: str) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{point}{rest:03d}"
