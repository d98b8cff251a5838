"""The search without its compiler, where that takes less time than to compile it first.

Whether something is compiled once for a machine, for half a minute, is a question of rent or buy: the interpreter runs
the same source until it has cost about as much as compiling, so that no more than twice the least time is ever spent.
"""

import numpy as np

from asr.beam.compiling import Doubles, interpreted, is_kept
from asr.beam.core import Limits
from asr.beam.ending import Found, search
from asr.beam.fusion import Guide

# Frames times prefixes in the beam that the interpreter searches in the time that compiling takes: 60 seconds of speech
# with 100 prefixes.
PATIENCE = 200_000

_interpreted = interpreted(search)
_spent = [0]


def pays(frames: float, width: int) -> bool:
    """Say whether so many frames, searched with beams so wide, take longer by the interpreter than to compile."""
    return frames * width > PATIENCE - _spent[0]


def run(log_probs: Doubles, limits: Limits, guide: Guide) -> Found:
    """Search (T', V), compiled if that is there or pays; the result is the same."""
    if is_kept(search) or pays(len(log_probs), limits.width):
        return search(log_probs, limits, guide)
    _spent[0] += len(log_probs) * limits.width
    with np.errstate(all="ignore"):
        return _interpreted(log_probs, limits, guide)
