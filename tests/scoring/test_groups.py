"""Rates of parts of a corpus: speakers, durations, speaking rates, lengths and places in the utterance."""

import numpy as np
import pytest

from asr.scoring import Score, ScoringError, interval, score
from asr.scoring.groups import Detail, Group, by_duration, by_length, by_position, by_speaker, by_speaking_rate


def corpus() -> tuple[Score, list[Detail]]:
    references = ["A B", "A B C D", "A B C D E F", "A"]
    hypotheses = ["A X", "A B C D", "A B C", "A A"]
    details = [Detail("ann", 1.0), Detail("bob", 2.0), Detail("ann", 4.9), Detail("", 40.0)]
    return score(references, hypotheses), details


def seen(groups: tuple[Group, ...]) -> list[tuple[float | None, float | None, int, int, int]]:
    return [(group.low, group.high, group.utterances, group.words, group.errors) for group in groups]


def test_speakers_are_ordered_by_their_rates() -> None:
    ann, bob = by_speaker(*corpus())
    assert (ann.name, ann.utterances, ann.words, ann.substitutions, ann.deletions) == ("ann", 2, 8, 1, 3)
    assert ann.wer == interval(np.array([1, 3]), np.array([2, 6]))
    assert (bob.name, bob.errors) == ("bob", 0)
    assert ann.wer and ann.wer.value == 0.5


def test_a_speaker_of_no_words_has_no_rate() -> None:
    found = by_speaker(score(["", "A"], ["X", "A"]), [Detail("ann"), Detail("bob")])
    assert [(group.name, group.wer is None, group.insertions) for group in found] == [
        ("ann", True, 1),
        ("bob", False, 0),
    ]


def test_durations() -> None:
    assert seen(by_duration(*corpus())) == [(0.0, 2.0, 1, 2, 1), (2.0, 5.0, 2, 10, 3), (30.0, None, 1, 1, 1)]


def test_speaking_rates() -> None:
    # 2, 2, 1.22 and 0.025 words a second.
    assert seen(by_speaking_rate(*corpus())) == [(0.0, 1.0, 1, 1, 1), (1.0, 1.5, 1, 6, 3), (2.0, 2.5, 2, 6, 1)]


def test_what_is_unknown_is_left_out() -> None:
    result, _ = corpus()
    nothing = [Detail()] * 4
    assert by_speaker(result, nothing) == by_duration(result, nothing) == by_speaking_rate(result, nothing) == ()
    with pytest.raises(ScoringError, match="4 utterances but details of 1"):
        by_speaker(result, [Detail()])


def test_lengths() -> None:
    assert seen(by_length(corpus()[0])) == [(1.0, 2.0, 1, 1, 1), (2.0, 4.0, 1, 2, 1), (4.0, 8.0, 2, 10, 3)]
    assert seen(by_length(score(["", "A"], ["X", "A"]))) == [(1.0, 2.0, 1, 1, 0)]


def test_positions_by_hand() -> None:
    reference = " ".join("ABCDEFGHIJ")
    result = score([reference, "P Q", ""], ["X B C D E F G H I J Y", "P", "Z"])
    found = by_position(result)
    assert [group.low for group in found] == pytest.approx([number / 10 for number in range(10)])
    # The word inserted at the end counts with the last; of two words, the second begins at 0.5.
    assert [group.errors for group in found] == [1, 0, 0, 0, 0, 1, 0, 0, 0, 1]
    assert [group.words for group in found] == [2, 1, 1, 1, 1, 2, 1, 1, 1, 1]
    assert (found[0].substitutions, found[5].deletions, found[9].insertions) == (1, 1, 1)


def test_parts_sum_to_the_whole() -> None:
    random = np.random.default_rng(1)
    texts = [" ".join(random.choice(list("ABC"), random.integers(1, 30))) for _ in range(120)]
    result = score(texts[:60], texts[60:])
    details = [Detail(f"s{number % 7}", float(random.uniform(0.1, 50))) for number in range(60)]
    for groups in (
        by_speaker(result, details),
        by_duration(result, details),
        by_speaking_rate(result, details),
        by_length(result),
        by_position(result),
    ):
        assert sum(group.words for group in groups) == result.words
        assert sum(group.errors for group in groups) == result.errors
        assert sum(group.insertions for group in groups) == result.insertions
