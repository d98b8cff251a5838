"""Which word stands for which; where sclite's costs of errors would align otherwise."""

from collections.abc import Sequence
from functools import cache

import jiwer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.scoring import score
from asr.scoring.alignment import Edit
from tests.scoring.test_scoring import distance

Counts = tuple[int, int, int, int]


def best(reference: Sequence[str], hypothesis: Sequence[str], substitution: int, gap: int) -> Counts:
    """Return the least cost and its substitutions, deletions and insertions, fewest substitutions first."""

    @cache
    def upto(left: int, right: int) -> Counts:
        if not left or not right:
            return (gap * (left + right), 0, left, right)
        found = []
        cost, subs, dels, ins = upto(left - 1, right - 1)
        wrong = reference[left - 1] != hypothesis[right - 1]
        found.append((cost + substitution * wrong, subs + wrong, dels, ins))
        cost, subs, dels, ins = upto(left - 1, right)
        found.append((cost + gap, subs, dels + 1, ins))
        cost, subs, dels, ins = upto(left, right - 1)
        found.append((cost + gap, subs, dels, ins + 1))
        return min(found)

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
def test_words_stand_for_words(reference: str, hypothesis: str, wanted: list[str]) -> None:
    assert edits(reference, hypothesis) == wanted


def test_an_insertion_stands_before_the_word_after_it() -> None:
    [row] = score(["A B"], ["X A Y B Z"]).utterance_scores
    assert [(edit.hypothesis, edit.position) for edit in row.edits(wrong_only=True)] == [("X", 0), ("Y", 1), ("Z", 2)]


WORDS = st.lists(st.sampled_from("ABCDE"), max_size=9)


# 100 times 100 pairs.
@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.lists(st.tuples(WORDS, WORDS), min_size=100, max_size=100))
def test_counts_and_alignments_agree_with_an_independent_count(pairs: list[tuple[list[str], list[str]]]) -> None:
    result = score([" ".join(one) for one, _ in pairs] + ["X"], [" ".join(two) for _, two in pairs] + ["X"])
    for row, (reference, hypothesis) in zip(result.utterance_scores, pairs, strict=False):
        assert row.errors == distance(reference, hypothesis)
        found: list[Edit] = list(row.edits())
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
def test_where_the_costs_of_sclite_differ(
    reference: str, hypothesis: str, ours: tuple[int, int, int], sclite: tuple[int, int, int]
) -> None:
    [row] = score([reference], [hypothesis]).utterance_scores
    left, right = reference.split(), hypothesis.split()
    assert row.errors == sum(ours) == best(left, right, 1, 1)[0]
    if sum(ours) == sum(sclite) and ours == sclite:
        assert (row.substitutions, row.deletions, row.insertions) == ours
    assert best(left, right, 4, 3)[1:] == sclite
    assert sum(sclite) >= row.errors
