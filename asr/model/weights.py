"""One safetensors file that holds a network and the settings that rebuild it.

The tensors are the network's parameters by name, float32. In a file for distribution they may be float16, or a matrix
int8 with `NAME.scale`, float32, one number a row, which multiplies the integers from -127 to 127. The metadata,
safetensors' own map of strings, has `format` (the kind of file), `schema` (a number that grows with every change that
older readers do not understand), `settings` (JSON) and `card` (JSON: how the network was trained).
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialise

from asr import config
from asr.errors import AsrError
from asr.files import open_atomic
from asr.model.settings import Shape

Tensors = dict[str, NDArray[Any]]


class Shaped(Protocol):
    """Settings of a network."""

    def shapes(self) -> dict[str, Shape]:
        """Return the shape of each parameter of the network. Raises ValueError for settings without a network."""


class Module(Protocol):
    """A network of torch."""

    def state_dict(self) -> Mapping[str, Any]:
        """Return the parameters by name."""


# A network whose parameters are written: of torch, or arrays by name.
Network = Module | Mapping[str, NDArray[Any]]
_SCALE, _LARGEST = ".scale", 127
# The types of numbers that NumPy has, as safetensors names them.
_TYPES = {"BOOL", *(f"{kind}{bits}" for kind in "UI" for bits in (8, 16, 32, 64)), "F16", "F32", "F64"}

Settings = TypeVar("Settings", bound=Shaped)


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
    extras: Tensors = field(default_factory=dict)


def write(path: Path, kind: Kind[Settings], network: Network, contents: Contents[Settings], bits: int = 32) -> None:
    """Write a file atomically, if it could be read again; schema and shapes of `contents` are not used.

    With 16 `bits` the weights are rounded to float16, with 8 those of matrices to int8. Raises the kind's error.
    """
    settings, card = contents.settings, contents.card
    quantised = _quantise(_arrays(network), bits)
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


def read(path: Path, kind: Kind[Settings]) -> tuple[Contents[Settings], Tensors]:
    """Read a file and check that its weights fit its settings. Raises the kind's error naming the file."""
    if not path.is_file():
        raise kind.error(f"{path}: {'a folder' if path.is_dir() else 'no such file'}; expected {kind.name}")
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            names = list(file.keys())
            # NumPy has no such numbers.
            unknown = {file.get_slice(name).get_dtype() for name in names} - _TYPES
            tensors = {} if unknown else {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        hint = "; give the model file, not its ONNX file" if path.suffix == ".onnx" else ""
        raise kind.error(f"{path}: not a safetensors file, or a truncated one{hint}") from error
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
    if unknown:
        raise kind.error(f"{path}: {_of_types(name.lower().replace('bf', 'bfloat') for name in unknown)}")
    has_extras = tensors.keys() >= set(kind.extras)
    extras = {name: tensors.pop(name) for name in kind.extras if has_extras}
    tensors = _dequantise(tensors)
    try:
        _check(settings, tensors)
    except ValueError as error:
        raise kind.error(f"{path}: {error}") from error
    return Contents(schema, settings, card, _shapes(tensors), extras), tensors


def _arrays(network: Network) -> Tensors:
    if isinstance(network, Mapping):
        return dict(network)
    return {name: np.ascontiguousarray(tensor.detach().cpu().numpy()) for name, tensor in network.state_dict().items()}


def _quantise(tensors: Tensors, bits: int) -> Tensors:
    """Return the tensors in 32 bits, in 16, or matrices in 8 and others in 16."""
    quantised: Tensors = {}
    for name, tensor in tensors.items():
        if bits == 8 and tensor.ndim == 2 and tensor.dtype == np.float32:
            # Rows of zeros must not be divided by zero.
            scale = np.maximum(np.abs(tensor).max(axis=1, keepdims=True) / _LARGEST, np.finfo(np.float32).tiny)
            quantised[name] = np.rint(tensor / scale).astype(np.int8)
            quantised[name + _SCALE] = scale
        else:
            quantised[name] = tensor if bits == 32 else tensor.astype(np.float16)
    return quantised


def _dequantise(tensors: Tensors) -> Tensors:
    """Return the tensors with int8 matrices multiplied by their scales; keep a matrix whose scale does not fit."""
    restored = dict(tensors)
    for name, tensor in tensors.items():
        scale = tensors.get(name + _SCALE)
        if tensor.dtype == np.int8 and scale is not None and scale.shape == (len(tensor), 1):
            with np.errstate(all="ignore"):
                restored[name] = tensor * restored.pop(name + _SCALE)
    return restored


def _shapes(tensors: Tensors) -> dict[str, Shape]:
    return {name: tensor.shape for name, tensor in tensors.items()}


def _check(settings: Shaped, tensors: Tensors) -> None:
    expected, actual = settings.shapes(), _shapes(tensors)
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
    types = {tensor.dtype.name for tensor in tensors.values()} - {"float32", "float16"}
    if types:
        raise ValueError(_of_types(types))
    if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
        raise ValueError("its weights are not all finite numbers")


def _of_types(types: Iterable[str]) -> str:
    return f"its weights are {', '.join(sorted(types))}; expected float32, float16, or int8 with scales"


def _text(shape: Shape) -> str:
    return " x ".join(map(str, shape)) or "a scalar"


def _object(metadata: dict[str, str], key: str) -> dict[str, Any]:
    value = json.loads(metadata.get(key, "null"))
    if not isinstance(value, dict):
        raise ValueError(f"{key} is not a JSON object")
    return cast(dict[str, Any], value)
