r"""ARPA files: the text form of a back-off model, with log10 inside.

    \data\
    ngram 1=5
    ngram 2=4

    \1-grams:
    -0.6	the	-0.3          log10 probability, n-gram, log10 back-off (0 if absent)

    \2-grams:
    -0.2	<s> the

    \end\
"""

import gzip
import math
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NoReturn

import numpy as np

from asr.files import open_atomic
from asr.lm.ngram import BEGIN, END, LOG_10, UNKNOWN, UNKNOWN_LOG_PROB, Doubles, Ints, Longs, NgramModel
from asr.lm.ngram.trie import Level, assemble, bounds, find, keys_of, ngrams, suffixes
from asr.lm.text import LmError

# Few enough that the fields stay in the processor's cache.
ROWS = 1 << 11
ANNOUNCED = re.compile(rb"ngram\s+(\d{1,3})\s*=\s*(\d{1,18})")


class _Lines:
    """The lines of a file and the number of the last one read."""

    def __init__(self, path: Path, stream: BinaryIO | gzip.GzipFile) -> None:
        self.path = path
        self.stream = stream
        self.number = 0

    def take(self, count: int) -> list[bytes]:
        try:
            lines = list(islice(self.stream, count))
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            self.blame(f"the compressed file is broken or cut off after this line ({error})")
        self.number += len(lines)
        return lines

    def stripped(self) -> Iterator[bytes]:
        """Return the lines that are not blank, to the end of the file."""
        while lines := self.take(1):
            if line := lines[0].strip():
                yield line

    def blame(self, problem: str, number: int | None = None) -> NoReturn:
        raise LmError(f"{self.path}:{self.number if number is None else number}: {problem}")


@dataclass(frozen=True, eq=False)
class _Section:
    """The entries of one order as they stand in the file, in natural logs."""

    first_line: int
    ids: Ints  # (entries, order)
    log_probs: Doubles
    backoffs: Doubles


def read(path: Path) -> NgramModel:
    """Read an ARPA file, plain or compressed with gzip.

    Raises OSError, and LmError naming the line if it is broken.
    """
    with path.open("rb") as file, gzip.GzipFile(fileobj=file) as unpacked:
        compressed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        lines = _Lines(path, unpacked if compressed else file)
        counts, heading = _announced(lines)
        vocabulary: dict[bytes, int] = {}
        sections = []
        for order, count in enumerate(counts, 1):
            _expect(lines, heading, b"\\%d-grams:" % order)
            if order == 1:
                sections.append(_unigrams(lines, count, len(counts) == 1, vocabulary))
            else:
                sections.append(_section(lines, (order, count), order == len(counts), vocabulary))
            heading = next(lines.stripped(), b"")
        _expect(lines, heading, b"\\end\\")
        # Only at its very end is a compressed file known to be whole.
        for line in lines.stripped():
            lines.blame(f"nothing may follow '\\\\end\\\\', but {_shown(line)} does")
    names = [UNKNOWN, *(word.decode() for word in islice(vocabulary, 1, None))]
    for marker in (BEGIN, END):
        if marker not in names:
            raise LmError(f"{path}: there is no unigram {marker}")
    return assemble(names, _levels(lines, sections))


def _announced(lines: _Lines) -> tuple[list[int], bytes]:
    """Return how many entries of each order the header announces, and the line after it."""
    rows = lines.stripped()
    if not any(line == b"\\data\\" for line in rows):
        lines.blame("the file ends without a line \\data\\: this is no ARPA file")
    counts: list[int] = []
    for line in rows:
        match = ANNOUNCED.fullmatch(line)
        if not match:
            break
        if int(match[1]) != len(counts) + 1:
            lines.blame(f"the count of order {len(counts) + 1} is missing: {_shown(line)}")
        counts.append(int(match[2]))
    else:
        lines.blame("the file ends within the header")
    if not counts:
        lines.blame(f'no counts ("ngram 1=...") after \\data\\, but {_shown(line)}')
    return counts, line


def _expect(lines: _Lines, line: bytes, heading: bytes) -> None:
    if not line:
        lines.blame(f"the file ends before {_shown(heading)}")
    if line != heading:
        lines.blame(f"{_shown(heading)} should stand here, not {_shown(line)}; are there more entries than announced?")


def _rows(lines: _Lines, order: int, count: int) -> Iterator[tuple[int, list[list[bytes]]]]:
    """Return the fields of the entries of an order, some thousands at a time, with the number of the first line."""
    done = 0
    while done < count:
        first = lines.number + 1
        rows = [line.split() for line in lines.take(min(ROWS, count - done))]
        for i, row in enumerate(rows):
            if not row or (row[0][:1] == b"\\" and row[0][-1:] in (b":", b"\\")):
                lines.blame(f"{count} entries of order {order} are announced, but there are {done + i}", first + i)
        if not rows:
            lines.blame(f"the file ends after {done} of {count} entries of order {order}")
        yield first, rows
        done += len(rows)


def _unigrams(lines: _Lines, count: int, highest: bool, vocabulary: dict[bytes, int]) -> _Section:
    """Read the unigrams and fill in the id of each word; <unk> comes first even if the file has none."""
    parts = []
    for first, rows in _rows(lines, 1, count):
        parts.append(_numbers(lines, first, rows, 1, highest))
        for i, row in enumerate(rows):
            try:
                row[1].decode()
            except UnicodeDecodeError as error:
                lines.blame(f"{_shown(row[1])} is not UTF-8 ({error.reason})", first + i)
            if row[1] in vocabulary:
                lines.blame(f"the unigram {_shown(row[1])} stands here a second time", first + i)
            vocabulary[row[1]] = len(vocabulary)
    # KenLM, too, takes both spellings.
    unknown = next((spelling for spelling in (UNKNOWN.encode(), b"<UNK>") if spelling in vocabulary), None)
    log_probs, backoffs = (np.concatenate(part) for part in zip([np.empty(0)] * 2, *parts, strict=True))
    place = vocabulary.pop(unknown) if unknown else 0
    front = (log_probs[place], backoffs[place]) if unknown else (UNKNOWN_LOG_PROB, 0.0)
    if unknown:
        log_probs, backoffs = np.delete(log_probs, place), np.delete(backoffs, place)
    known = list(vocabulary)
    vocabulary.clear()
    vocabulary.update({word: i for i, word in enumerate([unknown or UNKNOWN.encode(), *known])})
    ids = np.arange(len(vocabulary), dtype=np.int32)[:, None]
    return _Section(0, ids, np.insert(log_probs, 0, front[0]), np.insert(backoffs, 0, front[1]))


def _section(lines: _Lines, shape: tuple[int, int], highest: bool, vocabulary: Mapping[bytes, int]) -> _Section:
    """Read all entries of one order above the first; `shape` is the order and how many there are."""
    order, count = shape
    first_line = lines.number + 1
    parts = []
    for first, rows in _rows(lines, order, count):
        numbers = _numbers(lines, first, rows, order, highest)
        try:
            ids = np.array([[vocabulary[word] for word in row[1 : order + 1]] for row in rows], np.int32)
        except KeyError:
            for i, row in enumerate(rows):
                for word in row[1 : order + 1]:
                    if word not in vocabulary:
                        lines.blame(f"the word {_shown(word)} is not among the unigrams", first + i)
            raise
        parts.append((ids, *numbers))
    if not parts:
        return _Section(first_line, np.empty((0, order), np.int32), np.empty(0), np.empty(0))
    ids, log_probs, backoffs = (np.concatenate(part) for part in zip(*parts, strict=True))
    return _Section(first_line, ids, log_probs, backoffs)


def _numbers(lines: _Lines, first: int, rows: list[list[bytes]], order: int, highest: bool) -> list[Doubles]:
    """Return the log-probabilities and back-offs of rows."""
    try:
        if not set(map(len, rows)) <= {order + 1, order + 2}:
            raise ValueError
        log_probs = np.array([float(row[0]) for row in rows])
        backoffs = np.array([float(row[order + 1]) if len(row) == order + 2 else 0.0 for row in rows])
        if not (np.isfinite(log_probs).all() and np.isfinite(backoffs).all()) or (log_probs > 0).any():
            raise ValueError
        if highest and backoffs.any():
            raise ValueError
    except ValueError:
        for i, row in enumerate(rows):
            if problem := _problem(row, order, highest):
                lines.blame(problem, first + i)
        raise
    return [log_probs * LOG_10, backoffs * LOG_10]


def _problem(row: list[bytes], order: int, highest: bool) -> str | None:
    """Return what is wrong with the fields of one line."""
    if not order + 1 <= len(row) <= order + 2:
        return f"{len(row)} fields; a line of order {order} has a log-probability, {order} words and perhaps a back-off"
    for name, text in (("log-probability", row[0]), ("back-off", row[order + 1] if len(row) == order + 2 else b"0")):
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            return f"the {name} {_shown(text)} is not a number"
        if name == "log-probability" and number > 0:
            return f"the log-probability {_shown(text)} is positive"
        if name == "back-off" and highest and number:
            return f"the back-off {_shown(text)} stands at the highest order, where nothing is longer"
    return None


def _levels(lines: _Lines, sections: list[_Section]) -> list[Level]:
    """Sort the entries into a trie."""
    keys: Longs = np.empty(0, np.int64)
    suffix: Ints = np.zeros(1, np.int32)
    levels = []
    for order, section in enumerate(sections, 1):
        parents = np.zeros(len(section.ids), np.int64)
        for column in range(order - 1):
            parents = find(keys, parents, section.ids[:, column])
        if (parents < 0).any():
            lines.blame("the context of this n-gram is no entry", section.first_line + int(np.argmax(parents < 0)))
        added = keys_of(parents, section.ids[:, -1])
        order_of_keys = np.argsort(added, kind="stable")
        added = added[order_of_keys]
        if (twice := np.flatnonzero(added[1:] == added[:-1])).size:
            line = section.first_line + int(order_of_keys[twice + 1].min())
            lines.blame("this n-gram stands here a second time", line)
        sorted_parents = parents[order_of_keys].astype(np.int32)
        words = section.ids[order_of_keys, -1]
        shorter = np.zeros(len(words), np.int32) if order == 1 else suffixes(keys, suffix, sorted_parents, words)
        log_probs, backoffs = section.log_probs[order_of_keys], section.backoffs[order_of_keys]
        levels.append(Level(sorted_parents, words, log_probs, backoffs, shorter))
        keys = np.concatenate([keys, added])
        suffix = np.concatenate([suffix, shorter])
    return levels


def _shown(text: bytes) -> str:
    return repr(text.decode(errors="replace"))


def write(path: Path, model: NgramModel) -> None:
    """Write an ARPA file, compressed if its name ends with .gz; what is read again is the same. Raises OSError."""
    with open_atomic(path) as out:
        if path.suffix == ".gz":
            # Without a name and a time, the same model gives the same bytes.
            with gzip.GzipFile(filename="", mode="wb", fileobj=out, mtime=0, compresslevel=6) as packed:
                _write(packed, model)
        else:
            _write(out, model)


def _write(out: BinaryIO | gzip.GzipFile, model: NgramModel) -> None:
    counts = "".join(f"ngram {order}={count}\n" for order, count in enumerate(model.counts, 1))
    out.write(f"\\data\\\n{counts}".encode())
    names = np.array(model.words, object)
    for order, (start, end) in enumerate(bounds(model), 1):
        out.write(f"\n\\{order}-grams:\n".encode())
        for first in range(start, end, ROWS):
            last = min(first + ROWS, end)
            texts = map(" ".join, names[ngrams(model, order, first, last)].tolist())
            # Nine digits give back each float.
            log_probs = (model.arrays.log_probs[first:last].astype(np.float64) / LOG_10).tolist()
            if order == model.order:
                lines = [f"{p:.9g}\t{text}\n" for p, text in zip(log_probs, texts, strict=True)]
            else:
                backoffs = (model.arrays.backoffs[first:last].astype(np.float64) / LOG_10).tolist()
                lines = [f"{p:.9g}\t{text}\t{b:.9g}\n" for p, text, b in zip(log_probs, texts, backoffs, strict=True)]
            out.write("".join(lines).encode())
    out.write(b"\n\\end\\\n")
