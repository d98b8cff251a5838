"""A recurrent language model in NumPy: the probabilities of texts and of the token after each prefix.

Dimensions are those of asr.model; L is the length of a chunk of text. BOUNDARY precedes and follows each text. It is
the acoustic model's blank token, so a character model and an acoustic model have the same columns.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.lm.evaluation import Perplexity
from asr.lm.recurrent.settings import RnnLmSettings, cutoffs
from asr.lm.recurrent.vocabulary import BOUNDARY, UNKNOWN_TOKEN, Vocabulary
from asr.model.inference import log_softmax
from asr.model.recurrence import Floats, Recurrence, State
from asr.text import Alphabet

LogProbs = NDArray[np.float64]
Tokens = NDArray[np.integer]

# Tokens scored in one pass, the maximum of one text, and rows of scores of all tokens in memory at once.
_BATCH, _CHUNK, _ROWS = 2**14, 1024, 512
# Texts are scored as a tree if their different prefixes are less than this fraction of their tokens.
_MAX_DISTINCT = 0.5
_PADDING = -1


@dataclass(frozen=True)
class LmState:
    """The recurrent state of B texts: of each layer."""

    layers: tuple[State, ...]

    def select(self, rows: Sequence[int] | Tokens) -> "LmState":
        """Return the states of these rows of the batch, in this order; rows may be repeated."""
        index = np.asarray(rows, np.int64)
        return LmState(tuple(State(h[index], None if c is None else c[index]) for h, c in self.layers))

    def joined(self, other: "LmState") -> "LmState":
        """Return the states of this batch and of another one after it."""

        pairs = zip(self.layers, other.layers, strict=True)
        return LmState(
            tuple(
                State(np.concatenate([h, h2]), None if c is None or c2 is None else np.concatenate([c, c2]))
                for (h, c), (h2, c2) in pairs
            )
        )


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


class RnnLm:
    """Embedding, unidirectional recurrent layers and output layer (Mikolov et al., 2010; Graves, 2013).

    Without a `vocabulary` the tokens are characters, with a softmax; with one they are words, with an adaptive softmax
    (Grave et al., 2017). `tensors` are the parameters of `asr.lm.recurrent.network`, which trains it.
    """

    def __init__(
        self,
        alphabet: Alphabet,
        settings: RnnLmSettings,
        vocabulary: Vocabulary | None,
        tensors: Mapping[str, NDArray[Any]],
    ) -> None:
        self.alphabet, self.settings, self.vocabulary = alphabet, settings, vocabulary
        self._tensors = {
            name: tensor.astype(np.result_type(tensor, np.float32), copy=False)
            for name, tensor in tensors.items()
            if not name.startswith("layers.")
        }
        self._layers = [Recurrence(settings.cell, tensors, f"layers.{index}") for index in range(settings.layers)]
        self._cutoffs = cutoffs(len(vocabulary)) if vocabulary else []

    @property
    def unit(self) -> str:
        """Return what a token is: "character" or "word"."""
        return "character" if self.vocabulary is None else "word"

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text. Raises TextError if a character model does not know a character."""
        return (self.vocabulary or self.alphabet).encode(text)

    def initial_state(self, batch: int) -> LmState:
        """Return the state before a batch of texts; the first token of each text is BOUNDARY."""
        return LmState(tuple(layer.zeros(batch) for layer in self._layers))

    def step(self, state: LmState, tokens: Tokens) -> tuple[Floats, LmState]:
        """Extend B texts by one token each (B,); return the log-probabilities (B, V) of the next token and the state.

        The first call takes BOUNDARY for every token and `initial_state`. Column BOUNDARY is the end of the text.
        UNKNOWN_TOKEN has the probability of all unknown words.
        """
        x, following = self._extended(tokens, state)
        if self.vocabulary is None:
            return self._softmax(x), following
        x = self._narrow(x)
        head, first = self._head(x), self._cutoffs[0]
        parts = [head[:, :first]]
        for index in range(len(self._cutoffs)):
            parts.append(self._tail(x, index) + head[:, first + index, None])
        return np.concatenate(parts, axis=1), following

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
        """Return the natural-log probability of each token of each text, the end last. Raises TextError as `encode`.

        That of UNKNOWN_TOKEN is the log-probability of one unknown word.
        """
        encoded = {text: self.encode(text) for text in texts}
        # Sorted, so that the batches do not depend on the order of the texts.
        remaining = sorted(encoded, key=lambda text: (len(encoded[text]), text))
        rows: dict[str, LogProbs] = {}
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
        state, outputs = self.initial_state(1), []
        for step in tree.steps:
            x, state = self._extended(np.array(step.inputs), state.select(step.parents))
            outputs.append(x)
        targets = np.array([token for step in tree.steps for token in step.tokens], np.int64)
        # All nodes at once: reading the large output layer takes longer than multiplying by it.
        log_probs = self._log_probs(np.concatenate(outputs), targets).tolist() if outputs else []
        rows: list[list[float]] = [[] for _ in range(texts)]
        first = 0
        for step in tree.steps:
            for text, node in step.nodes.items():
                rows[text].append(log_probs[first + node])
            first += len(step.tokens)
        return list(map(np.array, rows))

    def _score_batch(self, encoded: Sequence[list[int]]) -> list[LogProbs]:
        size = max(map(len, encoded)) + 1
        tokens = np.full((len(encoded), size), BOUNDARY)
        targets = np.full((len(encoded), size), _PADDING)
        for row, ids in enumerate(encoded):
            tokens[row, 1 : len(ids) + 1] = targets[row, : len(ids)] = ids
            targets[row, len(ids)] = BOUNDARY
        log_probs = np.zeros((len(encoded), size))
        state = self.initial_state(len(encoded))
        for start in range(0, size, _CHUNK):
            columns = slice(start, start + _CHUNK)
            x, state = self._hidden(tokens[:, columns], state)
            mask = targets[:, columns] != _PADDING
            log_probs[:, columns][mask] = self._log_probs(x[mask], targets[:, columns][mask])
        return [row[: len(ids) + 1] for row, ids in zip(log_probs, encoded, strict=True)]

    def _extended(self, tokens: Tokens, state: LmState) -> tuple[Floats, LmState]:
        """Extend texts by one token each (B,); return the output (B, H) of the last layer, and the state."""
        x, states = self._tensors["embedding.weight"][tokens], []
        for layer, before in zip(self._layers, state.layers, strict=True):
            states.append(layer.step(x, before))
            x = states[-1].hidden
        return x, LmState(tuple(states))

    def _hidden(self, tokens: Tokens, state: LmState) -> tuple[Floats, LmState]:
        """Map tokens (B, L) to the output (B, L, H) of the last layer, and the state after the last token."""
        batch, length = tokens.shape
        x, states = self._tensors["embedding.weight"][tokens.ravel()], []
        for layer, before in zip(self._layers, state.layers, strict=True):
            x, last = layer(x, [length] * batch, before)
            states.append(last)
        return x.reshape(batch, length, -1), LmState(tuple(states))

    def _log_probs(self, x: Floats, targets: Tokens) -> LogProbs:
        """Return the log-probability (N,) of each target token (N,), given the output (N, H) of the last layer."""
        blocks = (slice(start, start + _ROWS) for start in range(0, len(x), _ROWS))
        return np.concatenate([np.zeros(0), *(self._log_probs_of(x[rows], targets[rows]) for rows in blocks)])

    def _log_probs_of(self, x: Floats, targets: Tokens) -> LogProbs:
        if self.vocabulary is None:
            return np.take_along_axis(self._softmax(x), targets[:, None], 1)[:, 0].astype(np.float64)
        x = self._narrow(x)
        head, first = self._head(x), self._cutoffs[0]
        log_probs = np.take_along_axis(head, np.minimum(targets, first - 1)[:, None], 1)[:, 0].astype(np.float64)
        for index, (start, end) in enumerate(
            zip(self._cutoffs, [*self._cutoffs[1:], len(self.vocabulary)], strict=True)
        ):
            inside = np.flatnonzero((targets >= start) & (targets < end))
            if len(inside):
                tail = self._tail(x[inside], index)
                log_probs[inside] = head[inside, first + index] + tail[np.arange(len(inside)), targets[inside] - start]
        log_probs[targets == UNKNOWN_TOKEN] -= math.log(self.vocabulary.rare + 1)
        return log_probs

    def _softmax(self, x: Floats) -> Floats:
        """Return the log-probabilities (N, V) of characters."""
        tensors = self._tensors
        return log_softmax(x @ tensors.get("output.weight", tensors["embedding.weight"]).T + tensors["bias"])

    def _narrow(self, x: Floats) -> Floats:
        values: Floats = x @ self._tensors["narrow.weight"].T + self._tensors["narrow.bias"]
        return values

    def _head(self, x: Floats) -> Floats:
        """Return the log-probabilities of the most frequent words, and of each group of the others."""
        return log_softmax(x @ self._tensors["output.head.weight"].T)

    def _tail(self, x: Floats, index: int) -> Floats:
        """Return the log-probabilities of the words of a group within it."""
        inner, outer = (self._tensors[f"output.tail.{index}.{part}.weight"] for part in (0, 1))
        return log_softmax(x @ inner.T @ outer.T)
