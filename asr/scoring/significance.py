"""Tests of the difference of two systems on the same utterances: paired bootstrap and MAPSSWE."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asr.scoring.bootstrap import RESAMPLES, SEED, Counts, Rate, resampled_rates
from asr.scoring.counts import INSERTION, Score, UtteranceScore

# Consecutive words that both systems have right separate two segments, as in SCTK.
BOUNDARY = 2


@dataclass(frozen=True)
class Bootstrap:
    """The paired bootstrap: `difference` is the WER of the first system minus that of the second; p is two-sided."""

    difference: Rate
    p: float


@dataclass(frozen=True)
class Mapsswe:
    """The matched-pairs sentence-segment word error test; p is two-sided.

    `mean`: the errors per segment of the first system minus those of the second. `z` is None if all differences are
    equal or there is only one segment.
    """

    segments: int
    mean: float
    z: float | None
    p: float


def paired_bootstrap(
    first: Counts, second: Counts, words: Counts, resamples: int = RESAMPLES, seed: int = SEED
) -> Bootstrap:
    """Compare the errors (utterances,) of two systems by drawing the same utterances for both (Bisani and Ney 2004).

    Raises ScoringError if there are no words.
    """
    difference, samples = resampled_rates(first - second, words, resamples, seed)
    # The sample itself counts as one of the draws, so that p is never 0.
    tail = min(int((samples <= 0).sum()), int((samples >= 0).sum()))
    return Bootstrap(difference, min(1.0, 2 * (tail + 1) / (len(samples) + 1)))


def segments(first: UtteranceScore, second: UtteranceScore) -> list[tuple[int, int]]:
    """Return the errors of both systems in each segment of an utterance that has any.

    Segments are separated by the ends of the utterance, and by two or more words that both systems have right without
    an insertion between them (Gillick and Cox 1989; as SCTK does).
    """
    if not first.errors and not second.errors:
        return []
    # Errors of both systems in the order of the utterance: before a word, at the word, before the next word, …
    errors = np.zeros((2 * first.words + 1, 2), dtype=np.int64)
    for column, row in enumerate((first, second)):
        for edit in row.edits(wrong_only=True):
            errors[2 * edit.position + (edit.operation != INSERTION), column] += 1
    per_segment: list[tuple[int, int]] = []
    last = -1
    for index in np.flatnonzero(errors.any(axis=1)).tolist():
        one, two = errors[index].tolist()
        # Words at odd indices after the last error and before this one.
        if index // 2 - (last + 1) // 2 >= BOUNDARY or not per_segment:
            per_segment.append((0, 0))
        per_segment[-1] = (per_segment[-1][0] + one, per_segment[-1][1] + two)
        last = index
    return per_segment


def matched_pairs(differences: Sequence[int]) -> Mapsswe:
    """Test whether the differences in errors of the segments have mean 0 (Gillick and Cox 1989)."""
    count = len(differences)
    if count == 0:
        return Mapsswe(0, 0.0, None, 1.0)
    values = np.asarray(differences, dtype=np.float64)
    mean = float(values.mean())
    deviation = float(values.std(ddof=1)) if count > 1 else 0.0
    if deviation == 0:
        # The variance cannot be estimated; use the exact sign test.
        return Mapsswe(count, mean, None, min(1.0, 2 * 0.5**count) if mean else 1.0)
    z = mean / (deviation / math.sqrt(count))
    return Mapsswe(count, mean, z, math.erfc(abs(z) / math.sqrt(2)))


def mapsswe(first: Score, second: Score) -> Mapsswe:
    """Compare two scores of the same utterances in the same order."""
    rows = zip(first.utterance_scores, second.utterance_scores, strict=True)
    return matched_pairs([one - two for pair in rows for one, two in segments(*pair)])


def holm(values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number (Holm 1979), in the order given."""
    corrected = [0.0] * len(values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        largest = max(largest, min(1.0, values[index] * (len(values) - rank)))
        corrected[index] = largest
    return corrected
