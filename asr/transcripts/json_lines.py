"""JSON: an object per line (manifests, the output of `asr transcribe` and of others), and the reports of scores."""

import json
from collections.abc import Sequence
from dataclasses import replace
from math import isfinite
from typing import Any

from asr.files import JsonLineError, parse_json_object
from asr.transcripts.columns import (
    AUDIO_COLUMNS,
    ID_COLUMNS,
    START_COLUMNS,
    Side,
    first_column,
    normalise_name,
    text_column,
    text_columns,
)
from asr.transcripts.ids import audio_id
from asr.transcripts.records import LOW_CONFIDENCE, FileResult, Hypothesis, Segment, Transcript, Word
from asr.transcripts.rows import InputFile, TranscriptError, TranscriptRow, parse_seconds, quoted


def read_jsonl(file: InputFile, side: Side = "reference", column: str = "") -> tuple[list[TranscriptRow], str]:
    """Read JSON lines; return the rows and the key of their text.

    Rows with an error in place of a text are left out. Raises TranscriptError.
    """
    objects = []
    for number, line in file.rows:
        try:
            objects.append((number, line, parse_json_object(line)))
        except JsonLineError as error:
            raise TranscriptError(f"{file.at(number)}: {error}; {quoted(line)}") from error
    # Of one kind, whatever other texts a row may have.
    keys = dict.fromkeys(key for _, _, fields in objects for key, value in fields.items() if _is_column(key, value))
    present = [fields for _, _, fields in objects if "error" not in fields or text_columns(fields)]
    if not present:
        return [], ""
    if not column and not text_columns(keys):
        number, line, _ = next(item for item in objects if "error" not in item[2])
        raise TranscriptError(
            f"{file.at(number)}: no 'text' in {quoted(line)}; add it, or name it with --{side}-column"
        )
    key = text_column(file.name, keys, side, column)
    rows = []
    for number, line, fields in objects:
        if key in fields:
            rows.append(row_from_fields(file.at(number), number, fields, key))
        elif "error" not in fields:
            raise TranscriptError(f"{file.at(number)}: no {key!r} in {quoted(line)}; add it")
    return join_segments(file, rows), key


def _is_column(key: str, value: object) -> bool:
    return isinstance(value, str) or bool(text_columns([key]))


def row_from_fields(location: str, number: int, fields: dict[str, Any], text: str) -> TranscriptRow:
    """Return the row of named fields: the text, an id or the audio, and optionally speaker, duration and confidences.

    Without an id, the path of the audio without its suffix is the id, with the channel if it has one, and the row may
    be a segment with a start. Raises TranscriptError.
    """
    name = first_column(ID_COLUMNS, fields) or first_column(AUDIO_COLUMNS, fields)
    if name is None:
        raise TranscriptError(f"{location}: neither 'id' nor 'audio'; add one of them")
    identity = _string(location, name, fields).strip()
    if not identity:
        raise TranscriptError(f"{location}: the {name} is empty; write it")
    start = None
    if normalise_name(name) in AUDIO_COLUMNS:
        identity = audio_id(identity, fields.get("channel"))
        column = first_column(START_COLUMNS, fields)
        start = fields[column] if column else None
    duration = fields.get("duration")
    return TranscriptRow(
        id=identity,
        text=_string(location, text, fields, numbers=False),
        row=number,
        speaker=_string(location, "speaker", fields).strip(),
        duration=0.0 if duration in (None, "") else parse_seconds(location, "duration", duration),
        confidences=_confidences(location, fields),
        start=0.0 if start in (None, "") else parse_seconds(location, "start", start),
        is_part=start not in (None, ""),
    )


def join_segments(file: InputFile, rows: Sequence[TranscriptRow]) -> list[TranscriptRow]:
    """Return the rows with the segments of each recording as one, whose texts are in the order of time.

    So segments can be compared with other segments of the recording, or with its whole text. Raises TranscriptError if
    two begin at the same time.
    """
    segments: dict[str, dict[float, TranscriptRow]] = {}
    joined: dict[int, TranscriptRow] = {}
    for row in rows:
        if not row.is_part:
            joined[row.row] = row
            continue
        others = segments.setdefault(row.id, {})
        if row.start in others:
            raise TranscriptError(
                f"{file.at(row.row)}: the segment of {quoted(row.id)} at {row.start:g} s is already in row "
                f"{others[row.start].row}; remove one of them"
            )
        others[row.start] = row
    for parts in segments.values():
        first = min(parts.values(), key=lambda row: row.row)
        joined[first.row] = _joined(first, [parts[start] for start in sorted(parts)])
    return [joined[number] for number in sorted(joined)]


def _joined(first: TranscriptRow, parts: Sequence[TranscriptRow]) -> TranscriptRow:
    if len(parts) == 1:
        return first
    durations = [part.duration for part in parts]
    complete = all(len(part.confidences) == len(part.text.split()) for part in parts)
    return replace(
        first,
        text=" ".join(part.text for part in parts if part.text),
        speaker=first.speaker if len({part.speaker for part in parts}) == 1 else "",
        duration=sum(durations) if all(durations) else 0.0,
        confidences=tuple(value for part in parts for value in part.confidences) if complete else (),
    )


def _string(location: str, name: str, fields: dict[str, Any], numbers: bool = True) -> str:
    value = fields.get(name, "")
    if numbers and isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise TranscriptError(f"{location}: {name} {quoted(value)} must be a string; put it in quotes")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise TranscriptError(f"{location}: {name} {quoted(value)} has an unpaired surrogate; correct it")
    return value


def _confidences(location: str, fields: dict[str, Any]) -> tuple[float, ...]:
    values = fields.get("confidences")
    if values is None and isinstance(fields.get("words"), list):
        values = [word.get("confidence") if isinstance(word, dict) else None for word in fields["words"]]
        # Words need not have confidences.
        values = None if None in values else values
    if values is None:
        return ()
    if not isinstance(values, list) or not all(type(value) in (int, float) and 0 <= value <= 1 for value in values):
        raise TranscriptError(f"{location}: confidences {quoted(values)} are not a list of numbers from 0 to 1")
    return tuple(map(float, values))


def is_report(file: InputFile) -> bool:
    """Return whether a file starts like a report: with an object that has more than one line."""
    return file.text.partition("\n")[0].strip() == "{"


def read_report(file: InputFile, side: Side) -> list[TranscriptRow]:
    """Read the texts of one side, `reference` or `hypothesis`. Raises TranscriptError."""
    try:
        report = json.loads(file.text)
    except (ValueError, RecursionError) as error:
        raise TranscriptError(f"{file.name}: not a JSON report: {error}; JSON lines end in .jsonl") from error
    if not isinstance(report, dict) or report.get("kind") != "evaluation":
        raise TranscriptError(f"{file.name}: not a report of asr evaluate or asr score; JSON lines end in .jsonl")
    try:
        return [_report_row(score, number, side) for number, score in enumerate(report["utterance_scores"], 1)]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TranscriptError(f"{file.name}: a damaged report; write it again with --json") from error


def _report_row(score: dict[str, Any], number: int, side: Side) -> TranscriptRow:
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


def format_json(result: FileResult) -> str:
    """Return an object on one line, with a line feed; that of a failed file has audio and error.

    The object has audio, channel (counted from 1, where channels are separate), duration (where known), text, score
    (natural log), its parts acoustic_score and lm_score, words (each with word, start and end in seconds, and
    confidence), segments (each with start, end, confidence and text, and low_confidence: true if it is below 0.5) if
    there are words, and alternatives and notes (strings) if there are any.
    """
    fields: dict[str, Any] = {"audio": result.audio}
    if result.channel:
        fields["channel"] = result.channel
    transcript = result.transcript
    if transcript is None:
        fields["error"] = result.error
    else:
        if transcript.duration:
            fields["duration"] = round(transcript.duration, 3)
        fields |= _text_and_scores(transcript)
        fields["words"] = list(map(word_fields, transcript.words))
        if transcript.words:
            fields["segments"] = list(map(_segment_fields, transcript.segments))
        if transcript.alternatives:
            fields["alternatives"] = [_text_and_scores(other) for other in transcript.alternatives]
        if transcript.notes:
            fields["notes"] = list(transcript.notes)
    return json.dumps(fields, ensure_ascii=False) + "\n"


def word_fields(word: Word) -> dict[str, Any]:
    """Return the fields of a word, its times in seconds."""
    return {"word": word.text} | _times(word)


def _segment_fields(segment: Segment) -> dict[str, Any]:
    fields = _times(segment) | {"text": segment.text}
    return fields | {"low_confidence": True} if segment.confidence < LOW_CONFIDENCE else fields


def _times(part: Word | Segment) -> dict[str, Any]:
    return {"start": round(part.start, 3), "end": round(part.end, 3), "confidence": round(part.confidence, 4)}


def _text_and_scores(hypothesis: Hypothesis | Transcript) -> dict[str, Any]:
    fields: dict[str, Any] = {"text": hypothesis.text}
    for name in ("score", "acoustic_score", "lm_score"):
        value = getattr(hypothesis, name)
        # JSON has no infinity.
        fields[name] = round(value, 4) if isfinite(value) else None
    return fields
