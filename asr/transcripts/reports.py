"""Transcripts in the JSON report of `asr evaluate` or `asr score`: the texts as they were given."""

import json
from typing import Any

from asr.transcripts.record import Source, TranscriptError, TranscriptRow


def is_report(source: Source) -> bool:
    """Tell whether a file begins as a report does: an object over several lines."""
    return source.content.partition(b"\n")[0].strip() == b"{"


def read_report(source: Source, side: str) -> list[TranscriptRow]:
    """Read one side of a report, its `reference` texts or its `hypothesis` texts. Raises TranscriptError."""
    try:
        body = json.loads(source.content)
    except (ValueError, RecursionError) as error:
        raise TranscriptError(f"{source}: not a JSON report: {error}; JSON lines end in .jsonl") from error
    if not isinstance(body, dict) or body.get("kind") != "evaluation":
        raise TranscriptError(f"{source}: not a report of asr evaluate or asr score; JSON lines end in .jsonl")
    try:
        return [_transcript(row, number, side) for number, row in enumerate(body["utterance_scores"], 1)]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TranscriptError(f"{source}: a damaged report; write it again with --json") from error


def _transcript(row: dict[str, Any], number: int, side: str) -> TranscriptRow:
    text = row.get(f"raw_{side}", row[side])
    if not isinstance(text, str) or not isinstance(row["id"], str):
        raise TypeError(number)
    confidences = tuple(map(float, row.get("confidences", ()))) if side == "hypothesis" else ()
    return TranscriptRow(
        id=row["id"],
        text=text,
        row=number,
        speaker=str(row.get("speaker") or ""),
        duration=float(row.get("duration") or 0.0),
        confidences=confidences,
    )
