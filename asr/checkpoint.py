"""One safetensors file that holds a model and all that rebuilds it.

The tensors are the model's parameters by name. The metadata, safetensors' own map of strings, has `format` = asr-model,
`schema` (a number that grows with every change an older reader could not understand), `settings` (JSON: features, text,
model) and `card` (JSON: how the model came to be).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise

from asr import config
from asr.features import FeatureSettings
from asr.files import whole
from asr.model import Model, ModelSettings
from asr.text import Alphabet, TextSettings

FORMAT = "asr-model"
SCHEMA = 1


class CheckpointError(ValueError):
    """A model file that cannot be used or written; the message names it."""


@dataclass(frozen=True)
class Settings:
    """What rebuilds a model, its weights apart."""

    features: FeatureSettings = FeatureSettings()
    text: TextSettings = TextSettings()
    model: ModelSettings = ModelSettings()

    def __post_init__(self) -> None:
        if self.text.alphabet == "auto":
            raise ValueError("text.alphabet = 'auto' is no alphabet; a model has the characters themselves")

    @property
    def alphabet(self) -> Alphabet:
        """Return the alphabet of the model's output."""
        return Alphabet(self.text.alphabet)

    def build(self) -> Model:
        """Make the network, its weights as initialised."""
        return Model(self.features.dimension, len(self.alphabet), self.model)


@dataclass(frozen=True)
class Contents:
    """What a model file says of itself; `shapes` by parameter name."""

    schema: int
    settings: Settings
    card: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]


def save(path: str | Path, model: Model, settings: Settings, card: dict[str, Any]) -> None:
    """Write a model file whole or not at all. Raises CheckpointError."""
    path = Path(path)
    metadata = {
        "format": FORMAT,
        "schema": str(SCHEMA),
        "settings": json.dumps(config.to_dict(settings), ensure_ascii=False),
        "card": json.dumps(card, ensure_ascii=False),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    try:
        # Not safetensors' save_file, which leaves a file that nobody but its owner may read.
        with whole(path) as out:
            out.write(serialise(tensors, metadata))
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: cannot be written: {getattr(error, 'strerror', None) or error}") from error


def _read(path: Path) -> tuple[Contents, dict[str, torch.Tensor]]:
    if not path.is_file():
        raise CheckpointError(f"{path}: {'a folder' if path.is_dir() else 'no such file'}; a model file is meant")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a safetensors file, or a truncated one") from error
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path}: a safetensors file of something else; asr train writes model files")
    try:
        schema = int(metadata["schema"])
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{path}: damaged metadata: its schema is no number") from error
    if schema > SCHEMA:
        raise CheckpointError(f"{path}: of schema {schema}, this asr reads up to {SCHEMA}: a newer asr is needed")
    try:
        settings = config.from_dict(Settings, _object(metadata, "settings"))
        card = _object(metadata, "card")
    except (ValueError, OverflowError, RecursionError) as error:
        raise CheckpointError(f"{path}: damaged metadata: {error}") from error
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    contents = Contents(schema, settings, card, shapes)
    _check(path, contents, tensors)
    return contents, tensors


def _check(path: Path, contents: Contents, tensors: dict[str, torch.Tensor]) -> None:
    with torch.device("meta"):
        model = contents.settings.build()
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    names = expected.keys() | contents.shapes.keys()
    wrong = sorted(name for name in names if expected.get(name) != contents.shapes.get(name))
    if wrong:
        raise CheckpointError(f"{path}: its weights do not fit its settings: {wrong[0]!r} and {len(wrong) - 1} more")
    types = {str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()} - {"float32"}
    if types:
        raise CheckpointError(f"{path}: its weights are of {', '.join(sorted(types))}; float32 is meant")
    if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
        raise CheckpointError(f"{path}: its weights are not all finite numbers")


def _object(metadata: dict[str, str], key: str) -> dict[str, Any]:
    value = json.loads(metadata.get(key, "null"))
    if not isinstance(value, dict):
        raise ValueError(f"{key} is not a JSON object")
    return value


def inspect(path: str | Path) -> Contents:
    """Read what a model file says of itself. Raises CheckpointError."""
    return _read(Path(path))[0]


def load(path: str | Path) -> tuple[Model, Contents]:
    """Rebuild the model of a file, ready for inference (on the CPU). Raises CheckpointError."""
    contents, tensors = _read(Path(path))
    with torch.device("meta"):
        model = contents.settings.build()
    # Copies: the tensors read are views of the mapped file, and would change with it.
    model.load_state_dict({name: tensor.clone() for name, tensor in tensors.items()}, assign=True)
    return model.eval(), contents
