"""Pronunciations of words: a dictionary in the format of CMUdict, whose phonemes become one character each.

A line has a word and its phonemes, separated by spaces (`TOMATO T AH0 M EY1 T OW0`); further pronunciations of the word
have lines of their own, as `TOMATO` or `TOMATO(2)`. # begins a comment. Phonemes are those of ARPAbet, with or without
the marks of stress, or single characters. The dictionaries of bundles, which load faster, have a word, a tab and the
characters of its phonemes without spaces.
"""

import gzip
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.files import decode_utf8
from asr.text.alphabet import TextError

# The one-letter form of ARPAbet (Shoup, 1980), after each name. AX is the AH without stress.
_TABLE = """
AA a AE @ AH A AH0 x AO c AW W AX x AY Y B b CH C D d DH D EH E ER R
EY e F f G g HH h IH I IY i JH J K k L l M m N n NG G OW o OY O
P p R r S s SH S T t TH T UH U UW u V v W w Y y Z z ZH Z
"""
ARPABET = dict(zip(_TABLE.split()[::2], _TABLE.split()[1::2], strict=True))
# Bytes of a dictionary without compression; CMUdict has 4 MB.
_LARGEST = 512 << 20
# All lines of a packed dictionary; a phoneme with the mark of its stress shows that a dictionary is none.
_PACKED = re.compile(r"(?:[^\s]+\t[^\s]+\n)++")
_STRESSED = re.compile(r"\t[A-Z]{2}[012]\n")
_VARIANT = re.compile(r"(.+)\(\d+\)")
_COMMENT = re.compile(r"(?:^|\s)#.*|^;;;.*")


@dataclass(frozen=True)
class Pronunciations:
    """`words`: each word with its pronunciations, strings of phonemes, the most common first."""

    words: Mapping[str, tuple[str, ...]]

    @property
    def phonemes(self) -> str:
        """Return all phonemes, in code point order."""
        return "".join(sorted({phoneme for several in self.words.values() for word in several for phoneme in word}))

    def pronounce(self, text: str) -> str | None:
        """Return the first pronunciation of each word of a normalised text, with spaces; None if a word has none."""
        several = [self.words.get(word) for word in text.split()]
        return None if None in several else " ".join(each[0] for each in several if each)

    def write(self, path: Path, words: Sequence[str]) -> None:
        """Write the pronunciations of some words, compressed, in the form that loads fast."""
        lines = (f"{word}\t{each}\n" for word in sorted(words) for each in self.words.get(word, ()))
        with path.open("wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as out:
            out.write("".join(lines).encode())


def read(path: str | Path, normaliser: str = "upper") -> Pronunciations:
    """Read a dictionary, compressed with gzip or not; the normaliser `upper` makes its words capitals.

    Raises TextError, EncodingError and OSError.
    """
    text = decode_utf8(path, _content(Path(path)))
    lines = text.split("\n")
    words: dict[str, tuple[str, ...]] = {}
    if _PACKED.fullmatch(text) and not _STRESSED.search(text):
        for line in lines[:-1]:
            word, _, phonemes = line.partition("\t")
            words[word] = (*words[word], phonemes) if word in words else (phonemes,)
    else:
        for number, line in enumerate(lines, 1):
            word, phonemes = _entry(line, f"{path}, line {number}")
            word = word.upper() if normaliser == "upper" else word
            if phonemes and phonemes not in words.get(word, ()):
                words[word] = (*words.get(word, ()), phonemes)
    if not words:
        raise TextError(f"{path}: no words; a line is a word and its phonemes: TOMATO T AH0 M EY1 T OW0")
    return Pronunciations(words)


def _content(path: Path) -> bytes:
    """Return the bytes of a file, decompressed."""
    content = path.read_bytes()
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        with gzip.open(path) as file:
            content = file.read(_LARGEST + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise TextError(f"{path}: a damaged gzip file ({error}); copy or make it again") from None
    if len(content) > _LARGEST:
        raise TextError(f"{path}: more than {_LARGEST >> 20} MiB; a dictionary of all words of a language is smaller")
    return content


def _entry(line: str, place: str) -> tuple[str, str]:
    """Return the word of a line and the characters of its phonemes; both are empty if the line has none."""
    word, *symbols = _COMMENT.sub("", line).split() or [""]
    if word and not symbols:
        raise TextError(f"{place}: {word!r} has no phonemes; write them after the word")
    variant = _VARIANT.fullmatch(word)
    return variant[1] if variant else word, "".join(_phoneme(symbol, place) for symbol in symbols)


def _phoneme(symbol: str, place: str) -> str:
    """Return the character of a phoneme."""
    for name in (symbol, symbol.rstrip("012")):
        if name in ARPABET:
            return ARPABET[name]
    if len(symbol) == 1:
        return symbol
    raise TextError(f"{place}: the phoneme {symbol!r} is neither of ARPAbet nor a single character")
