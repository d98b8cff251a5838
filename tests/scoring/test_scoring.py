"""Counts by hand and by another edit distance; rates pooled; intervals that cover what they promise to."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from asr.scoring import Rate, Score, ScoringError, UtteranceScore, interval, score, worst

Counts = NDArray[np.int64]


def one(reference: str, hypothesis: str) -> UtteranceScore:
    """Score one pair, beside a correct word, so that the reference may be empty."""
    return score([reference, "X"], [hypothesis, "X"]).utterance_scores[0]


def distance(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """Return the least number of substitutions, deletions and insertions (Wagner and Fischer, 1974)."""
    above = list(range(len(hypothesis) + 1))
    for row, wanted in enumerate(reference, 1):
        current = [row]
        for column, found in enumerate(hypothesis, 1):
            current.append(min(above[column] + 1, current[-1] + 1, above[column - 1] + (wanted != found)))
        above = current
    return above[-1]


# --- one utterance ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "hypothesis", "words", "substitutions", "deletions", "insertions"),
    [
        ("THE CAT SAT", "THE CAT SAT", 3, 0, 0, 0),
        ("THE CAT SAT", "THE DOG SAT", 3, 1, 0, 0),
        ("THE CAT SAT", "THE SAT", 3, 0, 1, 0),
        ("THE CAT SAT", "THE FAT CAT SAT", 3, 0, 0, 1),
        ("THE CAT SAT", "A CAT SAT DOWN", 3, 1, 0, 1),
        ("A B C D", "A X C", 4, 1, 1, 0),
        ("A B C D E", "X B D E F", 5, 1, 1, 1),
        ("A", "A", 1, 0, 0, 0),
        ("A", "B", 1, 1, 0, 0),
        ("A", "A A", 1, 0, 0, 1),
        ("A I", "I", 2, 0, 1, 0),
        ("", "", 0, 0, 0, 0),
        ("", "A B", 0, 0, 0, 2),
        ("A B", "", 2, 0, 2, 0),
        ("  ", " ", 0, 0, 0, 0),
        ("IT'S", "ITS", 1, 1, 0, 0),
        ("the", "THE", 1, 1, 0, 0),
        ("ÜBER 日本", "UBER 日本", 2, 1, 0, 0),
    ],
)
def test_words(
    reference: str, hypothesis: str, words: int, substitutions: int, deletions: int, insertions: int
) -> None:
    found = one(reference, hypothesis)
    assert (found.words, found.substitutions, found.deletions, found.insertions) == (
        words,
        substitutions,
        deletions,
        insertions,
    )
    assert found.errors == substitutions + deletions + insertions
    assert (found.reference, found.hypothesis) == (reference, hypothesis)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "characters", "errors"),
    [
        ("CAT", "CAT", 3, 0),
        ("CAT", "CUT", 3, 1),
        ("CAT", "CA", 3, 1),
        ("CAT", "CART", 3, 1),
        ("A CAT", "ACAT", 5, 1),
        ("AB", "BA", 2, 2),
        ("", "AB C", 0, 4),
        ("AB C", "", 4, 4),
        ("", "", 0, 0),
    ],
)
def test_characters(reference: str, hypothesis: str, characters: int, errors: int) -> None:
    found = one(reference, hypothesis)
    assert (found.characters, found.character_errors) == (characters, errors)


@pytest.mark.parametrize("hypothesis", ["A  BC", " A BC", "A BC ", "A\tBC", "A\nBC", "\n A \r\n BC\t", "A\u00a0BC"])
def test_layout_is_no_error(hypothesis: str) -> None:
    for found in (one("A BC", hypothesis), one(hypothesis, "A BC")):
        assert (found.words, found.errors, found.characters, found.character_errors) == (2, 0, 4, 0)


WORDS = st.lists(st.sampled_from(["A", "B", "C", "AB", "BA"]), max_size=8)


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.lists(st.tuples(WORDS, WORDS), min_size=10, max_size=25))
def test_errors_are_the_edit_distance(pairs: list[tuple[list[str], list[str]]]) -> None:
    texts = [(" ".join(reference), " ".join(hypothesis)) for reference, hypothesis in pairs]
    result = score([text for text, _ in texts] + ["X"], [text for _, text in texts] + ["X"])
    for found, (reference, hypothesis) in zip(result.utterance_scores, pairs, strict=False):
        assert found.words == len(reference)
        assert found.errors == distance(reference, hypothesis)
        assert len(hypothesis) == len(reference) - found.deletions + found.insertions
        assert min(found.substitutions, found.deletions, found.insertions) >= 0
    for found, (text, heard) in zip(result.utterance_scores, texts, strict=False):
        assert found.characters == len(text)
        assert found.character_errors == distance(text, heard)


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.lists(st.tuples(st.text(max_size=12), st.text(max_size=12)), max_size=15))
@example([("\x1f", "\x1f0")])
def test_errors_of_any_text(pairs: list[tuple[str, str]]) -> None:
    result = score([reference for reference, _ in pairs] + ["X"], [hypothesis for _, hypothesis in pairs] + ["X"])
    for found, (reference, hypothesis) in zip(result.utterance_scores, pairs, strict=False):
        assert found.errors == distance(reference.split(), hypothesis.split())
        assert found.character_errors == distance(" ".join(reference.split()), " ".join(hypothesis.split()))


# --- a corpus ---------------------------------------------------------------------------------------------------


def test_rates_are_pooled_and_no_mean_of_rates() -> None:
    result = score(["A", "B C D E F G H I J"], ["X", "B C D E F G H I J"], ["u1", "u2"])
    assert result.wer.value == 1 / 10  # the mean of the rates is 1/2
    assert result.cer.value == 1 / 18
    assert (result.utterances, result.words, result.characters) == (2, 10, 18)
    assert (result.substitutions, result.deletions, result.insertions, result.character_errors) == (1, 0, 0, 1)
    assert [row.id for row in result.utterance_scores] == ["u1", "u2"]


def test_counts_are_sums_over_utterances() -> None:
    result = score(["A B C", "", "D E"], ["A X", "Y Y", "D F E G"])
    assert (result.words, result.substitutions, result.deletions, result.insertions) == (5, 1, 1, 4)
    assert result.wer.value == 6 / 5
    assert [row.id for row in result.utterance_scores] == ["1", "2", "3"]


def test_an_empty_reference_counts_its_insertions() -> None:
    assert score(["", "A B"], ["C", "A B"]).wer.value == 1 / 2


def test_nothing_recognised() -> None:
    result = score(["A B", "C"], ["", ""])
    assert result.wer == Rate(1.0, 1.0, 1.0)
    assert result.cer == Rate(1.0, 1.0, 1.0)
    assert result.deletions == 3


@pytest.mark.parametrize("hypotheses", [["", ""], ["A", ""]])
def test_all_references_empty(hypotheses: list[str]) -> None:
    with pytest.raises(ScoringError, match="no words at all"):
        score(["", " "], hypotheses)


def test_nothing_to_score() -> None:
    with pytest.raises(ScoringError, match="no utterances"):
        score([], [])


@pytest.mark.parametrize(("references", "hypotheses"), [(["A"], []), ([], ["A"]), (["A", "B"], ["A"])])
def test_unequal_numbers(references: list[str], hypotheses: list[str]) -> None:
    message = f"^{len(references)} references but {len(hypotheses)} hypotheses$"
    with pytest.raises(ScoringError, match=message):
        score(references, hypotheses)


@pytest.mark.parametrize("ids", [[], ["u1"], ["u1", "u2", "u3"]])
def test_unequal_ids(ids: list[str]) -> None:
    with pytest.raises(ScoringError, match=f"^2 references but {len(ids)} ids$"):
        score(["A", "B"], ["A", "B"], ids)


def test_worst() -> None:
    references = ["A B C", "A", "A B", "A B", "A B C"]
    hypotheses = ["X Y Z", "A", "X B", "A X", "X Y C"]
    result = score(references, hypotheses, ["all", "none", "second", "first", "two"])
    assert [row.id for row in worst(result, 10)] == ["all", "two", "first", "second"]
    assert [row.id for row in worst(result, 2)] == ["all", "two"]
    assert worst(result, 0) == []


def test_worst_prefers_short_utterances_among_equal_errors() -> None:
    result = score(["A B C D", "A B"], ["A B C X", "A X"], ["a", "b"])
    assert [row.id for row in worst(result, 2)] == ["b", "a"]


# --- intervals --------------------------------------------------------------------------------------------------


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
    # Errors that come in bunches, ten in one utterance, tell less than as many spread evenly.
    words = np.full(100, 10)
    bunched = interval(np.where(np.arange(100) < 10, 10, 0), words)
    even = interval(np.ones(100, dtype=np.int64), words)
    assert bunched.value == even.value == 0.1
    assert even == Rate(0.1, 0.1, 0.1)
    assert bunched.high - bunched.low == pytest.approx(2 * 1.96 * 0.03, rel=0.1)


def test_interval_of_one_utterance() -> None:
    assert interval(np.array([1]), np.array([4])) == Rate(0.25, 0.25, 0.25)


def test_interval_of_no_errors() -> None:
    assert interval(np.zeros(5, dtype=np.int64), np.arange(5)) == Rate(0.0, 0.0, 0.0)


def test_interval_where_most_references_are_empty() -> None:
    words = np.zeros(50, dtype=np.int64)
    words[7] = 4
    rate = interval(np.where(words, 2, 0), words, resamples=50)
    assert rate == Rate(0.5, 0.5, 0.5)


def test_interval_of_nothing() -> None:
    with pytest.raises(ScoringError, match="no error rate"):
        interval(np.array([1, 2]), np.array([0, 0]))


def test_scores_use_the_interval() -> None:
    result: Score = score(["A B", "C D", "E"], ["A X", "C D", "E"])
    assert result.wer == interval(np.array([1, 0, 0]), np.array([2, 2, 1]))
    assert result.cer == interval(np.array([1, 0, 0]), np.array([3, 3, 1]))
