"""Scores -> text and JSON."""

import json
from pathlib import Path

import pytest

from asr import report, scoring


def test_aligned_puts_words_under_words() -> None:
    row = scoring.score(["THE CAT SAT"], ["THE BAT SAT DOWN"]).utterance_scores[0]
    assert report.aligned(row) == ["THE [CAT] SAT [****]", "THE [BAT] SAT [DOWN]"]
    row = scoring.score(["A LONG WORD"], ["A WORD"]).utterance_scores[0]
    assert report.aligned(row) == ["A [LONG] WORD", "A [****] WORD"]


def test_the_text_says_rates_counts_and_the_worst() -> None:
    score = scoring.score(["A B", "C D", "E F"], ["A B", "C X", "Y"], ["one", "two", "three"])
    text = report.text(score, {"model": "m.safetensors"}, count=1)
    assert text.startswith("model        m.safetensors\nWER          50.00 %  (95 % interval ")
    assert "3 of 6 words (substitutions 2, deletions 1, insertions 0)" in text
    assert "three: errors 2, words 2" in text
    assert "two:" not in text


def test_a_perfect_score_lists_no_worst() -> None:
    assert "Most errors" not in report.text(scoring.score(["A"], ["A"]), {})


def test_the_json_has_the_names_that_scripts_rely_on(tmp_path: Path) -> None:
    score = scoring.score(["A B", "É"], ["A C", "É"], ["one", "two"])
    report.write_json(tmp_path / "deep" / "report.json", score, {"model": "m"})
    body = json.loads((tmp_path / "deep" / "report.json").read_text(encoding="utf-8"))
    assert body["wer"]["value"] == pytest.approx(1 / 3)
    assert set(body["wer"]) == set(body["cer"]) == {"value", "low", "high"}
    counts = ("utterances", "words", "substitutions", "deletions", "insertions")
    assert [body[name] for name in counts] == [2, 3, 1, 0, 0]
    assert body["model"] == "m"
    assert [row["id"] for row in body["utterance_scores"]] == ["one", "two"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["report.json"]


def test_a_link_is_followed_and_a_device_is_written_to(tmp_path: Path) -> None:
    target, link = tmp_path / "target.json", tmp_path / "link.json"
    target.write_text("old")
    link.symlink_to(target)
    report.write_json(link, scoring.score(["A"], ["A"]), {})
    assert link.is_symlink()
    assert json.loads(target.read_text())["words"] == 1
    (tmp_path / "null").symlink_to("/dev/null")
    report.write_json(tmp_path / "null", scoring.score(["A"], ["A"]), {})
    assert Path("/dev/null").is_char_device()
