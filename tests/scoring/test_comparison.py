"""Which of several systems is better, in numbers and in words."""

import numpy as np
import pytest

from asr.scoring import ScoringError, score
from asr.scoring.comparison import Contrast, System, compare

REFERENCES = [f"A B C D {number}" for number in range(60)]


def system(name: str, wrong: int, first: int = 0) -> System:
    """Return a system with one word wrong in `wrong` utterances in a row."""
    made = [
        text.replace("A", "X") if first <= number < first + wrong else text for number, text in enumerate(REFERENCES)
    ]
    return System(name, score(REFERENCES, made))


def one(*systems: System) -> Contrast:
    [contrast] = compare(systems)
    return contrast


def test_large_difference_is_shown() -> None:
    found = one(system("A", 30), system("B", 6))
    assert (found.better, found.shown) == ("B", True)
    assert found.bootstrap.difference.value == pytest.approx(24 / 300)
    assert (found.wins, found.losses, found.ties) == (24, 0, 36)
    assert found.verdict.startswith("B is better by 8.00 points, 95 % interval ")
    assert found.verdict.endswith(": shown")
    assert found.bootstrap_p == found.bootstrap.p < 0.01
    assert found.mapsswe_p == found.mapsswe.p < 0.01


def test_first_system_is_better() -> None:
    found = one(system("A", 6), system("B", 30))
    assert (found.better, found.wins, found.losses) == ("A", 0, 24)
    assert found.verdict.startswith("A is better by 8.00 points, 95 % interval ")
    low, high = (float(part) for part in found.verdict.split("interval ")[1].split(":")[0].split(" to "))
    assert 0 < low < 8 < high


def test_small_difference_is_not_shown() -> None:
    found = one(system("A", 6), system("B", 4, 30))
    assert (found.better, found.shown, found.wins, found.losses) == ("B", False, 6, 4)
    assert found.verdict.startswith("B is better by 0.67 points, 95 % interval -")
    assert found.verdict.endswith(": not shown")


def test_equal_errors() -> None:
    found = one(system("A", 5), system("B", 5, 30))
    assert (found.better, found.shown) == ("", False)
    assert found.verdict.startswith("A and B make as many errors, 95 % interval of the difference -")
    assert found.verdict.endswith(": no difference shown")
    assert one(system("A", 0), system("B", 0)).verdict.endswith("0.00 to 0.00: no difference shown")


def test_verdict_of_tests_that_disagree() -> None:
    # All of the difference is in one segment of one utterance, of few: nothing to estimate a variance from.
    references = ["A B C D E F"] * 3
    first, second = score(references, [""] * 3), score(references, ["A B C D E F"] * 3)
    found = one(System("A", first), System("B", second))
    assert found.bootstrap.p < 0.05 < found.mapsswe.p
    assert not found.shown
    assert ": not shown, as the two tests disagree (bootstrap p = 0.0" in found.verdict


def test_p_values_of_three_systems_are_corrected() -> None:
    systems = [system("A", 30), system("B", 6), system("C", 7, 40)]
    found = compare(systems)
    assert [(pair.first, pair.second) for pair in found] == [("A", "B"), ("A", "C"), ("B", "C")]
    assert [pair.shown for pair in found] == [True, True, False]
    for pair in found:
        assert pair.bootstrap_p >= pair.bootstrap.p
        assert pair.mapsswe_p >= pair.mapsswe.p
    assert found[0].mapsswe_p == pytest.approx(3 * found[0].mapsswe.p)


def test_difference_between_many_systems_is_shown() -> None:
    # 45 comparisons: the bootstrap's smallest p, corrected, must stay under 5 %.
    found = compare([system(f"S{number}", 6 * number) for number in range(10)])
    assert len(found) == 45
    assert found[8].shown


def test_wins_and_losses_by_speaker() -> None:
    speakers = [("ann", "bob", "")[number % 3] for number in range(60)]
    [found] = compare([system("A", 6), system("B", 3, 57)], speakers)
    assert [row.speaker for row in found.speakers] == ["", "ann", "bob"]
    assert [(row.wins, row.losses, row.ties) for row in found.speakers] == [(2, 1, 17)] * 3
    assert [(row.first_errors, row.second_errors, row.words) for row in found.speakers] == [(2, 1, 100)] * 3
    assert one(system("A", 1), system("B", 2)).speakers == ()


def test_systems_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(ScoringError, match="needs two systems"):
        compare([system("A", 1)])
    with pytest.raises(ScoringError, match="two systems have the same name: A, A"):
        compare([system("A", 1), system("A", 2)])
    with pytest.raises(ScoringError, match="B was scored on other utterances or references than A"):
        compare([system("A", 1), System("B", score(["A"], ["A"]))])


def test_order_of_utterances_does_not_matter() -> None:
    order = np.random.default_rng(1).permutation(60)
    systems = [system("A", 30), system("B", 20)]
    shuffled = [
        System(
            one.name,
            score(
                [REFERENCES[index] for index in order],
                [one.score.utterance_scores[index].hypothesis for index in order],
            ),
        )
        for one in systems
    ]
    assert compare(systems)[0].mapsswe.z == pytest.approx(compare(shuffled)[0].mapsswe.z)
    assert compare(systems)[0].wins == compare(shuffled)[0].wins
