"""Transcripts -> lines of text or JSON."""

import json
from dataclasses import dataclass
from math import isfinite
from typing import Any

from asr.decoding import Hypothesis

FORMATS = ("txt", "json")


@dataclass(frozen=True)
class Transcript:
    """What became of one file: a hypothesis and others that were found, or the error that kept it from one."""

    audio: str
    hypothesis: Hypothesis | None
    error: str = ""
    alternatives: tuple[Hypothesis, ...] = ()


def line(transcript: Transcript, form: str) -> str:
    """Return the one line of a transcript: its text (`txt`), or an object (`json`).

    The object has audio, text, score (natural log), of which acoustic_score and lm_score are the parts, words (each
    with word, start and end in seconds, and confidence), and alternatives where there are any. A file that failed has
    an empty line, or an object with audio and error, so that lines and files stay in step.
    """
    hypothesis = transcript.hypothesis
    if form == "txt":
        return hypothesis.text if hypothesis else ""
    row: dict[str, Any] = {"audio": transcript.audio}
    if hypothesis is None:
        row["error"] = transcript.error
    else:
        row |= _scored(hypothesis)
        row["words"] = [
            {
                "word": word.text,
                "start": round(word.start, 3),
                "end": round(word.end, 3),
                "confidence": round(word.confidence, 4),
            }
            for word in hypothesis.words
        ]
        if transcript.alternatives:
            row["alternatives"] = [_scored(one) for one in transcript.alternatives]
    # Bytes of a file's name that are no UTF-8 become JSON's own escapes.
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()


def _scored(one: Hypothesis) -> dict[str, Any]:
    scores = {"score": one.score, "acoustic_score": one.acoustic_score, "lm_score": one.lm_score}
    # JSON has no infinity: what is impossible has no score.
    return {"text": one.text} | {name: round(value, 4) if isfinite(value) else None for name, value in scores.items()}
