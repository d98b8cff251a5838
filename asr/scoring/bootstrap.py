"""Counts of utterances -> a rate and its 95 % interval: the percentile bootstrap of Bisani and Ney (2004)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asr.errors import AsrError

RESAMPLES = 1_000
SEED = 20040517

Counts = NDArray[np.int64]

# Utterances drawn at once: as many as stay in the processor's cache.
_BLOCK = 2**18
# A multinomial draw for each kind of utterance costs about this many draws of an utterance.
_KIND = 16


class ScoringError(AsrError):
    """References and hypotheses that cannot be scored."""


@dataclass(frozen=True)
class Rate:
    """An error rate as a fraction, with its 95 % interval."""

    value: float
    low: float
    high: float


def resampled(counts: Counts, resamples: int = RESAMPLES, seed: int = SEED) -> Counts:
    """Return the sums (resamples, columns) of counts (utterances, columns) over utterances drawn with replacement.

    Utterances of equal counts are exchangeable; where there are few kinds, how often each kind comes is drawn instead.
    """
    random = np.random.default_rng(seed)
    size = len(counts)
    kinds, numbers = np.unique(counts, axis=0, return_counts=True)
    if _KIND * len(kinds) < size:
        return np.asarray(random.multinomial(size, numbers / size, size=resamples) @ kinds, dtype=np.int64)
    sums = np.empty((resamples, counts.shape[1]), dtype=np.int64)
    columns = np.ascontiguousarray(counts.T)
    step = max(1, _BLOCK // size)
    for begin in range(0, resamples, step):
        chosen = random.integers(size, size=(min(step, resamples - begin), size))
        for index, column in enumerate(columns):
            sums[begin : begin + step, index] = column[chosen].sum(axis=1)
    return sums


def interval(errors: Counts, totals: Counts, resamples: int = RESAMPLES, seed: int = SEED) -> Rate:
    """Return the pooled rate of counts (utterances,) and its bootstrap interval.

    Raises ScoringError when the references are empty altogether: a rate needs something to divide by.
    """
    total = int(totals.sum())
    if total == 0:
        raise ScoringError("the references hold no words at all: there is no error rate")
    value = int(errors.sum()) / total
    sums = resampled(np.column_stack([errors, totals]), resamples, seed)
    # A sample of empty references alone says nothing of the rate.
    sums = sums[sums[:, 1] > 0]
    low, high = np.percentile(sums[:, 0] / sums[:, 1], [2.5, 97.5]) if len(sums) else (value, value)
    return Rate(value, float(low), float(high))
