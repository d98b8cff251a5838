"""The whole pipeline on the bundled corpus: prepare, train, evaluate."""

import json
from pathlib import Path

import pytest

from asr.cli import main

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
def test_digits_pipeline_reaches_its_word_error_rate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path)
    assert (
        main(["prepare", "librispeech", str(ROOT / "data/digits"), "train", "dev", "test", "--out", out, "--quiet"])
        == 0
    )
    assert "405 utterances" in capsys.readouterr().out
    # A fifth of the training set with many small steps trains in half a minute.
    rows = (tmp_path / "train.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "part.jsonl").write_text("".join(rows[::5]))
    arguments = ["train", str(ROOT / "recipes/digits/recipe.toml"), "--train", f"{out}/part.jsonl"]
    arguments += ["--dev", f"{out}/dev.jsonl", "--out", f"{out}/run", "--epochs", "12", "--quiet"]
    arguments += ["--set", "augment.speeds=[1.0]", "--set", "training.batch_seconds=10"]
    assert main(arguments) == 0
    report = f"{out}/report.json"
    model = f"{out}/run/best.safetensors"
    assert main(["evaluate", f"{out}/test.jsonl", "--model", model, "--json", report, "--quiet"]) == 0
    # Measured: 0.40 with seed 1, 0.35 with seed 2.
    assert json.loads(Path(report).read_text())["wer"]["value"] < 0.55
