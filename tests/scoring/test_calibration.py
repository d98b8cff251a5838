"""Whether confidences can be believed, by hand and on words drawn as the confidences say."""

import math

import numpy as np
import pytest

from asr.scoring import ScoringError, score
from asr.scoring.calibration import calibration
from asr.scoring.groups import Detail


def test_bins_by_hand() -> None:
    result = score(["A B C D", "E", "F"], ["A X C Y D", "E", "F"])
    details = [Detail(confidences=(0.95, 0.15, 1.0, 0.91, 0.8)), Detail(confidences=(0.5, 0.5)), Detail()]
    found = calibration(result, details)
    assert found
    # Of the second the numbers do not fit, of the third there are none.
    assert (found.utterances, found.words) == (1, 5)
    assert [(one.low, one.words) for one in found.bins] == [(0.1, 1), (0.8, 1), (0.9, 3)]
    assert found.bins[0].correct == 0
    assert found.bins[2].correct == pytest.approx(2 / 3)
    assert found.bins[2].confidence == pytest.approx((0.95 + 1 + 0.91) / 3)
    assert found.correct == 3 / 5
    error = (abs(0.15) + abs(0.8 - 1) + 3 * abs(2.86 / 3 - 2 / 3)) / 5
    assert found.expected_calibration_error == pytest.approx(error)


def test_cross_entropy_by_hand() -> None:
    found = calibration(score(["A B"], ["A X"]), [Detail(confidences=(0.8, 0.4))])
    assert found and found.normalised_cross_entropy == pytest.approx(1 - (-math.log2(0.8) - math.log2(0.6)) / 2)
    perfect = calibration(score(["A B"], ["A X"]), [Detail(confidences=(1.0, 0.0))])
    assert perfect and perfect.normalised_cross_entropy == pytest.approx(1, abs=1e-5)
    alike = calibration(score(["A B"], ["A B"]), [Detail(confidences=(1.0, 0.9))])
    assert alike and alike.normalised_cross_entropy is None


def test_confidences_that_are_true_are_found_so() -> None:
    random = np.random.default_rng(1)
    sure = random.random(4000)
    made = " ".join(np.where(random.random(4000) < sure, "A", "X"))
    found = calibration(score(["A " * 4000], [made]), [Detail(confidences=tuple(sure.tolist()))])
    assert found and found.expected_calibration_error < 0.03
    assert len(found.bins) == 10
    assert found.normalised_cross_entropy and 0.2 < found.normalised_cross_entropy < 0.35


def test_none_without_confidences() -> None:
    assert calibration(score(["A"], ["A"]), [Detail()]) is None
    assert calibration(score(["A"], [""]), [Detail()]) is None
    with pytest.raises(ScoringError, match="1 utterances but details of 0"):
        calibration(score(["A"], ["A"]), [])
