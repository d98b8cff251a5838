"""How well a language model predicts texts."""

import math
import operator
from dataclasses import dataclass


@dataclass(frozen=True)
class Perplexity:
    """The log-probability of some sentences and their counts; results of several texts can be added.

    The end of a sentence is predicted too: it is not in the counts, but the perplexities count it as a word and as a
    character. `log_prob` (natural log) is the total, `unknown_log_prob` the part of the unknown words. In a character
    model, a word with an unknown character is unknown. A word model has the perplexity per character of a character
    model that assigns the same probabilities.
    """

    sentences: int = 0
    words: int = 0
    characters: int = 0
    unknown_words: int = 0
    unknown_characters: int = 0
    log_prob: float = 0.0
    unknown_log_prob: float = 0.0

    def __add__(self, other: "Perplexity") -> "Perplexity":
        return Perplexity(*map(operator.add, vars(self).values(), vars(other).values()))

    @property
    def per_word(self) -> float:
        """Return the perplexity per word."""
        return _perplexity(self.log_prob, self.words + self.sentences)

    @property
    def per_known_word(self) -> float:
        """Return the perplexity per word without the unknown words."""
        known = self.words - self.unknown_words
        return _perplexity(self.log_prob - self.unknown_log_prob, known + self.sentences)

    @property
    def per_character(self) -> float:
        """Return the perplexity per character, spaces included."""
        return _perplexity(self.log_prob, self.characters + self.sentences)

    @property
    def per_known_character(self) -> float:
        """Return the perplexity per character without the characters of unknown words."""
        known = self.characters - self.unknown_characters
        return _perplexity(self.log_prob - self.unknown_log_prob, known + self.sentences)

    @property
    def unknown_rate(self) -> float:
        """Return the out-of-vocabulary rate, 0 to 1."""
        return self.unknown_words / self.words if self.words else 0.0


def _perplexity(log_prob: float, count: int) -> float:
    try:
        return math.exp(-log_prob / count)
    except OverflowError:
        return math.inf
