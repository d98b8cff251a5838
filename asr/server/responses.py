"""Transcripts in the response formats of OpenAI's transcription API."""

from typing import Any

from asr.transcripts.records import LOW_CONFIDENCE, FileResult, Segment, Word
from asr.transcripts.subtitles import format_srt, format_vtt

FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
# Formats with times.
TIMED = ("srt", "verbose_json", "vtt")
GRANULARITIES = ("segment", "word")


def as_text(result: FileResult, response_format: str) -> str:
    """Return a result as text, srt or vtt."""
    if response_format == "text":
        return f"{result.text}\n"
    return {"srt": format_srt, "vtt": format_vtt}[response_format](result)


def verbose(result: FileResult, language: str, granularities: tuple[str, ...]) -> dict[str, Any]:
    """Return a result as verbose_json: text, duration, and segments or words as asked for.

    Besides the fields of OpenAI's API, words and segments have a `confidence` from 0 to 1, segments `low_confidence`,
    and `notes` say what is missing of a damaged recording. Fields that only Whisper models have are 0 or empty.
    """
    transcript = result.transcript
    fields: dict[str, Any] = {
        "task": "transcribe",
        "language": language,
        "duration": round(transcript.duration, 3) if transcript else 0.0,
        "text": result.text,
    }
    if transcript and "segment" in granularities:
        fields["segments"] = [_segment(number, one) for number, one in enumerate(transcript.segments)]
    if transcript and "word" in granularities:
        fields["words"] = list(map(_word, transcript.words))
    if transcript and transcript.notes:
        fields["notes"] = list(transcript.notes)
    return fields


def _word(word: Word) -> dict[str, Any]:
    times = {"start": round(word.start, 3), "end": round(word.end, 3)}
    return {"word": word.text, **times, "confidence": round(word.confidence, 4)}


def _segment(number: int, segment: Segment) -> dict[str, Any]:
    return {
        "id": number,
        "seek": 0,
        "start": round(segment.start, 3),
        "end": round(segment.end, 3),
        "text": segment.text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": 0.0,
        "compression_ratio": 0.0,
        "no_speech_prob": 0.0,
        "confidence": round(segment.confidence, 4),
        "low_confidence": segment.confidence < LOW_CONFIDENCE,
    }
