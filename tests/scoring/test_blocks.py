"""Intervals and tests where there are few and long utterances."""

import json
from pathlib import Path

import numpy as np
import pytest

from asr.cli import main
from asr.scoring import score
from asr.scoring.blocks import blocks
from asr.scoring.comparison import compare


def long_texts(words: int, share: float, seed: int) -> tuple[str, str]:
    """Return a reference and a hypothesis that has about a share of the words wrong."""
    random = np.random.default_rng(seed)
    reference = [f"W{number}" for number in random.integers(0, 500, words)]
    wrong = random.random(words) < share
    return " ".join(reference), " ".join("X" if bad else word for word, bad in zip(reference, wrong, strict=True))


def test_one_long_utterance_has_an_interval_of_its_segments() -> None:
    result = score(*([text] for text in long_texts(2000, 0.109, 1)))
    assert result.segments == 100
    # The standard error of a share of 2,000 words.
    error = 1.96 * (result.wer.value * (1 - result.wer.value) / 2000) ** 0.5
    assert result.wer.high - result.wer.low == pytest.approx(2 * error, rel=0.25)
    assert result.wer.low < result.wer.value < result.wer.high
    assert result.cer.low < result.cer.value < result.cer.high
    assert np.isnan([result.ser.low, result.ser.high]).all()


def test_the_interval_of_a_long_text_is_like_that_of_its_sentences() -> None:
    reference, hypothesis = (text.split() for text in long_texts(2000, 0.2, 2))
    sentences = [
        [" ".join(words[start : start + 20]) for start in range(0, 2000, 20)] for words in (reference, hypothesis)
    ]
    whole, split = score([" ".join(reference)], [" ".join(hypothesis)]), score(*sentences)
    assert (split.segments, whole.wer.value) == (0, split.wer.value)
    assert (whole.wer.low, whole.wer.high) == pytest.approx((split.wer.low, split.wer.high), abs=1e-9)


def test_segments_have_all_words_and_errors() -> None:
    [row] = score(["A " * 50 + "B"], ["A " * 45 + "X Y Z"]).utterance_scores
    parts = blocks(row)
    assert len(parts) == 3
    assert (sum(part.words for part in parts), sum(part.errors for part in parts)) == (51, row.errors)


def test_a_short_utterance_alone_has_no_interval() -> None:
    result = score(["A B C"], ["A X C"])
    assert result.segments == 0
    assert np.isnan([result.wer.low, result.wer.high, result.cer.low, result.ser.high]).all()


def test_systems_are_not_told_apart_by_one_utterance() -> None:
    reference, first = long_texts(2000, 0.11, 3)
    words = first.split()
    words[words.index("X")] = "Y"
    index = next(number for number, word in enumerate(words) if word == "X")
    words[index] = reference.split()[index]
    systems = {"a": score([reference], [first]), "b": score([reference], [" ".join(words)])}
    [contrast] = compare(systems)
    assert contrast.better == "b" and not contrast.shown and contrast.bootstrap.p > 0.3
    [contrast] = compare({"a": score(["A B"], ["X B"]), "b": score(["A B"], ["A B"])})
    assert (contrast.bootstrap.p, contrast.shown) == (1.0, False)
    assert contrast.verdict == (
        "a and b: b is better by 50.00 points; too little text for an interval and tests: not significant"
    )


def test_a_clear_difference_in_one_utterance_is_significant() -> None:
    reference, first = long_texts(2000, 0.1, 4)
    systems = {"a": score([reference], [first]), "b": score([reference], [reference])}
    assert compare(systems)[0].shown


def test_reports_say_what_the_intervals_are_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reference, hypothesis = long_texts(2000, 0.109, 1)
    for name, text in {"r": reference, "a": hypothesis, "b": reference, "short": "A B", "bad": "A X"}.items():
        (tmp_path / name).write_text(f"u {text}\n")

    def run(command: str, *names: str) -> str:
        files = [str(tmp_path / name) for name in names]
        outputs = ["--json", str(tmp_path / "o.json"), "--report", str(tmp_path / "o.html")]
        assert main([command, *files, *outputs]) == 0
        return capsys.readouterr().out

    out = run("score", "r", "a")
    assert "from 100 segments of about 20 words" in out and "SER" in out and "(95 % interval none)" in out
    body = json.loads((tmp_path / "o.json").read_text())
    assert (body["segments"], body["ser"]["low"]) == (100, None)
    assert "from 100 segments of about 20 words" in run("compare", "r", "a", "b")
    assert "(95 % interval none)" in run("score", "short", "bad")
    assert json.loads((tmp_path / "o.json").read_text())["wer"] == {"value": 0.5, "low": None, "high": None}
    assert "too little text" in run("compare", "short", "bad", "short")
