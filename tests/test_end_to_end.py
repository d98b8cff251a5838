"""From the bundled corpus to a word error rate, as a user would, in one short run; and the README's own code."""

import json
import re
from pathlib import Path

import pytest

import asr
from asr.cli import main

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
def test_the_bundled_digits_are_learnt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path)
    assert (
        main(["prepare", "librispeech", str(ROOT / "data/digits"), "train", "dev", "test", "--out", out, "--quiet"])
        == 0
    )
    assert "405 utterances" in capsys.readouterr().out
    # A fifth of the training set and small steps: enough to see that the whole pipeline learns.
    rows = (tmp_path / "train.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "part.jsonl").write_text("".join(rows[::5]))
    arguments = ["train", str(ROOT / "recipes/digits/recipe.toml"), "--train", f"{out}/part.jsonl"]
    arguments += ["--dev", f"{out}/dev.jsonl", "--out", f"{out}/run", "--epochs", "8", "--quiet"]
    arguments += ["--set", "augment.speeds=[1.0]", "--set", "training.batch_seconds=10"]
    assert main(arguments) == 0
    report = f"{out}/report.json"
    model = f"{out}/run/best.safetensors"
    assert main(["evaluate", f"{out}/test.jsonl", "--model", model, "--json", report, "--quiet"]) == 0
    assert json.loads(Path(report).read_text())["wer"]["value"] < 0.9


def test_the_python_of_the_readme_runs(
    trained: Path, tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    assert code
    places = {
        "english-small": trained / "best.safetensors",
        "runs/mini/best.safetensors": trained / "best.safetensors",
        "speech.wav": tones / "dev/dev-0.wav",
        "manifests/dev-clean-2.jsonl": tones / "dev.jsonl",
        "recipes/an4/recipe.toml": tones / "tiny.toml",
        "manifests/an4/train.jsonl": tones / "train.jsonl",
        "manifests/an4/dev.jsonl": tones / "dev.jsonl",
        "runs/an4": tmp_path / "run",
    }
    source = code[1]
    for name, place in places.items():
        assert f'"{name}"' in source
        source = source.replace(f'"{name}"', repr(str(place)))
    exec(source, {})
    assert "Rate(value=" in capsys.readouterr().out
    assert asr.load(tmp_path / "run/best.safetensors").transcribe_file(tones / "dev/dev-0.wav").text
