"""Options that are given twice."""

from pathlib import Path

import pytest

from asr.cli import main


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["transcribe", "a.wav", "--lm", "a", "--lm", "b"], "--lm"),
        (["score", "r", "h", "--normaliser", "basic", "--normaliser", "none"], "--normaliser"),
        (["lm", "train", "t", "-o", "a.arpa", "--out", "b.arpa"], "--out"),
        (["prepare", "table", "t.csv", "--out", "a", "--out", "b"], "--out"),
        (["models", "pack", "a", "--out", "b", "--out", "c"], "--out"),
        (["train", "r.toml", "--train", "a", "--dev", "b", "--out", "x", "--epochs", "1", "--epochs", "2"], "--epochs"),
    ],
)
def test_an_option_given_twice_is_an_error(arguments: list[str], name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert f"{name} is given 2 times; give it once" in capsys.readouterr().err


@pytest.mark.parametrize("more", [["--set", "training.seed=2"], ["--seed", "2"]])
def test_a_setting_given_twice_is_an_error(
    more: list[str], tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifests = ["--train", str(tones / "train.jsonl"), "--dev", str(tones / "dev.jsonl"), "--out", str(tmp_path)]
    assert main(["train", str(tones / "tiny.toml"), *manifests, "--set", "training.seed=1", *more]) == 2
    assert "training.seed is set 2 times; set it once" in capsys.readouterr().err


def test_lists_may_be_repeated(tones: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["transcribe", str(tones / "none.wav"), "--hotword", "A", "--hotword", "B", "-q"]) != 2
