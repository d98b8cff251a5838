"""The power law of error rates: on synthetic counts whose law is known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from asr.scoring import ScoringError
from asr.scoring.power_law import fit_power_law

HOURS = [1.0, 2.0, 4.0, 8.0]
WORDS = np.full(400, 10)


def counts(rates: list[float], seed: int = 1) -> NDArray[np.int64]:
    """Return errors (rates, utterances) drawn with these rates."""
    random = np.random.default_rng(seed)
    return np.stack([random.binomial(WORDS, rate) for rate in rates])


def test_law_of_exact_rates_is_found() -> None:
    errors = np.stack([np.full(400, round(320 / hours)) for hours in HOURS])
    law = fit_power_law(HOURS, errors, np.full(400, 1000), 16.0)
    assert law.factor == pytest.approx(0.32)
    assert law.exponent.value == pytest.approx(1.0)
    # All utterances are equal, so the intervals have no width.
    assert law.exponent.low == pytest.approx(law.exponent.high) == pytest.approx(1.0)
    assert law.at_next.value == pytest.approx(0.02)
    assert law.rate(2.0) == pytest.approx(0.16)


def test_intervals_contain_the_law_as_often_as_they_say() -> None:
    true = [0.4 * hours**-0.5 for hours in (*HOURS, 16.0)]
    laws = [fit_power_law(HOURS, counts(true[:4], seed), WORDS, 16.0) for seed in range(100)]
    assert 90 <= sum(law.exponent.low <= 0.5 <= law.exponent.high for law in laws) <= 100
    assert 90 <= sum(law.at_next.low <= true[4] <= law.at_next.high for law in laws) <= 100
    assert np.mean([law.exponent.value for law in laws]) == pytest.approx(0.5, abs=0.01)


def test_models_that_have_not_learnt_are_left_out() -> None:
    law = fit_power_law(HOURS, counts([0.97, 0.4, 0.28, 0.2]), WORDS, 16.0)
    assert law.used == (False, True, True, True)
    assert law.exponent.value == pytest.approx(0.5, abs=0.1)


def test_too_few_rates_are_an_error() -> None:
    with pytest.raises(ScoringError, match=r"needs 3 error rates between 0 and 90 %, but they are 100.00 %, 9\d"):
        fit_power_law(HOURS, counts([1.0, 0.97, 0.5, 0.3]), WORDS, 16.0)
    with pytest.raises(ScoringError, match="no words"):
        fit_power_law(HOURS, np.zeros((4, 3), int), np.zeros(3, int), 16.0)


def test_resamples_without_errors_are_no_infinities() -> None:
    errors = counts([0.2, 0.1, 0.05, 0.0])
    errors[3, 0] = 1
    law = fit_power_law(HOURS, errors, WORDS, 16.0)
    assert np.isfinite([law.exponent.high, law.at_next.low]).all()
    assert 0 < law.at_next.low < law.at_next.high
