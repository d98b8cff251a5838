"""Sentences for language models: text files, manifests and standard input -> normalised sentences, one at a time.

A text has a sentence on each line, plain or compressed with gzip, and may begin each line with an utterance's id
(LibriSpeech's .trans.txt, Kaldi's text); of a manifest (.jsonl) the `text` fields are taken. Nothing is held in memory.
"""

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
from asr.text import Alphabet, normalise

STANDARD_INPUT = Path("-")
# Lines that are looked at to see whether each begins with an id, and how few are too few to tell.
_HEAD, _FEW = 100, 5
_ID = re.compile(r"[^\W_][\w.]*[-_][\w.-]*")
# Lines between two reports of progress.
_OFTEN = 1000


class LmError(AsrError):
    """A language model, or a text for one, that cannot be used; the message names it."""


@dataclass(frozen=True)
class TextSource:
    """Where sentences come from, and what they are to be like.

    `alphabet`: sentences with other characters are left out; None: all are taken. `ids`: whether each line of a text
    begins with an utterance's id; None: to be seen from its first lines.
    """

    paths: tuple[Path, ...]
    normaliser: str = "upper"
    alphabet: str | None = None
    ids: bool | None = None


class TextReader:
    """Reads the sentences of a source, and counts them; each iteration begins anew.

    `progress` is told how many bytes of how many are read, standard input apart. After an iteration: `sentences`,
    `words` and `characters` taken, sentences `left_out` with the first reason in `first_left_out`, and the files whose
    ids were taken away in `with_ids`. Raises OSError, ManifestError, and LmError if no sentence is left.
    """

    def __init__(self, source: TextSource, progress: Callable[[int, int], None] | None = None) -> None:
        self.source = source
        self._progress = progress
        self._alphabet = None if source.alphabet is None else Alphabet(source.alphabet)
        self._letters = frozenset(source.alphabet or "")
        self._begin()

    def _begin(self) -> None:
        self.sentences = self.words = self.characters = self.left_out = 0
        self.place = self.first_left_out = ""
        self.with_ids: list[str] = []
        self._read = 0

    @property
    def names(self) -> str:
        """Return what is read, for a message."""
        return ", ".join(map(_name, self.source.paths))

    def __iter__(self) -> Iterator[str]:
        self._begin()
        for path in self.source.paths:
            for number, line in self._lines(path):
                self.place = f"{_name(path)}:{number}"
                text = normalise(line, self.source.normaliser)
                if text and self._usable(text):
                    self.sentences += 1
                    self.words += text.count(" ") + 1
                    self.characters += len(text)
                    yield text
        if not self.sentences:
            others = f"; so it is with all {self.left_out} sentences" if self.left_out > 1 else ""
            raise LmError(f"{self.first_left_out or f'{self.names}: no sentence in it'}{others}")

    def _usable(self, text: str) -> bool:
        if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
            raise LmError(f"{self.place}: a surrogate, which is half a character and no text")
        if self._alphabet is None or self._letters.issuperset(text):
            return True
        self.left_out += 1
        if self.left_out == 1:
            unknown = self._alphabet.unknown(text)[0]
            self.first_left_out = f"{self.place}: {unknown!r} is not in the alphabet {self._alphabet.characters!r}"
        return False

    def _lines(self, path: Path) -> Iterator[tuple[int, str]]:
        if path == STANDARD_INPUT:
            yield from self._texts(path, self._unpacked(path, sys.stdin.buffer))
            return
        with path.open("rb") as file:
            lines = self._unpacked(path, file)
            if path.name.removesuffix(".gz").endswith(".jsonl"):
                for number, utterance in manifest.rows(path, lines):
                    yield number, utterance.text
            else:
                yield from self._texts(path, lines)
            self._read += file.tell()

    def _unpacked(self, path: Path, file: BinaryIO) -> Iterator[bytes]:
        """Return the lines of a file as they are once unpacked, and tell how far it has come."""
        # Files opened for reading are of the one kind that can look ahead.
        compressed = cast(gzip.GzipFile, file).peek(2)[:2] == b"\x1f\x8b"
        stream = gzip.GzipFile(fileobj=file) if compressed else file
        total = sum(one.stat().st_size for one in self.source.paths if one != STANDARD_INPUT)
        number = 0
        try:
            for number, line in enumerate(stream, 1):
                yield line
                if self._progress and number % _OFTEN == 0 and path != STANDARD_INPUT:
                    self._progress(self._read + file.tell(), total)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            problem = f"the compressed file is broken or cut off after this line ({error})"
            raise LmError(f"{_name(path)}:{number}: {problem}") from error

    def _texts(self, path: Path, lines: Iterable[bytes]) -> Iterator[tuple[int, str]]:
        decoded = _decoded(path, lines)
        head = list(islice(decoded, _HEAD))
        ids = _have_ids([line for _, line in head]) if self.source.ids is None else self.source.ids
        if ids:
            self.with_ids.append(_name(path))
        for number, line in chain(head, decoded):
            yield number, " ".join(line.split(maxsplit=1)[1:]) if ids else line


def _name(path: Path) -> str:
    return "standard input" if path == STANDARD_INPUT else str(path)


def _decoded(path: Path, lines: Iterable[bytes]) -> Iterator[tuple[int, str]]:
    """Return the lines that are not blank, with their numbers."""
    for number, text in utf8_lines(_name(path), lines):
        if text and not text.isspace():
            yield number, text


def _have_ids(lines: list[str]) -> bool:
    """Say whether the first words of lines are ids: all different, each of parts joined by - or _, with a digit."""
    firsts = [line.split(maxsplit=1)[0] for line in lines]
    alike = all(_ID.fullmatch(first) and any(map(str.isdigit, first)) for first in firsts)
    return len(firsts) >= _FEW and alike and len(set(firsts)) == len(firsts)
