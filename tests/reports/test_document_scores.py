"""Pairs -> scores, with a normaliser and as given."""

from pathlib import Path

from asr.reports.document import ScoredPairs, score_pairs
from asr.transcripts.matching import Pair


def pairs(references: list[str], hypotheses: list[str], speakers: str = "") -> list[Pair]:
    """Return pairs with the ids one, two, … and the speakers, which are separated by spaces."""
    names = ["one", "two", "three", "four"]
    rows = zip(names, references, hypotheses, speakers.split() or [""] * 4, strict=False)
    return [Pair(name, reference, hypothesis, speaker) for name, reference, hypothesis, speaker in rows]


def scored(references: list[str], hypotheses: list[str], normaliser: str = "none", speakers: str = "") -> ScoredPairs:
    return score_pairs(pairs(references, hypotheses, speakers), normaliser)


def test_score_pairs_normalises_both_texts_and_keeps_the_raw_score() -> None:
    result = scored(["It's 5.", "b"], ["it is five", "B"], "english")
    assert (result.score.errors, result.raw.errors) == (0, 4)


def test_score_pairs_without_effect_of_the_normaliser_scores_once() -> None:
    result = scored(["A B"], ["A C"], "upper")
    assert result.raw is result.score


def test_equivalents_apply_to_the_score_and_not_to_the_raw_score(tmp_path: Path) -> None:
    (tmp_path / "same.txt").write_text("colour = color\n")
    result = score_pairs(pairs(["Colour"], ["COLOR"]), "basic", tmp_path / "same.txt")
    assert (result.score.wer.value, result.raw.wer.value) == (0.0, 1.0)
