"""The recurrent language model: the previous tokens -> log-probabilities of the next token.

Dimensions are those of asr.model; L is the length of a chunk of text. BOUNDARY precedes and follows each text. It is
the acoustic model's blank token, so a character model and an acoustic model have the same columns.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from asr.config import check_choices, check_ranges
from asr.lm.evaluation import Perplexity
from asr.lm.recurrent.vocabulary import BOUNDARY, UNKNOWN_TOKEN, Vocabulary
from asr.model import CELLS, Dropout, ModelSettings, RecurrentLayer, check_dropout
from asr.text import Alphabet

LogProbs = NDArray[np.float64]

# The adaptive softmax computes the scores of tokens from these on with smaller and smaller matrices.
_CUTOFFS, _DIVISOR = (2_000, 8_000), 2.0
# Tokens scored in one pass, and the maximum of one text.
_BATCH, _CHUNK = 2**14, 1024
# Texts are scored as a tree if their different prefixes are less than this fraction of their tokens.
_MAX_DISTINCT = 0.5
_PADDING = -1


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


@dataclass(frozen=True)
class LmState:
    """The recurrent state of B texts: h of each layer (layers, B, H), and c of an LSTM."""

    hidden: Tensor
    cell: Tensor | None = None

    def select(self, rows: Tensor) -> "LmState":
        """Return the states of these rows of the batch, in this order; rows may be repeated."""
        return LmState(self.hidden[:, rows], None if self.cell is None else self.cell[:, rows])

    def detach(self) -> "LmState":
        """Return the state without its gradient history."""
        return LmState(self.hidden.detach(), None if self.cell is None else self.cell.detach())


class TreeStep(NamedTuple):
    """The nodes at one depth: one for each different prefix of that length."""

    parents: list[int]  # the node of the previous step that precedes each node
    inputs: list[int]  # the token before each node's own
    tokens: list[int]  # the token of each node
    nodes: dict[int, int]  # the node of each text that is long enough


class PrefixTree:
    """The prefixes of encoded texts, each text followed by BOUNDARY; a network computes each shared prefix once."""

    def __init__(self, encoded: Sequence[list[int]]) -> None:
        self.steps: list[TreeStep] = []
        nodes = dict.fromkeys(range(len(encoded)), 0)
        previous = [BOUNDARY]
        while nodes:
            depth = len(self.steps)
            known: dict[tuple[int, int], int] = {}
            reached: dict[int, int] = {}
            for text, parent in nodes.items():
                token = encoded[text][depth] if depth < len(encoded[text]) else BOUNDARY
                reached[text] = known.setdefault((parent, token), len(known))
            parents, tokens = [parent for parent, _ in known], [token for _, token in known]
            self.steps.append(TreeStep(parents, [previous[parent] for parent in parents], tokens, reached))
            previous = tokens
            nodes = {text: node for text, node in reached.items() if depth < len(encoded[text])}

    def __len__(self) -> int:
        """Return the number of nodes."""
        return sum(len(step.tokens) for step in self.steps)


class RnnLm(nn.Module):
    """Embedding, unidirectional recurrent layers and output layer (Mikolov et al., 2010; Graves, 2013).

    Without a `vocabulary` the tokens are characters, with a softmax; with one they are words, with an adaptive softmax
    (Grave et al., 2017). The unknown token stands for the rare words and one unseen word, which are equally likely.
    """

    output: nn.Linear | nn.AdaptiveLogSoftmaxWithLoss | None

    def __init__(self, alphabet: Alphabet, settings: RnnLmSettings, vocabulary: Vocabulary | None = None) -> None:
        super().__init__()
        self.alphabet, self.settings, self.vocabulary = alphabet, settings, vocabulary
        size = len(alphabet if vocabulary is None else vocabulary)
        self.embedding = _embedding(size, settings.embedding)
        shape = ModelSettings(cell=settings.cell, hidden=settings.hidden, bidirectional=False)
        sizes = [settings.embedding] + [settings.hidden] * (settings.layers - 1)
        self.layers = nn.ModuleList(RecurrentLayer(inputs, shape).recurrence for inputs in sizes)
        self.dropout = Dropout(settings.dropout)
        if vocabulary is None:
            self.bias = nn.Parameter(torch.zeros(size))
            self.output = None if settings.tied else nn.Linear(settings.hidden, size, bias=False)
        else:
            self.narrow = nn.Linear(settings.hidden, settings.embedding)
            cutoffs = [cutoff for cutoff in _CUTOFFS if cutoff < size] or [size - 1]
            self.output = nn.AdaptiveLogSoftmaxWithLoss(settings.embedding, size, cutoffs, _DIVISOR)

    @property
    def unit(self) -> str:
        """Return what a token is: "character" or "word"."""
        return "character" if self.vocabulary is None else "word"

    @property
    def device(self) -> torch.device:
        """Return the device of the weights."""
        return self.embedding.weight.device

    def initial_state(self, batch: int) -> LmState:
        """Return the state before a batch of texts; the first token of each text is BOUNDARY."""
        zeros = self.embedding.weight.new_zeros(self.settings.layers, batch, self.settings.hidden)
        return LmState(zeros, zeros if self.settings.cell == "lstm" else None)

    def forward(self, tokens: Tensor, state: LmState | None = None) -> tuple[Tensor, LmState]:
        """Map tokens (B, L) to the log-probabilities (B, L, V) of the token after each, and the state after the last.

        The texts continue from `state`, or begin if it is None. UNKNOWN_TOKEN has the probability of all unknown words.
        """
        x, following = self.hidden(tokens, state)
        if isinstance(self.output, nn.AdaptiveLogSoftmaxWithLoss):
            log_probs = self.output.log_prob(self.narrow(x).flatten(0, 1))
            return log_probs.view(*x.shape[:2], -1), following
        return self._softmax(x), following

    def hidden(self, tokens: Tensor, state: LmState | None = None) -> tuple[Tensor, LmState]:
        """Map tokens (B, L) to the output (B, L, H) of the last layer, and the state after the last token.

        The texts continue from `state`, or begin if it is None.
        """
        state = state or self.initial_state(len(tokens))
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
        return x, LmState(torch.cat(hidden), torch.cat(cell) if cell else None)

    def log_probs(self, x: Tensor, targets: Tensor) -> Tensor:
        """Return the log-probability (N,) of each target token (N,), given the output (N, H) of the last layer.

        That of UNKNOWN_TOKEN is the log-probability of one unknown word.
        """
        if isinstance(self.output, nn.AdaptiveLogSoftmaxWithLoss):
            log_probs: Tensor = self.output(self.narrow(x), targets).output
            rare = self.vocabulary.rare if self.vocabulary else 0
            return log_probs - math.log(rare + 1) * (targets == UNKNOWN_TOKEN)
        return self._softmax(x).gather(1, targets[:, None])[:, 0]

    def _softmax(self, x: Tensor) -> Tensor:
        weight = self.output.weight if isinstance(self.output, nn.Linear) else self.embedding.weight
        return torch.log_softmax(functional.linear(x, weight, self.bias), dim=-1)

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text. Raises TextError if a character model does not know a character."""
        return (self.vocabulary or self.alphabet).encode(text)

    def step(self, state: LmState, tokens: Tensor) -> tuple[Tensor, LmState]:
        """Extend B texts by one token each (B,); return the log-probabilities (B, V) of the next token and the state.

        The first call takes BOUNDARY for every token and `initial_state`. Column BOUNDARY is the end of the text.
        """
        with inference(self):
            log_probs, following = self(tokens[:, None], state)
        return log_probs[:, 0], following

    def score(self, texts: Sequence[str]) -> list[float]:
        """Return the natural-log probability of each text, its end included. Raises TextError as `encode`."""
        return [float(row.sum()) for row in self.token_log_probs(texts)]

    def perplexity(self, texts: Sequence[str]) -> Perplexity:
        """Measure the model on normalised texts; an empty sequence gives zeros. Raises TextError as `encode`."""
        rows = self.token_log_probs(texts)
        log_prob = math.fsum(float(row.sum()) for row in rows)
        words = [text.split() for text in texts]
        unknown: list[tuple[str, float]] = []
        if self.vocabulary:
            for text, parts, row in zip(texts, words, rows, strict=True):
                triples = zip(self.encode(text), parts, row[:-1].tolist(), strict=True)
                unknown += [(word, value) for token, word, value in triples if token == UNKNOWN_TOKEN]
        counts = (len(texts), sum(map(len, words)), sum(map(len, texts)), len(unknown))
        unknown_characters = sum(len(word) for word, _ in unknown)
        return Perplexity(*counts, unknown_characters, log_prob, math.fsum(value for _, value in unknown))

    def token_log_probs(self, texts: Sequence[str]) -> list[LogProbs]:
        """Return the natural-log probability of each token of each text, the end last. Raises TextError as `encode`."""
        encoded = {text: self.encode(text) for text in texts}
        # Sorted, so that the batches do not depend on the order of the texts.
        remaining = sorted(encoded, key=lambda text: (len(encoded[text]), text))
        rows: dict[str, LogProbs] = {}
        with inference(self):
            tree = PrefixTree([encoded[text] for text in remaining])
            if len(tree) < _MAX_DISTINCT * sum(len(ids) + 1 for ids in encoded.values()):
                rows.update(zip(remaining, self._score_tree(tree, len(remaining)), strict=True))
                remaining = []
            while remaining:
                count = max(_BATCH // (min(len(encoded[remaining[-1]]), _CHUNK) + 1), 1)
                batch = remaining[-count:]
                del remaining[-count:]
                rows.update(zip(batch, self._score_batch([encoded[text] for text in batch]), strict=True))
        return [rows[text] for text in texts]

    def _score_tree(self, tree: PrefixTree, texts: int) -> list[LogProbs]:
        state, outputs = None, []
        for step in tree.steps:
            if state is not None:
                state = state.select(torch.tensor(step.parents, device=self.device))
            x, state = self.hidden(torch.tensor(step.inputs, device=self.device)[:, None], state)
            outputs.append(x[:, 0])
        targets = torch.tensor([token for step in tree.steps for token in step.tokens], device=self.device)
        # All nodes at once: reading the large output layer takes longer than multiplying by it.
        log_probs = self.log_probs(torch.cat(outputs), targets).double().tolist() if outputs else []
        rows: list[list[float]] = [[] for _ in range(texts)]
        first = 0
        for step in tree.steps:
            for text, node in step.nodes.items():
                rows[text].append(log_probs[first + node])
            first += len(step.tokens)
        return list(map(np.array, rows))

    def _score_batch(self, encoded: Sequence[list[int]]) -> list[LogProbs]:
        size = max(map(len, encoded)) + 1
        tokens = torch.full((len(encoded), size), BOUNDARY)
        targets = torch.full((len(encoded), size), _PADDING)
        for row, ids in enumerate(encoded):
            tokens[row, 1 : len(ids) + 1] = targets[row, : len(ids)] = torch.tensor(ids)
            targets[row, len(ids)] = BOUNDARY
        tokens, targets = tokens.to(self.device), targets.to(self.device)
        log_probs = np.zeros((len(encoded), size))
        state = None
        for start in range(0, size, _CHUNK):
            columns = slice(start, start + _CHUNK)
            x, state = self.hidden(tokens[:, columns], state)
            mask = targets[:, columns] != _PADDING
            scores = self.log_probs(x[mask], targets[:, columns][mask])
            log_probs[:, columns][mask.cpu().numpy()] = scores.cpu().numpy()
        return [row[: len(ids) + 1] for row, ids in zip(log_probs, encoded, strict=True)]


@contextmanager
def inference(model: nn.Module) -> Iterator[None]:
    """Run a model in evaluation mode without gradients, then restore its mode."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def _embedding(size: int, width: int) -> nn.Embedding:
    weight = torch.empty(size, width)
    # Initialising a meta tensor would import another second's worth of torch.
    if weight.is_meta:
        return nn.Embedding(size, width, _weight=weight)
    embedding = nn.Embedding(size, width)
    # Small enough that a tied output layer begins near the uniform distribution.
    nn.init.normal_(embedding.weight, std=width**-0.5)
    return embedding
