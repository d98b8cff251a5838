"""A whole search, and what the last beam says: the texts, and what each of them comes to."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.decoding.beam.bound import Limits
from asr.decoding.beam.compiling import Doubles, Ints, Rows, compiled
from asr.decoding.beam.core import begin, proceed, skip
from asr.decoding.beam.fusion import Guide, final
from asr.decoding.beam.growing import Search
from asr.decoding.beam.scores import NOTHING, add
from asr.text import BLANK


class Found(NamedTuple):
    """The texts of the last beam, the likeliest first: text i has the tokens `tokens[ends[i - 1] : ends[i]]`.

    `acoustic`: the log-probability of its paths; `share`: what the language models add.
    """

    tokens: Ints
    ends: Ints
    acoustic: Doubles
    share: Doubles


@compiled
def finish(search: Search, guide: Guide) -> Found:
    """Return what the beam says now that all has been heard."""
    prefixes, beam = search.prefixes, search.beam
    nodes, acoustic, share = np.empty(len(beam), np.int64), np.empty(len(beam)), np.empty(len(beam))
    for place in range(len(beam)):
        nodes[place], acoustic[place] = beam[place]["node"], beam[place]["total"]
    # A space at the end adds nothing either: the prefix before it is the same text.
    for place in range(len(beam)):
        if nodes[place] and prefixes[nodes[place]]["token"] == guide.scales.space:
            nodes[place] = prefixes[nodes[place]]["parent"]
            other = prefixes[nodes[place]]["at"]
            if other >= 0:
                acoustic[other] = add(acoustic[other], acoustic[place])
                acoustic[place] = NOTHING
    for place in range(len(beam)):
        share[place] = final(guide, prefixes, nodes[place])
    if len(share) and share.max() == NOTHING:
        # Locked to a lexicon, and every text ends within a word: that word is given up.
        for place in range(len(beam)):
            nodes[place] = _without_last_word(prefixes, nodes[place], guide.scales.space)
            share[place] = final(guide, prefixes, nodes[place])
    order = np.argsort(-(acoustic + share), kind="mergesort")
    order = order[(acoustic + share)[order] > NOTHING]
    tokens, ends = _spelt(prefixes, nodes[order])
    return Found(tokens, ends, acoustic[order], share[order])


@compiled
def _without_last_word(prefixes: Rows, node: int, space: int) -> int:
    """Return the prefix before the last space of one, or the empty one."""
    while node and prefixes[node]["token"] != space:
        node = int(prefixes[node]["parent"])
    return int(prefixes[node]["parent"]) if node else 0


@compiled
def _spelt(prefixes: Rows, nodes: NDArray[np.int64]) -> tuple[Ints, Ints]:
    """Return the tokens of prefixes one after another, and where each one's end."""
    ends = np.zeros(len(nodes), np.int32)
    for place in range(len(nodes)):
        node, length = nodes[place], 0
        while node:
            node, length = np.int64(prefixes[node]["parent"]), length + 1
        ends[place] = length + (ends[place - 1] if place else 0)
    tokens = np.empty(ends[-1] if len(ends) else 0, np.int32)
    for place in range(len(nodes)):
        node, at = nodes[place], ends[place]
        while node:
            at -= 1
            tokens[at] = prefixes[node]["token"]
            node = np.int64(prefixes[node]["parent"])
    return tokens, ends


@compiled
def search(log_probs: Doubles, limits: Limits, guide: Guide) -> Found:
    """Search (T', V)."""
    state = begin(guide)
    for number in range(len(log_probs)):
        blank = log_probs[number, BLANK]
        if blank >= limits.skip:
            skip(state.beam, blank)
        else:
            state = proceed(state, log_probs[number], limits, guide)
    return finish(state, guide)
