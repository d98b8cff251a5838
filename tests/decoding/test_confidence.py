"""Word confidences by hand, and the temperature that calibrates them."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.decoding.confidence import (
    TEMPERATURES,
    agreement,
    confidences,
    cross_entropy,
    fit_temperature,
    matches,
    posteriors,
)
from asr.transcripts.records import Hypothesis, Word


def beam(*scored: tuple[str, float]) -> list[Hypothesis]:
    return [Hypothesis(text, score) for text, score in scored]


def test_posteriors_by_hand() -> None:
    scores = [math.log(0.5), math.log(0.25), math.log(0.125)]
    assert posteriors(scores, 1.0) == pytest.approx([4 / 7, 2 / 7, 1 / 7])
    assert posteriors(scores, 0.5) == pytest.approx([16 / 21, 4 / 21, 1 / 21])
    assert posteriors(scores, 1e9) == pytest.approx([1 / 3] * 3)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=6), st.floats(1e-6, 1e6))
def test_posteriors_are_ordered_and_sum_to_one(scores: list[float], temperature: float) -> None:
    scores = sorted(scores, reverse=True)
    shares = posteriors(scores, temperature)
    assert shares.sum() == pytest.approx(1)
    assert (np.diff(shares) <= 0).all()
    assert (shares >= 0).all()


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([], []),
        ([-np.inf], [0.0]),
        ([-np.inf, -np.inf], [0.0, 0.0]),
        ([0.0, -np.inf], [1.0, 0.0]),
        ([-1e6, -1e6], [0.5, 0.5]),
        ([-1e308, -1e308], [0.5, 0.5]),
        ([1e308, -1e308], [1.0, 0.0]),
        ([0.0, -1e6], [1.0, 0.0]),
    ],
)
def test_extreme_scores(scores: list[float], expected: list[float]) -> None:
    for temperature in (0.5, 1.0, 50.0):
        assert posteriors(scores, temperature).tolist() == expected


def test_agreement_uses_the_word_alignment() -> None:
    found = agreement(beam(("A B C", 0.0), ("A C", -1.0), ("X A B C", -1.0), ("", -2.0), ("C B A", -3.0)))
    assert found.astype(int).tolist() == [[1, 1, 1], [1, 0, 1], [1, 1, 1], [0, 0, 0], [0, 1, 0]]


def test_confidences_by_hand() -> None:
    found = beam(("A B", math.log(0.5)), ("A C", math.log(0.3)), ("B", math.log(0.2)))
    assert confidences(found, 1.0) == pytest.approx([0.8, 0.7])
    squares = np.array([0.25, 0.09, 0.04]) / 0.38
    assert confidences(found, 0.5) == pytest.approx([squares[0] + squares[1], squares[0] + squares[2]])


def test_acoustic_evidence_multiplies_the_share_of_the_hypotheses() -> None:
    words = (Word("A", 0.0, 1.0, 0.5), Word("B", 1.0, 2.0, 0.25))
    best = Hypothesis("A B", math.log(0.5), words=words)
    found = [best, *beam(("A C", math.log(0.3)), ("B", math.log(0.2)))]
    assert confidences(found, 1.0) == pytest.approx([0.8 * 0.5, 0.7 * 0.25])
    # In noise a search often finds one text; its words are no more certain than their frames.
    assert confidences(found[:1], 1.0) == [0.5, 0.25]


def test_temperature_fits_the_confidences_with_their_acoustic_evidence() -> None:
    evidence = 0.8
    random = np.random.default_rng(5)
    lists, references = [], []
    for _ in range(4000):
        gap = 2.0 * random.exponential(1.5)
        lists.append([Hypothesis("A", 0.0, words=(Word("A", 0.0, 1.0, evidence),)), Hypothesis("B", -gap)])
        references.append("A" if random.random() < evidence / (1 + math.exp(-gap / 2.0)) else "B")
    assert fit_temperature(lists, references) == pytest.approx(2.0, rel=0.2)


def test_negligible_hypotheses_change_nothing() -> None:
    near = beam(("A B", 0.0), ("A C", -1.0))
    assert confidences([*near, *beam(("X", -30.0))], 1.0) == confidences(near, 1.0)
    assert confidences(near[:1], 1.0) == [1.0, 1.0]


@pytest.mark.parametrize("found", [[], beam(("", 0.0)), beam(("", -np.inf))])
def test_no_words(found: list[Hypothesis]) -> None:
    assert confidences(found, 1.0) == []


def test_impossible_hypotheses_have_confidence_zero() -> None:
    assert confidences(beam(("A B", -np.inf)), 1.0) == [0.0, 0.0]


@pytest.mark.parametrize(
    ("hypothesis", "reference", "expected"),
    [
        ("A B C", "A B C", [1, 1, 1]),
        ("A X C", "A B C", [1, 0, 1]),
        ("A B C", "B C", [0, 1, 1]),
        ("A", "", [0]),
        ("", "A", []),
        ("", "", []),
    ],
)
def test_matches_by_hand(hypothesis: str, reference: str, expected: list[int]) -> None:
    assert matches(hypothesis, reference).astype(int).tolist() == expected


def test_cross_entropy_by_hand() -> None:
    sure, right = np.array([0.9, 0.8, 0.3]), np.array([True, False, False])
    assert cross_entropy(sure, right) == pytest.approx(-(math.log(0.9) + math.log(0.2) + math.log(0.7)) / 3)
    assert cross_entropy(np.array([1.0, 0.0]), np.array([False, True])) == pytest.approx(-math.log(1e-4))


@pytest.mark.parametrize("truth", [0.7, 2.0, 8.0])
def test_fit_finds_the_temperature_of_the_data(truth: float) -> None:
    # Each list has two texts of one word; how often the best is right follows its share at the true temperature.
    random = np.random.default_rng(int(10 * truth))
    lists, references = [], []
    for _ in range(2000):
        gap = truth * random.exponential(1.5)
        lists.append(beam(("A", 0.0), ("B", -gap)))
        references.append("A" if random.random() < 1 / (1 + math.exp(-gap / truth)) else "B")
    assert fit_temperature(lists, references) == pytest.approx(truth, rel=0.2)


def test_fit_is_extreme_if_all_words_are_right_or_wrong() -> None:
    lists = [beam(("A", 0.0), ("B", -1.0))] * 20
    assert fit_temperature(lists, ["A"] * 20) == TEMPERATURES[0]
    assert fit_temperature(lists, ["B"] * 20) == TEMPERATURES[-1]


@pytest.mark.parametrize(("lists", "references"), [([], []), ([beam(("", 0.0))], ["A"]), ([beam(("", -np.inf))], [""])])
def test_fit_without_words_is_one(lists: list[list[Hypothesis]], references: list[str]) -> None:
    assert fit_temperature(lists, references) == 1.0


def test_fit_ignores_impossible_hypotheses() -> None:
    lists = [beam(("A", 0.0), ("B", -1.0))] * 30
    references = ["A"] * 22 + ["B"] * 8
    alone = fit_temperature(lists, references)
    assert fit_temperature([*lists, beam(("", -np.inf))], [*references, "A"]) == alone
