"""Corpora: one module per layout, each turning a folder or a table into utterances; `fetch` downloads.

Here is only what every layout needs: its error, its text files by line, and the lengths of its sound files.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from asr import audio
from asr.errors import AsrError
from asr.files import utf8_lines

Progress = Callable[[int, int], None]
# Opening a file waits for the disk or the network, not for the processor; soundfile releases the interpreter lock.
_THREADS = 16
_FILES_PER_JOB = 32


class CorpusError(AsrError):
    """A corpus that cannot be read or fetched; the message names the file, the row, the value and the mend."""


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the number (from 1) and the text of each line that is not blank, without white space at its ends.

    Raises EncodingError for text that is not UTF-8; a byte order mark is skipped.
    """
    for number, line in utf8_lines(path, path.read_bytes().split(b"\n")):
        if line.strip():
            yield number, line.strip()


def durations(places: Mapping[str, str], progress: Progress | None = None) -> dict[str, float]:
    """Read the length of every sound file, in seconds.

    `places` maps each path to the place that names it ("a.csv, row 3"), for the message. `progress` is called with the
    files read so far and all files. Raises CorpusError for a file that is missing, empty or not audio.
    """
    found: dict[str, float] = {}
    paths = list(places)
    jobs = [paths[start : start + _FILES_PER_JOB] for start in range(0, len(paths), _FILES_PER_JOB)]

    def measure(job: list[str]) -> dict[str, float]:
        measured = {}
        for path in job:
            try:
                measured[path] = audio.info(path).duration
            except audio.AudioError as error:
                raise CorpusError(f"{places[path]}: {error}") from None
        return measured

    pool = ThreadPoolExecutor(_THREADS)
    try:
        for measured in pool.map(measure, jobs):
            found.update(measured)
            if progress is not None:
                progress(len(found), len(paths))
    finally:
        pool.shutdown(cancel_futures=True)
    return found
