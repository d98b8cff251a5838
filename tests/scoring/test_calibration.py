"""Calibration, computed by hand and for words drawn with the probability of their confidence."""

import math

import numpy as np
import pytest

from asr.scoring import ScoringError, score
from asr.scoring.calibration import calibration


def test_bins() -> None:
    result = score(["A B C D", "E", "F"], ["A X C Y D", "E", "F"])
    confidences = [(0.95, 0.15, 1.0, 0.91, 0.8), (0.5, 0.5), ()]
    calibrated = calibration(result, confidences)
    assert calibrated
    # The second utterance has too many confidences, the third has none.
    assert (calibrated.utterances, calibrated.words) == (1, 5)
    assert [(entry.low, entry.words) for entry in calibrated.bins] == [(0.1, 1), (0.8, 1), (0.9, 3)]
    assert calibrated.bins[0].correct == 0
    assert calibrated.bins[2].correct == pytest.approx(2 / 3)
    assert calibrated.bins[2].confidence == pytest.approx((0.95 + 1 + 0.91) / 3)
    assert calibrated.correct == 3 / 5
    error = (abs(0.15) + abs(0.8 - 1) + 3 * abs(2.86 / 3 - 2 / 3)) / 5
    assert calibrated.expected_calibration_error == pytest.approx(error)


def test_normalised_cross_entropy() -> None:
    calibrated = calibration(score(["A B"], ["A X"]), [(0.8, 0.4)])
    assert calibrated and calibrated.normalised_cross_entropy == pytest.approx(
        1 - (-math.log2(0.8) - math.log2(0.6)) / 2
    )
    perfect = calibration(score(["A B"], ["A X"]), [(1.0, 0.0)])
    assert perfect and perfect.normalised_cross_entropy == pytest.approx(1, abs=1e-5)
    alike = calibration(score(["A B"], ["A B"]), [(1.0, 0.9)])
    assert alike and alike.normalised_cross_entropy is None


def test_calibrated_confidences_have_a_small_error() -> None:
    random = np.random.default_rng(1)
    confidences = random.random(4000)
    hypothesis = " ".join(np.where(random.random(4000) < confidences, "A", "X"))
    calibrated = calibration(score(["A " * 4000], [hypothesis]), [confidences.tolist()])
    assert calibrated and calibrated.expected_calibration_error < 0.03
    assert len(calibrated.bins) == 10
    assert calibrated.normalised_cross_entropy and 0.2 < calibrated.normalised_cross_entropy < 0.35


def test_no_confidences_give_no_calibration() -> None:
    assert calibration(score(["A"], ["A"]), [()]) is None
    assert calibration(score(["A"], [""]), [()]) is None
    with pytest.raises(ScoringError, match="1 utterances but values of 0"):
        calibration(score(["A"], ["A"]), [])
