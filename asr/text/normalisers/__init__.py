"""Normalisers by name: how references and hypotheses are written before they are compared.

`none`         white space collapsed, nothing else
`upper`        as the models of this toolkit write: upper case, letters, marks, digits and apostrophes
`basic`        lower case, punctuation out, hyphens part words; apostrophes within words are kept
`librispeech`  A to Z and apostrophes in upper case, accents taken off, numbers spelled out
`english`      `basic`, and numbers spelled out, contractions written out, British spellings as the American ones

A user's own equivalents come on top, from a file with a line `colour = color` for each.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from asr import text as model_text
from asr.errors import AsrError
from asr.files import read_utf8
from asr.text import numbers

Normaliser = Callable[[str], str]


class NormaliserError(AsrError):
    """A normaliser that does not exist, or equivalents that cannot be read; the message names file and line."""


@dataclass(frozen=True, slots=True)
class Equivalent:
    """Two ways of writing the same: `written` is read as `meant`."""

    written: str
    meant: str
    line: int


def _basic(text: str) -> str:
    words = model_text.normalise(text, "upper").lower().split()
    # Quotation marks, and "'tis" as "tis".
    return " ".join(kept for word in words if (kept := word.strip("'")))


# Letters that no decomposition takes apart.
_LETTERS = {"Æ": "AE", "Œ": "OE", "Ø": "O", "Đ": "D", "Ð": "D", "Ł": "L", "Þ": "TH", "ẞ": "SS", "&": " AND "}
_PLAIN_LETTERS = str.maketrans(_LETTERS)


def _librispeech(text: str) -> str:
    text = model_text.normalise(numbers.spelled(text).replace("&", " and "), "upper").translate(_PLAIN_LETTERS)
    text = "".join(one for one in unicodedata.normalize("NFD", text) if not unicodedata.combining(one))
    words = (word.strip("'") for word in re.sub(r"[^A-Z']", " ", text).split())
    return " ".join(word for word in words if word)


# Endings first: "n't" and "'s" only where they can mean nothing else.
_IRREGULAR = {
    "can't": "can not",
    "cannot": "can not",
    "won't": "will not",
    "shan't": "shall not",
    "ain't": "is not",
    "let's": "let us",
    "y'all": "you all",
    "ma'am": "madam",
    "gonna": "going to",
    "wanna": "want to",
    "gotta": "got to",
    "gimme": "give me",
    "lemme": "let me",
    "dunno": "do not know",
    "kinda": "kind of",
    "sorta": "sort of",
    "mr": "mister",
    "mrs": "missus",
    "dr": "doctor",
    "prof": "professor",
    "ok": "okay",
    "vs": "versus",
    "etc": "et cetera",
}
_ENDINGS = (("n't", " not"), ("'re", " are"), ("'ll", " will"), ("'ve", " have"), ("'m", " am"), ("'d", " would"))
# After these, "'s" is "is" (or "has", which cannot be told apart); elsewhere it is a possessive.
_IS = frozenset(
    [
        "it",
        "he",
        "she",
        "that",
        "this",
        "there",
        "here",
        "what",
        "who",
        "where",
        "when",
        "why",
        "how",
        "everything",
        "nothing",
        "something",
    ]
)


def _expanded(word: str) -> str:
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if "'" not in word:
        return word
    for ending, written in _ENDINGS:
        if word.endswith(ending) and len(word) > len(ending):
            return word.removesuffix(ending) + written
    stem = word.removesuffix("'s")
    return f"{stem} is" if stem != word and stem in _IS else word


def _english(text: str) -> str:
    words = _basic(numbers.spelled(text).replace("&", " and ").replace("%", " percent ")).split()
    # A possessive is spelled as the word is.
    expanded = re.sub(r"'s\b", " 's", " ".join(map(_expanded, words)))
    american = _american()(expanded).replace(" 's", "'s")
    return " ".join(numbers.without_and(american.split()))


NORMALISERS: dict[str, Normaliser] = {
    **model_text.NORMALISERS,
    "basic": _basic,
    "librispeech": _librispeech,
    "english": _english,
}


def named(name: str) -> Normaliser:
    """Return the normaliser of a name. Raises NormaliserError for an unknown one."""
    if name not in NORMALISERS:
        raise NormaliserError(f"unknown normaliser {name!r}; known are {', '.join(NORMALISERS)}")
    return NORMALISERS[name]


def _parse(lines: Iterable[str], source: str) -> Iterator[Equivalent]:
    for number, line in enumerate(lines, 1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        written, equals, meant = (part.strip() for part in content.partition("="))
        if not equals or not written or not meant or "=" in meant:
            raise NormaliserError(f"{source}, line {number}: {content[:60]!r} is not of the form 'colour = color'")
        yield Equivalent(written, meant, number)


def read_equivalents(path: str | Path) -> tuple[Equivalent, ...]:
    """Read a list of equivalents: a line `written = meant` for each, several words allowed, # before a comment.

    Raises NormaliserError naming the line, EncodingError and OSError.
    """
    return tuple(_parse(read_utf8(path).splitlines(), str(path)))


def replacing(equivalents: Iterable[Equivalent], normaliser: Normaliser, source: str = "equivalents") -> Normaliser:
    """Return a function that replaces whole words of normalised text by their equivalents, the longest first.

    Both sides of an equivalent are normalised as the text was. Raises NormaliserError for one of which nothing is
    left then, that stands twice with different meanings, or that leads back to itself.
    """
    meaning: dict[str, str] = {}
    for one in equivalents:
        written, meant = normaliser(one.written), normaliser(one.meant)
        if not written or not meant:
            gone = one.written if not written else one.meant
            raise NormaliserError(f"{source}, line {one.line}: the normaliser leaves nothing of {gone!r}")
        if meaning.get(written, meant) != meant:
            raise NormaliserError(
                f"{source}, line {one.line}: {written!r} already means {meaning[written]!r}; choose one of them"
            )
        if written != meant:
            meaning[written] = meant
            if written in _chain(meaning, meant):
                raise NormaliserError(f"{source}, line {one.line}: {written!r} leads back to itself; turn it round")
    final = {written: _chain(meaning, meant)[-1] for written, meant in meaning.items()}
    # By its first word, of how many words what is replaced can be.
    longest: dict[str, int] = {}
    for words in map(str.split, final):
        longest[words[0]] = max(longest.get(words[0], 0), len(words))
    return lambda text: " ".join(_replaced(text.split(), final, longest))


def _replaced(words: list[str], final: dict[str, str], longest: dict[str, int]) -> Iterator[str]:
    index = 0
    while index < len(words):
        for size in range(longest.get(words[index], 0), 0, -1):
            written = " ".join(words[index : index + size])
            if written in final:
                yield final[written]
                index += size
                break
        else:
            yield words[index]
            index += 1


def _chain(meaning: dict[str, str], start: str) -> list[str]:
    found = [start]
    while found[-1] in meaning and meaning[found[-1]] not in found:
        found.append(meaning[found[-1]])
    return found


def together(name: str, equivalents: Path | None = None) -> Normaliser:
    """Return the normaliser of a name, followed by the equivalents of a file. Raises NormaliserError and OSError."""
    normaliser = named(name)
    if equivalents is None:
        return normaliser
    replace = replacing(read_equivalents(equivalents), normaliser, str(equivalents))
    return lambda text: replace(normaliser(text))


@lru_cache(maxsize=1)
def _american() -> Normaliser:
    lines = files("asr.text.normalisers").joinpath("spellings.txt").read_text(encoding="utf-8").splitlines()
    return replacing(_parse(lines, "spellings.txt"), lambda text: text, "spellings.txt")
