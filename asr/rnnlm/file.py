"""One safetensors file that holds a language model and all that rebuilds it.

As in asr.checkpoint the tensors are the parameters by name, and the metadata, a map of strings, has `format` =
asr-rnnlm, `schema` (a number that grows with every change an older reader could not understand), `settings` (JSON:
text, the alphabet in it, and model) and `card` (JSON: how the model came to be).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise

from asr import config
from asr.files import whole
from asr.rnnlm.network import RnnLm, RnnLmError, RnnLmSettings
from asr.text import Alphabet, TextSettings

FORMAT = "asr-rnnlm"
SCHEMA = 1


@dataclass(frozen=True)
class Settings:
    """What rebuilds a language model, its weights apart."""

    text: TextSettings = TextSettings()
    model: RnnLmSettings = RnnLmSettings()

    def __post_init__(self) -> None:
        if self.text.alphabet == "auto":
            raise ValueError("text.alphabet = 'auto' is no alphabet; a model has the characters themselves")

    def build(self) -> RnnLm:
        """Make the network, its weights as initialised."""
        return RnnLm(Alphabet(self.text.alphabet), self.model)


@dataclass(frozen=True)
class Contents:
    """What the file of a language model says of itself; `shapes` by parameter name."""

    schema: int
    settings: Settings
    card: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]


def save(path: str | Path, model: RnnLm, settings: Settings, card: dict[str, Any]) -> None:
    """Write the file of a language model whole or not at all. Raises RnnLmError."""
    path = Path(path)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    try:
        metadata = {
            "format": FORMAT,
            "schema": str(SCHEMA),
            "settings": json.dumps(config.to_dict(settings), ensure_ascii=False),
            "card": json.dumps(card, ensure_ascii=False),
        }
        _check(Contents(SCHEMA, settings, card, _shapes(tensors)), tensors)
        with whole(path) as out:
            out.write(serialise(tensors, metadata))
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise RnnLmError(f"{path}: cannot be written: {getattr(error, 'strerror', None) or error}") from error


def inspect(path: str | Path) -> Contents:
    """Read what the file of a language model says of itself. Raises RnnLmError."""
    return _read(Path(path))[0]


def load(path: str | Path) -> tuple[RnnLm, Contents]:
    """Rebuild the language model of a file, ready for inference (on the CPU). Raises RnnLmError."""
    contents, tensors = _read(Path(path))
    with torch.device("meta"):
        model = contents.settings.build()
    # Copies: the tensors read are views of the mapped file, and would change with it.
    model.load_state_dict({name: tensor.clone() for name, tensor in tensors.items()}, assign=True)
    return model.eval(), contents


def _read(path: Path) -> tuple[Contents, dict[str, torch.Tensor]]:
    if not path.is_file():
        raise RnnLmError(f"{path}: {'a folder' if path.is_dir() else 'no such file'}; a language model file is meant")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise RnnLmError(f"{path}: not a safetensors file, or a truncated one") from error
    if metadata.get("format") != FORMAT:
        raise RnnLmError(f"{path}: a safetensors file of something else, not of a recurrent language model")
    try:
        schema = int(metadata["schema"])
    except (KeyError, ValueError) as error:
        raise RnnLmError(f"{path}: damaged metadata: its schema is no number") from error
    if schema > SCHEMA:
        raise RnnLmError(f"{path}: of schema {schema}, this asr reads up to {SCHEMA}: a newer asr is needed")
    try:
        settings = config.from_dict(Settings, _object(metadata, "settings"))
        card = _object(metadata, "card")
    except (ValueError, OverflowError, RecursionError) as error:
        raise RnnLmError(f"{path}: damaged metadata: {error}") from error
    contents = Contents(schema, settings, card, _shapes(tensors))
    try:
        _check(contents, tensors)
    except RnnLmError as error:
        raise RnnLmError(f"{path}: {error}") from error
    return contents, tensors


def _shapes(tensors: dict[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _check(contents: Contents, tensors: dict[str, torch.Tensor]) -> None:
    with torch.device("meta"):
        model = contents.settings.build()
    expected = _shapes(model.state_dict())
    names = expected.keys() | contents.shapes.keys()
    wrong = sorted(name for name in names if expected.get(name) != contents.shapes.get(name))
    if wrong:
        raise RnnLmError(f"its weights do not fit its settings: {wrong[0]!r} and {len(wrong) - 1} more")
    types = {str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()} - {"float32"}
    if types:
        raise RnnLmError(f"its weights are of {', '.join(sorted(types))}; float32 is meant")
    if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
        raise RnnLmError("its weights are not all finite numbers")


def _object(metadata: dict[str, str], key: str) -> dict[str, Any]:
    value = json.loads(metadata.get(key, "null"))
    if not isinstance(value, dict):
        raise ValueError(f"{key} is not a JSON object")
    return value
