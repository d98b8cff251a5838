"""The alphabet of a model: characters <-> token ids."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asr.config import check_choices
from asr.errors import AsrError

BLANK = 0
ENGLISH = " 'ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class TextError(AsrError):
    """A text, alphabet, normaliser or list of equivalents that cannot be used; the message names the value."""


@dataclass(frozen=True)
class TextSettings:
    """The conversion of transcripts to tokens.

    `alphabet`: the characters in the order of their ids, without the blank, or `auto`: those of the training
    transcripts. `unknown`: for a transcript with another character, `error`, or `drop` the utterance and count it.
    `phonemes`: those that a model trained with pronunciations outputs besides the characters, a character for each.
    """

    normaliser: str = "upper"
    alphabet: str = ENGLISH
    unknown: str = "error"
    phonemes: str = ""

    def __post_init__(self) -> None:
        check_choices(self, normaliser=("upper", "none"), unknown=("error", "drop"))
        if self.alphabet != "auto":
            try:
                Alphabet(self.alphabet)
            except TextError as error:
                raise ValueError(f"alphabet: {error}") from error
        if self.phonemes:
            try:
                Alphabet(" " + self.phonemes)
            except TextError as error:
                raise ValueError(f"phonemes: {error}") from error


class Alphabet:
    """The characters that a model writes. Ids run from 1 in the order given; 0 is the CTC blank.

    `phonemes`: those of the model's second output, with their own blank and ids; a space, with id 1, separates words.
    """

    def __init__(self, characters: str, phonemes: str = "") -> None:
        if not characters:
            raise TextError("an alphabet needs at least one character")
        repeated = [character for character in characters if characters.count(character) > 1]
        if repeated:
            raise TextError(f"{repeated[0]!r} is twice in the alphabet")
        self.characters = characters
        self.phonemes = Alphabet(" " + phonemes) if phonemes else None
        self._ids = {character: index for index, character in enumerate(characters, BLANK + 1)}
        self._table: NDArray[np.int32] | None = None

    def __len__(self) -> int:
        """Return V, the number of tokens, blank included."""
        return len(self.characters) + 1

    @property
    def outputs(self) -> int:
        """Return V + P, the number of tokens of both outputs; P, the phonemes with their blank and space, may be 0."""
        return len(self) + (len(self.phonemes) if self.phonemes else 0)

    def characters_of(self, log_probs: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the columns (T', V) of the characters of log-probabilities (T', V + P)."""
        return log_probs[:, : len(self)]

    def phonemes_of(self, log_probs: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the columns (T', P) of the phonemes of log-probabilities (T', V + P)."""
        return log_probs[:, len(self) :]

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Alphabet":
        """Return the alphabet of normalised transcripts, in code point order."""
        return cls("".join(sorted({character for text in texts for character in text})))

    def unknown(self, text: str) -> list[str]:
        """Return the characters of the text outside the alphabet, each once, in order of appearance."""
        return list(dict.fromkeys(character for character in text if character not in self._ids))

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a normalised text. Raises TextError naming a character outside the alphabet."""
        try:
            return [self._ids[character] for character in text]
        except KeyError as error:
            raise TextError(f"{error.args[0]!r} is not in the alphabet {self.characters!r}") from None

    def ids(self, text: str) -> NDArray[np.int32]:
        """Return the token ids (L,) of a normalised text, BLANK for each character outside the alphabet.

        Faster than `encode` for a million texts.
        """
        table = self._table
        if table is None:
            table = np.full(sys.maxunicode + 1, BLANK, np.int32)
            table[[ord(character) for character in self.characters]] = list(self._ids.values())
            # Only now, as other threads may use it.
            self._table = table
        return table[np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)]

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text of token ids; blanks are left out, repeated tokens are kept."""
        return "".join(self.characters[token - 1] for token in tokens if token != BLANK)
