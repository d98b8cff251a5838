"""Transcripts -> a line each: text or JSON."""

import json
from math import isfinite
from typing import Any

from asr.transcripts.records import FileResult, Hypothesis, Segment, Transcript, Word


def txt(result: FileResult) -> str:
    """Return the text, with a line feed; of a file that failed, an empty line."""
    return f"{result.text}\n"


def labelled_txt(result: FileResult) -> str:
    """Return a line FILE, CHANNEL, TEXT with tabs between; of a file that failed, the last two are empty."""
    line = f"{cell(result.audio)}\t{result.channel or ''}\t{result.text}\n"
    return line.encode("utf-8", "backslashreplace").decode()


def cell(name: str) -> str:
    """Return a name with tabs, line feeds and backslashes written as \\t, \\n, \\r and \\\\."""
    for character, escape in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
        name = name.replace(character, escape)
    return name


def json_line(result: FileResult) -> str:
    """Return an object on one line, with a line feed; of a file that failed it has audio and error.

    The object has audio, channel (from 1 on, where channels are apart), duration (where known), text, score (natural
    log), of which acoustic_score and lm_score are the parts, words (each with word, start and end in seconds, and
    confidence), segments (each with start, end, confidence and text, parted at pauses) where there are words, and
    alternatives where there are any.
    """
    row: dict[str, Any] = {"audio": result.audio}
    if result.channel:
        row["channel"] = result.channel
    transcript = result.transcript
    if transcript is None:
        row["error"] = result.error
    else:
        if transcript.duration:
            row["duration"] = round(transcript.duration, 3)
        row |= _scored(transcript)
        row["words"] = [{"word": word.text} | _timed(word) for word in transcript.words]
        if transcript.words:
            row["segments"] = [_timed(segment) | {"text": segment.text} for segment in transcript.segments]
        if transcript.alternatives:
            row["alternatives"] = [_scored(one) for one in transcript.alternatives]
    # Bytes of a file's name that are no UTF-8 become JSON's own escapes.
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace").decode() + "\n"


def _timed(word: Word | Segment) -> dict[str, Any]:
    return {"start": round(word.start, 3), "end": round(word.end, 3), "confidence": round(word.confidence, 4)}


def _scored(one: Hypothesis | Transcript) -> dict[str, Any]:
    scores = {"score": one.score, "acoustic_score": one.acoustic_score, "lm_score": one.lm_score}
    # JSON has no infinity: what is impossible has no score.
    return {"text": one.text} | {name: round(value, 4) if isfinite(value) else None for name, value in scores.items()}
