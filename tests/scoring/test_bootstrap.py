"""Bootstrap intervals of rates."""

import numpy as np
import pytest
from numpy.typing import NDArray

from asr.scoring import Rate, ScoringError, interval, score

Counts = NDArray[np.int64]


def simulate(random: np.random.Generator, utterances: int) -> tuple[Counts, Counts]:
    """Draw words and errors of utterances that differ in length and difficulty; the true rate is 0.2."""
    words = random.integers(1, 16, utterances)
    return random.binomial(words, random.beta(1, 4, utterances)), words


def test_interval_contains_its_value() -> None:
    for seed in range(50):
        rate = interval(*simulate(np.random.default_rng(seed), 40), resamples=200)
        assert 0 <= rate.low < rate.value < rate.high <= 1


def test_interval_is_repeatable() -> None:
    data = simulate(np.random.default_rng(1), 60)
    assert interval(*data) == interval(*data)
    assert interval(*data) != interval(*data, seed=1)


def test_interval_narrows_with_the_root_of_the_data() -> None:
    random = np.random.default_rng(2)
    small, large = (interval(*simulate(random, utterances)) for utterances in (100, 2500))
    assert 4 < (small.high - small.low) / (large.high - large.low) < 6.5


def test_interval_covers_the_true_rate() -> None:
    random = np.random.default_rng(3)
    corpora = 200
    inside = 0
    for seed in range(corpora):
        rate = interval(*simulate(random, 150), resamples=200, seed=seed)
        inside += rate.low <= 0.2 <= rate.high
    assert 0.88 <= inside / corpora <= 0.99


def test_interval_resamples_whole_utterances() -> None:
    # Ten errors in each of ten utterances vary more than one error in each of a hundred.
    words = np.full(100, 10)
    clustered = interval(np.where(np.arange(100) < 10, 10, 0), words)
    even = interval(np.ones(100, dtype=np.int64), words)
    assert clustered.value == even.value == 0.1
    assert even == Rate(0.1, 0.1, 0.1)
    assert clustered.high - clustered.low == pytest.approx(2 * 1.96 * 0.03, rel=0.1)


def test_interval_of_one_utterance() -> None:
    rate = interval(np.array([1]), np.array([4]))
    assert rate.value == 0.25 and np.isnan([rate.low, rate.high]).all()


def test_interval_of_no_errors() -> None:
    assert interval(np.zeros(5, dtype=np.int64), np.arange(5)) == Rate(0.0, 0.0, 0.0)


def test_interval_where_most_references_are_empty() -> None:
    words = np.zeros(50, dtype=np.int64)
    words[[7, 8]] = 4
    rate = interval(np.where(words, 2, 0), words, resamples=50)
    assert rate == Rate(0.5, 0.5, 0.5)


def test_interval_without_words_is_refused() -> None:
    with pytest.raises(ScoringError, match="no error rate"):
        interval(np.array([1, 2]), np.array([0, 0]))


def test_scores_use_the_interval() -> None:
    result = score(["A B", "C D", "E"], ["A X", "C D", "E"])
    assert result.wer == interval(np.array([1, 0, 0]), np.array([2, 2, 1]))
    assert result.cer == interval(np.array([1, 0, 0]), np.array([3, 3, 1]))
