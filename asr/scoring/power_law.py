"""The error rate as a power of the amount of training data, rate = factor · size^-exponent (Hestness et al., 2017)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asr.scoring.bootstrap import RESAMPLES, SEED, Counts, Rate, ScoringError, resample

# Rates from this one on are of models that have not learnt to transcribe; they are not on the line.
HIGHEST = 0.9
_FEWEST = 3


@dataclass(frozen=True)
class PowerLaw:
    """`factor`: the rate at size 1. `exponent`, `at_next`: with 95 % intervals; `at_next` is the rate at `next_size`.

    `used`: whether each measured rate is part of the fit.
    """

    factor: float
    exponent: Rate
    next_size: float
    at_next: Rate
    used: tuple[bool, ...]

    def rate(self, size: float) -> float:
        """Return the rate at a size."""
        return float(self.factor * size**-self.exponent.value)


def fit_power_law(sizes: Sequence[float], errors: Counts, totals: Counts, next_size: float) -> PowerLaw:
    """Fit a line to the logarithms of sizes and rates by least squares, with bootstrap intervals over utterances.

    errors: (sizes, utterances), those of the model of each size on the same utterances; totals: (utterances,).
    Rates of 0 and from `HIGHEST` on are left out. Raises ScoringError if fewer than 3 are left, or without words.
    """
    if not totals.sum():
        raise ScoringError("the references have no words: there is no error rate")
    rates = errors.sum(axis=1) / totals.sum()
    used = (rates > 0) & (rates < HIGHEST)
    if used.sum() < _FEWEST:
        shown = ", ".join(f"{100 * rate:.2f} %" for rate in rates)
        raise ScoringError(
            f"a power law needs {_FEWEST} error rates between 0 and {100 * HIGHEST:g} %, but they are {shown}; train "
            "for more epochs, or evaluate on more utterances"
        )
    x = np.log(np.asarray(sizes)[used])
    sums = resample(np.column_stack([*errors[used], totals]), RESAMPLES, SEED)
    sums = sums[sums[:, -1] > 0]
    # Half an error in place of none, whose logarithm is infinite.
    drawn = np.maximum(sums[:, :-1], 0.5) / sums[:, -1:]
    intercept, slope = _lines(x, np.log(rates[used])[None])
    intercepts, slopes = _lines(x, np.log(drawn))
    predicted = np.exp(intercepts + slopes * math.log(next_size))
    return PowerLaw(
        float(np.exp(intercept[0])),
        _rate(-float(slope[0]), -slopes),
        next_size,
        _rate(float(np.exp(intercept[0] + slope[0] * math.log(next_size))), predicted),
        tuple(used.tolist()),
    )


def _lines(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the intercept and slope of each row of y (n, points)."""
    centred = x - x.mean()
    slope = y @ centred / (centred @ centred)
    return y.mean(axis=1) - slope * x.mean(), slope


def _rate(value: float, drawn: NDArray[np.float64]) -> Rate:
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Rate(value, float(low), float(high))
