"""Two systems' scores on the same utterances -> whether their difference is more than chance."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from asr.scoring import RESAMPLES, SEED, Counts, Rate, Score, ScoringError, UtteranceScore
from asr.scoring.alignment import INSERTION
from asr.scoring.bootstrap import resampled

# Words that both systems have right, in a row, that part two segments: as in SCTK.
BOUNDARY = 2


@dataclass(frozen=True)
class Bootstrap:
    """The paired bootstrap of two systems: `difference` is the first's WER less the second's, two-sided p."""

    difference: Rate
    p: float


@dataclass(frozen=True)
class Mapsswe:
    """The matched-pairs sentence-segment word error test: `mean` errors a segment of the first less the second's.

    `z` is None where all segments differ alike, or there is one only; p is two-sided.
    """

    segments: int
    mean: float
    z: float | None
    p: float


def paired_bootstrap(
    first: Counts, second: Counts, words: Counts, resamples: int = RESAMPLES, seed: int = SEED
) -> Bootstrap:
    """Compare the errors (utterances,) of two systems by drawing the same utterances for both.

    Bisani and Ney (2004). Raises ScoringError where there are no words.
    """
    total = int(words.sum())
    if total == 0:
        raise ScoringError("the references hold no words at all: there is no error rate")
    value = int(first.sum() - second.sum()) / total
    sums = resampled(np.column_stack([first - second, words]), resamples, seed)
    sums = sums[sums[:, 1] > 0]
    if len(sums) == 0:
        return Bootstrap(Rate(value, value, value), 1.0)
    differences = sums[:, 0] / sums[:, 1]
    low, high = np.percentile(differences, [2.5, 97.5])
    # The sample itself counts as one of the draws, so that p is never 0.
    tail = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    return Bootstrap(Rate(value, float(low), float(high)), min(1.0, 2 * (tail + 1) / (len(differences) + 1)))


def _marks(row: UtteranceScore) -> tuple[list[int], list[int]]:
    """Return the errors at each reference word, and the insertions before each and after the last."""
    wrong, inserted = [0] * row.words, [0] * (row.words + 1)
    for edit in row.edits(wrong_only=True):
        (inserted if edit.operation == INSERTION else wrong)[edit.position] += 1
    return wrong, inserted


def segments(first: UtteranceScore, second: UtteranceScore) -> list[tuple[int, int]]:
    """Return both systems' errors in each segment of an utterance that has any.

    Segments are parted by the ends of the utterance, and by two or more words that both systems have right with
    nothing inserted between them (Gillick and Cox 1989; as SCTK does).
    """
    if not first.errors and not second.errors:
        return []
    (wrong, inserted), (other_wrong, other_inserted) = _marks(first), _marks(second)
    found: list[tuple[int, int]] = []
    one = two = right = 0
    for gap, word, other_gap, other_word in zip_longest(inserted, wrong, other_inserted, other_wrong, fillvalue=0):
        if gap or other_gap:
            if right >= BOUNDARY and (one or two):
                found.append((one, two))
                one = two = 0
            one, two, right = one + gap, two + other_gap, 0
        if not word and not other_word:
            right += 1
            continue
        if right >= BOUNDARY and (one or two):
            found.append((one, two))
            one = two = 0
        one, two, right = one + word, two + other_word, 0
    if one or two:
        found.append((one, two))
    return found


def matched_pairs(differences: Sequence[int]) -> Mapsswe:
    """Test whether the segments' differences in errors have mean 0 (Gillick and Cox 1989)."""
    count = len(differences)
    if count == 0:
        return Mapsswe(0, 0.0, None, 1.0)
    values = np.asarray(differences, dtype=np.float64)
    mean = float(values.mean())
    deviation = float(values.std(ddof=1)) if count > 1 else 0.0
    if deviation == 0:
        # Nothing to estimate a variance from; the exact sign test is what is left.
        return Mapsswe(count, mean, None, min(1.0, 2 * 0.5**count) if mean else 1.0)
    z = mean / (deviation / math.sqrt(count))
    return Mapsswe(count, mean, z, math.erfc(abs(z) / math.sqrt(2)))


def mapsswe(first: Score, second: Score) -> Mapsswe:
    """Compare two systems' scores of the same utterances, in the same order."""
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
