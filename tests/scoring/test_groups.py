"""Rates of parts of a corpus: speakers, durations, speaking rates, lengths and positions."""

import numpy as np
import pytest

from asr.scoring import Score, ScoringError, interval, score
from asr.scoring.groups import Group, by_duration, by_length, by_position, by_speaker, by_speaking_rate

SPEAKERS = ["ann", "bob", "ann", ""]
DURATIONS = [1.0, 2.0, 4.9, 40.0]


def corpus() -> Score:
    references = ["A B", "A B C D", "A B C D E F", "A"]
    hypotheses = ["A X", "A B C D", "A B C", "A A"]
    return score(references, hypotheses)


def seen(groups: tuple[Group, ...]) -> list[tuple[float | None, float | None, int, int, int]]:
    return [(group.low, group.high, group.utterances, group.words, group.errors) for group in groups]


def test_by_speaker_starts_with_the_highest_rate() -> None:
    ann, bob = by_speaker(corpus(), SPEAKERS)
    assert (ann.name, ann.utterances, ann.words, ann.substitutions, ann.deletions) == ("ann", 2, 8, 1, 3)
    assert ann.wer == interval(np.array([1, 3]), np.array([2, 6]))
    assert (bob.name, bob.errors) == ("bob", 0)
    assert ann.wer and ann.wer.value == 0.5


def test_speaker_without_words_has_no_rate() -> None:
    groups = by_speaker(score(["", "A"], ["X", "A"]), ["ann", "bob"])
    assert [(group.name, group.wer is None, group.insertions) for group in groups] == [
        ("ann", True, 1),
        ("bob", False, 0),
    ]


def test_by_duration() -> None:
    assert seen(by_duration(corpus(), DURATIONS)) == [(0.0, 2.0, 1, 2, 1), (2.0, 5.0, 2, 10, 3), (30.0, None, 1, 1, 1)]


def test_by_speaking_rate() -> None:
    # 2, 2, 1.22 and 0.025 words a second.
    groups = by_speaking_rate(corpus(), DURATIONS)
    assert seen(groups) == [
        (0.0, 1.0, 1, 1, 1),
        (1.0, 1.5, 1, 6, 3),
        (2.0, 2.5, 2, 6, 1),
    ]


def test_unknown_values_are_left_out() -> None:
    result, unknown = corpus(), [0.0] * 4
    assert by_speaker(result, [""] * 4) == by_duration(result, unknown) == by_speaking_rate(result, unknown) == ()
    with pytest.raises(ScoringError, match="4 utterances but values of 1"):
        by_speaker(result, [""])


def test_by_length() -> None:
    assert seen(by_length(corpus())) == [(1.0, 2.0, 1, 1, 1), (2.0, 4.0, 1, 2, 1), (4.0, 8.0, 2, 10, 3)]
    assert seen(by_length(score(["", "A"], ["X", "A"]))) == [(1.0, 2.0, 1, 1, 0)]


def test_by_position() -> None:
    reference = " ".join("ABCDEFGHIJ")
    result = score([reference, "P Q", ""], ["X B C D E F G H I J Y", "P", "Z"])
    groups = by_position(result)
    assert [group.low for group in groups] == pytest.approx([number / 10 for number in range(10)])
    # The word inserted at the end counts with the last; of two words, the second starts at 0.5.
    assert [group.errors for group in groups] == [1, 0, 0, 0, 0, 1, 0, 0, 0, 1]
    assert [group.words for group in groups] == [2, 1, 1, 1, 1, 2, 1, 1, 1, 1]
    assert (groups[0].substitutions, groups[5].deletions, groups[9].insertions) == (1, 1, 1)


def test_groups_sum_to_the_corpus() -> None:
    random = np.random.default_rng(1)
    texts = [" ".join(random.choice(list("ABC"), random.integers(1, 30))) for _ in range(120)]
    result = score(texts[:60], texts[60:])
    durations = random.uniform(0.1, 50, 60).tolist()
    for groups in (
        by_speaker(result, [f"s{number % 7}" for number in range(60)]),
        by_duration(result, durations),
        by_speaking_rate(result, durations),
        by_length(result),
        by_position(result),
    ):
        assert sum(group.words for group in groups) == result.words
        assert sum(group.errors for group in groups) == result.errors
        assert sum(group.insertions for group in groups) == result.insertions
