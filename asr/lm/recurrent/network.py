"""The network of the language model: the characters so far -> log-probabilities of the next one.

Letters as in asr.model; here L is the length of a chunk of text. Column 0, in acoustic models the blank, is the
sentence boundary: it stands before a text and after it. So the columns of both models mean the same characters.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from asr.lm.recurrent import scoring
from asr.lm.recurrent.scoring import LmState, Perplexity, inference
from asr.model import CELLS, Dropout, ModelSettings, RecurrentLayer
from asr.text import Alphabet


@dataclass(frozen=True)
class RnnLmSettings:
    """The shape of the network. `embedding`: values that stand for a character; `dropout` follows it and every layer.

    `tied`: the output layer has the weights of the embedding (Press and Wolf, 2017), which then has `hidden` values.
    """

    cell: str = "lstm"
    layers: int = 2
    embedding: int = 64
    hidden: int = 512
    dropout: float = 0.1
    tied: bool = False

    def __post_init__(self) -> None:
        if self.cell not in CELLS:
            raise ValueError(f"cell = {self.cell!r} is not one of {', '.join(CELLS)}")
        for name, highest in (("layers", 32), ("embedding", 8192), ("hidden", 8192)):
            if not 1 <= getattr(self, name) <= highest:
                raise ValueError(f"{name} = {getattr(self, name)} is not within 1 to {highest}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout = {self.dropout} is not within 0 to 1")
        if self.tied and self.embedding != self.hidden:
            raise ValueError(f"tied = true needs embedding = hidden, not {self.embedding} and {self.hidden}")


def embedding_of(size: int, settings: RnnLmSettings) -> nn.Embedding:
    """Return the embedding of so many tokens."""
    weight = torch.empty(size, settings.embedding)
    # To draw numbers for no memory, torch first loads a second of Python.
    if weight.is_meta:
        return nn.Embedding(size, settings.embedding, _weight=weight)
    embedding = nn.Embedding(size, settings.embedding)
    # So small that a tied output begins near the uniform distribution.
    nn.init.normal_(embedding.weight, std=settings.embedding**-0.5)
    return embedding


def layers_of(settings: RnnLmSettings) -> nn.ModuleList:
    """Return the recurrent layers, of one direction."""
    shape = ModelSettings(cell=settings.cell, hidden=settings.hidden, bidirectional=False)
    sizes = [settings.embedding] + [settings.hidden] * (settings.layers - 1)
    return nn.ModuleList(RecurrentLayer(size, shape).recurrence for size in sizes)


def through(layers: nn.ModuleList, dropout: Dropout, x: Tensor, state: LmState) -> tuple[Tensor, LmState]:
    """Take embedded tokens (B, L, F) through the layers: what the last one says (B, L, H), and the state after it."""
    x = dropout(x)
    hidden, cell = [], []
    for index, layer in enumerate(layers):
        h = state.hidden[index, None].contiguous()
        if state.cell is None:
            x, h = layer(x, h)
        else:
            x, (h, c) = layer(x, (h, state.cell[index, None].contiguous()))
            cell.append(c)
        hidden.append(h)
        x = dropout(x)
    return x, LmState(torch.cat(hidden), torch.cat(cell) if cell else None)


def zeros(settings: RnnLmSettings, texts: int, like: Tensor) -> LmState:
    """Return the state in which so many texts begin."""
    nothing = like.new_zeros(settings.layers, texts, settings.hidden)
    return LmState(nothing, nothing if settings.cell == "lstm" else None)


class RnnLm(nn.Module):
    """Embedding, recurrent layers of one direction, output layer (Mikolov et al., 2010; Graves, 2013)."""

    def __init__(self, alphabet: Alphabet, settings: RnnLmSettings) -> None:
        super().__init__()
        self.alphabet, self.settings = alphabet, settings
        self.embedding = embedding_of(len(alphabet), settings)
        self.layers = layers_of(settings)
        self.dropout = Dropout(settings.dropout)
        self.bias = nn.Parameter(torch.zeros(len(alphabet)))
        self.output = None if settings.tied else nn.Linear(settings.hidden, len(alphabet), bias=False)

    @property
    def device(self) -> torch.device:
        """Return where the weights are."""
        return self.bias.device

    def forward(self, tokens: Tensor, state: LmState | None = None) -> tuple[Tensor, LmState]:
        """Map tokens (B, L) to the log-probabilities (B, L, V) of the token after each, and the state after the last.

        The texts continue from `state`; without one they begin.
        """
        x, following = self.remember(tokens, state)
        return self._log_probs(x), following

    def remember(self, tokens: Tensor, state: LmState | None = None) -> tuple[Tensor, LmState]:
        """Map tokens (B, L) to what the last layer says after each (B, L, H), and the state, as `forward`."""
        return through(self.layers, self.dropout, self.embedding(tokens), state or self.start(len(tokens)))

    def foretell(self, x: Tensor, targets: Tensor) -> Tensor:
        """Return the log-probability (N,) of each target (N,) after what the last layer said, (N, H)."""
        return self._log_probs(x).gather(1, targets[:, None])[:, 0]

    def _log_probs(self, x: Tensor) -> Tensor:
        logits = functional.linear(x, self.output.weight if self.output else self.embedding.weight, self.bias)
        return torch.log_softmax(logits, dim=-1)

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text. Raises TextError."""
        return self.alphabet.encode(text)

    def start(self, texts: int) -> LmState:
        """Return the state in which so many texts begin; the first token of each is BOUNDARY."""
        return zeros(self.settings, texts, self.bias)

    def step(self, state: LmState, tokens: Tensor) -> tuple[Tensor, LmState]:
        """Let each of B texts grow by one token (B,); return the log-probabilities (B, V) of the next, and the state.

        The first call has BOUNDARY for every token and `start`'s state; column BOUNDARY is then that the text ends.
        """
        with inference(self):
            log_probs, following = self(tokens[:, None], state)
        return log_probs[:, 0], following

    def score(self, texts: Sequence[str]) -> list[float]:
        """Return the natural-log probability of each text, its end included. Raises TextError."""
        return scoring.score(self, texts)

    def perplexity(self, texts: Sequence[str]) -> Perplexity:
        """Return the perplexity of texts, each scored by itself. Raises LmError if there are none, and TextError."""
        return scoring.perplexity(self, texts)
