"""Learning curves: parts of the data with the same steps, the report, and its page."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from asr import config, scoring
from asr.cli import main
from asr.corpora import manifest
from asr.training import dataset
from asr.training.dataset import DatasetSource, load
from asr.training.learning_curve import LearningCurve, Part, learning_curve
from asr.training.recipe import Recipe

TRUE = "A B C D E F G H I J"


def scores(wrong: int) -> scoring.Score:
    """Return the score of 40 utterances of ten words, with so many errors in all."""
    texts = [TRUE] * 40
    hypotheses = []
    for index in range(40):
        count = wrong * (index + 1) // 40 - wrong * index // 40
        hypotheses.append(" ".join(["X"] * count + TRUE.split()[count:]))
    return scoring.score(texts, hypotheses, [str(index) for index in range(40)])


def curve(errors: list[int]) -> LearningCurve:
    parts = [Part(divisor, 8 / divisor, Path(f"part-{divisor}"), "wer") for divisor in (8, 4, 2, 1)]
    return learning_curve(parts, list(map(scores, errors)))


def test_report_states_the_law_and_what_twice_the_data_would_give() -> None:
    result = curve([160, 80, 40, 20])
    assert "dev WER = 40 % · hours^-b, b = 1.00 (" in result.text()
    assert "Twice the data, 16 hours, would give a dev WER of 2.50 % (" in result.result
    body = json.loads(json.dumps(result.document({"recipe": "x"})))
    assert [row["hours"] for row in body["parts"]] == [1, 2, 4, 8]
    assert body["parts"][3]["wer"]["value"] == 0.05
    assert body["power_law"]["at_next"]["value"] == pytest.approx(0.025)
    page = result.page({"recipe": "<x>"})
    assert "&lt;x&gt;" in page and page.count("<circle") == 5
    assert "16: 2.50 %, 95 % interval " in page and "(expected)" in page


def test_report_without_a_law_says_why() -> None:
    result = curve([400, 400, 80, 40])
    assert result.law is None
    assert "No power law: a power law needs 3 error rates" in result.text()
    assert result.document({})["power_law"] is None
    assert result.page({}).count("<circle") == 4


def test_parts_are_nested_and_as_long_as_the_whole(tones: Path) -> None:
    recipe = config.read(tones / "tiny.toml", Recipe)
    rows = manifest.read(tones / "train.jsonl")
    whole = load(DatasetSource(rows, tones / "train.jsonl"), recipe.text, recipe.features, 4)
    small, large = (dataset.part(whole, divisor, 1) for divisor in (8, 2))
    ids = [{part[index].id for index in range(len(part))} for part in (small, large)]
    assert ids[0] < ids[1] < {row.id for row in rows}
    assert small.distinct_seconds == pytest.approx(whole.seconds / 8, rel=0.2)
    assert small.seconds == pytest.approx(8 * small.distinct_seconds)
    # Each pass has every utterance once.
    for passes in np.array_split(small.rows, 8):
        assert len(set(passes.tolist())) == len(passes) == len(ids[0])


def test_command_trains_parts_and_resumes(tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", str(tones / "tiny.toml"), "--train", str(tones / "train.jsonl"), "--quiet"]
    arguments += ["--dev", str(tones / "dev.jsonl"), "--out", str(tmp_path), "--learning-curve", "--epochs", "2"]
    assert main(arguments) == 0
    output = capsys.readouterr().out
    assert re.search(r"^ 1/8 .* hours  dev WER ", output) and "Report: " in output
    logs = {
        divisor: [json.loads(row) for row in (tmp_path / f"part-{divisor}/train.jsonl").read_text().splitlines()]
        for divisor in (8, 4, 2, 1)
    }
    hours = {divisor: rows[-1]["audio_hours"] for divisor, rows in logs.items()}
    assert hours[8] == pytest.approx(hours[1], rel=0.2)
    names = {"learning-curve.json", "learning-curve.html"}
    assert names <= {path.name for path in tmp_path.iterdir()}
    # Finished runs are not trained again.
    before = (tmp_path / "part-8/last.safetensors").stat().st_mtime_ns
    assert main(arguments) == 0
    assert (tmp_path / "part-8/last.safetensors").stat().st_mtime_ns == before
    # A part is not a whole run.
    whole = [argument for argument in arguments if argument != "--learning-curve"]
    whole[whole.index(str(tmp_path))] = str(tmp_path / "part-8")
    assert main(whole) == 1
    assert "part: 8 -> None" in capsys.readouterr().err
