"""The network of the language model: the characters so far -> log-probabilities of the next one.

Letters as in asr.model; here L is the length of a chunk of text. Column 0, in acoustic models the blank, is the
sentence boundary: it stands before a text and after it. So the columns of both models mean the same characters.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from asr.model import CELLS, Dropout, ModelSettings, RecurrentLayer
from asr.text import BLANK, Alphabet

BOUNDARY = BLANK

# Characters scored in one pass, and the most of one text in it.
_BATCH, _CHUNK = 2**14, 1024


class RnnLmError(ValueError):
    """A language model that cannot be trained, read or written."""


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


@dataclass(frozen=True)
class State:
    """What the network remembers of B texts: h of each layer (layers, B, H), and c of an lstm."""

    hidden: Tensor
    cell: Tensor | None = None

    def select(self, rows: Tensor) -> "State":
        """Return the states of these rows of the batch, in this order; a row may be taken several times."""
        return State(self.hidden[:, rows], None if self.cell is None else self.cell[:, rows])

    def detach(self) -> "State":
        """Return the same numbers, through which no gradient goes back."""
        return State(self.hidden.detach(), None if self.cell is None else self.cell.detach())


@dataclass(frozen=True)
class Perplexity:
    """How well texts are foretold: `log_prob` (natural log) of them all, their ends included.

    An end counts as one character and as one word.
    """

    log_prob: float
    texts: int
    characters: int
    words: int

    @property
    def per_character(self) -> float:
        """Return exp(-log_prob / (characters + texts)), or inf where that is too large a number."""
        return _exp(-self.log_prob / (self.characters + self.texts))

    @property
    def per_word(self) -> float:
        """Return exp(-log_prob / (words + texts)), or inf where that is too large a number."""
        return _exp(-self.log_prob / (self.words + self.texts))


def _exp(nats: float) -> float:
    try:
        return math.exp(nats)
    except OverflowError:
        return math.inf


class RnnLm(nn.Module):
    """Embedding, recurrent layers of one direction, output layer (Mikolov et al., 2010; Graves, 2013)."""

    def __init__(self, alphabet: Alphabet, settings: RnnLmSettings) -> None:
        super().__init__()
        self.alphabet, self.settings = alphabet, settings
        self.embedding = nn.Embedding(len(alphabet), settings.embedding)
        # So small that a tied output begins near the uniform distribution.
        nn.init.normal_(self.embedding.weight, std=settings.embedding**-0.5)
        shape = ModelSettings(cell=settings.cell, hidden=settings.hidden, bidirectional=False)
        sizes = [settings.embedding] + [settings.hidden] * (settings.layers - 1)
        self.layers = nn.ModuleList(RecurrentLayer(size, shape).recurrence for size in sizes)
        self.dropout = Dropout(settings.dropout)
        self.bias = nn.Parameter(torch.zeros(len(alphabet)))
        self.output = None if settings.tied else nn.Linear(settings.hidden, len(alphabet), bias=False)

    def forward(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Map tokens (B, L) to the log-probabilities (B, L, V) of the token after each, and the state after the last.

        The texts continue from `state`; without one they begin.
        """
        state = state or self.start(len(tokens))
        x = self.dropout(self.embedding(tokens))
        hidden, cell = [], []
        for index, layer in enumerate(self.layers):
            h = state.hidden[index, None].contiguous()
            if state.cell is None:
                x, h = layer(x, h)
            else:
                x, (h, c) = layer(x, (h, state.cell[index, None].contiguous()))
                cell.append(c)
            hidden.append(h)
            x = self.dropout(x)
        logits = functional.linear(x, self.output.weight if self.output else self.embedding.weight, self.bias)
        return torch.log_softmax(logits, dim=2), State(torch.cat(hidden), torch.cat(cell) if cell else None)

    def start(self, texts: int) -> State:
        """Return the state in which so many texts begin; the first token of each is BOUNDARY."""
        zeros = self.bias.new_zeros(self.settings.layers, texts, self.settings.hidden)
        return State(zeros, zeros if self.settings.cell == "lstm" else None)

    def step(self, state: State, tokens: Tensor) -> tuple[Tensor, State]:
        """Let each of B texts grow by one token (B,); return the log-probabilities (B, V) of the next, and the state.

        The first call has BOUNDARY for every token and `start`'s state; column BOUNDARY is then that the text ends.
        """
        with self._inference():
            log_probs, following = self(tokens[:, None], state)
        return log_probs[:, 0], following

    def score(self, texts: Sequence[str]) -> list[float]:
        """Return the natural-log probability of each text, its end included. Raises TextError."""
        # Which texts share a pass depends on the texts alone, not on their order.
        ordered = sorted(set(texts), key=lambda text: (len(text), text))
        scores: dict[str, float] = {}
        with self._inference():
            while ordered:
                count = max(_BATCH // (min(len(ordered[-1]), _CHUNK) + 1), 1)
                part = ordered[-count:]
                del ordered[-count:]
                scores.update(zip(part, self._score(part), strict=True))
        return [scores[text] for text in texts]

    def perplexity(self, texts: Sequence[str]) -> Perplexity:
        """Return the perplexity of texts, each scored by itself. Raises RnnLmError if there are none, and TextError."""
        if not texts:
            raise RnnLmError("no texts to take a perplexity of")
        characters, words = sum(map(len, texts)), sum(len(text.split()) for text in texts)
        return Perplexity(math.fsum(self.score(texts)), len(texts), characters, words)

    def _score(self, texts: Sequence[str]) -> list[float]:
        encoded = [[BOUNDARY, *self.alphabet.encode(text), BOUNDARY] for text in texts]
        size = max(map(len, encoded))
        device = self.bias.device
        tokens = torch.tensor([row + [BOUNDARY] * (size - len(row)) for row in encoded], device=device)
        ends = torch.tensor([len(row) - 1 for row in encoded], device=device)
        total = torch.zeros(len(texts), dtype=torch.float64)
        state = None
        for start in range(0, size - 1, _CHUNK):
            inputs, targets = tokens[:, start : start + _CHUNK][:, : size - 1 - start], tokens[:, start + 1 :]
            log_probs, state = self(inputs, state)
            found = log_probs.gather(2, targets[:, : inputs.shape[1], None])[:, :, 0]
            steps = torch.arange(start, start + inputs.shape[1], device=device)
            total += found.masked_fill(steps >= ends[:, None], 0.0).cpu().double().sum(dim=1)
        return cast(list[float], total.tolist())

    @contextmanager
    def _inference(self) -> Iterator[None]:
        training = self.training
        self.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.train(training)
