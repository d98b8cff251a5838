"""The report on a terminal."""

from asr.reports import document, text
from asr.reports.text import TextOptions
from tests.reports.test_document_scores import scored


def table(report: str) -> dict[str, str]:
    """Return the names and values of the first block."""
    rows = [line.partition("  ") for line in report.partition("\n\n")[0].splitlines()]
    return {name.strip(): value.strip() for name, _, value in rows}


def test_default_report_shows_rates_counts_notes_and_the_worst_utterances() -> None:
    result = scored(["A B", "C D", "E F"], ["A B", "C X", "Y"])
    report = text.evaluation(result, {"model": "m.safetensors"}, {"speed": "5.2 × real time"}, TextOptions(worst=1))
    rows = table(report)
    assert list(rows) == ["WER", "CER", "SER", "words", "utterances", "speed"]
    assert "50.00 %  (95 % interval 0.00 to " in report
    assert "3 errors in 6 words: 2 substitutions, 1 deletion, 0 insertions" in report
    assert "2 of 3 with errors" in report
    assert "5.2 × real time" in report
    assert "  three: 2 errors in 2 words\n    [E] [F]\n    [Y] [*]" in report
    assert "two:" not in report and "m.safetensors" not in report


def test_verbose_report_starts_with_the_settings() -> None:
    result = scored(["A B", "A B", "A B"], ["a X", "A X", "A X X X"], "upper", speakers="ann bob bob")
    report = text.evaluation(result, {"model": "m.safetensors"}, {}, TextOptions("none", verbose=True))
    settings, _, rest = report.partition("\n\n")
    assert settings.split() == ["model", "m.safetensors", "normaliser", "upper"]
    rows = table(rest)
    assert "83.33 %" in rows["WER"] and "100.00 %" in rows["WER as given"]
    assert rows["speakers"] == "2, WER from 50.00 % (ann) to 100.00 % (bob)"
    assert "B -> X (3)\n" in report and "X (2)" in report
    assert "deleted" not in report


def test_raw_rate_is_shown_if_another_normaliser_changes_it() -> None:
    result = scored(["It's 5.", "b"], ["it is five", "B"], "english")
    assert "WER as given  133.33 %" in text.evaluation(result, {}, {})
    assert "as given" not in text.evaluation(result, {}, {}, default_normaliser="english")
    assert "as given" not in text.evaluation(scored(["A"], ["B"], "upper"), {}, {})


def test_show_selects_the_utterances() -> None:
    result = scored(["A", "B C", "D"], ["A", "B X", "D E F"])
    every = text.evaluation(result, {}, {}, TextOptions("all"))
    assert [line for line in every.splitlines() if line.startswith("  ")] == [
        "  one: 0 errors in 1 word",
        "    A",
        "    A",
        "  two: 1 error in 2 words",
        "    B [C]",
        "    B [X]",
        "  three: 2 errors in 1 word",
        "    D [*] [*]",
        "    D [E] [F]",
    ]
    assert "one:" not in text.evaluation(result, {}, {}, TextOptions("worst"))
    assert ":" not in text.evaluation(result, {}, {}, TextOptions("none")).partition("insertions")[2]


def test_no_utterances_are_listed_without_errors() -> None:
    assert "most errors" not in text.evaluation(scored(["A"], ["A"]), {}, {})


def test_long_alignments_continue_in_further_lines() -> None:
    result = scored(["ONE TWO THREE FOUR FIVE"], ["ONE TWO TREE FOUR FIVE SIX"])
    report = text.evaluation(result, {}, {}, TextOptions("all", width=24))
    assert report.splitlines()[-4:] == [
        "    ONE TWO [THREE] FOUR",
        "    ONE TWO [TREE ] FOUR",
        "      FIVE [***]",
        "      FIVE [SIX]",
    ]


def test_alignment_of_a_word_longer_than_the_line_is_kept() -> None:
    report = text.evaluation(scored(["A" * 30], ["B"]), {}, {}, TextOptions("all", width=10))
    assert report.splitlines()[-2:] == [f"    [{'A' * 30}]", f"    [B{' ' * 29}]"]


def test_control_characters_do_not_reach_the_terminal() -> None:
    result = scored(["A \x1b[31m\x07", "\ud800"], ["B", "É 😀"])
    report = text.evaluation(result, {"model": "m\x9b"}, {}, TextOptions(verbose=True))
    assert not set(report) & {"\x1b", "\x07", "\x9b", "\ud800"}
    assert "\ufffd" in report and "É" in report and "😀" in report


def test_comparison_report_shows_verdicts_and_differing_utterances() -> None:
    references = ["A B C D"] * 4
    results = {"old": scored(references, ["X B C D", *references[1:]]), "new": scored(references, references)}
    body = document.comparison(results, {"references": "r.txt", "date": "today"}, {})
    report = text.comparison(body, TextOptions(worst=1))
    rows = [line.split() for line in report.splitlines()[:4]]
    assert [row[0] for row in rows] == ["references", "normaliser", "utterances", "WER"]
    assert rows[2][1:] == ["4,", "16", "words"] and "6.25 %  (95 % interval " in report
    assert "today" not in report
    assert "old and new: new is better by 6.25 points, 95 % interval 0.00 to 18.75: not significant\n" in report
    assert "  new has fewer errors in 1 utterance, more in 0, the same number in 3\n" in report
    assert (
        "  one: 4 words\n    old: 1 error\n      [A] B C D\n      [X] B C D\n    new: 0 errors\n      A B C D" in report
    )
    assert "Holm" not in report
    three = document.comparison(results | {"same": results["new"]}, {}, {})
    assert text.comparison(three).count("corrected (Holm)") == 3
    assert "differ most" not in text.comparison(three, TextOptions(worst=0))
