"""Scores as logs of probabilities: their sum, and the best of many."""

import numpy as np
from numpy.typing import NDArray

from asr.decoding.beam.compiling import Doubles, compiled

NOTHING = -np.inf


@compiled
def add(left: float, right: float) -> float:
    """Return the log of the sum of two numbers given by their logs."""
    if left < right:
        left, right = right, left
    # Beyond this the smaller one changes no digit of the larger.
    if right < left - 40.0 or right == NOTHING:
        return left
    return float(left + np.log1p(np.exp(right - left)))


@compiled
def best(scores: Doubles, width: int, lowest: float) -> NDArray[np.int64]:
    """Return the places of the `width` highest scores of at least `lowest`, in order; the first of equal ones."""
    every, count = np.empty(len(scores), np.int64), 0
    for place in range(len(scores)):
        if scores[place] >= lowest:
            every[count] = place
            count += 1
    found = every[:count]
    if count <= width:
        return found
    kept = scores[found]
    least = np.partition(kept, len(kept) - width)[len(kept) - width]
    ties = width - np.count_nonzero(kept > least)
    chosen = np.empty(width, np.int64)
    count = 0
    for place in range(len(kept)):
        if kept[place] > least or (kept[place] == least and ties > 0):
            ties -= kept[place] == least
            chosen[count] = found[place]
            count += 1
    return chosen
