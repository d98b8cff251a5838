"""Rates with a 95 % interval: the percentile bootstrap over utterances of Bisani and Ney (2004), section 2."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asr.errors import AsrError

RESAMPLES = 1_000
SEED = 20040517

Counts = NDArray[np.int64]

# Samples are drawn in blocks of this many utterances, which fit into the processor's cache.
_BLOCK = 2**18
# A multinomial draw of one distinct row of counts costs about as much as drawing this many utterances.
_MULTINOMIAL_COST = 16


class ScoringError(AsrError):
    """Raised for references and hypotheses that cannot be scored."""


@dataclass(frozen=True)
class Rate:
    """An error rate as a fraction, with its 95 % interval; `low` and `high` are NaN where none can be given."""

    value: float
    low: float
    high: float


def resample(counts: Counts, resamples: int = RESAMPLES, seed: int = SEED) -> Counts:
    """Return the sums (resamples, columns) of counts (utterances, columns) over utterances drawn with replacement."""
    random = np.random.default_rng(seed)
    size = len(counts)
    # Utterances with equal counts are exchangeable: if few rows are distinct, draw how often each one occurs.
    distinct, numbers = np.unique(counts, axis=0, return_counts=True)
    if _MULTINOMIAL_COST * len(distinct) < size:
        return np.asarray(random.multinomial(size, numbers / size, size=resamples) @ distinct, dtype=np.int64)
    sums = np.empty((resamples, counts.shape[1]), dtype=np.int64)
    columns = np.ascontiguousarray(counts.T)
    step = max(1, _BLOCK // size)
    for begin in range(0, resamples, step):
        chosen = random.integers(size, size=(min(step, resamples - begin), size))
        for index, column in enumerate(columns):
            sums[begin : begin + step, index] = column[chosen].sum(axis=1)
    return sums


def resampled_rates(errors: Counts, totals: Counts, resamples: int, seed: int) -> tuple[Rate, NDArray[np.float64]]:
    """Return the pooled rate of counts (utterances,) with its interval, and the rates of the samples with any total.

    Fewer than two utterances with any total give no interval and no samples.

    Raises ScoringError if the totals are all 0.
    """
    total = int(totals.sum())
    if total == 0:
        raise ScoringError("the references have no words: there is no error rate")
    value = int(errors.sum()) / total
    sums = resample(np.column_stack([errors, totals]), resamples, seed)
    sums = sums[sums[:, 1] > 0]
    rates: NDArray[np.float64] = sums[:, 0] / sums[:, 1]
    if np.count_nonzero(totals) < 2:
        # One part does not show how parts differ.
        return Rate(value, math.nan, math.nan), rates[:0]
    low, high = np.percentile(rates, [2.5, 97.5])
    return Rate(value, float(low), float(high)), rates


def interval(errors: Counts, totals: Counts, resamples: int = RESAMPLES, seed: int = SEED) -> Rate:
    """Return the pooled rate of counts (utterances,) and its bootstrap interval.

    Raises ScoringError if the totals are all 0.
    """
    return resampled_rates(errors, totals, resamples, seed)[0]
