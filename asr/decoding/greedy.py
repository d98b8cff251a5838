"""Log-probabilities -> a hypothesis: the likeliest path, which needs no search."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from asr.decoding import alignment
from asr.errors import AsrError
from asr.text import Alphabet
from asr.transcripts.records import Hypothesis

LogProbs = NDArray[np.floating]
# Words are aligned as if nothing were less probable: where there can be but a space, a tidy text may have none.
_LEAST = -1e4


class DecodingError(AsrError):
    """Log-probabilities or a setting that a decoder cannot work with."""


class Decoder(Protocol):
    """What turns log-probabilities into text."""

    def decode(self, log_probs: LogProbs, count: int = 1, words: bool = False) -> list[Hypothesis]:
        """Return at most `count` hypotheses of (T', V), best first, that one with its words if asked."""

    def decode_each(
        self, rows: Iterable[LogProbs], count: int = 1, words: bool = False, threads: int = 0
    ) -> list[list[Hypothesis]]:
        """Decode each of some (T', V)."""


def check(log_probs: LogProbs, alphabet: Alphabet) -> None:
    """Raise DecodingError for what is not (T', V) of this alphabet, or has NaN or +inf in it."""
    if log_probs.ndim != 2 or log_probs.shape[1] != len(alphabet):
        shape = "x".join(map(str, log_probs.shape))
        raise DecodingError(f"log_probs of shape {shape}; (T', {len(alphabet)}) is meant")
    # A comparison with NaN is false.
    if not (log_probs < np.inf).all():
        raise DecodingError("log_probs has NaN or +inf in it")


def greedy(log_probs: LogProbs, alphabet: Alphabet) -> Hypothesis:
    """Decode (T', V): the best token of each frame, repeats merged, blanks dropped, white space tidied.

    Raises DecodingError for another shape, NaN or +inf.
    """
    check(log_probs, alphabet)
    if len(log_probs) == 0:
        return Hypothesis("", 0.0)
    best = log_probs.argmax(axis=1)
    first = np.concatenate([[True], best[1:] != best[:-1]])
    text = alphabet.decode(best[first].tolist())
    return Hypothesis(" ".join(text.split()), float(log_probs.max(axis=1).sum()))


def with_words(one: Hypothesis, log_probs: LogProbs, alphabet: Alphabet, seconds_per_frame: float) -> Hypothesis:
    """Return a hypothesis of (T', V) with its words, their times in seconds, and how sure the model is of them."""
    if not one.text:
        return one
    aligned = alignment.align(np.maximum(log_probs, _LEAST), alignment.encode(one.text, alphabet))
    return replace(one, words=tuple(alignment.words(aligned, one.text, alphabet, seconds_per_frame)))


class Greedy:
    """The decoder of the likeliest path, for models of one alphabet, whose frames are `seconds_per_frame` apart."""

    def __init__(self, alphabet: Alphabet, seconds_per_frame: float) -> None:
        self._alphabet = alphabet
        self._seconds = seconds_per_frame

    def decode(self, log_probs: LogProbs, count: int = 1, words: bool = False) -> list[Hypothesis]:
        """Return the one hypothesis of (T', V), with its words if asked; `count` is of decoders that search."""
        found = greedy(log_probs, self._alphabet)
        return [with_words(found, log_probs, self._alphabet, self._seconds) if words else found]

    def decode_each(
        self, rows: Iterable[LogProbs], count: int = 1, words: bool = False, threads: int = 0
    ) -> list[list[Hypothesis]]:
        """Decode each of some (T', V) as `decode` does; threads would gain nothing."""
        return [self.decode(row, count, words) for row in rows]
