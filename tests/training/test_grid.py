"""Grids: every combination of settings once, resumed, in one table with the best recipe."""

import json
from pathlib import Path

import pytest

from asr import config
from asr.cli import main
from asr.scoring import Rate
from asr.training import grid
from asr.training.grid import GridResult
from asr.training.recipe import Recipe


def write_grid(folder: Path, text: str) -> Path:
    (folder / "grid.toml").write_text(text)
    return folder / "grid.toml"


def test_plan_has_every_combination(tones: Path, tmp_path: Path) -> None:
    path = write_grid(tmp_path, '[model]\nhidden = [8, 16]\ncell = ["gru"]\n[augment]\nspeeds = [[1.0], [0.9, 1.1]]\n')
    runs = grid.plan(path, tones / "tiny.toml", ["training.epochs=1"], [tones / "dev.jsonl"], tmp_path)
    assert [(run.recipe.model.hidden, run.recipe.augment.speeds) for run in runs] == [
        *((8, (1.0,)), (8, (0.9, 1.1))),
        *((16, (1.0,)), (16, (0.9, 1.1))),
    ]
    assert {run.recipe.training.epochs for run in runs} == {1}
    assert len({run.folder for run in runs}) == 4
    # Other data or another recipe make other runs.
    other = grid.plan(path, tones / "tiny.toml", ["training.epochs=1"], [tones / "train.jsonl"], tmp_path)
    assert not {run.folder for run in runs} & {run.folder for run in other}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[model]\nhidden = 8\n", "model.hidden is not a list of values"),
        ("[model]\nhidden = []\n", "model.hidden is not a list of values"),
        ("hidden = [8]\n", "hidden is not a list of values, such as .* in a section"),
        ("", "no settings"),
        ("[model\n", "not TOML"),
        ("[model]\nhiden = [8]\n", "unknown key 'model.hiden'"),
        ("[model]\nhidden = [8, 0]\n", r"hidden = 0 is not"),
        ("[model]\nhidden = [8, 8]\n", "two runs have the same settings: model.hidden = 8"),
    ],
)
def test_bad_grid_is_an_error_naming_it(text: str, message: str, tones: Path, tmp_path: Path) -> None:
    path = write_grid(tmp_path, text)
    with pytest.raises(config.ConfigError, match=rf"^{path}: .*{message}|^{path}: {message}"):
        grid.plan(path, tones / "tiny.toml", [], [tones / "dev.jsonl"], tmp_path)


def test_table_and_best_recipe_are_of_the_lowest_rate(tones: Path, tmp_path: Path) -> None:
    path = write_grid(tmp_path, "[model]\nhidden = [8, 16]\n")
    runs = grid.plan(path, tones / "tiny.toml", [], [tones / "dev.jsonl"], tmp_path)
    results = [(run, GridResult("wer", Rate(rate, 0.1, 0.4))) for run, rate in zip(runs, (0.3, 0.2), strict=True)]
    lines = grid.table(results).splitlines()
    assert lines[0].split() == ["model.hidden", "dev", "WER", "(95", "%", "interval)", "run"]
    assert [line.split()[:2] for line in lines[1:]] == [["16", "20.00"], ["8", "30.00"]]
    grid.write(tmp_path, results)
    assert config.read(tmp_path / "best.toml", Recipe) == runs[1].recipe
    assert [row["rate"]["value"] for row in json.loads((tmp_path / "grid.json").read_text())["runs"]] == [0.2, 0.3]


def test_command_trains_each_run_once(tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_grid(tmp_path, "[model]\nhidden = [8]\n")
    arguments = ["train", str(tones / "tiny.toml"), "--train", str(tones / "train.jsonl"), "--epochs", "1", "--quiet"]
    arguments += ["--dev", str(tones / "dev.jsonl"), "--out", str(tmp_path / "out"), "--grid", str(path)]
    assert main(arguments) == 0
    [first] = (tmp_path / "out").glob("run-*/best.safetensors")
    before = first.stat().st_mtime_ns
    write_grid(tmp_path, "[model]\nhidden = [8, 12]\n")
    assert main(arguments) == 0
    assert first.stat().st_mtime_ns == before
    assert len(list((tmp_path / "out").glob("run-*/best.safetensors"))) == 2
    assert "model.hidden" in capsys.readouterr().out
    assert main([*arguments, "--learning-curve"]) == 2
    assert "cannot be used together" in capsys.readouterr().err
    assert main([*arguments[:-2], "--cluster", "local"]) == 2
    assert "use torchrun" in capsys.readouterr().err
    assert main([*arguments, "--overwrite"]) == 2
