"""Network files: exact round trips, and errors that name the damage."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from asr import config
from asr.errors import AsrError
from asr.model import weights


class WidthError(AsrError):
    """An error of this kind of file."""


@dataclass(frozen=True)
class Widths:
    """The settings of a network of one layer."""

    inputs: int = 2
    outputs: int = 3

    def build(self) -> nn.Linear:
        """Make the network."""
        return nn.Linear(self.inputs, self.outputs)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of its parameters."""
        return {"weight": (self.outputs, self.inputs), "bias": (self.outputs,)}


KIND = weights.Kind("asr-linear", 3, Widths, WidthError, "a linear file", "; nothing writes such files")
CARD: dict[str, Any] = {"corpus": "é\n日", "dev": 1.5}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=6,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A good file."""
    weights.write(tmp_path / "w.safetensors", KIND, Widths().build(), weights.Contents(1, Widths(), CARD, {}))
    return tmp_path / "w.safetensors"


@settings(deadline=None, max_examples=30)
@given(
    inputs=st.integers(1, 5),
    outputs=st.integers(1, 5),
    card=st.dictionaries(st.text(st.characters(codec="utf-8")), JSON, max_size=4),
)
def test_read_inverts_write(
    inputs: int, outputs: int, card: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("weights") / "w"
    shape = Widths(inputs, outputs)
    network = shape.build()
    weights.write(path, KIND, network, weights.Contents(1, shape, card, {}))
    contents, tensors = weights.read(path, KIND)
    assert (contents.schema, contents.settings, contents.card) == (3, shape, card)
    assert contents.shapes == {"weight": (outputs, inputs), "bias": (outputs,)}
    assert tensors.keys() == network.state_dict().keys()
    for name, tensor in network.state_dict().items():
        assert np.array_equal(tensors[name], tensor.numpy())
    assert list(path.parent.iterdir()) == [path]


@settings(deadline=None, max_examples=30)
@given(
    rows=st.lists(st.lists(st.floats(-1e4, 1e4, width=32), min_size=2, max_size=2), min_size=3, max_size=3),
    bits=st.sampled_from([8, 16]),
)
def test_quantised_weights_are_close(
    rows: list[list[float]], bits: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("rounded") / "w"
    network = Widths().build()
    network.weight.data = torch.tensor(rows)
    weights.write(path, KIND, network, weights.Contents(1, Widths(), CARD, {}), bits)
    contents, tensors = weights.read(path, KIND)
    assert contents.shapes == {"weight": (3, 2), "bias": (3,)}
    found = torch.from_numpy(tensors["weight"].astype(np.float32))
    # Half a step: of 127 in the largest weight of its row, or of float16's eleven bits.
    largest = network.weight.abs().amax(dim=1, keepdim=True)
    step = largest / 127 if bits == 8 else network.weight.abs().clamp(min=2**-14) / 2**10
    assert bool(((found - network.weight).abs() <= step * 0.5001 + 1e-30).all())
    assert bool((found[network.weight == 0] == 0).all())


def test_eight_bits_quarter_the_size(tmp_path: Path) -> None:
    shape = Widths(500, 400)
    sizes = []
    for bits in (32, 16, 8):
        weights.write(tmp_path / "w", KIND, shape.build(), weights.Contents(1, shape, {}, {}), bits)
        sizes.append((tmp_path / "w").stat().st_size)
    assert sizes[1] / sizes[0] == pytest.approx(1 / 2, abs=0.01)
    assert sizes[2] / sizes[0] == pytest.approx(1 / 4, abs=0.01)
    stored = load_file(tmp_path / "w")
    assert stored["weight"].dtype == torch.int8 and stored["weight.scale"].shape == (400, 1)
    assert int(stored["weight"].abs().max()) == 127


@pytest.mark.parametrize(
    ("scale", "says"),
    [
        (None, "its weights are int8; expected float32, float16, or int8 with scales"),
        (torch.ones(3), "its weights do not fit its settings: the network has no parameter 'weight.scale'"),
        (torch.ones(2, 1), "its weights do not fit its settings: the network has no parameter 'weight.scale'"),
        (torch.full((3, 1), torch.inf), "its weights are not all finite numbers"),
        (torch.ones(3, 1).double(), "its weights are float64; expected float32, float16, or int8 with scales"),
    ],
)
def test_scales_that_do_not_fit_are_refused(scale: torch.Tensor | None, says: str, path: Path) -> None:
    weights.write(path, KIND, Widths().build(), weights.Contents(1, Widths(), CARD, {}), 8)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    del tensors["weight.scale"]
    tensors |= {} if scale is None else {"weight.scale": scale}
    # A weight of 0 times infinity would be no number, either.
    tensors["weight"] = torch.ones_like(tensors["weight"])
    save_file(tensors, path, metadata)
    with pytest.raises(WidthError) as error:
        weights.read(path, KIND)
    assert str(error.value) == f"{path}: {says}"


def test_weights_that_were_read_do_not_change_with_their_file(path: Path) -> None:
    _, tensors = weights.read(path, KIND)
    before = tensors["weight"].copy()
    path.write_bytes(bytes(path.stat().st_size))
    assert before.any() and np.array_equal(tensors["weight"], before)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"format": "asr-model"}, "a safetensors file, but not a linear file; nothing writes such files"),
        ({"schema": "4"}, "schema 4, but this asr reads up to 3; install a newer asr"),
        ({"schema": "x"}, "damaged metadata: its schema is not a number"),
        ({"settings": "[]"}, "damaged metadata: settings is not a JSON object"),
        ({"settings": '{"inputs": "2"}'}, "damaged metadata: inputs must be a whole number, not '2'"),
        (
            {"settings": '{"inputs": 4}'},
            "its weights do not fit its settings: parameter 'weight' is 3 x 2, expected 3 x 4",
        ),
        ({"card": "{"}, "damaged metadata: "),
    ],
)
def test_damaged_metadata_raises_the_error_of_the_kind(changed: dict[str, str], says: str, path: Path) -> None:
    good = {
        "format": "asr-linear",
        "schema": "1",
        "settings": json.dumps(config.to_dict(Widths())),
        "card": json.dumps(CARD),
    }
    tensors = load_file(path)
    save_file(tensors, path, good)
    assert weights.read(path, KIND)[0].schema == 1
    save_file(tensors, path, good | changed)
    with pytest.raises(WidthError) as caught:
        weights.read(path, KIND)
    assert str(caught.value).startswith(f"{path}: {says}")


def test_other_files_are_refused(path: Path, tmp_path: Path) -> None:
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(WidthError, match="not a safetensors file, or a truncated one"):
            weights.read(path, KIND)
    with pytest.raises(WidthError, match="none: no such file; expected a linear file"):
        weights.read(tmp_path / "none", KIND)
    with pytest.raises(WidthError, match="a folder; expected a linear file"):
        weights.read(tmp_path, KIND)


def test_write_refuses_unreadable_contents(path: Path) -> None:
    before = path.read_bytes()
    broken = Widths().build()
    broken.bias.data[0] = math.nan
    for network, says in (
        (broken, "its weights are not all finite numbers"),
        (Widths(4, 4).build(), "its weights do not fit its settings: parameter 'bias' is 4, expected 3 (and 1 more)"),
        (Widths().build().double(), "its weights are float64; expected float32, float16, or int8 with scales"),
    ):
        with pytest.raises(WidthError) as caught:
            weights.write(path, KIND, network, weights.Contents(1, Widths(), CARD, {}))
        assert str(caught.value) == f"{path}: cannot be written: {says}"
    with pytest.raises(TypeError):
        weights.write(path, KIND, Widths().build(), weights.Contents(1, Widths(), {"path": path}, {}))
    with pytest.raises(WidthError, match=r"below: cannot be written: Not a directory"):
        weights.write(path / "below", KIND, Widths().build(), weights.Contents(1, Widths(), CARD, {}))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
