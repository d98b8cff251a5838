"""The shape of a recurrent language model: its settings and its parameters."""

import itertools
from dataclasses import dataclass

from asr.config import check_choices, check_ranges
from asr.model import CELLS, check_dropout, recurrence_shapes
from asr.model.settings import Shape

# The adaptive softmax computes the scores of tokens from these on with smaller and smaller matrices.
_CUTOFFS, DIVISOR = (2_000, 8_000), 2


@dataclass(frozen=True)
class RnnLmSettings:
    """The shape of the network. `embedding`: values per token; `dropout` follows the embedding and every layer.

    `tied`: the output layer shares the weights of the embedding (Press and Wolf, 2017), which needs `hidden` values.
    """

    cell: str = "lstm"
    layers: int = 2
    embedding: int = 64
    hidden: int = 512
    dropout: float = 0.1
    tied: bool = False

    def __post_init__(self) -> None:
        check_choices(self, cell=CELLS)
        check_ranges(self, layers=(1, 32), embedding=(1, 8192), hidden=(1, 8192))
        check_dropout(self.dropout)
        if self.tied and self.embedding != self.hidden:
            raise ValueError(f"tied = true needs embedding = hidden, not {self.embedding} and {self.hidden}")

    def character_shapes(self, tokens: int) -> dict[str, Shape]:
        """Return the shape of each parameter of a model of so many characters."""
        shapes = self._hidden_shapes(tokens) | {"bias": (tokens,)}
        return shapes if self.tied else shapes | {"output.weight": (tokens, self.hidden)}

    def word_shapes(self, tokens: int) -> dict[str, Shape]:
        """Return the shape of each parameter of a model of so many words, with an adaptive softmax."""
        size = self.embedding
        shapes = self._hidden_shapes(tokens) | {"narrow.weight": (size, self.hidden), "narrow.bias": (size,)}
        ends = [*cutoffs(tokens), tokens]
        shapes["output.head.weight"] = (ends[0] + len(ends) - 1, size)
        for index, (first, end) in enumerate(itertools.pairwise(ends)):
            inner = size // DIVISOR ** (index + 1)
            shapes[f"output.tail.{index}.0.weight"] = (inner, size)
            shapes[f"output.tail.{index}.1.weight"] = (end - first, inner)
        return shapes

    def _hidden_shapes(self, tokens: int) -> dict[str, Shape]:
        shapes: dict[str, Shape] = {"embedding.weight": (tokens, self.embedding)}
        for index in range(self.layers):
            size = self.hidden if index else self.embedding
            shapes |= recurrence_shapes(f"layers.{index}", self.cell, size, self.hidden)
        return shapes


def cutoffs(tokens: int) -> list[int]:
    """Return the first token of each smaller matrix of the adaptive softmax."""
    return [cutoff for cutoff in _CUTOFFS if cutoff < tokens] or [tokens - 1]
