"""Pruning of the beam: sums of log-probabilities, the best of many values, and a running bound on the values to keep.

A prefix is dropped if `width` others have higher values. The bound finds this out early: it counts the values in steps
while they are computed.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.decoding.beam.compiling import Doubles, Rows, compiled, inlined

IMPOSSIBLE = -np.inf
# `lowest`: lower values are pruned. `level`: the lowest step such that `width` values or more lie in it and above, and
# `above` the number of them; before there are so many, 0 and all values. Step s begins at floor + s / steps.
BOUND = np.dtype(
    [(name, np.float64) for name in ("lowest", "floor", "steps")] + [(name, np.int64) for name in ("level", "above")]
)
_STEPS = 256
# The steps cover at most this many nats below the best value.
_SPAN = 20.0
# Larger than rounding errors and smaller than any difference that matters.
_SLACK = 1e-7


class Pruning(NamedTuple):
    """The beam width and the thresholds of BeamSettings; `blank_skip` is a log-probability here."""

    width: int
    token_threshold: float
    beam_threshold: float
    blank_skip: float


class Unextended(NamedTuple):
    """The beam after a frame in which its prefixes grow at most into others of the beam.

    `lowest` and `highest` are of its values. A value is a log-probability plus the prefix's estimate.
    """

    beam: Rows
    lowest: float
    highest: float


@compiled
def log_add(left: float, right: float) -> float:
    """Return log(exp(left) + exp(right))."""
    if left < right:
        left, right = right, left
    # A smaller one does not change any digit of the larger.
    if right < left - 40.0 or right == IMPOSSIBLE:
        return left
    return float(left + np.log1p(np.exp(right - left)))


@compiled
def best_indices(values: Doubles, width: int, lowest: float) -> NDArray[np.int64]:
    """Return the indices, ascending, of the `width` highest values of at least `lowest`; of equal ones the first."""
    indices, count = np.empty(len(values), np.int64), 0
    for index in range(len(values)):
        if values[index] >= lowest:
            indices[count] = index
            count += 1
    indices = indices[:count]
    if count <= width:
        return indices
    kept = values[indices]
    least = np.partition(kept, len(kept) - width)[len(kept) - width]
    ties = width - np.count_nonzero(kept > least)
    chosen = np.empty(width, np.int64)
    count = 0
    for index in range(len(kept)):
        if kept[index] > least or (kept[index] == least and ties > 0):
            ties -= kept[index] == least
            chosen[count] = indices[index]
            count += 1
    return chosen


@inlined
def count_value(bound: Any, counts: NDArray[np.int32], value: float, width: int) -> None:
    """Count a value and raise the bound accordingly."""
    step = (value - bound["floor"]) * bound["steps"]
    if step >= bound["level"]:
        counts[int(min(step, _STEPS - 1.0))] += 1
        bound["above"] += 1
        while bound["above"] - counts[bound["level"]] >= width:
            bound["above"] -= counts[bound["level"]]
            bound["level"] += 1
            bound["lowest"] = max(bound["lowest"], bound["floor"] + bound["level"] / bound["steps"] - _SLACK)


@inlined
def initial_bound(unextended: Unextended, top: float, pruning: Pruning, more: int) -> tuple[Rows, NDArray[np.int32]]:
    """Return the bound given the unextended prefixes, and the number of values in each step.

    `top`: approximately the best value to come; `more`: the largest number of values to come.
    """
    bound, lowest = np.empty(1, BOUND), top - pruning.beam_threshold
    if len(unextended.beam) >= pruning.width:
        lowest = max(lowest, unextended.lowest)
    span = min(_SPAN, top - lowest)
    bound[0]["lowest"], bound[0]["level"], bound[0]["above"] = lowest - _SLACK, 0, 0
    bound[0]["floor"], bound[0]["steps"] = top - span, _STEPS / span if span > 0 else 0.0
    # If all can be kept, none is counted: every comparison with NaN is false.
    counted = len(unextended.beam) + more > pruning.width
    if not counted:
        bound[0]["floor"] = np.nan
    counts = np.zeros(_STEPS if counted else 1, np.int32)
    if counted:
        for index in range(len(unextended.beam)):
            count_value(bound[0], counts, unextended.beam[index]["value"], pruning.width)
    return bound, counts
