"""One safetensors file that holds a network and all that rebuilds it.

The tensors are the network's parameters by name, float32. In a file that is made to be handed on they may be float16,
or a matrix int8 with its `NAME.scale`, float32, one number a row, which multiplies the whole numbers -127 to 127. The
metadata, safetensors' own map of strings, has `format` (the kind of file), `schema` (a number that grows with every
change an older reader could not understand), `settings` (JSON) and `card` (JSON: how the network came to be).
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
from asr.files import open_atomic

Network_co = TypeVar("Network_co", bound=nn.Module, covariant=True)


class Buildable(Protocol[Network_co]):
    """Settings from which a network is made."""

    def build(self) -> Network_co:
        """Make the network, its weights as initialised."""


_SCALE, _LARGEST = ".scale", 127

Settings = TypeVar("Settings", bound=Buildable[nn.Module])


@dataclass(frozen=True)
class Kind(Generic[Settings]):
    """A kind of file: its `format` and newest `schema`, its settings, and how its mistakes are told.

    `extras`: the names of tensors beside the network's, all of which a file has or none.

    `error`: what is raised; `meant`: what a path should have been; `foreign`: what a file of another kind is told.
    """

    format: str
    schema: int
    settings: type[Settings]
    error: type[ValueError]
    meant: str
    foreign: str
    extras: tuple[str, ...] = ()


@dataclass(frozen=True)
class Contents(Generic[Settings]):
    """What a file says of itself; `shapes` by parameter name; the tensors beside the network's, if it has them."""

    schema: int
    settings: Settings
    card: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]
    extras: dict[str, Tensor] = field(default_factory=dict)


def write(path: Path, kind: Kind[Settings], network: nn.Module, contents: Contents[Settings], bits: int = 32) -> None:
    """Write a file whole or not at all, if it could be read again; of `contents` no schema or shapes are needed.

    With 16 `bits` the weights are rounded to float16, with 8 those of matrices to int8. Raises the kind's error.
    """
    settings, card = contents.settings, contents.card
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    packed = _rounded(tensors, bits)
    # A card that is no JSON is a defect of the program, so its TypeError is let through.
    metadata = {
        "format": kind.format,
        "schema": str(kind.schema),
        "settings": json.dumps(config.to_dict(settings), ensure_ascii=False),
        "card": json.dumps(card, ensure_ascii=False),
    }
    try:
        restored = _restored(packed)
        _check(Contents(kind.schema, settings, card, _shapes(restored)), restored)
        # Not safetensors' save_file, which leaves a file that nobody but its owner may read.
        with open_atomic(path) as out:
            out.write(serialise(packed | contents.extras, metadata))
    except (SafetensorError, OSError, ValueError) as error:
        raise kind.error(f"{path}: cannot be written: {getattr(error, 'strerror', None) or error}") from error


def read(path: Path, kind: Kind[Settings]) -> tuple[Contents[Settings], dict[str, Tensor]]:
    """Read a file and check that its weights fit its settings. Raises the kind's error naming the file."""
    if not path.is_file():
        raise kind.error(f"{path}: {'a folder' if path.is_dir() else 'no such file'}; {kind.meant} is meant")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise kind.error(f"{path}: not a safetensors file, or a truncated one") from error
    if metadata.get("format") != kind.format:
        raise kind.error(f"{path}: a safetensors file of something else{kind.foreign}")
    try:
        schema = int(metadata["schema"])
    except (KeyError, ValueError) as error:
        raise kind.error(f"{path}: damaged metadata: its schema is no number") from error
    if schema > kind.schema:
        raise kind.error(f"{path}: of schema {schema}, this asr reads up to {kind.schema}: a newer asr is needed")
    try:
        settings = config.from_dict(kind.settings, _object(metadata, "settings"))
        card = _object(metadata, "card")
    except (ValueError, OverflowError, RecursionError) as error:
        raise kind.error(f"{path}: damaged metadata: {error}") from error
    whole_extras = tensors.keys() >= set(kind.extras)
    extras = {name: tensors.pop(name).clone() for name in kind.extras if whole_extras}
    tensors = _restored(tensors)
    contents = Contents(schema, settings, card, _shapes(tensors), extras)
    try:
        _check(contents, tensors)
    except ValueError as error:
        raise kind.error(f"{path}: {error}") from error
    return contents, tensors


def rebuild(settings: Buildable[Network_co], tensors: dict[str, Tensor]) -> Network_co:
    """Make the network of settings with the weights of a file, ready for inference (on the CPU)."""
    with torch.device("meta"):
        network = settings.build()
    # Copies: the tensors read are views of the mapped file, and would change with it.
    network.load_state_dict(
        {name: tensor.to(torch.float32, copy=True) for name, tensor in tensors.items()}, assign=True
    )
    return network.eval()


def _rounded(tensors: dict[str, Tensor], bits: int) -> dict[str, Tensor]:
    """Return the tensors in so many bits: 32, 16, or 8 for matrices and 16 for others."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if bits == 8 and tensor.dim() == 2 and tensor.dtype == torch.float32:
            # Rows of zeros must not be divided by zero.
            scale = (tensor.abs().amax(dim=1, keepdim=True) / _LARGEST).clamp(min=torch.finfo(torch.float32).tiny)
            found[name] = (tensor / scale).round().to(torch.int8)
            found[name + _SCALE] = scale
        else:
            found[name] = tensor if bits == 32 else tensor.half()
    return found


def _restored(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with the matrices of int8 multiplied by their scales; what does not fit stays as it is."""
    found = dict(tensors)
    for name, tensor in tensors.items():
        scale = tensors.get(name + _SCALE)
        if tensor.dtype == torch.int8 and scale is not None and scale.shape == (len(tensor), 1):
            found[name] = tensor * found.pop(name + _SCALE)
    return found


def _shapes(tensors: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _check(contents: Contents[Settings], tensors: dict[str, Tensor]) -> None:
    with torch.device("meta"):
        network = contents.settings.build()
    expected = _shapes(network.state_dict())
    names = expected.keys() | contents.shapes.keys()
    wrong = sorted(name for name in names if expected.get(name) != contents.shapes.get(name))
    if wrong:
        raise ValueError(f"its weights do not fit its settings: {wrong[0]!r} and {len(wrong) - 1} more")
    types = {str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()} - {"float32", "float16"}
    if types:
        raise ValueError(
            f"its weights are of {', '.join(sorted(types))}; float32, float16, or int8 with scales is meant"
        )
    if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
        raise ValueError("its weights are not all finite numbers")


def _object(metadata: dict[str, str], key: str) -> dict[str, Any]:
    value = json.loads(metadata.get(key, "null"))
    if not isinstance(value, dict):
        raise ValueError(f"{key} is not a JSON object")
    return cast(dict[str, Any], value)
