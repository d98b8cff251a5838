"""How well a recurrent language model foretells texts: a protocol of such models, their scores and perplexities."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from asr.lm.text import LmError
from asr.text import BLANK

BOUNDARY = BLANK
LogProbs = NDArray[np.float64]

# Tokens scored in one pass, and the most of one text in it.
_BATCH, _CHUNK = 2**14, 1024
# Texts of which all beginnings together are less than this share of all tokens are gone through as a tree.
_ALIKE = 0.5
# A target that nobody asks for.
_NOTHING = -1


@dataclass(frozen=True)
class LmState:
    """What the network remembers of B texts: h of each layer (layers, B, H), and c of an lstm."""

    hidden: Tensor
    cell: Tensor | None = None

    def select(self, rows: Tensor) -> "LmState":
        """Return the states of these rows of the batch, in this order; a row may be taken several times."""
        return LmState(self.hidden[:, rows], None if self.cell is None else self.cell[:, rows])

    def detach(self) -> "LmState":
        """Return the same numbers, through which no gradient goes back."""
        return LmState(self.hidden.detach(), None if self.cell is None else self.cell.detach())


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


class Foretelling(Protocol):
    """A network that foretells tokens one after the other; BOUNDARY stands before a text and after it."""

    @property
    def device(self) -> torch.device:
        """Return where its weights are."""

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text."""

    def remember(self, tokens: Tensor, state: LmState | None = None) -> tuple[Tensor, LmState]:
        """Map tokens (B, L) to what the last layer says after each (B, L, H), and the state after the last."""

    def foretell(self, x: Tensor, targets: Tensor) -> Tensor:
        """Return the log-probability (N,) of each target (N,) after what the last layer said, (N, H)."""


@contextmanager
def inference(model: nn.Module) -> Iterator[None]:
    """Let a model be used for a while and not be trained."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def score(model: Foretelling, texts: Sequence[str]) -> list[float]:
    """Return the natural-log probability of each text, its end included. Raises TextError."""
    return [float(row.sum()) for row in log_probs(model, texts)]


def log_probs(model: Foretelling, texts: Sequence[str]) -> list[LogProbs]:
    """Return the natural-log probability of each token of each text, its end's last. Raises TextError."""
    encoded = {text: model.encode(text) for text in texts}
    # Which texts share a pass depends on the texts alone, not on their order.
    ordered = sorted(encoded, key=lambda text: (len(encoded[text]), text))
    found: dict[str, LogProbs] = {}
    with inference(cast(nn.Module, model)):
        tree = _Tree([encoded[text] for text in ordered])
        if tree.nodes < _ALIKE * sum(len(ids) + 1 for ids in encoded.values()):
            found.update(zip(ordered, tree.log_probs(model), strict=True))
            ordered = []
        while ordered:
            count = max(_BATCH // (min(len(encoded[ordered[-1]]), _CHUNK) + 1), 1)
            part = ordered[-count:]
            del ordered[-count:]
            found.update(zip(part, _log_probs(model, [encoded[text] for text in part]), strict=True))
    return [found[text] for text in texts]


class _Tree:
    """Texts that begin alike, as what is left of a search does: each beginning is gone through once.

    At place t of a text stands a row of step t, which it shares with all texts that are the same up to there.
    """

    def __init__(self, encoded: Sequence[list[int]]) -> None:
        self.nodes = 0
        self._lengths = [len(ids) + 1 for ids in encoded]
        # Of each step: its rows' parents in the step before, the tokens before them, their own, and each text's row.
        self._steps: list[tuple[list[int], list[int], list[int], dict[int, int]]] = []
        rows = dict.fromkeys(range(len(encoded)), 0)
        before = [BOUNDARY]
        while rows:
            known: dict[tuple[int, int], int] = {}
            step = len(self._steps)
            placed: dict[int, int] = {}
            for text, parent in rows.items():
                ids = encoded[text]
                token = ids[step] if step < len(ids) else BOUNDARY
                placed[text] = known.setdefault((parent, token), len(known))
            parents, tokens = [parent for parent, _ in known], [token for _, token in known]
            self._steps.append((parents, [before[parent] for parent in parents], tokens, placed))
            self.nodes += len(known)
            before = tokens
            rows = {text: row for text, row in placed.items() if step < len(encoded[text])}

    def log_probs(self, model: Foretelling) -> list[LogProbs]:
        """Return the natural-log probability of each token of each text, its end's last."""
        state, said = None, []
        for parents, before, _, _ in self._steps:
            if state is not None:
                state = state.select(torch.tensor(parents, device=model.device))
            x, state = model.remember(torch.tensor(before, device=model.device)[:, None], state)
            said.append(x[:, 0])
        targets = torch.tensor([token for _, _, tokens, _ in self._steps for token in tokens], device=model.device)
        # All at once: the output layer is the largest, and to read it takes longer than to multiply by it.
        each = model.foretell(torch.cat(said), targets).double().tolist() if said else []
        found = [np.zeros(length) for length in self._lengths]
        first = 0
        for step, (_, _, tokens, placed) in enumerate(self._steps):
            for text, row in placed.items():
                found[text][step] = each[first + row]
            first += len(tokens)
        return found


def perplexity(model: Foretelling, texts: Sequence[str]) -> Perplexity:
    """Return the perplexity of texts, each scored by itself. Raises LmError if there are none, and TextError."""
    if not texts:
        raise LmError("no texts to take a perplexity of")
    characters, words = sum(map(len, texts)), sum(len(text.split()) for text in texts)
    return Perplexity(math.fsum(score(model, texts)), len(texts), characters, words)


def _log_probs(model: Foretelling, encoded: Sequence[list[int]]) -> list[LogProbs]:
    size = max(map(len, encoded)) + 1
    tokens = torch.full((len(encoded), size), BOUNDARY)
    targets = torch.full((len(encoded), size), _NOTHING)
    for row, ids in enumerate(encoded):
        tokens[row, 1 : len(ids) + 1] = targets[row, : len(ids)] = torch.tensor(ids)
        targets[row, len(ids)] = BOUNDARY
    tokens, targets = tokens.to(model.device), targets.to(model.device)
    found = np.zeros((len(encoded), size))
    state = None
    for start in range(0, size, _CHUNK):
        part = targets[:, start : start + _CHUNK]
        x, state = model.remember(tokens[:, start : start + _CHUNK], state)
        asked = part >= 0
        found[:, start : start + _CHUNK][asked.cpu().numpy()] = model.foretell(x[asked], part[asked]).cpu().numpy()
    return [row[: len(ids) + 1] for row, ids in zip(found, encoded, strict=True)]
