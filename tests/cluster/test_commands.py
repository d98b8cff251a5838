"""Commands with --cluster: their results are those of one machine, and their errors name the mend."""

import io
import re
import tomllib
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asr.cli import main
from asr.model import checkpoint


def run(*arguments: object) -> tuple[int, str, str]:
    """Run the command line; return its exit code, stdout and stderr."""
    out, error = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(error):
        code = main(list(map(str, arguments)))
    return code, out.getvalue(), error.getvalue()


def test_address_without_a_cluster_is_a_clear_error(model: Path, tones: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'asr[cluster]'")
    code, said, error = run("transcribe", tones / "dev", "--model", model, "--cluster", "127.0.0.1:1")
    assert (code, said) == (1, "")
    assert error.startswith("asr: --cluster 127.0.0.1:1: no head node answers there (") and error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.wav", "--jobs", "2"], "--cluster cannot be used with --jobs"),
        (["a.wav", "--stream"], "--cluster cannot be used with --stream"),
        (["-"], "--cluster reads files that every node can open; - is none"),
    ],
)
def test_options_that_a_cluster_excludes(arguments: list[str], message: str, model: Path) -> None:
    code, _, error = run("transcribe", *arguments, "--model", model, "--cluster", "local")
    assert code == 2 and message in error


@pytest.mark.slow
def test_transcripts_are_those_of_this_machine(address: str, model: Path, tones: Path, tmp_path: Path) -> None:
    here = run("transcribe", tones / "dev", "--model", model, "--format", "json")
    there = run("transcribe", tones / "dev", "--model", model, "--format", "json", "--cluster", address)
    assert here[:2] == there[:2]
    assert "files of each node: " in there[2]
    # Half of the job, then all of it: an output folder is resumed, whatever wrote it.
    some = [tones / f"dev/dev-{number}.wav" for number in range(6)]
    outputs = ["--model", model, "--out", tmp_path / "out"]
    assert run("transcribe", *some, *outputs)[0] == 0
    code, said, error = run("transcribe", tones / "dev", *outputs, "--cluster", address)
    assert (code, said.partition(" (")[0]) == (0, f"{tmp_path / 'out'}: 6 transcribed")
    assert "6 of 12 recordings are up to date" in error
    assert len(list((tmp_path / "out").glob("*.txt"))) == 12


@pytest.mark.slow
def test_evaluation_is_that_of_this_machine(address: str, model: Path, tones: Path) -> None:
    arguments = ["evaluate", tones / "dev.jsonl", "--model", model, "--beam-width", "8"]
    here, there = run(*arguments), run(*arguments, "--cluster", address)
    without_speed = [[line for line in said.splitlines() if "real time" not in line] for _, said, _ in (here, there)]
    assert without_speed[0] == without_speed[1] and (here[0], there[0]) == (0, 0)


def tuned(*arguments: object) -> tuple[int, str, dict[str, Any], list[str]]:
    """Tune; return the exit code, the error rates that are printed, the settings but the search, and the table."""
    out = Path(str(arguments[-1]))
    code, said, error = run("tune", *arguments)
    assert code == 0, error
    settings = tomllib.loads(out.read_text())
    # The fastest search depends on the machine, and the temperature on the search.
    del settings["search"], settings["temperature"]
    cells = re.findall(r'<td class="heat.*?</td>', out.with_suffix(".html").read_text(), re.DOTALL)
    return code, "".join(re.findall(r"[\d.]+ % WER", said)), settings, [cell.replace(" best", "") for cell in cells]


@pytest.mark.slow
def test_settings_of_tune_are_those_of_this_machine(address: str, model: Path, tones: Path, tmp_path: Path) -> None:
    lm = tmp_path / "lm.arpa"
    assert run("lm", "train", tones / "train.jsonl", "--order", "2", "--out", lm, "--quiet")[0] == 0
    command = [tones / "dev.jsonl", "--model", model, "--lm", lm]
    here = tuned(*command, "--out", tmp_path / "here.toml")
    there = tuned(*command, "--cluster", address, "--out", tmp_path / "there.toml")
    assert here == there and len(here[-1]) > 90
    code, said, error = run("tune", *command, "--cluster", "127.0.0.1:1", "--out", tmp_path / "none.toml")
    assert (code, said) == (1, "") and error.startswith("asr: --cluster 127.0.0.1:1: no head node answers there (")
    assert not (tmp_path / "none.toml").exists()


@pytest.mark.slow
def test_prepared_features_are_found_by_training(address: str, tones: Path, tmp_path: Path) -> None:
    data = [tones / "tiny.toml", "--train", tones / "train.jsonl", "--dev", tones / "dev.jsonl"]
    data += ["--cache", tmp_path / "cache"]
    code, said, _ = run("prepare", "features", *data, "--cluster", address)
    assert code == 0 and said.startswith("train: features of 60 utterances, "), said
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*")}
    assert run("train", *data, "--out", tmp_path / "run", "--epochs", "1")[0] == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*")} == before


@pytest.mark.slow
def test_runs_of_a_grid_are_those_of_this_machine(address: str, tones: Path, tmp_path: Path) -> None:
    grid = tmp_path / "grid.toml"
    grid.write_text("[model]\nhidden = [8, 12]\n")
    command = ["train", tones / "tiny.toml", "--train", tones / "train.jsonl", "--dev", tones / "dev.jsonl"]
    command += ["--epochs", "1", "--grid", grid]
    code, there, said = run(*command, "--out", tmp_path / "there", "--cluster", address)
    assert code == 0, said
    assert "2 of 2 runs: model.hidden = " in said
    code, here, _ = run(*command, "--out", tmp_path / "here")
    assert code == 0
    assert there.splitlines()[:-1] == here.splitlines()[:-1]
    for path in (tmp_path / "here").glob("run-*/best.safetensors"):
        _, weights = checkpoint.read(path)
        _, other = checkpoint.read(tmp_path / "there" / path.relative_to(tmp_path / "here"))
        assert all(np.array_equal(weights[name], other[name]) for name in weights)


@pytest.mark.slow
def test_recording_that_a_node_does_not_see_is_an_error(address: str, model: Path, tones: Path, tmp_path: Path) -> None:
    good = tones / "dev/dev-0.wav"
    code, said, error = run("transcribe", good, tmp_path / "gone.wav", "--model", model, "--cluster", address)
    assert code == 1 and len(said.splitlines()) == 2
    assert f"asr: {tmp_path}/gone.wav: no such file on node " in error
    assert "; every node needs the recordings under the same paths" in error
