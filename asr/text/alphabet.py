"""Transcript normalisation, and the alphabet that turns characters into token ids."""

import re
import sys
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asr.errors import AsrError

BLANK = 0
ENGLISH = " 'ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_APOSTROPHES = dict.fromkeys("’‘ʼ`´＇", "'")
# Soft hyphen, joiners, marks of direction, byte order mark, variation selectors: none of them parts words.
_INVISIBLE = dict.fromkeys("\u00ad\u200c\u200d\u200e\u200f\u2060\ufeff" + "".join(map(chr, range(0xFE00, 0xFE10))), "")
_UNIFIED = str.maketrans(_APOSTROPHES | _INVISIBLE)


class TextError(AsrError):
    """A transcript or an alphabet that cannot be used; the message names the character."""


# What `upper` leaves as it is: most transcripts of most corpora, and a regular expression is quicker to see it.
_PLAIN = re.compile(r"[A-Z0-9']+(?: [A-Z0-9']+)*")


def _upper(text: str) -> str:
    if _PLAIN.fullmatch(text):
        return text
    text = unicodedata.normalize("NFKC", text.translate(_UNIFIED)).translate(_UNIFIED)
    # Some capitals come decomposed (of "ΐ", for one), so they are composed again.
    text = unicodedata.normalize("NFKC", text.upper())
    kept = (character if character == "'" or unicodedata.category(character)[0] in "LMN" else " " for character in text)
    return " ".join("".join(kept).split())


def _none(text: str) -> str:
    return " ".join(text.split())


NORMALISERS: dict[str, Callable[[str], str]] = {"upper": _upper, "none": _none}


def normalise(text: str, normaliser: str = "upper") -> str:
    """Return the text as models of this normaliser write it.

    `upper`: Unicode NFKC, upper case, apostrophes of every shape as ', letters, marks and digits kept, else spaces
    (or, for what is invisible, nothing).
    `none`: white space collapsed, nothing else. Raises TextError for an unknown name.
    """
    if normaliser not in NORMALISERS:
        raise TextError(f"unknown normaliser {normaliser!r}; known are {', '.join(NORMALISERS)}")
    return NORMALISERS[normaliser](text)


@dataclass(frozen=True)
class TextSettings:
    """How transcripts become tokens.

    `alphabet`: its characters in the order of their ids (blank is put before them), or `auto`: those of the training
    transcripts. `unknown`: what happens to a transcript with another character: `error`, or `drop` the utterance,
    counted.
    """

    normaliser: str = "upper"
    alphabet: str = ENGLISH
    unknown: str = "error"

    def __post_init__(self) -> None:
        if self.normaliser not in NORMALISERS:
            raise ValueError(f"normaliser = {self.normaliser!r} is not one of {', '.join(NORMALISERS)}")
        if self.unknown not in ("error", "drop"):
            raise ValueError(f"unknown = {self.unknown!r} is not one of error, drop")
        if self.alphabet != "auto":
            try:
                Alphabet(self.alphabet)
            except TextError as error:
                raise ValueError(f"alphabet: {error}") from error


class Alphabet:
    """The characters a model writes. Ids run from 1 in the order given; 0 is the CTC blank."""

    def __init__(self, characters: str) -> None:
        if not characters:
            raise TextError("an alphabet needs at least one character")
        repeated = [character for character in characters if characters.count(character) > 1]
        if repeated:
            raise TextError(f"{repeated[0]!r} stands twice in the alphabet")
        self.characters = characters
        self._ids = {character: index for index, character in enumerate(characters, BLANK + 1)}
        self._table: NDArray[np.int32] | None = None

    def __len__(self) -> int:
        """Return V, the number of tokens, blank included."""
        return len(self.characters) + 1

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Alphabet":
        """Collect the characters of normalised transcripts, in code point order."""
        return cls("".join(sorted({character for text in texts for character in text})))

    def unknown(self, text: str) -> list[str]:
        """Return the characters of the text that are not in the alphabet, each once, in order of appearance."""
        return list(dict.fromkeys(character for character in text if character not in self._ids))

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a normalised text. Raises TextError naming a character outside the alphabet."""
        try:
            return [self._ids[character] for character in text]
        except KeyError as error:
            raise TextError(f"{error.args[0]!r} is not in the alphabet {self.characters!r}") from None

    def ids(self, text: str) -> NDArray[np.int32]:
        """Return the token ids (L,) of a normalised text, BLANK for each character outside the alphabet.

        The same as `encode`, for a million texts.
        """
        if self._table is None:
            self._table = np.full(sys.maxunicode + 1, BLANK, np.int32)
            self._table[[ord(character) for character in self.characters]] = list(self._ids.values())
        return self._table[np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)]

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text of token ids; blanks are left out, nothing is merged."""
        return "".join(self.characters[token - 1] for token in tokens if token != BLANK)
