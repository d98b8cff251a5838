"""Frequent errors of words and characters, and harmful words."""

import pytest

from asr.scoring import score
from asr.scoring.confusions import Confusion, character_errors, harmful_words, word_errors


def test_word_errors() -> None:
    references = ["THE CAT SAT", "A CAT", "THE CAT", "THE DOG RAN", "THE CAT THE CAT"]
    hypotheses = ["THE HAT SAT", "A HAT", "THE MAT", "DOG RAN UH", "THE HAT THE HAT"]
    errors = word_errors(score(references, hypotheses, list("abcde")))
    assert errors.substitutions == (
        Confusion("CAT", "HAT", 4, ("a", "b", "e")),
        Confusion("CAT", "MAT", 1, ("c",)),
    )
    assert errors.deletions == (Confusion("THE", "", 1, ("d",)),)
    assert errors.insertions == (Confusion("", "UH", 1, ("d",)),)
    assert (errors.distinct_substitutions, errors.distinct_deletions, errors.distinct_insertions) == (2, 1, 1)
    [only] = word_errors(score(references, hypotheses), 1).substitutions
    assert (only.hypothesis, only.examples) == ("HAT", ("1", "2", "5"))


def test_equal_counts_are_in_alphabetical_order() -> None:
    errors = word_errors(score(["A B C"], ["Z Y X"])).substitutions
    assert [error.reference for error in errors] == ["A", "B", "C"]


def test_character_errors() -> None:
    errors = character_errors(score(["CAT", "A  CAT", "CAT"], ["CUT", "ACAT", "CAT S"]))
    assert [(error.reference, error.hypothesis, error.count) for error in errors.substitutions] == [("A", "U", 1)]
    assert [(error.reference, error.examples) for error in errors.deletions] == [(" ", ("2",))]
    assert [(error.hypothesis, error.count) for error in errors.insertions] == [(" ", 1), ("S", 1)]


def test_harmful_words() -> None:
    result = score(["THE CAT SAT ON THE MAT", "THE DOG RAN AWAY"], ["A CAT SAT ON MAT", "THE DOG DOG RUN AWAY"])
    the, dog, ran = harmful_words(result)
    assert result.wer.value == 4 / 10
    assert (the.word, the.occurrences, the.substitutions, the.deletions, the.errors) == ("THE", 3, 1, 1, 2)
    assert the.wer_without == pytest.approx(2 / 10)
    assert (dog.word, dog.insertions, ran.word, ran.substitutions) == ("DOG", 1, "RAN", 1)
    assert dog.wer_without == ran.wer_without == pytest.approx(3 / 10)
    assert len(harmful_words(result, 1)) == 1


def test_no_errors() -> None:
    result = score(["A B"], ["A B"])
    assert word_errors(result) == character_errors(result)
    assert word_errors(result).substitutions == ()
    assert harmful_words(result) == ()
