"""Confidences of hypothesised words + their alignment -> whether the confidences can be believed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asr.scoring import Score, ScoringError
from asr.scoring.alignment import CORRECT, DELETION
from asr.scoring.groups import Detail

BINS = 10


@dataclass(frozen=True)
class Bin:
    """The words with a confidence from `low` to before `high`: how sure the system was, and how often it was right."""

    low: float
    high: float
    words: int
    confidence: float
    correct: float


@dataclass(frozen=True)
class Calibration:
    """How well confidences tell right words from wrong ones, over `words` of `utterances`.

    `expected_calibration_error`: the mean distance of confidence and fraction correct over the bins, weighted by words
    (Naeini et al. 2015). `normalised_cross_entropy`: as sclite's NCE, 1 is perfect and 0 no better than the overall
    fraction correct; None where all words are right, or all wrong.
    """

    utterances: int
    words: int
    confidence: float
    correct: float
    expected_calibration_error: float
    normalised_cross_entropy: float | None
    bins: tuple[Bin, ...]


def calibration(score: Score, details: Sequence[Detail]) -> Calibration | None:
    """Return the calibration over the utterances with a confidence for each word, or None where there are none."""
    if len(details) != score.utterances:
        raise ScoringError(f"{score.utterances} utterances but details of {len(details)}")
    sure: list[float] = []
    right: list[bool] = []
    utterances = 0
    for row, detail in zip(score.utterance_scores, details, strict=True):
        found = [edit.operation == CORRECT for edit in row.edits() if edit.operation != DELETION]
        if found and len(found) == len(detail.confidences):
            utterances += 1
            sure.extend(detail.confidences)
            right.extend(found)
    if not sure:
        return None
    confidence, correct = np.array(sure), np.array(right, dtype=np.float64)
    places = np.minimum((confidence * BINS).astype(int), BINS - 1)
    bins = []
    for place in range(BINS):
        own = places == place
        if own.any():
            means = float(confidence[own].mean()), float(correct[own].mean())
            bins.append(Bin(place / BINS, (place + 1) / BINS, int(own.sum()), *means))
    error = sum(one.words * abs(one.confidence - one.correct) for one in bins) / len(sure)
    cross_entropy = _cross_entropy(confidence.tolist(), right)
    means = float(confidence.mean()), float(correct.mean())
    return Calibration(utterances, len(sure), *means, error, cross_entropy, tuple(bins))


def _cross_entropy(confidences: Sequence[float], right: Sequence[bool]) -> float | None:
    share = sum(right) / len(right)
    if share in (0.0, 1.0):
        return None
    most = -(share * math.log2(share) + (1 - share) * math.log2(1 - share)) * len(right)
    # As sclite does, so that one word that was held for certain and is wrong does not make it minus infinity.
    kept = (min(max(confidence, 1e-7), 1 - 1e-7) for confidence in confidences)
    told = sum(-math.log2(one if good else 1 - one) for one, good in zip(kept, right, strict=True))
    return (most - told) / most
