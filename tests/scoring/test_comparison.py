"""Which of several systems is better, in numbers and in words."""

import numpy as np
import pytest

from asr.scoring import Score, ScoringError, score
from asr.scoring.comparison import Contrast, compare

REFERENCES = [f"A B C D {number}" for number in range(60)]


def system(name: str, wrong: int, first: int = 0) -> dict[str, Score]:
    """Return the score of a system by its name, with one word wrong in `wrong` utterances in a row."""
    hypotheses = [
        text.replace("A", "X") if first <= number < first + wrong else text for number, text in enumerate(REFERENCES)
    ]
    return {name: score(REFERENCES, hypotheses)}


def compare_two(first: dict[str, Score], second: dict[str, Score]) -> Contrast:
    [contrast] = compare(first | second)
    return contrast


def test_large_difference_is_significant() -> None:
    contrast = compare_two(system("A", 30), system("B", 6))
    assert (contrast.better, contrast.shown) == ("B", True)
    assert contrast.bootstrap.difference.value == pytest.approx(24 / 300)
    assert (contrast.wins, contrast.losses, contrast.ties) == (24, 0, 36)
    assert contrast.verdict.startswith("B is better by 8.00 points, 95 % interval ")
    assert contrast.verdict.endswith(": significant")
    assert contrast.bootstrap_p == contrast.bootstrap.p < 0.01
    assert contrast.mapsswe_p == contrast.mapsswe.p < 0.01


def test_first_system_is_better() -> None:
    contrast = compare_two(system("A", 6), system("B", 30))
    assert (contrast.better, contrast.wins, contrast.losses) == ("A", 0, 24)
    assert contrast.verdict.startswith("A is better by 8.00 points, 95 % interval ")
    low, high = (float(part) for part in contrast.verdict.split("interval ")[1].split(":")[0].split(" to "))
    assert 0 < low < 8 < high


def test_small_difference_is_not_significant() -> None:
    contrast = compare_two(system("A", 6), system("B", 4, 30))
    assert (contrast.better, contrast.shown, contrast.wins, contrast.losses) == ("B", False, 6, 4)
    assert contrast.verdict.startswith("B is better by 0.67 points, 95 % interval -")
    assert contrast.verdict.endswith(": not significant")


def test_equal_errors() -> None:
    contrast = compare_two(system("A", 5), system("B", 5, 30))
    assert (contrast.better, contrast.shown) == ("", False)
    assert contrast.verdict.startswith("A and B have the same number of errors, 95 % interval of the difference -")
    assert contrast.verdict.endswith(": no significant difference")
    assert compare_two(system("A", 0), system("B", 0)).verdict.endswith("0.00 to 0.00: no significant difference")


def test_verdict_of_tests_that_disagree() -> None:
    # All of the difference is in one segment of one utterance, of few: nothing to estimate a variance from.
    references = ["A B C D E F"] * 3
    first, second = score(references, [""] * 3), score(references, ["A B C D E F"] * 3)
    contrast = compare_two({"A": first}, {"B": second})
    assert contrast.bootstrap.p < 0.05 < contrast.mapsswe.p
    assert not contrast.shown
    assert ": not significant, as the two tests disagree (bootstrap p = 0.0" in contrast.verdict


def test_p_values_of_three_systems_are_corrected() -> None:
    systems = system("A", 30) | system("B", 6) | system("C", 7, 40)
    contrasts = compare(systems)
    assert [(contrast.first, contrast.second) for contrast in contrasts] == [("A", "B"), ("A", "C"), ("B", "C")]
    assert [contrast.shown for contrast in contrasts] == [True, True, False]
    for contrast in contrasts:
        assert contrast.bootstrap_p >= contrast.bootstrap.p
        assert contrast.mapsswe_p >= contrast.mapsswe.p
    assert contrasts[0].mapsswe_p == pytest.approx(3 * contrasts[0].mapsswe.p)


def test_difference_between_many_systems_is_significant() -> None:
    # 45 comparisons: the bootstrap's smallest p, corrected, must stay under 5 %.
    contrasts = compare(
        {name: scored for number in range(10) for name, scored in system(f"S{number}", 6 * number).items()}
    )
    assert len(contrasts) == 45
    assert contrasts[8].shown


def test_wins_and_losses_by_speaker() -> None:
    speakers = [("ann", "bob", "")[number % 3] for number in range(60)]
    [contrast] = compare(system("A", 6) | system("B", 3, 57), speakers)
    assert [row.speaker for row in contrast.speakers] == ["", "ann", "bob"]
    assert [(row.wins, row.losses, row.ties) for row in contrast.speakers] == [(2, 1, 17)] * 3
    assert [(row.first_errors, row.second_errors, row.words) for row in contrast.speakers] == [(2, 1, 100)] * 3
    assert compare_two(system("A", 1), system("B", 2)).speakers == ()


def test_systems_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(ScoringError, match="needs two systems"):
        compare(system("A", 1))
    with pytest.raises(ScoringError, match="B was scored on other utterances or references than A"):
        compare(system("A", 1) | {"B": score(["A"], ["A"])})


def test_order_of_utterances_does_not_matter() -> None:
    order = np.random.default_rng(1).permutation(60)
    systems = system("A", 30) | system("B", 20)
    shuffled = {
        name: score(
            [REFERENCES[index] for index in order],
            [scored.utterance_scores[index].hypothesis for index in order],
        )
        for name, scored in systems.items()
    }
    assert compare(systems)[0].mapsswe.z == pytest.approx(compare(shuffled)[0].mapsswe.z)
    assert compare(systems)[0].wins == compare(shuffled)[0].wins
