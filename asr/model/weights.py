"""One safetensors file that holds a network and the settings that rebuild it.

The tensors are the network's parameters by name, float32. In a file for distribution they may be float16, or a matrix
int8 with `NAME.scale`, float32, one number a row, which multiplies the integers from -127 to 127. The metadata,
safetensors' own map of strings, has `format` (the kind of file), `schema` (a number that grows with every change that
older readers do not understand), `settings` (JSON) and `card` (JSON: how the network was trained).
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor, nn

from asr import config
from asr.errors import AsrError
from asr.files import open_atomic

Network_co = TypeVar("Network_co", bound=nn.Module, covariant=True)
Shape = tuple[int, ...]


class Buildable(Protocol[Network_co]):
    """Settings that build a network."""

    def build(self) -> Network_co:
        """Return the network with its initial weights."""


_SCALE, _LARGEST = ".scale", 127

Settings = TypeVar("Settings", bound=Buildable[nn.Module])


@dataclass(frozen=True)
class Kind(Generic[Settings]):
    """A kind of file: its `format`, newest `schema`, settings class and error class.

    `name` ("a model file") and `hint` are for messages. `extras` names the tensors beside the network's, of which a
    file has all or none.
    """

    format: str
    schema: int
    settings: type[Settings]
    error: type[AsrError]
    name: str
    hint: str = ""
    extras: tuple[str, ...] = ()


@dataclass(frozen=True)
class Contents(Generic[Settings]):
    """The metadata of a file; `shapes` by parameter name; the tensors beside the network's, if it has them."""

    schema: int
    settings: Settings
    card: dict[str, Any]
    shapes: dict[str, Shape]
    extras: dict[str, Tensor] = field(default_factory=dict)


def write(path: Path, kind: Kind[Settings], network: nn.Module, contents: Contents[Settings], bits: int = 32) -> None:
    """Write a file atomically, if it could be read again; schema and shapes of `contents` are not used.

    With 16 `bits` the weights are rounded to float16, with 8 those of matrices to int8. Raises the kind's error.
    """
    settings, card = contents.settings, contents.card
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    quantised = _quantise(tensors, bits)
    # A card that JSON cannot hold is a defect of the program, so its TypeError is not caught.
    metadata = {
        "format": kind.format,
        "schema": str(kind.schema),
        "settings": json.dumps(config.to_dict(settings), ensure_ascii=False),
        "card": json.dumps(card, ensure_ascii=False),
    }
    try:
        _check(settings, _dequantise(quantised))
        # Not safetensors' save_file, whose files only their owner may read.
        with open_atomic(path) as out:
            out.write(serialise(quantised | contents.extras, metadata))
    except (SafetensorError, OSError, ValueError) as error:
        raise kind.error(f"{path}: cannot be written: {getattr(error, 'strerror', None) or error}") from error


def read(path: Path, kind: Kind[Settings]) -> tuple[Contents[Settings], dict[str, Tensor]]:
    """Read a file and check that its weights fit its settings. Raises the kind's error naming the file."""
    if not path.is_file():
        raise kind.error(f"{path}: {'a folder' if path.is_dir() else 'no such file'}; expected {kind.name}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise kind.error(f"{path}: not a safetensors file, or a truncated one") from error
    if metadata.get("format") != kind.format:
        raise kind.error(f"{path}: a safetensors file, but not {kind.name}{kind.hint}")
    try:
        schema = int(metadata["schema"])
    except (KeyError, ValueError) as error:
        raise kind.error(f"{path}: damaged metadata: its schema is not a number") from error
    if schema > kind.schema:
        raise kind.error(f"{path}: schema {schema}, but this asr reads up to {kind.schema}; install a newer asr")
    try:
        settings = config.from_dict(kind.settings, _object(metadata, "settings"))
        card = _object(metadata, "card")
    except (ValueError, OverflowError, RecursionError) as error:
        raise kind.error(f"{path}: damaged metadata: {error}") from error
    has_extras = tensors.keys() >= set(kind.extras)
    extras = {name: tensors.pop(name).clone() for name in kind.extras if has_extras}
    tensors = _dequantise(tensors)
    try:
        _check(settings, tensors)
    except ValueError as error:
        raise kind.error(f"{path}: {error}") from error
    return Contents(schema, settings, card, _shapes(tensors), extras), tensors


def rebuild(settings: Buildable[Network_co], tensors: dict[str, Tensor]) -> Network_co:
    """Build the network with the weights of a file, ready for inference on the CPU."""
    with torch.device("meta"):
        network = settings.build()
    # Copies: the tensors read are views of the mapped file, and would change with it.
    network.load_state_dict(
        {name: tensor.to(torch.float32, copy=True) for name, tensor in tensors.items()}, assign=True
    )
    return network.eval()


def _quantise(tensors: dict[str, Tensor], bits: int) -> dict[str, Tensor]:
    """Return the tensors in 32 bits, in 16, or matrices in 8 and others in 16."""
    quantised: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if bits == 8 and tensor.dim() == 2 and tensor.dtype == torch.float32:
            # Rows of zeros must not be divided by zero.
            scale = (tensor.abs().amax(dim=1, keepdim=True) / _LARGEST).clamp(min=torch.finfo(torch.float32).tiny)
            quantised[name] = (tensor / scale).round().to(torch.int8)
            quantised[name + _SCALE] = scale
        else:
            quantised[name] = tensor if bits == 32 else tensor.half()
    return quantised


def _dequantise(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with int8 matrices multiplied by their scales; keep a matrix whose scale does not fit."""
    restored = dict(tensors)
    for name, tensor in tensors.items():
        scale = tensors.get(name + _SCALE)
        if tensor.dtype == torch.int8 and scale is not None and scale.shape == (len(tensor), 1):
            restored[name] = tensor * restored.pop(name + _SCALE)
    return restored


def _shapes(tensors: dict[str, Tensor]) -> dict[str, Shape]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _check(settings: Buildable[nn.Module], tensors: dict[str, Tensor]) -> None:
    with torch.device("meta"):
        network = settings.build()
    expected, actual = _shapes(network.state_dict()), _shapes(tensors)
    names = sorted(name for name in expected.keys() | actual.keys() if expected.get(name) != actual.get(name))
    if names:
        name = names[0]
        if name not in actual:
            problem = f"parameter {name!r}, {_text(expected[name])}, is missing"
        elif name not in expected:
            problem = f"the network has no parameter {name!r}"
        else:
            problem = f"parameter {name!r} is {_text(actual[name])}, expected {_text(expected[name])}"
        more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
        raise ValueError(f"its weights do not fit its settings: {problem}{more}")
    types = {str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()} - {"float32", "float16"}
    if types:
        raise ValueError(f"its weights are {', '.join(sorted(types))}; expected float32, float16, or int8 with scales")
    if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
        raise ValueError("its weights are not all finite numbers")


def _text(shape: Shape) -> str:
    return " x ".join(map(str, shape)) or "a scalar"


def _object(metadata: dict[str, str], key: str) -> dict[str, Any]:
    value = json.loads(metadata.get(key, "null"))
    if not isinstance(value, dict):
        raise ValueError(f"{key} is not a JSON object")
    return cast(dict[str, Any], value)
