"""Manifests: one utterance a line, as a JSON object.

    {"id": "1272-1", "audio": "wav/1272-1.flac", "duration": 5.855, "text": "MISTER QUILTER", "speaker": "1272"}

`audio` is relative to the manifest's folder, or absolute. `duration` is in seconds. `speaker` is optional, and so is
`offset`: the start of the utterance in the file, in seconds, for segments of long recordings.

Sequences other than speech name an array of features in place of a recording: `"features": "eeg/1.npy"`, (T, F).
"""

import json
import math
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from asr.errors import AsrError
from asr.files import JsonLineError, open_atomic, parse_json_object, sha256, utf8_lines


class CorpusError(AsrError):
    """A corpus or manifest that cannot be read or fetched; the message names the file, row and value."""


class BadRowsError(CorpusError):
    """Rows that cannot be used; `problems` has a message for each of several, which names file, row and value."""

    def __init__(self, problems: Sequence[str], total: int) -> None:
        several = (
            f"{len(problems)} of {total} utterances cannot be used (the first: {problems[0]}); correct them, or leave "
            "them out with --skip-bad"
        )
        super().__init__(several if len(problems) > 1 else problems[0])
        self.problems = tuple(problems) if len(problems) > 1 else ()


@dataclass(frozen=True, slots=True)
class Utterance:
    """A recording or a segment of one: `duration` and `offset` in seconds, `audio` an absolute path.

    `audio` may be a feature array instead, by its suffix, `ARRAY`.
    """

    id: str
    audio: str
    duration: float
    text: str = ""
    speaker: str = ""
    offset: float = 0.0


_REQUIRED = {"id": str, "audio": str, "duration": float}
_OPTIONAL = {"text": str, "speaker": str, "offset": float}
# The suffix of feature arrays, and the key that names one.
ARRAY, _FEATURES = ".npy", "features"
_KINDS = {str: "a string", float: "a number"}


def _parse(line: str, folder: str) -> Utterance:
    row = parse_json_object(line)
    if isinstance(array := row.pop(_FEATURES, None), str):
        if "audio" in row:
            raise CorpusError("'audio' and 'features' are both given; a row has one of them")
        if not array.endswith(ARRAY):
            raise CorpusError(f"'features' must name a {ARRAY} file, not {array[:40]!r}")
        row["audio"] = array
    elif array is not None:
        raise CorpusError(f"'features' must be a string, not {json.dumps(array)[:40]}")
    for key in _REQUIRED:
        if key not in row:
            raise CorpusError(f"no {key!r}; a row needs {', '.join(_REQUIRED)}")
    for key, value in row.items():
        kind = _REQUIRED.get(key) or _OPTIONAL.get(key)
        if kind is None:
            raise CorpusError(f"unknown key {key!r}; known are {', '.join([*_REQUIRED, _FEATURES, *_OPTIONAL])}")
        number = kind is float and isinstance(value, int | float) and not isinstance(value, bool)
        if not number and not isinstance(value, kind):
            raise CorpusError(f"{key!r} must be {_KINDS[kind]}, not {json.dumps(value)[:40]}")
    if not row["id"] or any(character.isspace() for character in row["id"]):
        raise CorpusError(f"id {row['id']!r} is empty or contains white space")
    duration, offset = _seconds(row, "duration"), _seconds(row, "offset")
    if not 0 < duration < math.inf:
        raise CorpusError(f"'duration' must be more than 0 seconds, not {duration}")
    if not 0 <= offset < math.inf:
        raise CorpusError(f"'offset' must be 0 seconds or more, not {offset}")
    folder_name, slash, name = row["audio"].rpartition("/")
    audio = _join(folder, folder_name + slash) + name
    # Speakers are few and rows many.
    speaker = sys.intern(row.get("speaker", ""))
    return Utterance(row["id"], audio, duration, row.get("text", ""), speaker, offset)


@lru_cache(maxsize=1024)
def _join(folder: str, relative: str) -> str:
    # A Path costs 300 bytes and several microseconds for each of a million rows.
    return os.path.join(os.path.normpath(os.path.join(folder, relative)), "")  # noqa: PTH118


def _seconds(row: dict[str, Any], key: str) -> float:
    try:
        return float(row.get(key, 0.0))
    except OverflowError:
        return math.inf


def rows(path: Path, lines: Iterable[bytes]) -> Iterator[tuple[int, Utterance]]:
    """Yield the line number and the utterance of each row of the manifest `path`; empty lines are allowed.

    Ids are not compared. Raises CorpusError naming file and line, and EncodingError.
    """
    folder = str(path.resolve().parent)
    for number, line in utf8_lines(path, lines):
        if not line.strip():
            continue
        try:
            yield number, _parse(line.rstrip(), folder)
        except (CorpusError, JsonLineError) as error:
            raise CorpusError(f"{path}, line {number}: {error}") from error


def read(path: str | Path) -> list[Utterance]:
    """Read a manifest; empty lines are allowed.

    Raises CorpusError naming file and line for a bad row, a repeated id, or a manifest without utterances.
    """
    path = Path(path)
    utterances: list[Utterance] = []
    seen: set[str] = set()
    with path.open("rb") as lines:
        for number, utterance in rows(path, lines):
            if utterance.id in seen:
                # A search of the file on failure is cheaper than a number kept for each of a million rows.
                lines.seek(0)
                first = next(number for number, other in rows(path, lines) if other.id == utterance.id)
                raise CorpusError(f"{path}, line {number}: id {utterance.id!r} is already in line {first}")
            seen.add(utterance.id)
            utterances.append(utterance)
    if not utterances:
        raise CorpusError(f"{path}: no utterances")
    return utterances


def join(paths: Sequence[str | Path]) -> list[Utterance]:
    """Read several manifests as one. Raises CorpusError for an id that two of them have, and as `read`."""
    first: dict[str, Path] = {}
    utterances: list[Utterance] = []
    for path in map(Path, paths):
        new = read(path)
        for utterance in new:
            if utterance.id in first:
                raise CorpusError(f"{path}: id {utterance.id!r} is already in {first[utterance.id]}")
        first |= dict.fromkeys((utterance.id for utterance in new), path)
        utterances += new
    return utterances


@dataclass(frozen=True)
class Joined:
    """The utterances of several manifests, and a message for each that repeats an earlier one and is left out."""

    utterances: list[Utterance]
    repeated: list[str]


def join_unique(paths: Sequence[str | Path]) -> Joined:
    """Read several manifests as one, without the utterances whose audio an earlier one has.

    Audio is the same if the files are, by their content, and the segments. Raises CorpusError for an id of two
    different recordings, and as `read`.
    """
    by_id: dict[str, tuple[Path, Utterance]] = {}
    by_audio: dict[tuple[str, float, float], str] = {}
    joined = Joined([], [])
    manifests = [(path, read(path)) for path in map(Path, paths)]
    digests = _digests({row.audio for _, rows in manifests for row in rows})
    for path, new in manifests:
        for row in new:
            key = digests.get(row.audio, row.audio), round(row.offset, 3), round(row.duration, 3)
            if key in by_audio:
                path_of_first, first = by_id[by_audio[key]]
                differs = f", whose text differs: {first.text[:60]!r}, not {row.text[:60]!r}"
                text = "" if first.text == row.text else differs
                joined.repeated.append(f"{path}: {row.id} has the audio of {first.id} in {path_of_first}{text}")
            elif row.id in by_id:
                raise CorpusError(f"{path}: id {row.id!r} is already in {by_id[row.id][0]}, of another recording")
            else:
                by_audio[key], by_id[row.id] = row.id, (path, row)
                joined.utterances.append(row)
    return joined


def _digests(audio: Iterable[str]) -> dict[str, str]:
    """Return the digest of each file that has the size of another one; of missing files nothing."""
    by_size: dict[int, list[str]] = {}
    for path in sorted(audio):
        with suppress(OSError):
            by_size.setdefault(Path(path).stat().st_size, []).append(path)
    return {path: sha256(Path(path)) for paths in by_size.values() if len(paths) > 1 for path in paths}


def write(path: str | Path, utterances: Iterable[Utterance]) -> int:
    """Write a manifest atomically, audio paths relative to its folder; return the number of rows."""
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
        _FEATURES if utterance.audio.endswith(ARRAY) else "audio": os.path.relpath(utterance.audio, folder),
        "duration": round(utterance.duration, 4),
        "text": utterance.text,
    }
    if utterance.speaker:
        row["speaker"] = utterance.speaker
    if utterance.offset:
        row["offset"] = utterance.offset
    try:
        return json.dumps(row, ensure_ascii=False).encode("utf-8") + b"\n"
    except UnicodeEncodeError:  # a file name that is not UTF-8 needs an escape
        return json.dumps(row).encode("ascii") + b"\n"
