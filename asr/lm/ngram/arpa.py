r"""ARPA files: the text form of a back-off model, with base-10 logarithms.

    \data\
    ngram 1=5
    ngram 2=4

    \1-grams:
    -0.6	the	-0.3          log10 probability, n-gram, log10 back-off weight (0 if absent)

    \2-grams:
    -0.2	<s> the

    \end\
"""

import gzip
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NoReturn, cast

import numpy as np

from asr.files import open_atomic
from asr.lm.ngram.model import LOG_10, UNKNOWN_ID, UNKNOWN_LOG_PROB, UNKNOWN_WORD, Doubles, Ints, Longs, NgramModel
from asr.lm.ngram.trie import Level, assemble, find, keys_of, ngrams, spans, suffixes
from asr.lm.text import BEGIN, END, LmError, read_lines

# Few enough that the fields stay in the processor's cache.
_ROWS = 1 << 11
# The logarithm of zero in other toolkits' files, besides -inf.
_LOG_ZERO = -99.0
_COUNT = re.compile(rb"ngram\s+(\d{1,3})\s*=\s*(\d{1,18})")


class _Lines:
    """The lines of a file and the number of the last line read."""

    def __init__(self, path: Path, lines: Iterator[bytes]) -> None:
        self.path = path
        self.number = 0
        self._lines = lines
        self._taken: list[bytes] = []
        self._ahead: list[bytes] = []

    def take(self, count: int) -> list[bytes]:
        lines = [*self._ahead[:count], *islice(self._lines, max(count - len(self._ahead), 0))]
        self._ahead = self._ahead[count:]
        self.number += len(lines)
        self._taken = lines
        return lines

    def back_to(self, number: int) -> None:
        """Return to a line among those last taken, and continue after it."""
        keep = len(self._taken) - (self.number - number)
        self._ahead = [*self._taken[keep:], *self._ahead]
        self.number = number

    def not_blank(self) -> Iterator[bytes]:
        """Yield the stripped lines that are not blank, up to the end of the file."""
        while lines := self.take(1):
            if line := lines[0].strip():
                yield line

    def fail(self, problem: str, number: int | None = None) -> NoReturn:
        raise LmError(f"{self.path}:{self.number if number is None else number}: {problem}")


@dataclass(frozen=True, eq=False)
class _Section:
    """The entries of one order in file order, in natural logs."""

    first_line: int
    ids: Ints  # (entries, order)
    log_probs: Doubles
    backoffs: Doubles


def read(path: Path) -> NgramModel:
    """Read an ARPA file, plain or gzip. Raises OSError, and LmError naming the line if the file is damaged.

    -inf is read as -99, which SRILM writes for it; KenLM keeps it, and refuses it as a back-off weight. Blank lines
    within a section are allowed.
    """
    with path.open("rb") as file:
        lines = _Lines(path, read_lines(path, file))
        counts, heading = _header(lines)
        vocabulary: dict[bytes, int] = {}
        sections = []
        for order, count in enumerate(counts, 1):
            _expect(lines, heading, b"\\%d-grams:" % order)
            if order == 1:
                sections.append(_unigrams(lines, count, len(counts) == 1, vocabulary))
            else:
                sections.append(_section(lines, (order, count), order == len(counts), vocabulary))
            heading = next(lines.not_blank(), b"")
        _expect(lines, heading, b"\\end\\")
        # gzip checks the integrity of a file only at its very end.
        for line in lines.not_blank():
            lines.fail(f"unexpected {_repr(line)} after '\\\\end\\\\'")
    words = [UNKNOWN_WORD, *(word.decode() for word in islice(vocabulary, 1, None))]
    for marker in (BEGIN, END):
        if marker not in words:
            raise LmError(f"{path}: there is no unigram {marker}")
    return assemble(words, _levels(lines, sections), keep_backoffs=True)


def _header(lines: _Lines) -> tuple[list[int], bytes]:
    """Return the number of entries of each order and the line after the header."""
    rows = lines.not_blank()
    if not any(line == b"\\data\\" for line in rows):
        lines.fail("the file ends without a line \\data\\; it is not an ARPA file")
    counts: list[int] = []
    for line in rows:
        match = _COUNT.fullmatch(line)
        if not match:
            break
        if int(match[1]) != len(counts) + 1:
            lines.fail(f"the count of order {len(counts) + 1} is missing: {_repr(line)}")
        counts.append(int(match[2]))
    else:
        lines.fail("the file ends within the header")
    if not counts:
        lines.fail(f'expected counts ("ngram 1=...") after \\data\\, not {_repr(line)}')
    return counts, line


def _expect(lines: _Lines, line: bytes, heading: bytes) -> None:
    if not line:
        lines.fail(f"the file ends before {_repr(heading)}")
    if line != heading:
        lines.fail(f"expected {_repr(heading)}, not {_repr(line)}; are there more entries than the header says?")


def _rows(lines: _Lines, order: int, count: int) -> Iterator[tuple[int, list[list[bytes]]]]:
    """Yield the fields of the entries of an order, in blocks, with the number of the first line."""
    done = 0
    while done < count:
        first = lines.number + 1
        rows = [line.split() for line in lines.take(min(_ROWS, count - done))]
        if not rows:
            lines.fail(f"the file ends after {done} of {count} entries of order {order}")
        if not all(rows):
            # A block ends before a blank line, so that the numbers of its lines are known.
            rows = rows[: rows.index([])]
            lines.back_to(first + len(rows))
        for i, row in enumerate(rows):
            if row[0][:1] == b"\\" and row[0][-1:] in (b":", b"\\"):
                lines.fail(f"the header says {count} entries of order {order}, but there are {done + i}", first + i)
        if not rows:
            continue
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
                lines.fail(f"{_repr(row[1])} is not UTF-8 ({error.reason})", first + i)
            if row[1] in vocabulary:
                lines.fail(f"the unigram {_repr(row[1])} is repeated", first + i)
            vocabulary[row[1]] = len(vocabulary)
    log_probs, backoffs = (np.concatenate(part) for part in zip([np.empty(0)] * 2, *parts, strict=True))
    # KenLM accepts both spellings, too.
    unknown = next((word for word in (UNKNOWN_WORD.encode(), b"<UNK>") if word in vocabulary), UNKNOWN_WORD.encode())
    index = vocabulary.pop(unknown, None)
    first_row = (UNKNOWN_LOG_PROB, 0.0)
    if index is not None:
        first_row = (log_probs[index], backoffs[index])
        log_probs, backoffs = np.delete(log_probs, index), np.delete(backoffs, index)
    words = [unknown, *vocabulary]
    vocabulary.clear()
    vocabulary.update({word: i for i, word in enumerate(words)})
    ids = np.arange(len(words), dtype=np.int32)[:, None]
    return _Section(
        0, ids, np.insert(log_probs, UNKNOWN_ID, first_row[0]), np.insert(backoffs, UNKNOWN_ID, first_row[1])
    )


def _section(lines: _Lines, shape: tuple[int, int], highest: bool, vocabulary: Mapping[bytes, int]) -> _Section:
    """Read all entries of one order above the first; `shape` is the order and the number of entries."""
    order, count = shape
    first_line = lines.number + 1
    parts = [(np.empty((0, order), np.int32), np.empty(0), np.empty(0))]
    for first, rows in _rows(lines, order, count):
        log_probs, backoffs = _numbers(lines, first, rows, order, highest)
        try:
            ids = np.array([[vocabulary[word] for word in row[1 : order + 1]] for row in rows], np.int32)
        except KeyError as error:
            word = error.args[0]
            row = next(i for i, row in enumerate(rows) if word in row[1 : order + 1])
            lines.fail(f"the word {_repr(word)} is not among the unigrams", first + row)
        parts.append((ids, log_probs, backoffs))
    return _Section(first_line, *(np.concatenate(part) for part in zip(*parts, strict=True)))


def _numbers(lines: _Lines, first: int, rows: list[list[bytes]], order: int, highest: bool) -> tuple[Doubles, Doubles]:
    """Return the log-probabilities and back-off weights of rows."""
    valid = set(map(len, rows)) <= {order + 1, order + 2}
    try:
        log_probs = _finite(np.array([float(row[0]) for row in rows]))
        backoffs = _finite(np.array([float(row[order + 1]) if len(row) == order + 2 else 0.0 for row in rows]))
        valid &= bool(np.isfinite(log_probs).all() and np.isfinite(backoffs).all() and (log_probs <= 0).all())
    except ValueError:
        valid = False
    if not valid or (highest and backoffs.any()):
        lines.fail(*next((text, first + i) for i, row in enumerate(rows) if (text := _problem(row, order, highest))))
    return log_probs * LOG_10, backoffs * LOG_10


def _finite(numbers: Doubles) -> Doubles:
    """Return the numbers with _LOG_ZERO for -inf, which a weight of 0 would turn into NaN."""
    return np.where(np.isneginf(numbers), _LOG_ZERO, numbers)


def _problem(row: list[bytes], order: int, highest: bool) -> str | None:
    """Return what is wrong with the fields of one line, or None."""
    if not order + 1 <= len(row) <= order + 2:
        return f"{len(row)} fields; a line of order {order} has a log-probability, {order} words and perhaps a back-off"
    for name, text in (("log-probability", row[0]), ("back-off", row[order + 1] if len(row) == order + 2 else b"0")):
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number) and number != -math.inf:
            return f"the {name} {_repr(text)} is not a number"
        if name == "log-probability" and number > 0:
            return f"the log-probability {_repr(text)} is positive"
        if name == "back-off" and highest and number:
            return f"the back-off {_repr(text)} is not allowed at the highest order"
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
            lines.fail("the context of this n-gram is not an entry", section.first_line + int(np.argmax(parents < 0)))
        added = keys_of(parents, section.ids[:, -1])
        by_key = np.argsort(added, kind="stable")
        added = added[by_key]
        if (repeated := np.flatnonzero(added[1:] == added[:-1])).size:
            lines.fail("this n-gram is repeated", section.first_line + int(by_key[repeated + 1].min()))
        sorted_parents = parents[by_key].astype(np.int32)
        words = section.ids[by_key, -1]
        shorter = np.zeros(len(words), np.int32) if order == 1 else suffixes(keys, suffix, sorted_parents, words)
        levels.append(Level(sorted_parents, words, section.log_probs[by_key], section.backoffs[by_key], shorter))
        keys = np.concatenate([keys, added])
        suffix = np.concatenate([suffix, shorter])
    return levels


def _repr(text: bytes) -> str:
    return repr(text.decode(errors="replace"))


def write(path: Path, model: NgramModel) -> None:
    """Write an ARPA file, compressed if its name ends with .gz. Reading it gives the same model. Raises OSError."""
    with open_atomic(path) as out:
        if path.suffix == ".gz":
            # Without a name and a time, the same model gives the same bytes.
            with gzip.GzipFile(filename="", mode="wb", fileobj=out, mtime=0, compresslevel=6) as compressed:
                _write(cast(BinaryIO, compressed), model)
        else:
            _write(out, model)


def _write(out: BinaryIO, model: NgramModel) -> None:
    counts = "".join(f"ngram {order}={count}\n" for order, count in enumerate(model.counts, 1))
    out.write(f"\\data\\\n{counts}".encode())
    words = np.array(model.words, object)
    for order, (start, end) in enumerate(spans(model.counts), 1):
        out.write(f"\n\\{order}-grams:\n".encode())
        for first in range(start, end, _ROWS):
            last = min(first + _ROWS, end)
            texts = map(" ".join, words[ngrams(model, order, first, last)].tolist())
            # Nine digits restore each float32 exactly.
            log_probs = (model.arrays.log_probs[first:last].astype(np.float64) / LOG_10).tolist()
            if order == model.order:
                lines = [f"{p:.9g}\t{text}\n" for p, text in zip(log_probs, texts, strict=True)]
            else:
                backoffs = (model.arrays.backoffs[first:last].astype(np.float64) / LOG_10).tolist()
                lines = [f"{p:.9g}\t{text}\t{b:.9g}\n" for p, text, b in zip(log_probs, texts, backoffs, strict=True)]
            out.write("".join(lines).encode())
    out.write(b"\n\\end\\\n")
