"""The least score that is still among the n best of those seen so far, kept while they come, by counting them in steps.

Whatever scores less than n others is not kept in the end, so it need not be looked at.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.decoding.beam.compiling import Rows, inlined

# `lowest`: what scores less is given up. `level`: the step from which on there are `above` scores, `width` or more as
# soon as there are so many; step s begins at floor + s / steps.
BOUND = np.dtype(
    [(name, np.float64) for name in ("lowest", "floor", "steps")] + [(name, np.int64) for name in ("level", "above")]
)
_STEPS = 256
# The steps reach so many nats under the best, whatever the margin.
_SPAN = 20.0
# More than what is lost to rounding, and less than anything that matters.
_SLACK = 1e-7


class Limits(NamedTuple):
    """How widely is searched; see BeamSettings. `skip` is the log of `blank_skip`."""

    width: int
    token_threshold: float
    beam_threshold: float
    skip: float


class Stayed(NamedTuple):
    """The beam after a frame in which no prefix grows but into another of the beam, and its least value and its most.

    A value is a log-probability with what a guide promises.
    """

    beam: Rows
    least: float
    most: float


@inlined
def see(bound: Any, counts: NDArray[np.int32], value: float, width: int) -> None:
    """Count a score."""
    step = (value - bound["floor"]) * bound["steps"]
    if step >= bound["level"]:
        counts[int(min(step, _STEPS - 1.0))] += 1
        bound["above"] += 1
        while bound["above"] - counts[bound["level"]] >= width:
            bound["above"] -= counts[bound["level"]]
            bound["level"] += 1
            bound["lowest"] = max(bound["lowest"], bound["floor"] + bound["level"] / bound["steps"] - _SLACK)


@inlined
def bound_of(stayed: Stayed, top: float, limits: Limits, more: int) -> tuple[Rows, NDArray[np.int32]]:
    """Return the bound after what has stayed, and how many values there are in each step.

    `top`: about the best value to come; `more`: how many may come.
    """
    made, lowest = np.empty(1, BOUND), top - limits.beam_threshold
    if len(stayed.beam) >= limits.width:
        lowest = max(lowest, stayed.least)
    span = min(_SPAN, top - lowest)
    made[0]["lowest"], made[0]["level"], made[0]["above"] = lowest - _SLACK, 0, 0
    made[0]["floor"], made[0]["steps"] = top - span, _STEPS / span if span > 0 else 0.0
    # Where all can be kept, none need be counted: nothing is more than what is no number.
    some = len(stayed.beam) + more > limits.width
    if not some:
        made[0]["floor"] = np.nan
    counts = np.zeros(_STEPS if some else 1, np.int32)
    if some:
        for place in range(len(stayed.beam)):
            see(made[0], counts, stayed.beam[place]["value"], limits.width)
    return made, counts
