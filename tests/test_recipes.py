"""The files and settings of every recipe, and the LibriSpeech recipes on a tiny corpus of the same layout."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import pytest
import soundfile
from torch.distributed.run import get_args_parser

from asr import config
from asr.cli.prepare import features
from asr.cli.train import train
from asr.model import checkpoint
from asr.training.recipe import Recipe
from tests.conftest import SAMPLE_RATE, random_texts, spell
from tests.corpora.test_an4 import write_set

ROOT = Path(__file__).resolve().parent.parent
RECIPES = sorted(path.parent.name for path in (ROOT / "recipes").glob("*/recipe.toml"))


def test_recipe_names() -> None:
    librispeech = ["librispeech-100", "librispeech-960", "librispeech-mini"]
    assert [*RECIPES] == ["an4", "digits", "english-small", *librispeech, "strokes"]


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_has_its_files_and_valid_settings(name: str) -> None:
    folder = ROOT / "recipes" / name
    small = {"masks.toml", "noise.py", "robust.toml", "spelled.py", "streaming.toml"}
    own = {"english-small": small, "strokes": {"generate.py"}, "librispeech-960": {"slurm.sh"}}.get(name, set())
    assert {path.name for path in folder.iterdir()} == {"RESULTS.md", "recipe.toml", "run.sh"} | own
    for path in folder.glob("*.toml"):
        assert config.read(path, Recipe).name in (name, f"{name}-{path.stem}")
    assert os.access(folder / "run.sh", os.X_OK)


def write_tree(root: Path, subset: str, seed: int) -> None:
    speakers = {"train": ("11", "12", "13"), "dev": ("21",), "test": ("31",)}[subset.partition("-")[0]]
    for speaker in speakers:
        folder = root / "LibriSpeech" / subset / speaker / "1"
        folder.mkdir(parents=True)
        lines = []
        for number, text in enumerate(random_texts(4, seed + int(speaker))):
            name = f"{speaker}-1-{number:04d}"
            soundfile.write(folder / f"{name}.flac", spell(text), SAMPLE_RATE)
            lines.append(f"{name} {text}\n")
        (folder / f"{speaker}-1.trans.txt").write_text("".join(lines))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "training", "testing"),
    [
        ("librispeech-mini", ["train-clean-5"], ["dev-clean-2"]),
        ("librispeech-100", ["train-clean-100"], ["dev-clean", "dev-other", "test-clean", "test-other"]),
        (
            "librispeech-960",
            ["train-clean-100", "train-clean-360", "train-other-500"],
            ["dev-clean", "dev-other", "test-clean", "test-other"],
        ),
    ],
)
def test_librispeech_recipe_runs_on_a_tiny_corpus(
    name: str, training: list[str], testing: list[str], tmp_path: Path
) -> None:
    for seed, subset in enumerate([*training, *testing]):
        # In the real subsets every id occurs once; here the speakers' numbers tell them apart.
        write_tree(tmp_path, subset, 100 * seed)
        if seed and subset in training:
            rename_speakers(tmp_path / "LibriSpeech" / subset, seed)
    shutil.copytree(ROOT / "recipes" / name, tmp_path / "recipes" / name)
    shutil.copytree(ROOT / "asr" / "recognition" / "bundled", tmp_path / "asr" / "recognition" / "bundled")
    tiny = ["--epochs", "1", "--set", "model.hidden=8", "--set", "model.layers=1", "--set", "model.channels=2"]
    command = ["bash", f"recipes/{name}/run.sh", str(tmp_path), "runs/tiny", *tiny, "--quiet"]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for subset in testing:
        body = json.loads((tmp_path / "runs" / "tiny" / f"{subset}.json").read_text())
        assert body["utterances"] == 4


def parse(command: click.Command, arguments: list[str]) -> dict[str, Any]:
    """Return the values of the arguments as they are given. Raises click.UsageError for unknown ones."""
    values, rest, _ = command.make_parser(click.Context(command)).parse_args(arguments)
    assert not rest
    return dict(values)


def test_slurm_script_runs_commands_that_exist(tmp_path: Path) -> None:
    """srun and scontrol are scripts here, and the commands that srun is given are parsed."""
    script = ROOT / "recipes/librispeech-960/slurm.sh"
    for name, body in (("srun", 'printf "%s\\n" "$@" --end-- >> srun.log'), ("scontrol", "printf 'one\\ntwo\\n'")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_JOB_NODELIST": "one,two", "SLURM_JOB_ID": "7"}
    environment |= {"SLURM_JOB_NUM_NODES": "2", "SLURM_GPUS_ON_NODE": "8"}
    arguments = ["train.jsonl", "dev.jsonl", "runs/many", "--epochs", "3"]
    subprocess.run(["bash", "-n", script], check=True)
    subprocess.run(["bash", script, *arguments], cwd=tmp_path, env=environment, check=True)
    prepared, trained, _ = (tmp_path / "srun.log").read_text().split("--end--\n")
    *slurm, command, first, second = (words := prepared.splitlines())[:5]
    assert (slurm, command, first, second) == (["--nodes=1", "--ntasks=1"], "asr", "prepare", "features")
    assert parse(features, words[5:])["train_manifests"] == ["train.jsonl"]
    torchrun, *words = trained.splitlines()
    options = get_args_parser().parse_args(words)
    assert (torchrun, options.nnodes, options.nproc_per_node) == ("torchrun", "2", "8")
    assert (options.rdzv_endpoint, options.module, options.training_script) == ("one:29400", True, "asr")
    assert options.training_script_args[0] == "train"
    values = parse(train, options.training_script_args[1:])
    assert values["recipe"] == "recipes/librispeech-960/recipe.toml" and (ROOT / values["recipe"]).exists()
    assert (values["out"], values["epochs"]) == ("runs/many", "3")


@pytest.mark.slow
def test_english_small_recipe_runs_on_a_tiny_corpus(tmp_path: Path) -> None:
    for seed, subset in enumerate(["train-clean-5", "dev-clean"]):
        write_tree(tmp_path, subset, seed)
    # Too short for more than a letter.
    write_set(tmp_path / "an4", "train", [f"s{number}" for number in range(10)], 12, "<s> A </s> ({id})")
    write_set(tmp_path / "an4", "test", ["t1"], 1, "A ({id})")
    shutil.copytree(ROOT / "recipes" / "english-small", tmp_path / "recipes" / "english-small")
    (tmp_path / "text").write_text("ABC AB\nCAB\nA B C\n" * 20)
    tiny = ["--epochs", "1", "--set", "model.hidden=8", "--set", "model.layers=1", "--set", "model.channels=2"]
    command = ["bash", "recipes/english-small/run.sh", str(tmp_path), str(tmp_path / "text"), "runs/tiny", *tiny]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    environment |= {"TRAIN": "train-clean-5", "NOISE": "5", "SPELLED": "100", "PYTHONPATH": str(ROOT)}
    pronounced = find_spec("phonemizer") is not None and find_spec("espeakng_loader") is not None
    if pronounced:
        (tmp_path / "dictionary").write_text("ABC EY B S\nAB AE B\n")
        environment["DICTIONARY"] = "dictionary"
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    bundle = tmp_path / "runs" / "tiny" / "bundle"
    assert {"english-small.safetensors", "english-small.toml"} <= {path.name for path in bundle.iterdir()}
    assert bool(checkpoint.inspect(bundle / "english-small.safetensors").settings.text.phonemes) == pronounced
    body = json.loads((tmp_path / "runs" / "tiny" / "dev-clean.json").read_text())
    assert body["utterances"] == 4


@pytest.mark.slow
def test_strokes_recipe_runs_with_a_tiny_network(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "recipes" / "strokes", tmp_path / "recipes" / "strokes")
    tiny = ["--epochs", "1", "--set", "model.hidden=8", "--set", "model.layers=1", "--set", "model.channels=2"]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    command = ["bash", "recipes/strokes/run.sh", *tiny, "--quiet"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "runs/strokes/report.json").read_text())["utterances"] == 200
    assert "Dev WER" in (tmp_path / "runs/strokes/training.html").read_text()


def rename_speakers(subset: Path, number: int) -> None:
    """Make the speakers of a subset others than those of the first."""
    for path in sorted(subset.rglob("*"), key=lambda path: -len(path.parts)):
        if path.suffix == ".txt":
            path.write_text("".join(f"{number}{line}" for line in path.read_text().splitlines(keepends=True)))
        if path.name[:2] in ("11", "12", "13"):
            path.rename(path.with_name(f"{number}{path.name}"))
