"""The JSON report of `asr evaluate` or `asr score`: its references or its hypotheses, as they were given."""

import json
from typing import Any

from asr.transcripts.rows import InputFile, TranscriptError, TranscriptRow


def is_report(file: InputFile) -> bool:
    """Return whether a file starts like a report: with an object that has more than one line."""
    return file.text.partition("\n")[0].strip() == "{"


def read_report(file: InputFile, side: str) -> list[TranscriptRow]:
    """Read the texts of one side, `reference` or `hypothesis`. Raises TranscriptError."""
    try:
        report = json.loads(file.text)
    except (ValueError, RecursionError) as error:
        raise TranscriptError(f"{file.name}: not a JSON report: {error}; JSON lines end in .jsonl") from error
    if not isinstance(report, dict) or report.get("kind") != "evaluation":
        raise TranscriptError(f"{file.name}: not a report of asr evaluate or asr score; JSON lines end in .jsonl")
    try:
        return [_row(score, number, side) for number, score in enumerate(report["utterance_scores"], 1)]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TranscriptError(f"{file.name}: a damaged report; write it again with --json") from error


def _row(score: dict[str, Any], number: int, side: str) -> TranscriptRow:
    text = score.get(f"raw_{side}", score[side])
    if not isinstance(text, str) or not isinstance(score["id"], str):
        raise TypeError(number)
    return TranscriptRow(
        id=score["id"],
        text=text,
        row=number,
        speaker=str(score.get("speaker") or ""),
        duration=float(score.get("duration") or 0.0),
        confidences=tuple(map(float, score.get("confidences", ()))) if side == "hypothesis" else (),
    )
