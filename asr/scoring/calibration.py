"""Calibration: how well the confidences of words predict whether the words are correct."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asr.scoring.counts import CORRECT, DELETION, Score
from asr.scoring.groups import check_length

BINS = 10


@dataclass(frozen=True)
class Bin:
    """The words with a confidence from `low` to before `high`: mean confidence and fraction correct."""

    low: float
    high: float
    words: int
    confidence: float
    correct: float


@dataclass(frozen=True)
class Calibration:
    """The calibration over `words` of `utterances`; `confidence` is the mean and `correct` the fraction correct.

    `expected_calibration_error`: the mean distance of confidence and fraction correct over the bins, weighted by words
    (Naeini et al. 2015). `normalised_cross_entropy`: as sclite's NCE, 1 is perfect and 0 no better than the overall
    fraction correct; None if all words are correct, or none is.
    """

    utterances: int
    words: int
    confidence: float
    correct: float
    expected_calibration_error: float
    normalised_cross_entropy: float | None
    bins: tuple[Bin, ...]


def calibration(score: Score, confidences: Sequence[Sequence[float]]) -> Calibration | None:
    """Return the calibration over the utterances with a confidence for each word; None if there are none."""
    check_length(score, confidences)
    known: list[float] = []
    correct: list[bool] = []
    utterances = 0
    for row, values in zip(score.utterance_scores, confidences, strict=True):
        outcomes = [edit.operation == CORRECT for edit in row.edits() if edit.operation != DELETION]
        if outcomes and len(outcomes) == len(values):
            utterances += 1
            known.extend(values)
            correct.extend(outcomes)
    if not known:
        return None
    confidence, outcome = np.array(known), np.array(correct, dtype=np.float64)
    indices = np.minimum((confidence * BINS).astype(int), BINS - 1)
    bins = []
    for index in np.unique(indices):
        chosen = indices == index
        means = float(confidence[chosen].mean()), float(outcome[chosen].mean())
        bins.append(Bin(int(index) / BINS, (int(index) + 1) / BINS, int(chosen.sum()), *means))
    return Calibration(
        utterances,
        len(known),
        float(confidence.mean()),
        float(outcome.mean()),
        sum(entry.words * abs(entry.confidence - entry.correct) for entry in bins) / len(known),
        _normalised_cross_entropy(confidence, outcome),
        tuple(bins),
    )


def _normalised_cross_entropy(confidence: NDArray[np.float64], outcome: NDArray[np.float64]) -> float | None:
    share = float(outcome.mean())
    if share in (0.0, 1.0):
        return None
    entropy = -(share * np.log2(share) + (1 - share) * np.log2(1 - share)) * len(outcome)
    # Clipped as sclite does, so that one wrong word of confidence 1 does not make the result minus infinity.
    clipped = np.clip(confidence, 1e-7, 1 - 1e-7)
    cross_entropy = -np.log2(np.where(outcome > 0, clipped, 1 - clipped)).sum()
    return float((entropy - cross_entropy) / entropy)
