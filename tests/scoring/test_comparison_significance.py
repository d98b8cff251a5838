"""Tests of two systems against examples worked by hand, and against simulated systems that are equally good."""

import math
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from asr.scoring import Score, ScoringError, score
from asr.scoring.bootstrap import resample
from asr.scoring.comparison import holm, mapsswe, matched_pairs, paired_bootstrap, segments

Counts = NDArray[np.int64]


def parts(reference: str, first: str, second: str) -> list[tuple[int, int]]:
    # Beside a correct word, so that the reference may be empty.
    one, two = (score([reference, "X"], [hypothesis, "X"]).utterance_scores[0] for hypothesis in (first, second))
    return segments(one, two)


# The figure of Gillick and Cox (1989) as Jurafsky and Martin (2009, section 9.8) print it: four segments, in which the
# systems make 2 and 0, 0 and 1, 1 and 2, and 1 and 0 errors.
REFERENCE = "IT WAS THE BEST OF TIMES IT WAS THE WORST OF TIMES IT WAS"
FIRST = "ITS THE BEST OF TIMES IT IS THE WORST OF TIMES OR IT WAS"
SECOND = "IT WAS THE BEST TIMES IT WON THE TEST OF TIMES IT WAS"


def test_segments_of_the_published_example() -> None:
    assert parts(REFERENCE, FIRST, SECOND) == [(2, 0), (0, 1), (1, 2), (1, 0)]
    assert parts(REFERENCE, SECOND, FIRST) == [(0, 2), (1, 0), (2, 1), (0, 1)]


def test_mapsswe_of_the_published_example() -> None:
    result = mapsswe(score([REFERENCE], [FIRST]), score([REFERENCE], [SECOND]))
    # The differences 2, -1, -1, 1 have mean 1/4 and variance 6.75/3 = 1.5².
    assert (result.segments, result.mean) == (4, 0.25)
    assert result.z == pytest.approx(0.25 / (1.5 / math.sqrt(4)))
    assert result.p == pytest.approx(0.7389, abs=1e-4)


@pytest.mark.parametrize(
    ("reference", "first", "second", "wanted"),
    [
        ("A B C", "A B C", "A B C", []),
        # One word that both have right parts nothing; two do.
        ("A B C", "X B C", "A B X", [(1, 1)]),
        ("A B C D", "X B C D", "A B C X", [(1, 0), (0, 1)]),
        # An insertion between the two leaves one and one.
        ("A B C D", "X B Y C D", "A B C X", [(2, 1)]),
        # Insertions at both ends.
        ("A B", "X A B Y", "A B", [(1, 0), (1, 0)]),
        ("", "X", "Y Z", [(1, 2)]),
        ("A B", "", "", [(2, 2)]),
    ],
)
def test_segments(reference: str, first: str, second: str, wanted: list[tuple[int, int]]) -> None:
    assert parts(reference, first, second) == wanted


def test_segments_have_all_errors() -> None:
    random = np.random.default_rng(5)
    for _ in range(200):
        reference, first, second = (" ".join(random.choice(list("ABCD"), random.integers(0, 9))) for _ in range(3))
        one, two = (score([reference, "X"], [hypothesis, "X"]).utterance_scores[0] for hypothesis in (first, second))
        result = segments(one, two)
        assert (sum(left for left, _ in result), sum(right for _, right in result)) == (one.errors, two.errors)
        assert all(left or right for left, right in result)


def test_matched_pairs() -> None:
    # mean 0.5, deviation 1, 16 segments: z = 2.
    result = matched_pairs([2, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0][:16])
    assert result.mean == 0.5
    values = np.array([2, 1, 1, 1, 1, 1, 1] + [0] * 9)
    assert result.z == pytest.approx(0.5 / (values.std(ddof=1) / 4))
    assert result.p == pytest.approx(math.erfc((result.z or 0) / math.sqrt(2)))
    assert matched_pairs([-value for value in values.tolist()]).z == pytest.approx(-(result.z or 0))


@pytest.mark.parametrize(
    ("differences", "p"), [([], 1.0), ([1], 1.0), ([0, 0], 1.0), ([1, 1], 0.5), ([-2] * 6, 2 / 64)]
)
def test_matched_pairs_without_variance(differences: list[int], p: float) -> None:
    result = matched_pairs(differences)
    assert (result.z, result.p) == (None, p)


def test_resample_draws_every_sample_with_equal_probability() -> None:
    # Three utterances give 27 samples, each as likely; these are the frequencies of their sums.
    counts = np.array([[2, 4], [-1, 2], [0, 6]])
    wanted: dict[tuple[int, int], float] = {}
    for chosen in product(range(3), repeat=3):
        key = (int(counts[list(chosen), 0].sum()), int(counts[list(chosen), 1].sum()))
        wanted[key] = wanted.get(key, 0) + 1 / 27
    for copies in (1, 100):
        # A hundred copies of each are few kinds: the other way of drawing, of the same mean and spread.
        sums = resample(np.repeat(counts, copies, axis=0), 20_000, 1)
        assert sums.mean(axis=0) == pytest.approx(copies * counts.sum(axis=0), rel=0.02)
        spread = np.sqrt(3 * copies) * counts.std(axis=0)
        assert sums.std(axis=0) == pytest.approx(spread, rel=0.03)
    sums = resample(counts, 20_000, 1)
    for key, share in wanted.items():
        assert (sums == key).all(axis=1).mean() == pytest.approx(share, abs=0.01)


def test_paired_bootstrap() -> None:
    # Bisani and Ney (2004): the difference in each sample. Two utterances of four words, in one of which the first
    # system makes one error more: samples of difference 2/8, 1/8 (twice) and 0/8.
    result = paired_bootstrap(np.array([2, 1]), np.array([1, 1]), np.array([4, 4]), 40_000)
    assert (result.difference.value, result.difference.low, result.difference.high) == (1 / 8, 0.0, 2 / 8)
    assert result.p == pytest.approx(2 * 1 / 4, abs=0.01)


def test_paired_bootstrap_draws_the_same_utterances() -> None:
    random = np.random.default_rng(1)
    words = random.integers(5, 20, 500)
    hard = random.binomial(words, random.beta(1, 4, 500))
    # The second is always one error better in each tenth utterance: little, and certain.
    better = np.where(np.arange(500) % 10 == 0, np.maximum(hard - 1, 0), hard)
    result = paired_bootstrap(hard, better, words)
    assert result.difference.low > 0
    assert result.p < 0.01
    again = paired_bootstrap(better, hard, words)
    assert again.difference.value == -result.difference.value
    assert again.difference.high == pytest.approx(-result.difference.low, rel=0.05)


def test_paired_bootstrap_of_equal_systems_and_without_words() -> None:
    ones = np.ones(5, dtype=np.int64)
    result = paired_bootstrap(ones, ones, ones)
    assert (result.difference.low, result.difference.high, result.p) == (0.0, 0.0, 1.0)
    with pytest.raises(ScoringError, match="no error rate"):
        paired_bootstrap(ones, ones, 0 * ones)
    rare = np.array([3] + [0] * 400)
    assert paired_bootstrap(rare, 0 * rare, rare, resamples=1, seed=3).p == 1.0


def test_holm() -> None:
    # Holm (1979): the smallest times 3, the next times 2, the largest times 1, and never less than one before.
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.02, 0.02, 0.9]) == pytest.approx([0.06, 0.06, 0.9])
    assert holm([0.7, 0.6]) == [1.0, 1.0]
    assert holm([0.5]) == [0.5]
    assert holm([]) == []


def simulate(random: np.random.Generator, utterances: int) -> tuple[Counts, Counts, Counts]:
    """Draw the errors of two systems that are equally good, on utterances of differing difficulty, and the words."""
    words = random.integers(3, 25, utterances)
    hard = random.beta(1, 9, utterances)
    return random.binomial(words, hard), random.binomial(words, hard), words


def test_bootstrap_of_equal_systems_is_significant_in_5_percent() -> None:
    random = np.random.default_rng(11)
    result = [paired_bootstrap(*simulate(random, 300), seed=seed) for seed in range(1000)]
    assert 0.03 <= np.mean([one.p < 0.05 for one in result]) <= 0.07
    outside = [not one.difference.low <= 0 <= one.difference.high for one in result]
    assert 0.03 <= np.mean(outside) <= 0.07


def simulate_system(random: np.random.Generator, references: list[list[str]]) -> Score:
    """Return the score of a system with 12 % errors of every kind."""
    hypothesis = []
    for reference in references:
        chance = random.random(len(reference))
        words = [
            "X" if one < 0.08 else f"{word} Y" if one > 0.98 else word
            for word, one in zip(reference, chance, strict=True)
        ]
        hypothesis.append(" ".join(word for word, one in zip(words, chance, strict=True) if one > 0.02))
    return score([" ".join(reference) for reference in references], hypothesis)


def test_mapsswe_of_equal_systems_is_significant_in_5_percent() -> None:
    random = np.random.default_rng(12)
    corpora, size = 500, 40
    references = [[f"W{number}" for number in range(12)]] * (corpora * size)
    pairs = zip(*(simulate_system(random, references).utterance_scores for _ in range(2)), strict=True)
    differences = [[one - two for one, two in segments(*pair)] for pair in pairs]
    results = [
        matched_pairs([value for row in differences[start : start + size] for value in row])
        for start in range(0, corpora * size, size)
    ]
    assert 0.03 <= np.mean([result.p < 0.05 for result in results]) <= 0.07
    assert np.mean([result.z for result in results]) == pytest.approx(0, abs=0.1)
    assert np.std([result.z or 0.0 for result in results]) == pytest.approx(1, abs=0.1)


def test_matched_pairs_of_equal_distributions_is_significant_in_5_percent() -> None:
    random = np.random.default_rng(13)
    drawn = random.poisson(0.5, (4000, 150)) - random.poisson(0.5, (4000, 150))
    assert 0.03 <= np.mean([matched_pairs(row.tolist()).p < 0.05 for row in drawn]) <= 0.07
