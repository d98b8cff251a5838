"""Transcripts -> lines of text or JSON."""

import json
from dataclasses import dataclass

from asr.decoding import Hypothesis

FORMATS = ("txt", "json")


@dataclass(frozen=True)
class Transcript:
    """What became of one file: a hypothesis, or the error that kept it from one."""

    audio: str
    hypothesis: Hypothesis | None
    error: str = ""


def line(transcript: Transcript, form: str) -> str:
    """Return the one line of a transcript: its text (`txt`), or an object with audio, text and score (`json`).

    A file that failed has an empty line, or an object with audio and error, so that lines and files stay in step.
    """
    hypothesis = transcript.hypothesis
    if form == "txt":
        return hypothesis.text if hypothesis else ""
    row: dict[str, str | float] = {"audio": transcript.audio}
    if hypothesis is None:
        row["error"] = transcript.error
    else:
        row |= {"text": hypothesis.text, "score": round(hypothesis.score, 4)}
    # Bytes of a file's name that are no UTF-8 become JSON's own escapes.
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()
