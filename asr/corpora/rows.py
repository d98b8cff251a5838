"""Rows of a corpus, as its layout lists them -> utterances with unique ids and known durations."""

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from asr.audio import AudioError, info
from asr.corpora.manifest import BadRowsError, CorpusError, Utterance
from asr.files import JsonLineError, parse_json_object, utf8_lines

Progress = Callable[[int, int], None]
OnSkip = Callable[[Sequence[str]], None]
# Opening a file waits for the disk or the network, not for the processor; soundfile releases the interpreter lock.
_THREADS = 16
_FILES_PER_JOB = 32
# Seconds by which a segment may exceed its file: rounding in a table, or the estimated length of an MP3.
_TOLERANCE = 0.1
_LONGEST_LINE = 1 << 24


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


def utterances(
    rows: Iterable[Row | CorpusError],
    remedy: str,
    on_progress: Progress | None = None,
    on_skip: OnSkip | None = None,
) -> list[Utterance]:
    """Return the utterances of the rows in the order of their ids.

    A row that could not be read is its error. `on_progress` is called with the number of sound files read and of all.
    Raises BadRowsError for repeated ids, with `remedy` in the message, segments that exceed their files, and files that
    are missing, empty or not audio. With `on_skip` these rows are left out, and it is called with the messages;
    raises CorpusError if no others are left.
    """
    by_id: dict[str, Row] = {}
    problems: list[str] = []
    for row in rows:
        if isinstance(row, CorpusError):
            problems.append(str(row))
        elif row.id in by_id:
            problems.append(f"{row.source}: id {row.id!r} is already in {by_id[row.id].source}; {remedy}")
        else:
            by_id[row.id] = row
    lengths = _lengths({row.audio: row.source for row in by_id.values()}, on_progress)
    usable = []
    for _, row in sorted(by_id.items()):
        try:
            length = lengths[row.audio]
            if isinstance(length, str):
                raise CorpusError(f"{row.source}: {length}")
            usable.append(Utterance(row.id, row.audio, _duration(row, length), row.text, row.speaker, row.offset))
        except CorpusError as error:
            problems.append(str(error))
    if problems and on_skip is None:
        raise BadRowsError(problems, len(usable) + len(problems))
    if problems and on_skip:
        on_skip(problems)
    if problems and not usable:
        raise CorpusError(f"none of {len(problems)} utterances can be used")
    return usable


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


def _lengths(sources: dict[str, str], on_progress: Progress | None) -> dict[str, float | str]:
    """Return the length of each sound file in seconds, or what is wrong with it.

    `sources` maps its path to the row that names it.
    """
    lengths: dict[str, float | str] = {}
    paths = list(sources)
    jobs = [paths[start : start + _FILES_PER_JOB] for start in range(0, len(paths), _FILES_PER_JOB)]

    def measure(job: list[str]) -> dict[str, float | str]:
        measured: dict[str, float | str] = {}
        for path in job:
            try:
                measured[path] = info(path).duration
            except AudioError as error:
                measured[path] = str(error)
        return measured

    pool = ThreadPoolExecutor(_THREADS)
    try:
        for measured in pool.map(measure, jobs):
            lengths.update(measured)
            if on_progress is not None:
                on_progress(len(lengths), len(paths))
    finally:
        pool.shutdown(cancel_futures=True)
    return lengths
