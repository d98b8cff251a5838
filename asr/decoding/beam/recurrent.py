"""Beam search with a recurrent language model, which runs once a frame for all new prefixes."""

import numpy as np

from asr.decoding.beam.compiling import Doubles
from asr.decoding.beam.fusion import Fusion
from asr.decoding.beam.pruning import Pruning
from asr.decoding.beam.search import SearchResult, SearchState, begin, finish, proceed
from asr.lm.recurrent import BOUNDARY, LmState, RnnLm


class _PrefixStates:
    """The network's states of the prefixes in the beam, and its log-probabilities of the tokens after each prefix."""

    def __init__(self, model: RnnLm, fusion: Fusion) -> None:
        self._model = model
        self._fusion = fusion
        self._rows = np.zeros((256, len(model.alphabet)), np.float32)
        self._used = 0
        # The column of each prefix in the state.
        self._columns: dict[int, int] = {}
        self._state = model.initial_state(0)

    @property
    def fusion(self) -> Fusion:
        """Return the data of the search with the log-probabilities so far."""
        return self._fusion._replace(rows=self._rows)

    def update(self, search: SearchState) -> None:
        """Run the network for the new prefixes of the beam; their parents must have been in the beam before."""
        nodes = search.beam["node"].tolist()
        known = [node for node in nodes if node in self._columns]
        new = [node for node in nodes if node not in self._columns]
        kept = self._state.select([self._columns[node] for node in known])
        self._state = kept.joined(self._new_state(search, new)) if new else kept
        self._columns = {node: column for column, node in enumerate(known + new)}

    def _new_state(self, search: SearchState, new: list[int]) -> LmState:
        """Return the state of new prefixes and store the log-probabilities of the tokens after them."""
        prefixes = search.prefixes
        if self._used:
            parents = [self._columns[node] for node in prefixes["parent"][new].tolist()]
            before, tokens = self._state.select(parents), prefixes["token"][new]
        else:
            before, tokens = self._model.initial_state(len(new)), np.full(len(new), BOUNDARY)
        log_probs, state = self._model.step(before, tokens)
        end = self._used + len(new)
        if end > len(self._rows):
            self._rows = np.concatenate([self._rows, np.zeros((end, self._rows.shape[1]), np.float32)])
        self._rows[self._used : end] = log_probs
        prefixes["row"][new] = np.arange(self._used, end)
        self._used = end
        return state


def search_with_network(model: RnnLm, log_probs: Doubles, pruning: Pruning, fusion: Fusion) -> SearchResult:
    """Search (T', V) with a network of the same tokens."""
    states = _PrefixStates(model, fusion)
    state = begin(states.fusion)
    states.update(state)
    for row in log_probs:
        state = proceed(state, row, pruning, states.fusion)
        states.update(state)
    return finish(state, states.fusion)
