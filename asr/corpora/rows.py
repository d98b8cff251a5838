"""Rows of a corpus, as its layout lists them -> utterances with unique ids and known durations."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from asr.audio import AudioError, info
from asr.corpora.manifest import CorpusError, Utterance
from asr.files import utf8_lines

Progress = Callable[[int, int], None]
# Opening a file waits for the disk or the network, not for the processor; soundfile releases the interpreter lock.
_THREADS = 16
_FILES_PER_JOB = 32
# Seconds by which a segment may exceed its file: rounding in a table, or the estimated length of an MP3.
_TOLERANCE = 0.1


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

    def measure(job: list[str]) -> dict[str, float]:
        measured = {}
        for path in job:
            try:
                measured[path] = info(path).duration
            except AudioError as error:
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
    return lengths
