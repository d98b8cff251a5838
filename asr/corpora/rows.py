"""Rows of a corpus, as its layout lists them -> utterances with unique ids and known durations."""

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from asr.audio import AudioError, info
from asr.corpora.manifest import CorpusError, Utterance
from asr.files import JsonLineError, parse_json_object, utf8_lines

Progress = Callable[[int, int], None]
# Opening a file waits for the disk or the network, not for the processor; soundfile releases the interpreter lock.
_THREADS = 16
_FILES_PER_JOB = 32
# Seconds by which a segment may exceed its file: rounding in a table, or the estimated length of an MP3.
_TOLERANCE = 0.1
_LONGEST_LINE = 1 << 24
# Missing files that a message names.
_LISTED = 20


@dataclass(frozen=True, slots=True)
class Row:
    """A recording and its text; `source` names where they are listed, for messages: "a.csv, row 3"."""

    id: str
    audio: str
    text: str
    source: str
    speaker: str = ""
    offset: float = 0.0
    duration: float | None = None


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the number, from 1, and the stripped text of each line that is not blank. Raises EncodingError."""
    for number, line in utf8_lines(path, path.read_bytes().split(b"\n")):
        if line.strip():
            yield number, line.strip()


def existing(folder: Path, *names: str) -> list[Path]:
    """Return those files of a folder that exist, in the order of the names."""
    return [folder / name for name in names if (folder / name).is_file()]


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number, from 1, and the object of each line of a JSON Lines file, plain or gzip (.gz)."""
    number = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for number, line in utf8_lines(path, iter(lambda: _line(file, path), b"")):
                if line.strip():
                    yield number, parse_json_object(line)
    except JsonLineError as error:
        raise CorpusError(f"{path}, line {number}: {error}") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise CorpusError(f"{path}: damaged or truncated gzip file: {error}") from None


def _line(file: "BinaryIO | gzip.GzipFile", path: Path) -> bytes:
    line = file.readline(_LONGEST_LINE + 1)
    if len(line) > _LONGEST_LINE:
        raise CorpusError(f"{path}: a line of more than {_LONGEST_LINE >> 20} MiB; each line needs one object")
    return line


def field(row: dict[str, Any], key: str, kind: type, source: str, default: Any = None) -> Any:
    """Return a value of a JSON object, or the default if there is one and the key is missing or null."""
    value = row.get(key)
    if value is None and default is not None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float) if kind is float else kind):
        expected = {str: "a string", float: "a number", list: "a list"}[kind]
        raise CorpusError(f"{source}: {key!r} must be {expected}, not {str(value)[:40]}")
    return value


def utterances(rows: Iterable[Row], remedy: str, on_progress: Progress | None = None) -> list[Utterance]:
    """Return the utterances of the rows in the order of their ids.

    `on_progress` is called with the number of sound files read and of all. Raises CorpusError for a repeated id, with
    `remedy` in the message, a segment that exceeds its file, and a file that is missing, empty or not audio.
    """
    by_id: dict[str, Row] = {}
    for row in rows:
        if row.id in by_id:
            raise CorpusError(f"{row.source}: id {row.id!r} is already in {by_id[row.id].source}; {remedy}")
        by_id[row.id] = row
    lengths = _lengths({row.audio: row.source for row in by_id.values()}, on_progress)
    return [
        Utterance(row.id, row.audio, _duration(row, lengths[row.audio]), row.text, row.speaker, row.offset)
        for _, row in sorted(by_id.items())
    ]


def _duration(row: Row, length: float) -> float:
    rest = length - row.offset
    if rest <= 0:
        raise CorpusError(
            f"{row.source}: offset {row.offset:g} s is not before the end of {row.audio} ({length:.3f} s)"
        )
    if row.duration is None:
        return rest
    if row.duration > rest + _TOLERANCE:
        segment = f"{row.offset:g}–{row.offset + row.duration:g} s"
        raise CorpusError(f"{row.source}: segment {segment} exceeds {row.audio} ({length:.3f} s)")
    return min(row.duration, rest)


def _lengths(sources: dict[str, str], on_progress: Progress | None) -> dict[str, float]:
    """Return the length of each sound file in seconds; `sources` maps its path to the row that names it."""
    lengths: dict[str, float] = {}
    paths = list(sources)
    jobs = [paths[start : start + _FILES_PER_JOB] for start in range(0, len(paths), _FILES_PER_JOB)]

    missing: list[str] = []

    def measure(job: list[str]) -> dict[str, float]:
        measured = {}
        for path in job:
            try:
                measured[path] = info(path).duration
            except AudioError as error:
                if not Path(path).exists():
                    missing.append(path)
                    continue
                raise CorpusError(f"{sources[path]}: {error}") from None
        return measured

    pool = ThreadPoolExecutor(_THREADS)
    try:
        for measured in pool.map(measure, jobs):
            lengths.update(measured)
            if on_progress is not None:
                on_progress(len(lengths), len(paths))
    finally:
        pool.shutdown(cancel_futures=True)
    if missing:
        first = f"{sources[missing[0]]}: {missing[0]}: no such file"
        others = "".join(f"\n  {path}" for path in missing[1:_LISTED])
        more = f"\n  and {len(missing) - _LISTED} more" if len(missing) > _LISTED else ""
        raise CorpusError(first + (f"; {len(missing)} files are missing, also{others}{more}" if others else ""))
    return lengths
