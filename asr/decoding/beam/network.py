"""Beam search along a recurrent language model: the network says of each kept prefix what may come next."""

import numpy as np
import torch

from asr.decoding.beam.bound import Limits
from asr.decoding.beam.compiling import Doubles
from asr.decoding.beam.core import begin, proceed
from asr.decoding.beam.ending import Found, finish
from asr.decoding.beam.fusion import Guide
from asr.decoding.beam.growing import Search
from asr.lm.recurrent import BOUNDARY, LmState, RnnLm


class _Following:
    """What the network knows of the prefixes in the beam."""

    def __init__(self, model: RnnLm, guide: Guide) -> None:
        self._model = model
        self._guide = guide
        self._rows = np.zeros((256, len(model.alphabet)), np.float32)
        self._used = 0
        # Which column of the state is that of a prefix.
        self._columns: dict[int, int] = {}
        self._state = model.initial_state(0)

    @property
    def guide(self) -> Guide:
        """Return the guide with what is known by now."""
        return self._guide._replace(rows=self._rows)

    def follow(self, search: Search) -> None:
        """Learn of the beam's prefixes what the network says of them; their parents were in the beam before."""
        nodes = search.beam["node"].tolist()
        known = [node for node in nodes if node in self._columns]
        new = [node for node in nodes if node not in self._columns]
        kept = self._state.select(torch.tensor([self._columns[node] for node in known], dtype=torch.int64))
        self._state = _joined(kept, self._grown(search, new)) if new else kept
        self._columns = {node: column for column, node in enumerate(known + new)}

    def _grown(self, search: Search, new: list[int]) -> LmState:
        """Return the states of new prefixes, and keep what may come after them."""
        prefixes = search.prefixes
        if self._used:
            parents = torch.tensor([self._columns[node] for node in prefixes["parent"][new].tolist()])
            before, tokens = self._state.select(parents), torch.from_numpy(prefixes["token"][new].astype(np.int64))
        else:
            before, tokens = self._model.initial_state(len(new)), torch.full((len(new),), BOUNDARY)
        log_probs, state = self._model.step(before, tokens)
        end = self._used + len(new)
        if end > len(self._rows):
            self._rows = np.concatenate([self._rows, np.zeros((end, self._rows.shape[1]), np.float32)])
        self._rows[self._used : end] = log_probs.numpy()
        prefixes["row"][new] = np.arange(self._used, end)
        self._used = end
        return state


def _joined(left: LmState, right: LmState) -> LmState:
    cells = None if left.cell is None or right.cell is None else torch.cat([left.cell, right.cell], 1)
    return LmState(torch.cat([left.hidden, right.hidden], 1), cells)


def search_along(model: RnnLm, log_probs: Doubles, limits: Limits, guide: Guide) -> Found:
    """Search (T', V) with a network of the same columns; the network runs once a frame, for all new prefixes."""
    following = _Following(model, guide)
    search = begin(following.guide)
    following.follow(search)
    for row in log_probs:
        search = proceed(search, row, limits, following.guide)
        following.follow(search)
    return finish(search, following.guide)
