"""Utterances and the manifest that lists them: one JSON object a line.

    {"id": "1272-1", "audio": "wav/1272-1.flac", "duration": 5.855, "text": "MISTER QUILTER", "speaker": "1272"}

`audio` is relative to the manifest's own folder (or absolute). `duration` is in seconds. `speaker` may be left out.
`offset` (seconds, default 0) is where in the file the utterance begins, for segments of long recordings.
"""

import json
import math
import os
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from asr.errors import AsrError
from asr.files import JsonLineError, open_atomic, parse_json_object, utf8_lines


class ManifestError(AsrError):
    """A manifest that cannot be read; the message names the file and the line."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """One piece of speech: `duration` and `offset` in seconds, `audio` an absolute path."""

    id: str
    audio: str
    duration: float
    text: str = ""
    speaker: str = ""
    offset: float = 0.0


_REQUIRED = {"id": str, "audio": str, "duration": float}
_OPTIONAL = {"text": str, "speaker": str, "offset": float}
_KINDS = {str: "a string", float: "a number"}


def _parse(line: str, folder: str) -> Utterance:
    try:
        row = parse_json_object(line)
    except JsonLineError as error:
        raise ManifestError(str(error)) from error
    for key in _REQUIRED:
        if key not in row:
            raise ManifestError(f"no {key!r}; a row needs {', '.join(_REQUIRED)}")
    for key, value in row.items():
        kind = _REQUIRED.get(key) or _OPTIONAL.get(key)
        if kind is None:
            raise ManifestError(f"unknown key {key!r}; known are {', '.join([*_REQUIRED, *_OPTIONAL])}")
        number = kind is float and isinstance(value, int | float) and not isinstance(value, bool)
        if not number and not isinstance(value, kind):
            raise ManifestError(f"{key!r} must be {_KINDS[kind]}, not {json.dumps(value)[:40]}")
    if not row["id"] or any(character.isspace() for character in row["id"]):
        raise ManifestError(f"id {row['id']!r} is empty or contains white space")
    duration, offset = _seconds(row, "duration"), _seconds(row, "offset")
    if not 0 < duration < math.inf:
        raise ManifestError(f"'duration' must be more than 0 seconds, not {duration}")
    if not 0 <= offset < math.inf:
        raise ManifestError(f"'offset' must be 0 seconds or more, not {offset}")
    where, slash, name = row["audio"].rpartition("/")
    audio = _joined(folder, where + slash) + name
    # Speakers are few and rows many.
    speaker = sys.intern(row.get("speaker", ""))
    return Utterance(row["id"], audio, duration, row.get("text", ""), speaker, offset)


@lru_cache(maxsize=1024)
def _joined(folder: str, where: str) -> str:
    # Not a Path, which would cost 300 bytes and several microseconds for each of a million rows.
    return os.path.join(os.path.normpath(os.path.join(folder, where)), "")  # noqa: PTH118


def _seconds(row: dict[str, Any], key: str) -> float:
    try:
        return float(row.get(key, 0.0))
    except OverflowError:
        return math.inf


def rows(path: Path, lines: Iterable[bytes]) -> Iterator[tuple[int, Utterance]]:
    """Read the lines of the manifest `path` one by one, with their numbers; empty lines are allowed.

    Ids are not compared. Raises ManifestError naming file and line for a broken row.
    """
    folder = str(path.resolve().parent)
    for number, line in utf8_lines(path, lines):
        if not line.strip():
            continue
        try:
            yield number, _parse(line.rstrip(), folder)
        except ManifestError as error:
            raise ManifestError(f"{path}, line {number}: {error}") from error


def read(path: str | Path) -> list[Utterance]:
    """Read a manifest; empty lines are allowed.

    Raises ManifestError naming file and line for a broken row, a repeated id, or a manifest without utterances.
    """
    path = Path(path)
    utterances: list[Utterance] = []
    seen: set[str] = set()
    numbers = array("q")
    with path.open("rb") as lines:
        for number, utterance in rows(path, lines):
            if utterance.id in seen:
                first = next(row for row, one in enumerate(utterances) if one.id == utterance.id)
                already = f"id {utterance.id!r} stands already in line {numbers[first]}"
                raise ManifestError(f"{path}, line {number}: {already}")
            seen.add(utterance.id)
            numbers.append(number)
            utterances.append(utterance)
    if not utterances:
        raise ManifestError(f"{path}: no utterances in it")
    return utterances


def joined(paths: Sequence[str | Path]) -> list[Utterance]:
    """Read several manifests as one. Raises ManifestError for an id that two of them have, and as `read`."""
    found: dict[str, Path] = {}
    together: list[Utterance] = []
    for path in map(Path, paths):
        utterances = read(path)
        for utterance in utterances:
            if utterance.id in found:
                raise ManifestError(f"{path}: id {utterance.id!r} is in {found[utterance.id]} already")
        found |= dict.fromkeys((utterance.id for utterance in utterances), path)
        together += utterances
    return together


def write(path: str | Path, utterances: Iterable[Utterance]) -> int:
    """Write a manifest whole or not at all, audio paths relative to its folder; return the number of rows."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = str(path.resolve().parent)
    count = 0
    with open_atomic(path) as out:
        for utterance in utterances:
            out.write(_line(utterance, folder))
            count += 1
    return count


def _line(utterance: Utterance, folder: str) -> bytes:
    row: dict[str, str | float] = {
        "id": utterance.id,
        "audio": os.path.relpath(utterance.audio, folder),
        "duration": round(utterance.duration, 4),
        "text": utterance.text,
    }
    if utterance.speaker:
        row["speaker"] = utterance.speaker
    if utterance.offset:
        row["offset"] = utterance.offset
    try:
        return json.dumps(row, ensure_ascii=False).encode("utf-8") + b"\n"
    except UnicodeEncodeError:  # the name of the file is not UTF-8; only an escape can write it
        return json.dumps(row).encode("ascii") + b"\n"
