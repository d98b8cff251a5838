"""Scores -> text for a terminal."""

from pathlib import Path

from asr import reports as report
from asr import scoring
from asr.reports import document
from asr.reports.scored import Scored, scored
from asr.transcripts.matching import Pair


def pairs(references: list[str], hypotheses: list[str], speakers: str = "") -> list[Pair]:
    """Return pairs with the ids one, two, … and a speaker for each, if there are such."""
    names = ["one", "two", "three", "four"]
    rows = zip(names, references, hypotheses, speakers.split() or [""] * 4, strict=False)
    return [Pair(name, reference, hypothesis, speaker) for name, reference, hypothesis, speaker in rows]


def made(references: list[str], hypotheses: list[str], normaliser: str = "none", speakers: str = "") -> Scored:
    return scored(pairs(references, hypotheses, speakers), normaliser)


def test_aligned_puts_words_under_words() -> None:
    row = scoring.score(["THE CAT SAT"], ["THE BAT SAT DOWN"]).utterance_scores[0]
    assert report.aligned(row) == ["THE [CAT] SAT [****]", "THE [BAT] SAT [DOWN]"]
    row = scoring.score(["A LONG WORD"], ["A WORD"]).utterance_scores[0]
    assert report.aligned(row) == ["A [LONG] WORD", "A [****] WORD"]


def test_the_text_says_rates_counts_and_the_worst() -> None:
    result = made(["A B", "C D", "E F"], ["A B", "C X", "Y"])
    text = report.text(result, {"model": "m.safetensors"}, count=1)
    assert text.startswith("model        m.safetensors\nnormaliser   none\nWER          50.00 %  (95 % interval ")
    assert "3 of 6 words (substitutions 2, deletions 1, insertions 0)" in text
    assert "SER          66.67 %" in text
    assert "three: errors 2, words 2" in text
    assert "two:" not in text and "as given" not in text and "speakers" not in text


def test_the_raw_rate_stands_beside_the_normalised_one() -> None:
    text = report.text(made(["It's 5.", "b"], ["it is five", "B"], "english"), {})
    assert "WER           0.00 %" in text
    assert "WER as given  133.33 %" in text


def test_speakers_and_frequent_errors_are_told() -> None:
    result = made(["A B", "A B", "A B"], ["A X", "A X", "A X X X"], speakers="ann bob bob")
    text = report.text(result, {}, 0)
    assert "speakers     2, WER from 50.00 % (ann) to 100.00 % (bob)" in text
    assert "confused     B -> X (3)\n" in text
    assert "inserted     X (2)" in text
    assert "deleted" not in text


def test_a_perfect_score_lists_no_worst() -> None:
    assert "Most errors" not in report.text(made(["A"], ["A"]), {})


def test_nothing_steers_the_terminal() -> None:
    text = report.text(made(["A \x1b[31m\x07", "\ud800"], ["B", "É 😀"]), {"model": "m\x9b"})
    assert not set(text) & {"\x1b", "\x07", "\x9b", "\ud800"}
    assert "\ufffd" in text and "É" in text and "😀" in text


def test_a_comparison_for_a_terminal() -> None:
    references = ["A B C D"] * 4
    results = {"old": made(references, ["X B C D", *references[1:]]), "new": made(references, references)}
    body = document.comparison(results, {"references": "r.txt", "date": "today"}, {})
    text = report.comparison_text(body, 1)
    assert text.startswith(
        "references  r.txt\nnormaliser  none\nutterances  4, 16 words\nWER of old  6.25 %  (95 % interval "
    )
    assert "today" not in text
    assert "old and new: new is better by 6.25 points, 95 % interval 0.00 to 18.75: not shown\n" in text
    assert "  new has fewer errors in 1 utterances, more in 0, as many in 3\n" in text
    assert (
        "  one: words 4\n    old: errors 1\n      [A] B C D\n      [X] B C D\n    new: errors 0\n      A B C D" in text
    )
    assert "Holm" not in text
    three = document.comparison(results | {"same": results["new"]}, {}, {})
    assert report.comparison_text(three, 0).count("corrected (Holm)") == 3
    assert "differ most" not in report.comparison_text(three, 0)


def test_equivalents_are_applied_to_the_score_and_not_to_the_raw_one(tmp_path: Path) -> None:
    (tmp_path / "same.txt").write_text("colour = color\n")
    result = scored(pairs(["Colour"], ["COLOR"]), "basic", tmp_path / "same.txt")
    assert (result.score.wer.value, result.raw.wer.value) == (0.0, 1.0)
