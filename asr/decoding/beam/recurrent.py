"""Beam search with a recurrent language model, which runs once a frame for all new prefixes."""

import numpy as np
from numpy.typing import NDArray

from asr.decoding.beam.compiling import Doubles, Ints
from asr.decoding.beam.fusion import Fusion
from asr.decoding.beam.pruning import Pruning
from asr.decoding.beam.search import begin, proceed
from asr.lm.recurrent import BOUNDARY, LmState, RnnLm


class PrefixStates:
    """The network's states of the prefixes in the beam, and its log-probabilities of the tokens after each prefix."""

    def __init__(self, model: RnnLm) -> None:
        self._model = model
        self._log_probs = np.zeros((256, len(model.alphabet)), np.float32)
        self._used = 0
        # The column of each prefix in the state, and its row in the log-probabilities.
        self._columns: dict[int, int] = {}
        self._rows: dict[int, int] = {}
        self._state = model.initial_state(0)

    def update(self, nodes: Ints, parents: Ints, tokens: Ints) -> tuple[NDArray[np.float32], Ints]:
        """Run the network for the prefixes that are new in the beam; their parents must have been in it before.

        Return the log-probabilities (rows, V) and the row of each prefix of the beam.
        """
        is_new = np.array([node not in self._columns for node in nodes.tolist()], bool)
        known, new = nodes[~is_new].tolist(), nodes[is_new].tolist()
        state = self._state.select([self._columns[node] for node in known])
        if new:
            state = state.joined(self._new_state(new, parents[is_new].tolist(), tokens[is_new]))
        self._state = state
        self._columns = {node: column for column, node in enumerate(known + new)}
        return self._log_probs, np.array([self._rows[node] for node in nodes.tolist()], np.int32)

    def update_buffers(self, nodes: bytes, parents: bytes, tokens: bytes) -> tuple[memoryview, memoryview]:
        """Do the same with the buffers of the extension."""
        log_probs, rows = self.update(*(np.frombuffer(part, np.int32) for part in (nodes, parents, tokens)))
        return log_probs.data, rows.data

    def _new_state(self, new: list[int], parents: list[int], tokens: Ints) -> LmState:
        """Return the state of new prefixes and store the log-probabilities of the tokens after them."""
        if self._used:
            before = self._state.select([self._columns[node] for node in parents])
        else:
            before, tokens = self._model.initial_state(len(new)), np.full(len(new), BOUNDARY, np.int32)
        log_probs, state = self._model.step(before, tokens)
        end = self._used + len(new)
        if end > len(self._log_probs):
            more = np.zeros((end, self._log_probs.shape[1]), np.float32)
            self._log_probs = np.concatenate([self._log_probs, more])
        self._log_probs[self._used : end] = log_probs
        self._rows |= zip(new, range(self._used, end), strict=True)
        self._used = end
        return state


class RecurrentSearch:
    """A search with a network of the same tokens: `state` and `fusion` after the frames so far."""

    def __init__(self, model: RnnLm, pruning: Pruning, fusion: Fusion) -> None:
        self._states, self._pruning = PrefixStates(model), pruning
        self.state = begin(fusion)
        self.fusion = self._updated(fusion)

    def extend(self, log_probs: Doubles) -> None:
        """Search the next frames (T', V)."""
        for row in log_probs:
            self.state = proceed(self.state, row, self._pruning, self.fusion)
            self.fusion = self._updated(self.fusion)

    def _updated(self, fusion: Fusion) -> Fusion:
        """Return the data of the search with the log-probabilities after the prefixes of the beam."""
        nodes, prefixes = self.state.beam["node"], self.state.prefixes
        update = self._states.update(nodes, prefixes["parent"][nodes], prefixes["token"][nodes])
        log_probs, prefixes["row"][nodes] = update
        return fusion._replace(rows=log_probs)
