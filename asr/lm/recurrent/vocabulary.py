"""The words that a recurrent word model knows."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from asr.text import BLANK

# The token of the sentence boundary, which stands before a text and after it; the acoustic model's column of blanks.
BOUNDARY = BLANK
# The token of a word that is not in the vocabulary. The words of the vocabulary follow, the most frequent first.
UNKNOWN_TOKEN = BOUNDARY + 1
_FIRST = UNKNOWN_TOKEN + 1


@dataclass(frozen=True)
class Vocabulary:
    """The known words, the most frequent first; `rare` is the number of other words in the training texts."""

    words: tuple[str, ...]
    rare: int = 0

    def __post_init__(self) -> None:
        if not self.words:
            raise ValueError("vocabulary = [] has no words")
        if len(set(self.words)) < len(self.words):
            repeated = next(word for word, count in Counter(self.words).items() if count > 1)
            raise ValueError(f"vocabulary: {repeated!r} is repeated")
        if self.rare < 0:
            raise ValueError(f"rare = {self.rare} is not 0 or more")

    def __len__(self) -> int:
        """Return V, the number of tokens, including BOUNDARY and UNKNOWN_TOKEN."""
        return len(self.words) + _FIRST

    @cached_property
    def _tokens(self) -> dict[str, int]:
        return {word: token for token, word in enumerate(self.words, _FIRST)}

    def encode(self, text: str) -> list[int]:
        """Return the token of each word of a text."""
        return [self._tokens.get(word, UNKNOWN_TOKEN) for word in text.split()]


def build_vocabulary(counts: Iterable[tuple[str, int]], min_count: int) -> Vocabulary:
    """Return the vocabulary of the words that occur at least `min_count` times, given the count of each word."""
    ordered = sorted(counts, key=lambda pair: (-pair[1], pair[0]))
    kept = tuple(word for word, count in ordered if count >= min_count)
    return Vocabulary(kept, len(ordered) - len(kept))
