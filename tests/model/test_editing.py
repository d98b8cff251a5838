"""Model files made from trained ones: means of weights, other chunks."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from asr.cli import main
from asr.features import FeatureSettings
from asr.features.reference import matrices
from asr.model import checkpoint, editing, network
from asr.model.checkpoint import ModelFileError, ModelFileSettings
from asr.model.settings import ModelSettings
from asr.text import TextSettings

Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """A function that writes a model of random weights; a number names and seeds it."""

    def write(seed: int, chunk: int = 2, lookahead: int = 1, dropout: float = 0.0, hidden: int = 6) -> Path:
        features = FeatureSettings(coefficients=13, mel_bands=40, normalisation="running", top_db=0.0)
        shape = ModelSettings("lstm", 1, hidden, True, 3, 3, dropout, chunk=chunk, lookahead=lookahead)
        settings = ModelFileSettings(features, TextSettings("upper", " AB"), shape)
        torch.manual_seed(seed)
        path = tmp_path / f"{seed}.safetensors"
        checkpoint.save(path, network.build(settings), settings, {"seed": seed}, matrices(features))
        return path

    return write


def test_average_is_the_weighted_mean(save: Save, tmp_path: Path) -> None:
    one, other, out = save(1, dropout=0.1), save(2, dropout=0.3), tmp_path / "mean.safetensors"
    editing.average([one, other], [0.75, 0.25], out)
    (contents, mean), (first, ours), (_, theirs) = map(checkpoint.read, (out, one, other))
    assert contents.settings == first.settings
    assert mean.keys() == ours.keys()
    for name, tensor in mean.items():
        np.testing.assert_allclose(tensor, 0.75 * ours[name] + 0.25 * theirs[name], rtol=1e-6)
    assert [(part["file"], part["share"]) for part in contents.card["average"]] == [
        ("1.safetensors", 0.75),
        ("2.safetensors", 0.25),
    ]
    assert checkpoint.matrices(contents) is not None


def test_models_of_other_settings_are_not_averaged(save: Save, tmp_path: Path) -> None:
    paths = [save(1), save(2, hidden=8)]
    with pytest.raises(ModelFileError, match=r"2\.safetensors: other settings than .*1\.safetensors: model\.hidden$"):
        editing.average(paths, [0.5, 0.5], tmp_path / "mean.safetensors")
    assert not (tmp_path / "mean.safetensors").exists()


def test_rechunk_changes_the_chunks_only(save: Save, tmp_path: Path) -> None:
    path, once, twice = save(1), tmp_path / "once.safetensors", tmp_path / "twice.safetensors"
    editing.rechunk(path, 4, 3, once)
    editing.rechunk(once, 5, 0, twice)
    (before, ours), (contents, theirs) = checkpoint.read(path), checkpoint.read(twice)
    assert (contents.settings.model.chunk, contents.settings.model.lookahead) == (5, 0)
    assert contents.settings.features == before.settings.features
    assert contents.card == {"seed": 1, "trained with": {"chunk": 2, "lookahead": 1}}
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours | theirs)


def test_a_model_of_whole_utterances_has_no_chunks_to_change(save: Save, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"1\.safetensors: model\.chunk is 0; train it with chunks first"):
        editing.rechunk(save(1, chunk=0, lookahead=0), 4, 3, tmp_path / "out.safetensors")


def test_chunks_are_bounded(save: Save, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"1\.safetensors: chunk = 20000 is not between 0 and 10000"):
        editing.rechunk(save(1), 20_000, 3, tmp_path / "out.safetensors")


def test_commands(save: Save, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other, mean = save(1), save(2), tmp_path / "new" / "mean.safetensors"
    assert main(["models", "average", str(one), str(other), "--weights", "3,1", "--out", str(mean)]) == 0
    assert capsys.readouterr().out == f"{mean}: 0.75 {one}, 0.25 {other}\n"
    out = tmp_path / "out.safetensors"
    assert main(["models", "rechunk", str(mean), "--chunk", "3", "--lookahead", "6", "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}: chunks of 3 output frames with a lookahead of 6\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["average", "{model}", "--out", "mean.bin"], "--out mean.bin: the name must end with .safetensors"),
        (["average", "{model}", "--weights", "1,2", "--out", "{out}"], "--weights 1,2: expected 1 positive numbers"),
        (["average", "{model}", "--out", "{model}"], "{model}"),
        (["rechunk", "{model}", "--chunk", "0", "--lookahead", "1", "--out", "{out}"], "0 is not in the range x>=1"),
    ],
)
def test_bad_arguments(
    arguments: list[str], message: str, save: Save, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"model": save(1), "out": tmp_path / "out.safetensors"}
    before = names["model"].read_bytes()
    assert main(["models", *(argument.format(**names) for argument in arguments)]) == 2
    error = capsys.readouterr().err
    assert message.format(**names) in error and error.count("\n") == 1
    assert names["model"].read_bytes() == before and not names["out"].exists()
