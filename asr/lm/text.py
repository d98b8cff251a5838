"""Training and test texts of language models: files, manifests and standard input -> normalised sentences.

A text file has one sentence per line, is plain or compressed with gzip or bzip2, and may begin each line with an
utterance id (LibriSpeech's .trans.txt, Kaldi's text). Of a manifest (.jsonl) the `text` fields are read. Texts are read
in a stream.
"""

import bz2
import gzip
import re
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, cast

from asr.corpora import manifest
from asr.errors import AsrError
from asr.files import utf8_lines
from asr.text import Alphabet
from asr.text.normalisers import normalise

STANDARD_INPUT = Path("-")
BEGIN = "<s>"
END = "</s>"
# The space between words in character models: U+2581, since ARPA files separate tokens by spaces.
SPACE = "▁"
# The first lines decide whether each line begins with an id; fewer than _MIN_LINES are not enough to decide.
_HEAD, _MIN_LINES = 100, 5
_ID = re.compile(r"[^\W_][\w.]*[-_][\w.-]*")
# "BZh", the block size, and the mark of a first block or of the end of an empty file.
_BZIP2 = re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)")
# Lines between two progress reports.
_REPORT_EVERY = 1000


class LmError(AsrError):
    """A language model, or a text for one, that cannot be used; the message names it."""


@dataclass(frozen=True)
class TextSource:
    """Where sentences come from and how they are normalised.

    `alphabet`: skip sentences with other characters; None: keep all. `ids`: whether each line of a text file begins
    with an utterance id; None: decide by the first lines.
    """

    paths: tuple[Path, ...]
    normaliser: str = "upper"
    alphabet: str | None = None
    ids: bool | None = None


class TextReader:
    """Iterates over the sentences of a source and counts them; each iteration starts over.

    `on_progress(done, total)` gets the bytes read, without standard input. After an iteration: the counts `sentences`,
    `words` and `characters`, the number of sentences `left_out` with the first reason in `first_left_out`, and in
    `with_ids` the files whose ids were removed. Raises OSError, CorpusError, EncodingError, and
    LmError if no sentence is left.
    """

    def __init__(self, source: TextSource, on_progress: Callable[[int, int], None] | None = None) -> None:
        self.source = source
        self._on_progress = on_progress
        self._alphabet = None if source.alphabet is None else Alphabet(source.alphabet)
        self._characters = frozenset(source.alphabet or "")
        self._total = sum(path.stat().st_size for path in source.paths if path != STANDARD_INPUT and path.exists())
        self._reset()

    def _reset(self) -> None:
        self.sentences = self.words = self.characters = self.left_out = 0
        self.location = self.first_left_out = ""
        self.with_ids: list[str] = []
        self._done = 0

    @property
    def names(self) -> str:
        """Return the names of the files, for messages."""
        return ", ".join(map(_name, self.source.paths))

    def __iter__(self) -> Iterator[str]:
        self._reset()
        for path in self.source.paths:
            for number, line in self._lines(path):
                self.location = f"{_name(path)}:{number}"
                text = normalise(line, self.source.normaliser)
                if text and self._is_usable(text):
                    self.sentences += 1
                    self.words += text.count(" ") + 1
                    self.characters += len(text)
                    yield text
        if not self.sentences:
            others = f"; all {self.left_out} sentences are left out" if self.left_out > 1 else ""
            raise LmError(f"{self.first_left_out or f'{self.names}: no sentences'}{others}")

    def _is_usable(self, text: str) -> bool:
        if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
            raise LmError(f"{self.location}: the text contains an unpaired surrogate; correct it")
        if self._alphabet is None or self._characters.issuperset(text):
            return True
        self.left_out += 1
        if self.left_out == 1:
            unknown = self._alphabet.unknown(text)[0]
            self.first_left_out = f"{self.location}: {unknown!r} is not in the alphabet {self._alphabet.characters!r}"
        return False

    def _lines(self, path: Path) -> Iterator[tuple[int, str]]:
        if path == STANDARD_INPUT:
            if sys.stdin is None:
                raise LmError("standard input is closed; nothing can be read from it")
            yield from self._text_lines(path, read_lines(path, sys.stdin.buffer))
            return
        with path.open("rb") as file:
            lines = self._counted(file, read_lines(path, file))
            if path.name.removesuffix(".gz").endswith(".jsonl"):
                for number, utterance in manifest.rows(path, lines):
                    yield number, utterance.text
            else:
                yield from self._text_lines(path, lines)
            self._done += file.tell()

    def _counted(self, file: BinaryIO, lines: Iterator[bytes]) -> Iterator[bytes]:
        for number, line in enumerate(lines, 1):
            yield line
            if self._on_progress and number % _REPORT_EVERY == 0:
                self._on_progress(self._done + file.tell(), self._total)

    def _text_lines(self, path: Path, lines: Iterator[bytes]) -> Iterator[tuple[int, str]]:
        decoded = ((number, text) for number, text in utf8_lines(_name(path), lines) if text and not text.isspace())
        head = list(islice(decoded, _HEAD))
        ids = _have_ids([line for _, line in head]) if self.source.ids is None else self.source.ids
        if ids:
            self.with_ids.append(_name(path))
        for number, line in chain(head, decoded):
            yield number, " ".join(line.split(maxsplit=1)[1:]) if ids else line


def read_lines(path: Path, file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of a file, plain, gzip or bzip2. Raises LmError naming the line if such a file is damaged."""
    # Files opened for reading in binary mode are buffered and have `peek`.
    head = cast(gzip.GzipFile, file).peek(10)[:10]
    opened: Iterable[bytes] = file
    if head.startswith(b"\x1f\x8b"):
        opened = gzip.GzipFile(fileobj=file)
    elif _BZIP2.match(head):
        opened = bz2.BZ2File(file)
    number = 0
    try:
        for line in opened:
            number += 1
            yield line
    except (EOFError, gzip.BadGzipFile, zlib.error, OSError) as error:
        # bz2 reports damage by an OSError without a number.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        problem = f"the compressed file is damaged or truncated after this line ({error})"
        raise LmError(f"{_name(path)}:{number}: {problem}") from error


def tokens(reader: TextReader, unit: str) -> Iterator[list[str]]:
    """Yield the words or characters of each sentence, a space as SPACE. Raises LmError naming file and line."""
    for text in reader:
        row = text.split(" ") if unit == "word" else characters(text)
        for marker in (BEGIN, END):
            if marker in row:
                raise LmError(f"{reader.location}: {marker} marks the end of a sentence and cannot be a word of it")
        yield row


def characters(text: str) -> list[str]:
    """Return the characters of a text as character models write them, a space as SPACE."""
    return list(text.replace(" ", SPACE))


def read_vocabulary(path: Path, normaliser: str) -> list[str]:
    """Read a list of words, one per line. Raises LmError naming the line."""
    reader = TextReader(TextSource((path,), normaliser, ids=False))
    words = []
    for text in reader:
        if " " in text or text in (BEGIN, END):
            raise LmError(f"{reader.location}: {text[:80]!r} is not a word; the file has one word per line")
        words.append(text)
    return words


def _name(path: Path) -> str:
    return "standard input" if path == STANDARD_INPUT else str(path)


def _have_ids(lines: list[str]) -> bool:
    """Return whether the first words of lines are ids: all different, each of parts joined by - or _, with a digit."""
    first_words = [line.split(maxsplit=1)[0] for line in lines]
    alike = all(_ID.fullmatch(word) and any(map(str.isdigit, word)) for word in first_words)
    return len(first_words) >= _MIN_LINES and alike and len(set(first_words)) == len(first_words)
