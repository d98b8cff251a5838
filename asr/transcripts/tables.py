"""Transcripts in JSON lines, and in tables with a header (CSV, TSV)."""

import json
import math
from pathlib import PurePosixPath
from typing import Any

from asr.files import JsonLineError, decode_utf8, parse_json_object, read_cells
from asr.transcripts.record import Source, TranscriptError, TranscriptRow, shown

# The names that a column may have; the first that is there is taken.
_TEXT = ("text", "transcript", "transcription", "sentence", "hypothesis", "reference")
_ID = ("id", "utterance_id", "utterance", "utt_id")
_AUDIO = ("audio", "audio_filepath", "path", "file", "filename", "file_name", "wav")


def _stem(audio: str) -> str:
    return PurePosixPath(audio.replace("\\", "/")).stem


def _column(names: tuple[str, ...], there: Any) -> str | None:
    return next((name for name in names if name in there), None)


def _string(place: str, name: str, value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and name not in _TEXT:
        value = str(value)
    if not isinstance(value, str):
        raise TranscriptError(f"{place}: {name} {json.dumps(value)[:60]} must be a string; put it in quotes")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise TranscriptError(f"{place}: {name} {shown(value)} has half of a surrogate pair; correct it")
    return value


def _identity(place: str, row: dict[str, Any]) -> str:
    column = _column(_ID, row)
    audio = _column(_AUDIO, row)
    if column is None and audio is None:
        raise TranscriptError(f"{place}: neither 'id' nor 'audio'; a transcript is known by one of them")
    name = column or audio or ""
    value = _string(place, name, row[name]).strip()
    if not value:
        raise TranscriptError(f"{place}: the {name} is empty; a transcript is known by it")
    return value if column else _stem(value)


def _confidences(place: str, row: dict[str, Any]) -> tuple[float, ...]:
    values = row.get("confidences")
    if values is None and isinstance(row.get("words"), list):
        values = [word.get("confidence") if isinstance(word, dict) else None for word in row["words"]]
        # Words without confidences are no mistake.
        if None in values:
            return ()
    if values is None:
        return ()
    numbers = isinstance(values, list) and all(
        isinstance(one, int | float) and not isinstance(one, bool) and 0 <= one <= 1 for one in values
    )
    if not numbers:
        raise TranscriptError(f"{place}: confidences {json.dumps(values)[:60]} are not a list of numbers from 0 to 1")
    return tuple(map(float, values))


def _duration(place: str, value: Any) -> float:
    if value in (None, ""):
        return 0.0
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if isinstance(value, bool) or not 0 <= number < math.inf:
        raise TranscriptError(f"{place}: duration {json.dumps(value)[:60]} is not a number of seconds, 0 or more")
    return number


def _object(place: str, line: str) -> dict[str, Any]:
    try:
        return parse_json_object(line)
    except JsonLineError as error:
        raise TranscriptError(f"{place}: {error}; {shown(line)}") from error


def read_jsonl(source: Source) -> list[TranscriptRow]:
    """Read JSON lines; a row of `asr transcribe` that has an error in place of a text is left out.

    Raises TranscriptError.
    """
    found = []
    for number, line in source.rows():
        place = f"{source}, row {number}"
        row = _object(place, line)
        column = _column(_TEXT, row)
        if column is None and "error" in row:
            continue
        if column is None:
            raise TranscriptError(f"{place}: no 'text' in {shown(line)}; add it")
        found.append(
            TranscriptRow(
                id=_identity(place, row),
                text=_string(place, column, row[column]),
                row=number,
                speaker=_string(place, "speaker", row.get("speaker", "")),
                duration=_duration(place, row.get("duration")),
                confidences=_confidences(place, row),
            )
        )
    return found


def is_header(line: str, delimiter: str) -> bool:
    """Tell whether a line is the header of a table of transcripts."""
    names = _names(line.split(delimiter))
    return len(names) > 1 and _column(_TEXT, names) is not None and _column((*_ID, *_AUDIO), names) is not None


def _names(cells: list[str]) -> list[str]:
    return [cell.strip().strip('"').casefold() for cell in cells]


def read_table(source: Source, delimiter: str) -> list[TranscriptRow]:
    """Read a table with a header; columns other than id, audio, text, speaker and duration are ignored.

    Raises TranscriptError, TableError and EncodingError.
    """
    found = []
    names: list[str] = []
    for number, cells in read_cells(source, decode_utf8(source, source.content), delimiter):
        place = f"{source}, row {number}"
        if not names:
            names = _names(cells)
            if _column(_TEXT, names) is None or _column((*_ID, *_AUDIO), names) is None:
                raise TranscriptError(
                    f"{place}: the header {shown(delimiter.join(cells))} needs a column 'text' and one 'id' or 'audio'"
                )
            continue
        if len(cells) != len(names):
            raise TranscriptError(
                f"{place}: {len(cells)} cells where the header has {len(names)}; "
                + ("put a text with a comma in quotes" if delimiter == "," else "a text must not have a tab")
            )
        row = dict(zip(names, cells, strict=True))
        text = row[_column(_TEXT, names) or ""]
        duration = _duration(place, row.get("duration"))
        found.append(TranscriptRow(_identity(place, row), text, number, row.get("speaker", "").strip(), duration))
    return found
