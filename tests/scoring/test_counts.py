"""Counts and alignments, computed by hand, by another edit distance and by jiwer."""

from collections.abc import Sequence
from functools import cache

import jiwer
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asr.scoring import Rate, ScoringError, UtteranceScore, score, worst


def score_one(reference: str, hypothesis: str) -> UtteranceScore:
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
def test_word_counts(
    reference: str, hypothesis: str, words: int, substitutions: int, deletions: int, insertions: int
) -> None:
    row = score_one(reference, hypothesis)
    assert (row.words, row.substitutions, row.deletions, row.insertions) == (
        words,
        substitutions,
        deletions,
        insertions,
    )
    assert row.errors == substitutions + deletions + insertions
    assert (row.reference, row.hypothesis) == (reference, hypothesis)


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
def test_character_counts(reference: str, hypothesis: str, characters: int, errors: int) -> None:
    row = score_one(reference, hypothesis)
    assert (row.characters, row.character_errors) == (characters, errors)


@pytest.mark.parametrize("hypothesis", ["A  BC", " A BC", "A BC ", "A\tBC", "A\nBC", "\n A \r\n BC\t", "A\u00a0BC"])
def test_white_space_is_no_error(hypothesis: str) -> None:
    for row in (score_one("A BC", hypothesis), score_one(hypothesis, "A BC")):
        assert (row.words, row.errors, row.characters, row.character_errors) == (2, 0, 4, 0)


WORDS = st.lists(st.sampled_from(["A", "B", "C", "AB", "BA"]), max_size=8)


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.lists(st.tuples(WORDS, WORDS), min_size=10, max_size=25))
def test_errors_are_the_edit_distance(pairs: list[tuple[list[str], list[str]]]) -> None:
    texts = [(" ".join(reference), " ".join(hypothesis)) for reference, hypothesis in pairs]
    result = score([text for text, _ in texts] + ["X"], [text for _, text in texts] + ["X"])
    for row, (reference, hypothesis) in zip(result.utterance_scores, pairs, strict=False):
        assert row.words == len(reference)
        assert row.errors == distance(reference, hypothesis)
        assert len(hypothesis) == len(reference) - row.deletions + row.insertions
        assert min(row.substitutions, row.deletions, row.insertions) >= 0
    for row, (text, other) in zip(result.utterance_scores, texts, strict=False):
        assert row.characters == len(text)
        assert row.character_errors == distance(text, other)


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.lists(st.tuples(st.text(max_size=12), st.text(max_size=12)), max_size=15))
@example([("\x1f", "\x1f0")])
def test_errors_of_any_text(pairs: list[tuple[str, str]]) -> None:
    result = score([reference for reference, _ in pairs] + ["X"], [hypothesis for _, hypothesis in pairs] + ["X"])
    for row, (reference, hypothesis) in zip(result.utterance_scores, pairs, strict=False):
        assert row.errors == distance(reference.split(), hypothesis.split())
        assert row.character_errors == distance(" ".join(reference.split()), " ".join(hypothesis.split()))


def test_rates_are_pooled() -> None:
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


def test_words_of_an_empty_reference_are_insertions() -> None:
    assert score(["", "A B"], ["C", "A B"]).wer.value == 1 / 2


def test_empty_hypotheses() -> None:
    result = score(["A B", "C"], ["", ""])
    assert result.wer == Rate(1.0, 1.0, 1.0)
    assert result.cer == Rate(1.0, 1.0, 1.0)
    assert result.deletions == 3


@pytest.mark.parametrize("hypotheses", [["", ""], ["A", ""]])
def test_empty_references_are_refused(hypotheses: list[str]) -> None:
    with pytest.raises(ScoringError, match="no words"):
        score(["", " "], hypotheses)


def test_no_utterances_are_refused() -> None:
    with pytest.raises(ScoringError, match="no utterances"):
        score([], [])


@pytest.mark.parametrize(("references", "hypotheses"), [(["A"], []), ([], ["A"]), (["A", "B"], ["A"])])
def test_unequal_numbers_are_refused(references: list[str], hypotheses: list[str]) -> None:
    message = f"^{len(references)} references but {len(hypotheses)} hypotheses$"
    with pytest.raises(ScoringError, match=message):
        score(references, hypotheses)


@pytest.mark.parametrize("ids", [[], ["u1"], ["u1", "u2", "u3"]])
def test_unequal_numbers_of_ids_are_refused(ids: list[str]) -> None:
    with pytest.raises(ScoringError, match=f"^2 references but {len(ids)} ids$"):
        score(["A", "B"], ["A", "B"], ids)


def test_worst_has_the_most_errors_first() -> None:
    references = ["A B C", "A", "A B", "A B", "A B C"]
    hypotheses = ["X Y Z", "A", "X B", "A X", "X Y C"]
    result = score(references, hypotheses, ["all", "none", "second", "first", "two"])
    assert [row.id for row in worst(result, 10)] == ["all", "two", "first", "second"]
    assert [row.id for row in worst(result, 2)] == ["all", "two"]
    assert worst(result, 0) == []


def test_worst_prefers_short_utterances_among_equal_errors() -> None:
    result = score(["A B C D", "A B"], ["A B C X", "A X"], ["a", "b"])
    assert [row.id for row in worst(result, 2)] == ["b", "a"]


def best(reference: Sequence[str], hypothesis: Sequence[str], substitution: int, gap: int) -> tuple[int, int, int, int]:
    """Return the least cost and its substitutions, deletions and insertions, fewest substitutions first."""

    @cache
    def upto(left: int, right: int) -> tuple[int, int, int, int]:
        if not left or not right:
            return (gap * (left + right), 0, left, right)
        candidates = []
        cost, subs, dels, ins = upto(left - 1, right - 1)
        wrong = reference[left - 1] != hypothesis[right - 1]
        candidates.append((cost + substitution * wrong, subs + wrong, dels, ins))
        cost, subs, dels, ins = upto(left - 1, right)
        candidates.append((cost + gap, subs, dels + 1, ins))
        cost, subs, dels, ins = upto(left, right - 1)
        candidates.append((cost + gap, subs, dels, ins + 1))
        return min(candidates)

    return upto(len(reference), len(hypothesis))


def edits(reference: str, hypothesis: str) -> list[str]:
    [row, _] = score([reference, "X"], [hypothesis, "X"]).utterance_scores
    return [f"{edit.operation} {edit.reference} {edit.hypothesis}".rstrip() for edit in row.edits()]


@pytest.mark.parametrize(
    ("reference", "hypothesis", "wanted"),
    [
        ("THE CAT SAT", "THE CAT SAT", ["= THE THE", "= CAT CAT", "= SAT SAT"]),
        ("THE CAT SAT", "THE BAT SAT DOWN", ["= THE THE", "S CAT BAT", "= SAT SAT", "I  DOWN"]),
        ("A B C", "C", ["D A", "D B", "= C C"]),
        ("A", "X Y A", ["I  X", "I  Y", "= A A"]),
        ("A B", "X Y", ["S A X", "S B Y"]),
        ("", "A", ["I  A"]),
        ("A", "", ["D A"]),
        ("", "", []),
        ("  A\tB ", "A  B", ["= A A", "= B B"]),
    ],
)
def test_edits(reference: str, hypothesis: str, wanted: list[str]) -> None:
    assert edits(reference, hypothesis) == wanted


def test_position_of_an_insertion() -> None:
    [row] = score(["A B"], ["X A Y B Z"]).utterance_scores
    assert [(edit.hypothesis, edit.position) for edit in row.edits(wrong_only=True)] == [("X", 0), ("Y", 1), ("Z", 2)]


@settings(deadline=None, derandomize=True, max_examples=20)
@given(st.lists(st.tuples(WORDS, WORDS), min_size=100, max_size=100))
def test_counts_and_alignments_of_any_words(pairs: list[tuple[list[str], list[str]]]) -> None:
    result = score([" ".join(one) for one, _ in pairs] + ["X"], [" ".join(two) for _, two in pairs] + ["X"])
    for row, (reference, hypothesis) in zip(result.utterance_scores, pairs, strict=False):
        assert row.errors == distance(reference, hypothesis)
        found = list(row.edits())
        assert [edit.reference for edit in found if edit.reference] == reference
        assert [edit.hypothesis for edit in found if edit.hypothesis] == hypothesis
        kinds = [edit.operation for edit in found]
        assert (kinds.count("S"), kinds.count("D"), kinds.count("I")) == (
            row.substitutions,
            row.deletions,
            row.insertions,
        )
        assert all((edit.operation == "=") == (edit.reference == edit.hypothesis) for edit in found)
        assert found[: len(found)] == sorted(found, key=lambda edit: edit.position)
        assert [edit for edit in found if edit.operation != "="] == list(row.edits(wrong_only=True))


def test_counts_are_those_of_jiwer() -> None:
    references, hypotheses = ["A B C D", "E F", "G"], ["A X C", "E E F F", "H"]
    ours, theirs = score(references, hypotheses), jiwer.process_words(references, hypotheses)
    assert (ours.substitutions, ours.deletions, ours.insertions) == (
        theirs.substitutions,
        theirs.deletions,
        theirs.insertions,
    )
    assert ours.wer.value == theirs.wer
    assert ours.cer.value == jiwer.cer(references, hypotheses)


# sclite: a substitution costs 4, a deletion or an insertion 3. Most alignments are the same; the second column of
# counts is what its costs give where they differ.
@pytest.mark.parametrize(
    ("reference", "hypothesis", "ours", "sclite"),
    [
        ("A B C", "A X C", (1, 0, 0), (1, 0, 0)),
        ("A B C", "A C", (0, 1, 0), (0, 1, 0)),
        ("A B C", "A B X C", (0, 0, 1), (0, 0, 1)),
        ("A B C D", "X C D", (1, 1, 0), (1, 1, 0)),
        ("A B", "X Y Z", (2, 0, 1), (2, 0, 1)),
        ("THE CAT IS ON THE MAT", "THE CATS ON A MAT", (2, 1, 0), (2, 1, 0)),
        # As many errors, one word more correct.
        ("A B", "B A", (2, 0, 0), (0, 1, 1)),
        ("A B C", "B C D", (0, 1, 1), (0, 1, 1)),
        # More errors: six gaps cost 18, five substitutions 20.
        ("A B C D E", "D E X Y Z", (5, 0, 0), (0, 3, 3)),
    ],
)
def test_counts_with_the_costs_of_sclite(
    reference: str, hypothesis: str, ours: tuple[int, int, int], sclite: tuple[int, int, int]
) -> None:
    [row] = score([reference], [hypothesis]).utterance_scores
    left, right = reference.split(), hypothesis.split()
    assert row.errors == sum(ours) == best(left, right, 1, 1)[0]
    if sum(ours) == sum(sclite) and ours == sclite:
        assert (row.substitutions, row.deletions, row.insertions) == ours
    assert best(left, right, 4, 3)[1:] == sclite
    assert sum(sclite) >= row.errors
