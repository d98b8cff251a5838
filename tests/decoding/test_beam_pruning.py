"""The running bound of the beam search never prunes the best values."""

from typing import Any, cast

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.decoding.beam.pruning import Pruning, Unextended, count_value, initial_bound
from asr.decoding.beam.search import KEPT

# As they are written: to compile them for a test would take longer than to run them.
make, count = cast(Any, initial_bound).py_func, cast(Any, count_value).py_func
TOP = -3.0


def lowest_after(values: list[float], width: int, threshold: float = np.inf) -> float:
    nothing = Unextended(np.empty(0, KEPT), np.inf, -np.inf)
    bound, counts = make(nothing, TOP, Pruning(width, np.inf, threshold, np.inf), len(values))
    for value in values:
        count(bound[0], counts, value, width)
    return float(bound[0]["lowest"])


@settings(deadline=None, derandomize=True)
@given(st.lists(st.floats(-60.0, 20.0), max_size=40), st.integers(1, 12))
def test_bound_is_never_above_the_best_values(values: list[float], width: int) -> None:
    lowest = lowest_after(values, width)
    if len(values) <= width:
        assert lowest == -np.inf
        return
    least = sorted(values)[-width]
    assert lowest <= least
    # Within its span, 20 nats under the top, it is a step behind at most.
    if TOP - 20.0 <= least <= TOP - 1e-6:
        assert lowest >= least - 20.0 / 256 - 1e-6


@settings(deadline=None, derandomize=True)
@given(st.lists(st.floats(-60.0, 20.0) | st.just(-np.inf), max_size=40), st.integers(1, 12), st.floats(0.1, 30.0))
def test_bound_is_at_least_the_beam_threshold(values: list[float], width: int, threshold: float) -> None:
    lowest = lowest_after(values, width, threshold)
    assert lowest >= TOP - threshold - 1e-6
    if len(values) > width:
        assert lowest <= max(sorted(values)[-width], TOP - threshold)


def test_equal_values_are_kept() -> None:
    assert lowest_after([-5.0] * 10, 3) <= -5.0


def test_impossible_top_prunes_nothing() -> None:
    nothing = Unextended(np.empty(0, KEPT), np.inf, -np.inf)
    with np.errstate(invalid="ignore"):
        bound, counts = make(nothing, -np.inf, Pruning(2, np.inf, np.inf, np.inf), 9)
        for value in (-4.0, -5.0, -6.0):
            count(bound[0], counts, value, 2)
    assert not bound[0]["lowest"] > -6.0
