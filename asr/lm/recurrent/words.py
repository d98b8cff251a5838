"""The language model of words: the words so far -> the log-probability of the next one.

Of small texts a network of words learns more than one of characters, and takes a fifth of the steps. It judges whole
texts; what may come after half a word it cannot say.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from asr.lm.recurrent import scoring
from asr.lm.recurrent.network import RnnLmSettings, embedding_of, layers_of, through, zeros
from asr.lm.recurrent.scoring import BOUNDARY, LmState, LogProbs, Perplexity
from asr.model import Dropout
from asr.text import Alphabet

# The token of a word that the vocabulary does not have; those of it come after, from the most frequent on.
UNKNOWN = BOUNDARY + 1
_FIRST = UNKNOWN + 1
# Where the frequent words end and the rarer ones, and those whose scores are computed by ever smaller matrices.
_CUTS = (2_000, 8_000)
_SHRINK = 2.0


@dataclass(frozen=True)
class Vocabulary:
    """The words that a model knows, the most frequent first; its texts had so many `rare` ones beside them."""

    words: tuple[str, ...]
    rare: int = 0

    def __post_init__(self) -> None:
        if not self.words:
            raise ValueError("vocabulary = [] has no words")
        if len(set(self.words)) < len(self.words):
            twice = next(word for word, count in Counter(self.words).items() if count > 1)
            raise ValueError(f"vocabulary: {twice!r} stands twice in it")
        if self.rare < 0:
            raise ValueError(f"rare = {self.rare} is not 0 or more")

    def __len__(self) -> int:
        """Return V, the number of tokens, with the boundary's and the unknown word's."""
        return len(self.words) + _FIRST

    @cached_property
    def _tokens(self) -> dict[str, int]:
        return {word: token for token, word in enumerate(self.words, _FIRST)}

    def encode(self, text: str) -> list[int]:
        """Return the token of each word of a text, UNKNOWN for one that is not here."""
        return [self._tokens.get(word, UNKNOWN) for word in text.split()]


def vocabulary_of(counts: Iterable[tuple[str, int]], least: int) -> Vocabulary:
    """Return the words that occur `least` times or more, of words and how often each occurs."""
    ordered = sorted(counts, key=lambda pair: (-pair[1], pair[0]))
    kept = tuple(word for word, count in ordered if count >= least)
    return Vocabulary(kept, len(ordered) - len(kept))


class WordLm(nn.Module):
    """Embedding, recurrent layers of one direction, adaptive softmax (Grave et al., 2017).

    An unknown word has an equal share of what all the rare ones have together.
    """

    def __init__(self, vocabulary: Vocabulary, alphabet: Alphabet, settings: RnnLmSettings) -> None:
        super().__init__()
        self.vocabulary, self.alphabet, self.settings = vocabulary, alphabet, settings
        size = len(vocabulary)
        self.embedding = embedding_of(size, settings)
        self.layers = layers_of(settings)
        self.dropout = Dropout(settings.dropout)
        self.narrow = nn.Linear(settings.hidden, settings.embedding)
        cuts = [cut for cut in _CUTS if cut < size] or [size - 1]
        self.output = nn.AdaptiveLogSoftmaxWithLoss(settings.embedding, size, cuts, _SHRINK)

    @property
    def device(self) -> torch.device:
        """Return where the weights are."""
        return self.narrow.weight.device

    def remember(self, tokens: Tensor, state: LmState | None = None) -> tuple[Tensor, LmState]:
        """Map tokens (B, L) to what the last layer says after each (B, L, H), and the state after the last.

        The texts continue from `state`; without one they begin.
        """
        state = state or zeros(self.settings, len(tokens), self.narrow.weight)
        return through(self.layers, self.dropout, self.embedding(tokens), state)

    def foretell(self, x: Tensor, targets: Tensor) -> Tensor:
        """Return the log-probability (N,) of each target (N,) after what the last layer said, (N, H).

        That of UNKNOWN is the share of one rare word.
        """
        log_probs: Tensor = self.output(self.narrow(x), targets).output
        return log_probs - math.log(self.vocabulary.rare + 1) * (targets == UNKNOWN)

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text."""
        return self.vocabulary.encode(text)

    def log_probs(self, texts: Sequence[str]) -> list[LogProbs]:
        """Return the natural-log probability of each word of each text, its end's last."""
        return scoring.log_probs(self, texts)

    def score(self, texts: Sequence[str]) -> list[float]:
        """Return the natural-log probability of each text, its end included."""
        return scoring.score(self, texts)

    def perplexity(self, texts: Sequence[str]) -> Perplexity:
        """Return the perplexity of texts, each scored by itself. Raises LmError if there are none."""
        return scoring.perplexity(self, texts)
