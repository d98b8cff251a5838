"""Model files: round trips, and refusal of all other files in one line."""

import json
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from asr import config
from asr.features import FeatureSettings
from asr.model import CELLS, ModelSettings, checkpoint, network
from asr.model.checkpoint import FORMAT, SCHEMA, ModelFileError, ModelFileSettings
from asr.model.network import Model
from asr.text import TextSettings

SMALL = ModelFileSettings(
    FeatureSettings(sample_rate=8_000, coefficients=3, mel_bands=8, window=0.032, high_frequency=3_800.0, deltas=1),
    TextSettings(normaliser="none", alphabet="é' 日", unknown="drop"),
    ModelSettings(cell="gru", layers=2, hidden=2, channels=1, time_reduction=3, dropout=0.1, layer_norm=False),
)
CARD: dict[str, Any] = {"recipe": {"name": "é\n日"}, "epoch": 3, "dev_wer": 0.125, "data": [None, True, "x"]}


def make(shape: ModelFileSettings = SMALL, seed: int = 0) -> Model:
    torch.manual_seed(seed)
    return network.build(shape).eval()


def log_probs(model: Model) -> Tensor:
    features = torch.randn(2, 20, model.features, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found: Tensor = model(features, torch.tensor([20, 11])).log_probs
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A good model file."""
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, make(), SMALL, CARD)
    return path


def refused(path: Path, read: Callable[[Path], object] = network.load) -> str:
    """Return why a file is refused, in one line that names it."""
    with pytest.raises(ModelFileError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def rewrite(path: Path, tensors: dict[str, Tensor] | None = None, **changed: str | None) -> None:
    """Write the good file again with other tensors or metadata (None: without that key)."""
    metadata: dict[str, str | None] = {
        "format": FORMAT,
        "schema": str(SCHEMA),
        "settings": json.dumps(config.to_dict(SMALL)),
        "card": "{}",
    }
    kept = {key: value for key, value in (metadata | changed).items() if value is not None}
    save_file(make().state_dict() if tensors is None else tensors, path, kept)


# --- the round trip ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_round_trip(cell: str, bidirectional: bool, tmp_path: Path) -> None:
    shape = replace(SMALL, model=replace(SMALL.model, cell=cell, bidirectional=bidirectional))
    model = make(shape, seed=7)
    checkpoint.save(tmp_path / "model", model, shape, CARD)
    loaded, contents = network.load(tmp_path / "model")
    assert torch.equal(log_probs(loaded), log_probs(model))
    assert contents.settings == shape
    assert contents.settings.alphabet.characters == "é' 日"
    assert contents.card == CARD
    assert contents.schema == SCHEMA
    assert contents.shapes == {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert checkpoint.inspect(tmp_path / "model") == contents


def test_round_trip_of_defaults(tmp_path: Path) -> None:
    shape = ModelFileSettings(model=ModelSettings(layers=1, hidden=4))
    checkpoint.save(str(tmp_path / "model"), make(shape), shape, {})
    assert checkpoint.inspect(str(tmp_path / "model")).settings == shape


def test_loaded_model_is_in_evaluation_mode(path: Path) -> None:
    model, _ = network.load(path)
    assert not model.training
    log_probs(model).sum()
    model.train()
    model(torch.randn(1, 9, model.features), torch.tensor([9])).log_probs.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_save_does_not_change_the_model(tmp_path: Path) -> None:
    model = make().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    checkpoint.save(tmp_path / "model", model, SMALL, CARD)
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_loaded_model_can_overwrite_its_file(path: Path) -> None:
    model, contents = network.load(path)
    before = log_probs(model)
    checkpoint.save(path, model, contents.settings, {"again": 1})
    again, contents = network.load(path)
    assert torch.equal(log_probs(again), before)
    assert contents.card == {"again": 1}


def test_loaded_model_does_not_change_with_its_file(path: Path) -> None:
    model, _ = network.load(path)
    before = log_probs(model)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.write(b"\xff" * size)
    assert torch.equal(log_probs(model), before)


def test_settings_refuse_alphabet_auto() -> None:
    with pytest.raises(ValueError, match=r"text\.alphabet = 'auto'"):
        ModelFileSettings(text=TextSettings(alphabet="auto"))


# --- whole or not at all ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_failed_save_leaves_nothing(
    there: bool, failure: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.safetensors"
    if there:
        checkpoint.save(path, make(), SMALL, CARD)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def fail(number: int) -> None:
        # All is written, and nothing of it has the name yet.
        assert os.fstat(number).st_size > 1000
        raise failure

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises((ModelFileError, KeyboardInterrupt)) as caught:
        checkpoint.save(path, make(seed=1), SMALL, CARD)
    if isinstance(failure, OSError):
        assert str(caught.value) == f"{path}: cannot be written: No space left on device"
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_save_is_atomic(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    replace_by_name = Path.replace
    moved: list[Path] = []

    def watched(file: Path, target: Path) -> Path:
        assert path.read_bytes() == before
        assert file.parent == path.parent  # replacing is atomic within one file system alone
        assert len(file.read_bytes()) == len(before)
        moved.append(file)
        return replace_by_name(file, target)

    monkeypatch.setattr(Path, "replace", watched)
    checkpoint.save(path, make(seed=1), SMALL, CARD)
    assert len(moved) == 1
    assert path.read_bytes() != before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX's")
def test_saved_file_has_default_permissions(path: Path) -> None:
    plain = path.with_name("plain")
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode


def test_save_to_unwritable_path_fails(tmp_path: Path) -> None:
    def save(path: Path) -> None:
        checkpoint.save(path, make(), SMALL, CARD)

    assert refused(tmp_path / "none" / "model", save).startswith("cannot be written: ")
    (tmp_path / "folder").mkdir()
    assert refused(tmp_path / "folder", save).startswith("cannot be written: ")
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]


def test_card_that_json_cannot_hold_keeps_old_file(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(TypeError):
        checkpoint.save(path, make(), SMALL, {"path": path})
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


# --- what is no model file --------------------------------------------------------------------------------------


READERS = pytest.mark.parametrize("read", [network.load, checkpoint.inspect])


@READERS
def test_load_without_file_fails(read: Callable[[Path], object], tmp_path: Path) -> None:
    assert refused(tmp_path / "none", read) == "no such file; expected a model file"
    assert refused(tmp_path, read) == "a folder; expected a model file"


@READERS
@pytest.mark.parametrize(
    "data", [b"", b"\0", b"\0" * 8, b"\0" * 1000, b"THE CAT SAT\n" * 50, b"RIFF\x24\0\0\0WAVEfmt "]
)
def test_load_of_other_files_fails(read: Callable[[Path], object], data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(data)
    assert refused(path, read) == "not a safetensors file, or a truncated one"


def test_truncated_anywhere(path: Path) -> None:
    data = path.read_bytes()
    header = 8 + int.from_bytes(data[:8], "little")
    for size in {*range(12), *range(12, len(data), 37), header - 1, header, header + 1, len(data) - 1}:
        path.write_bytes(data[:size])
        assert refused(path) == "not a safetensors file, or a truncated one"


def test_trailing_bytes_are_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")
    assert refused(path) == "not a safetensors file, or a truncated one"


@READERS
@pytest.mark.parametrize("metadata", [None, {}, {"format": "pt"}, {"format": "asr-other", "schema": "1"}])
def test_safetensors_file_of_another_format_is_refused(
    read: Callable[[Path], object], metadata: dict[str, str] | None, tmp_path: Path
) -> None:
    path = tmp_path / "model"
    save_file(make().state_dict(), path, metadata)
    assert refused(path, read).startswith("a safetensors file, but not a model file")


class Trap:
    """Make a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@READERS
@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle"])
def test_a_pickle_is_refused_and_never_unpickled(read: Callable[[Path], object], kind: str, tmp_path: Path) -> None:
    path, sprung = tmp_path / "model.pt", tmp_path / "sprung"
    held = {"weights": torch.zeros(3), "trap": Trap(sprung)}
    if kind == "pickle":
        path.write_bytes(pickle.dumps(held))
    else:
        torch.save(held, path, _use_new_zipfile_serialization=kind == "zip")
    assert refused(path, read) == "not a safetensors file, or a truncated one"
    assert not sprung.exists()
    if kind == "pickle":
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert sprung.exists(), "the trap does not work"


# --- damaged model files ----------------------------------------------------------------------------------------


@READERS
@pytest.mark.parametrize("schema", [SCHEMA + 1, 10**9])
def test_newer_schema_is_refused(read: Callable[[Path], object], schema: int, path: Path) -> None:
    # ModelFileSettings of a newer schema may be of another form altogether.
    rewrite(path, schema=str(schema), settings="of another form", card=None)
    assert refused(path, read) == f"schema {schema}, but this asr reads up to {SCHEMA}; install a newer asr"


@READERS
@pytest.mark.parametrize("schema", ["", "one", "1.0", None, "9" * 5000])
def test_schema_that_is_not_a_number_is_refused(read: Callable[[Path], object], schema: str | None, path: Path) -> None:
    rewrite(path, schema=schema)
    assert refused(path, read) == "damaged metadata: its schema is not a number"


def with_settings(**changed: Any) -> str:
    values = config.to_dict(SMALL)
    for section, value in changed.items():
        values[section] = values[section] | value if isinstance(value, dict) and section in values else value
    return json.dumps(values)


@READERS
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "settings is not a JSON object"),
        ("", "Expecting value"),
        ('{"features": {"sample', "Unterminated string"),
        ("null", "settings is not a JSON object"),
        ("7", "settings is not a JSON object"),
        ('["features"]', "settings is not a JSON object"),
        ("[" * 100_000, "recursion"),
        (with_settings(model=3), "model is a section"),
        (with_settings(models={}), "unknown key 'models'; did you mean 'model'?"),
        (with_settings(**{"a\nb": 1}), r"unknown key 'a\nb'"),
        (with_settings(model={"hiden": 3}), "unknown key 'model.hiden'; did you mean 'hidden'?"),
        (with_settings(model={"hidden": "3"}), "model.hidden must be a whole number, not '3'"),
        (with_settings(model={"hidden": 0}), "[model] hidden = 0 is not between"),
        (with_settings(model={"cell": "transformer"}), "[model] cell = 'transformer' is not one of"),
        (with_settings(model={"dropout": float("nan")}), "[model] dropout = nan"),
        (with_settings(features={"window": 10**400}), ""),
        (with_settings(features={"mel_bands": 0}), "[features] "),
        (with_settings(text={"alphabet": "AA"}), "[text] alphabet: 'A' is twice"),
        (with_settings(text={"alphabet": ""}), "[text] alphabet: "),
        (with_settings(text={"alphabet": "auto"}), "text.alphabet = 'auto' cannot be stored"),
    ],
)
def test_damaged_settings_are_refused(
    read: Callable[[Path], object], text: str | None, message: str, path: Path
) -> None:
    rewrite(path, settings=text)
    found = refused(path, read)
    assert found.startswith("damaged metadata: ")
    assert message in found


@READERS
@pytest.mark.parametrize("card", [None, "", "{", "null", "[]", '"card"', "3"])
def test_damaged_card_is_refused(read: Callable[[Path], object], card: str | None, path: Path) -> None:
    rewrite(path, card=card)
    assert refused(path, read).startswith("damaged metadata: ")


@pytest.mark.parametrize(
    ("text", "first", "more"),
    [
        (with_settings(model={"hidden": 3}), "layers.0.recurrence.bias_hh_l0", 16),
        (with_settings(model={"layers": 1}), "layers.1.recurrence.bias_hh_l0", 7),
        (with_settings(model={"cell": "lstm"}), "layers.0.recurrence.bias_hh_l0", 15),
        (with_settings(text={"alphabet": "AB"}), "output.bias", 1),
        (with_settings(model={"layer_norm": True}), "last_norm.bias", 5),
    ],
)
def test_weights_that_do_not_fit_are_named(text: str, first: str, more: int, path: Path) -> None:
    rewrite(path, settings=text)
    fault = refused(path)
    assert fault.startswith("its weights do not fit its settings: ")
    assert f"parameter {first!r}" in fault
    assert fault.endswith(f"(and {more} more)")


def test_missing_and_extra_tensors_are_named(path: Path) -> None:
    tensors = load_file(path)
    missing = {name: tensor for name, tensor in tensors.items() if name != "output.bias"}
    for other, fault in (
        (missing, "parameter 'output.bias', 5, is missing"),
        (tensors | {"extra": torch.zeros(1)}, "the network has no parameter 'extra'"),
        (tensors | {"a\nb": torch.zeros(1)}, "the network has no parameter 'a\\nb'"),
        (tensors | {"output.bias": torch.zeros(1, 5)}, "parameter 'output.bias' is 1 x 5, expected 5"),
    ):
        rewrite(path, other)
        assert refused(path) == f"its weights do not fit its settings: {fault}"
    rewrite(path, {})
    assert refused(path).startswith("its weights do not fit its settings: parameter 'front.")


@pytest.mark.parametrize("dtype", [torch.int32, torch.float64, torch.bfloat16, torch.bool])
def test_weights_of_another_type_are_refused(dtype: torch.dtype, path: Path) -> None:
    tensors = load_file(path)
    rewrite(path, tensors | {"output.bias": tensors["output.bias"].to(dtype)})
    assert (
        refused(path)
        == f"its weights are {str(dtype).removeprefix('torch.')}; expected float32, float16, or int8 with scales"
    )


# --- damage at random -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A path to write damaged files to, and the bytes of a good file."""
    path = tmp_path_factory.mktemp("damage") / "model"
    checkpoint.save(path, make(), SMALL, CARD)
    return path, path.read_bytes()


@settings(deadline=None, derandomize=True, max_examples=250)
@given(
    edits=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255) | st.sampled_from(b'0189{}[]":,IU')), max_size=4),
    cut=st.none() | st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_random_damage(
    good: tuple[Path, bytes], edits: list[tuple[float, int]], cut: tuple[float, float] | None
) -> None:
    path, data = good
    damaged = bytearray(data)
    for place, byte in edits:
        damaged[int(place * len(data))] = byte
    if cut:
        start, end = sorted(int(place * len(data)) for place in cut)
        del damaged[start:end]
    path.write_bytes(damaged)
    try:
        model, _ = network.load(path)
    except ModelFileError as error:
        assert str(error).startswith(f"{path}: ")
        assert "\n" not in str(error)
    else:
        log_probs(model)


def test_single_bits_of_the_header(good: tuple[Path, bytes]) -> None:
    path, data = good
    header = 8 + int.from_bytes(data[:8], "little")
    for place in range(0, header, 17):
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 7
        path.write_bytes(damaged)
        try:
            network.load(path)
        except ModelFileError as error:
            assert str(error).startswith(f"{path}: ")
