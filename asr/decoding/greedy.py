"""Best-path (greedy) decoding of log-probabilities."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from asr.decoding import alignment
from asr.decoding.alignment import LogProbs
from asr.errors import AsrError
from asr.text import BLANK, Alphabet
from asr.transcripts.records import Hypothesis

# Words are aligned with at least this log-probability for every token: the text of a hypothesis has no double spaces,
# so its path may lack a space that is the only possible token of a frame.
_LEAST = -1e4


class DecodingError(AsrError):
    """Log-probabilities or settings that a decoder cannot use."""


def check_log_probs(log_probs: LogProbs, alphabet: Alphabet) -> None:
    """Raise DecodingError unless the array is (T', V + P) for this alphabet, without NaN and +inf."""
    if log_probs.ndim != 2 or log_probs.shape[1] != alphabet.outputs:
        raise DecodingError(f"log_probs has shape {log_probs.shape}; expected (T', {alphabet.outputs})")
    # A comparison with NaN is false.
    if not (log_probs < np.inf).all():
        raise DecodingError("log_probs contains NaN or +inf")


def best_path(log_probs: LogProbs, alphabet: Alphabet) -> Hypothesis:
    """Decode (T', V + P): take the best character of each frame, merge repeats, drop blanks and surplus white space.

    Raises DecodingError.
    """
    check_log_probs(log_probs, alphabet)
    if len(log_probs) == 0:
        return Hypothesis("", 0.0)
    log_probs = alphabet.characters_of(log_probs)
    best = log_probs.argmax(axis=1)
    first = np.concatenate([[True], best[1:] != best[:-1]])
    text = alphabet.decode(best[first].tolist())
    return Hypothesis(" ".join(text.split()), float(log_probs.max(axis=1).sum()))


def add_words(hypothesis: Hypothesis, log_probs: LogProbs, alphabet: Alphabet, seconds_per_frame: float) -> Hypothesis:
    """Return a hypothesis of (T', V + P) with its words, their times in seconds and the model's confidence in them."""
    if not hypothesis.text:
        return hypothesis
    log_probs = np.maximum(alphabet.characters_of(log_probs), _LEAST)
    aligned = alignment.align(log_probs, alignment.encode(hypothesis.text, alphabet))
    return replace(hypothesis, words=tuple(alignment.words(aligned, hypothesis.text, alphabet, seconds_per_frame)))


class GreedyPath:
    """The best path of log-probabilities that arrive in parts. Its text only grows."""

    def __init__(self, alphabet: Alphabet) -> None:
        self.score = 0.0
        self._text = ""
        self._alphabet = alphabet
        self._last = BLANK

    @property
    def text(self) -> str:
        """Return the text so far; its last word may be unfinished."""
        return self._text.rstrip()

    @property
    def stable(self) -> str:
        """Return the complete words, which do not change."""
        return self._text.rpartition(" ")[0]

    def extend(self, log_probs: LogProbs) -> None:
        """Append the best path of (T', V). Raises DecodingError."""
        check_log_probs(log_probs, self._alphabet)
        log_probs = self._alphabet.characters_of(log_probs)
        best = log_probs.argmax(axis=1)
        changes = best != np.concatenate([[self._last], best[:-1]])
        self._last = int(best[-1])
        self.score += float(log_probs.max(axis=1).sum())
        for character in self._alphabet.decode(best[changes].tolist()):
            if not character.isspace():
                self._text += character
            elif self._text and not self._text.endswith(" "):
                self._text += " "


class GreedyDecoder:
    """Decodes the best path. `seconds_per_frame` is the distance of the model's output frames."""

    def __init__(self, alphabet: Alphabet, seconds_per_frame: float) -> None:
        self._alphabet = alphabet
        self._seconds_per_frame = seconds_per_frame

    def decode(self, log_probs: LogProbs, count: int = 1, words: bool = False) -> list[Hypothesis]:
        """Return the one hypothesis of (T', V), with its words if `words`; `count` is ignored. Raises DecodingError."""
        hypothesis = best_path(log_probs, self._alphabet)
        return [add_words(hypothesis, log_probs, self._alphabet, self._seconds_per_frame) if words else hypothesis]

    def begin(self) -> GreedyPath:
        """Begin to decode log-probabilities that arrive in parts; `finish` ends it."""
        return GreedyPath(self._alphabet)

    def finish(self, path: GreedyPath, log_probs: LogProbs, count: int = 1, words: bool = False) -> list[Hypothesis]:
        """Return the one hypothesis of (T', V) as `decode` does."""
        hypothesis = Hypothesis(path.text, path.score)
        return [add_words(hypothesis, log_probs, self._alphabet, self._seconds_per_frame) if words else hypothesis]

    def decode_batch(
        self, rows: Iterable[LogProbs], count: int = 1, words: bool = False, threads: int = 0
    ) -> list[list[Hypothesis]]:
        """Decode each (T', V) of `rows` as `decode` does; `threads` is ignored, since threads gain nothing here."""
        return [self.decode(row, count, words) for row in rows]
