"""The file of a recurrent language model."""

import json
import math
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from asr import config
from asr.lm import LmError
from asr.lm import recurrent as rnnlm
from asr.lm.recurrent import (
    LmFileSettings,
    RnnLmSettings,
    file,
)
from asr.lm.recurrent.network import RnnLmNetwork
from asr.model import CELLS
from asr.text import TextSettings
from tests.lm.samples import SMALL, TEXT, make_rnn

CARD: dict[str, Any] = {"corpus": "é\n日", "dev": 1.5}


def single(shape: RnnLmSettings = SMALL, alphabet: str = " AB") -> RnnLmNetwork:
    return make_rnn(shape, alphabet).float()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A good file."""
    path = tmp_path / "lm.safetensors"
    rnnlm.save(path, single(), LmFileSettings(TEXT, SMALL), CARD)
    return path


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_round_trip(cell: str, tied: bool, tmp_path: Path) -> None:
    shape = LmFileSettings(
        TextSettings("none", "é' 日"), replace(SMALL, cell=cell, tied=tied, embedding=7, dropout=0.25)
    )
    model = single(shape.model, shape.text.alphabet)
    rnnlm.save(tmp_path / "lm", model, shape, CARD)
    loaded, contents = rnnlm.load(tmp_path / "lm")
    assert loaded.score(["é日", " '"]) == model.inference().score(["é日", " '"])
    assert contents == rnnlm.inspect(tmp_path / "lm")
    assert (contents.schema, contents.settings, contents.card) == (3, shape, CARD)
    assert contents.shapes == {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def refused(path: Path) -> str:
    """Return why a file is refused, in one line that names it."""
    messages = []
    for read in (rnnlm.load, rnnlm.inspect):
        with pytest.raises(LmError) as caught:
            read(path)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert messages[0].startswith(f"{path}: ")
    assert "\n" not in messages[0]
    return messages[0].removeprefix(f"{path}: ")


def rewrite(path: Path, tensors: dict[str, Tensor] | None = None, **changed: str | None) -> None:
    """Write the good file again with other tensors or metadata (None: without that key)."""
    good = {
        "format": file.FORMAT,
        "schema": "1",
        "settings": json.dumps(config.to_dict(LmFileSettings(TEXT, SMALL))),
        "card": "{}",
    }
    kept = {key: value for key, value in (good | changed).items() if value is not None}
    save_file(single().state_dict() if tensors is None else tensors, path, kept)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"format": "asr-model"}, "a safetensors file, but not a recurrent language model"),
        ({"format": None}, "a safetensors file, but not a recurrent language model"),
        ({"schema": None}, "damaged metadata: its schema is not a number"),
        ({"schema": "one"}, "damaged metadata: its schema is not a number"),
        ({"schema": "4"}, "schema 4, but this asr reads up to 3"),
        ({"settings": None}, "damaged metadata: settings is not a JSON object"),
        ({"settings": "{"}, "damaged metadata: "),
        ({"settings": '{"model": {"hiden": 3}}'}, "damaged metadata: unknown key 'model.hiden'"),
        ({"settings": '{"text": {"alphabet": "auto"}}'}, "damaged metadata: text.alphabet = 'auto'"),
        ({"settings": "{}"}, "its weights do not fit its settings: parameter 'bias'"),
        ({"card": "[]"}, "damaged metadata: card is not a JSON object"),
    ],
)
def test_damaged_metadata(changed: dict[str, str | None], message: str, path: Path) -> None:
    rewrite(path, None, **changed)
    assert refused(path).startswith(message)


def test_damaged_weights(path: Path) -> None:
    good = load_file(path)
    rewrite(path, {name: tensor for name, tensor in good.items() if name != "bias"})
    assert refused(path) == "its weights do not fit its settings: parameter 'bias', 4, is missing"
    rewrite(path, good | {"extra": torch.zeros(1)})
    assert refused(path) == "its weights do not fit its settings: the network has no parameter 'extra'"
    rewrite(path, {name: tensor.double() for name, tensor in good.items()})
    assert refused(path) == "its weights are float64; expected float32, float16, or int8 with scales"
    for value in (math.nan, math.inf):
        rewrite(path, good | {"bias": torch.tensor([0.0, value, 0.0, 0.0])})
        assert refused(path) == "its weights are not all finite numbers"


def test_other_files(path: Path, tmp_path: Path) -> None:
    whole = path.read_bytes()
    for part in (b"", whole[:7], whole[:100], whole[:-1], pickle.dumps({"weight": 1}), b"\xff" * 64):
        path.write_bytes(part)
        assert refused(path) == "not a safetensors file, or a truncated one"
    assert refused(tmp_path) == "a folder; expected a recurrent language model"
    assert refused(tmp_path / "none") == "no such file; expected a recurrent language model"


def test_failed_save_leaves_the_old_file(path: Path) -> None:
    before = path.read_bytes()
    broken = single()
    broken.bias.data[0] = math.nan
    for model, shape, message in (
        (broken, SMALL, "its weights are not all finite numbers"),
        (single(), replace(SMALL, hidden=3), "its weights do not fit its settings"),
    ):
        with pytest.raises(LmError, match=message) as caught:
            rnnlm.save(path, model, LmFileSettings(TEXT, shape), CARD)
        assert str(caught.value).startswith(f"{path}: cannot be written: ")
    with pytest.raises(TypeError, match="not JSON serializable"):
        rnnlm.save(path, single(), LmFileSettings(TEXT, SMALL), {"path": path})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(LmError, match="cannot be written"):
        rnnlm.save(path / "below", single(), LmFileSettings(TEXT, SMALL), CARD)
