"""Interpolated modified Kneser-Ney estimation (Chen and Goodman 1998), as KenLM's lmplz defines it.

An n-gram of the highest order, or one that begins with <s>, keeps its count; a shorter n-gram gets the number of
different words before it. Discounts follow equation 26 of the paper. Unigrams are interpolated with the uniform
distribution over all words but <s>, which gives <unk> its probability. The probability mass of n-grams that a cut-off
drops goes to the back-off.
"""

import tempfile
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from asr.lm.ngram.counting import BEGIN_ID, Counts, count, write_text
from asr.lm.ngram.model import Doubles, Ints, Longs, NgramModel
from asr.lm.ngram.trie import WORD_BITS, WORD_MASK, Level, assemble
from asr.lm.text import LmError

# lmplz's --discount_fallback, for texts that are too small for counts of counts.
FALLBACK = (0.5, 1.0, 1.5)
_MAX_ORDER = 9


@dataclass(frozen=True)
class EstimateSettings:
    """How to estimate a model.

    `cutoffs`: by order, drop n-grams that occur at most this often: (0, 0, 1) drops trigrams that occur once. The last
    cut-off applies to all higher orders. The words of `vocabulary` and those that occur `min_count` times in the text
    are known, all others are <unk>; without either, all words are known. `chunk`: words that are sorted at a time.
    `folder`: for temporary files; None: the system's.
    """

    order: int = 3
    cutoffs: tuple[int, ...] = (0,)
    vocabulary: Collection[str] | None = None
    min_count: int | None = None
    chunk: int = 4_000_000
    folder: Path | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.order <= _MAX_ORDER:
            raise LmError(f"order = {self.order} is not between 1 and {_MAX_ORDER}")
        if not self.cutoffs or self.cutoffs[0] or any(left > right for left, right in pairwise(self.cutoffs)):
            raise LmError(f"cutoffs = {self.cutoffs} must start with 0 and not decrease")
        if self.min_count is not None and self.min_count < 1:
            raise LmError(f"min_count = {self.min_count} must be at least 1")
        if self.chunk < 1:
            raise LmError(f"chunk = {self.chunk} must be at least 1")


@dataclass(frozen=True, eq=False)
class _Lower:
    """The order below the current one: all its n-grams, including those that a cut-off drops."""

    base: int
    probs: Doubles
    renumbered: Ints  # entries of the model; -1 if dropped


def estimate(sentences: Iterable[Sequence[str]], settings: EstimateSettings) -> NgramModel:
    """Estimate a model. Raises LmError if there are no sentences or an ARPA file cannot represent a word."""
    with tempfile.TemporaryDirectory(dir=settings.folder, prefix="asr-ngram-") as folder:
        text = Path(folder, "text")
        words = write_text(sentences, text, settings.vocabulary, settings.min_count)
        try:
            counted = list(count(text, len(words), settings.order, settings.chunk))
        except OSError as error:
            # The error of a full disk has no file name.
            error.filename = error.filename or folder
            raise
        levels = _levels(counted, settings)
        return assemble(words, levels)


def _levels(counted: Sequence[Counts], settings: EstimateSettings) -> list[Level]:
    words = len(counted[0].keys)
    # Below the unigrams is the empty n-gram, a uniform distribution over all words but <s>.
    lower = _Lower(0, np.array([1 / (words - 1)]), np.zeros(1, np.int32))
    next_entry = 1
    levels: list[Level] = []
    for order, counts in enumerate(counted, 1):
        longer = counted[order] if order < len(counted) else None
        adjusted = _adjusted(counts, longer, begin=_begin(counted, order), chunk=settings.chunk)
        cutoff = settings.cutoffs[min(order, len(settings.cutoffs)) - 1]
        kept = counts.raw > cutoff if cutoff else np.ones(len(counts.keys), np.bool_)
        gamma, probs = _interpolated(counts, adjusted, kept, lower, settings.chunk)
        if levels:
            dropped = lower.renumbered < 0
            levels[-1].backoffs[:] = np.log(gamma[~dropped])
        if order == 1:
            probs[BEGIN_ID] = 1.0
        renumbered = np.where(kept, next_entry - 1 + np.cumsum(kept), -1).astype(np.int32)
        next_entry += int(np.count_nonzero(kept))
        levels.append(_level(counts, kept, probs, lower))
        lower = _Lower(counts.base, probs, renumbered)
    return levels


def _level(counts: Counts, kept: npt.NDArray[np.bool_], probs: Doubles, lower: _Lower) -> Level:
    keys = counts.keys[kept]
    size = len(keys)
    return Level(
        lower.renumbered[(keys >> WORD_BITS) - lower.base],
        (keys & WORD_MASK).astype(np.int32),
        np.log(probs[kept]).astype(np.float32),
        np.zeros(size, np.float32),
        lower.renumbered[counts.suffix[kept] - lower.base],
    )


def _begin(counted: Sequence[Counts], order: int) -> slice:
    """Return which n-grams of an order begin with <s>; n-grams with the same first word are adjacent."""
    first, last = BEGIN_ID, BEGIN_ID + 1
    for lower, counts in pairwise(counted[:order]):
        first, last = np.searchsorted(counts.keys, [(lower.base + end) << WORD_BITS for end in (first, last)]).tolist()
    return slice(first, last)


def _adjusted(counts: Counts, longer: Counts | None, begin: slice, chunk: int) -> Longs:
    """Return the adjusted counts of Kneser-Ney smoothing."""
    if longer is None:
        adjusted = np.array(counts.raw)
    else:
        adjusted = np.zeros(len(counts.keys), np.int64)
        for start in range(0, len(longer.suffix), chunk):
            np.add.at(adjusted, longer.suffix[start : start + chunk] - counts.base, 1)
        adjusted[begin] = counts.raw[begin]
    if counts.base == 1:
        # <s> is never predicted.
        adjusted[BEGIN_ID] = 0
    return adjusted


def discounts(adjusted: Longs) -> tuple[float, float, float]:
    """Return the discounts of counts of 1, 2, and 3 or more (Chen and Goodman 1998, equation 26).

    If the counts of counts determine no valid discounts, return lmplz's fallback.
    """
    n = np.bincount(np.minimum(adjusted, 5), minlength=6)[:5].tolist()
    if not all(n[1:4]):
        return FALLBACK
    ratio = n[1] / (n[1] + 2 * n[2])
    one, two, three = (j - (j + 1) * ratio * n[j + 1] / n[j] for j in (1, 2, 3))
    # A discount of 0 could leave no probability for unseen words.
    return (one, two, three) if 0 < one <= 1 and 0 < two <= 2 and 0 < three <= 3 else FALLBACK


def _interpolated(
    counts: Counts, adjusted: Longs, kept: npt.NDArray[np.bool_], lower: _Lower, chunk: int
) -> tuple[Doubles, Doubles]:
    """Return the weight of the lower order for each context, and the probability of each n-gram."""
    by_count = np.array([0.0, *discounts(adjusted)])
    # Sums of integers do not depend on the chunks: all counts, dropped counts, and how many counts are 1, 2, 3+.
    total = np.zeros(len(lower.probs))
    tallies = np.zeros((4, len(lower.probs)))
    spans = [slice(start, start + chunk) for start in range(0, len(counts.keys), chunk)]
    for span in spans:
        contexts = (counts.keys[span] >> WORD_BITS) - lower.base
        first, size = contexts[0], contexts[-1] - contexts[0] + 1
        total[first : first + size] += np.bincount(contexts - first, adjusted[span], minlength=size)
        kind = np.where(kept[span], np.minimum(adjusted[span], 3), 0)
        for j, tally in enumerate(tallies):
            weights = (kind == j) * (1 if j else adjusted[span])
            tally[first : first + size] += np.bincount(contexts - first, weights, minlength=size)
    left = tallies[0] + by_count[1:] @ tallies[1:]
    gamma = np.divide(left, total, out=np.ones(len(total)), where=total > 0)
    probs = np.empty(len(counts.keys))
    for span in spans:
        contexts = (counts.keys[span] >> WORD_BITS) - lower.base
        remaining = adjusted[span] - by_count[np.minimum(adjusted[span], 3)]
        probs[span] = remaining / total[contexts] + gamma[contexts] * lower.probs[counts.suffix[span] - lower.base]
    return gamma, probs
