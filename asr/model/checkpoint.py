"""The file of a model: a safetensors file as asr.weights describes it, of the format asr-model.

Its settings are those of features, text and model.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from asr.errors import AsrError
from asr.features import FeatureSettings, Matrices
from asr.model import weights
from asr.model.network import Model, ModelSettings
from asr.text import Alphabet, TextSettings

FORMAT = "asr-model"
SCHEMA = 2


class ModelFileError(AsrError):
    """A model file that cannot be used or written; the message names it."""


@dataclass(frozen=True)
class ModelFileSettings:
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

    @property
    def seconds_per_frame(self) -> float:
        """Return the time from one output frame to the next."""
        return self.features.hop_length * self.model.time_reduction / self.features.sample_rate

    def build(self) -> Model:
        """Make the network, its weights as initialised."""
        return Model(self.features.dimension, len(self.alphabet), self.model)


# What a model file says of itself.
Contents = weights.Contents[ModelFileSettings]
_MEL, _DCT = "features.mel", "features.dct"
_KIND = weights.Kind(
    FORMAT, SCHEMA, ModelFileSettings, ModelFileError, "a model file", "; asr train writes model files", (_MEL, _DCT)
)


def save(  # noqa: PLR0913 - all that a file has
    path: str | Path,
    model: Model,
    settings: ModelFileSettings,
    card: dict[str, Any],
    matrices: Matrices | None = None,
    *,
    bits: int = 32,
) -> None:
    """Write a model file whole or not at all; recognition needs the features' `matrices`. Raises ModelFileError.

    With 16 or 8 `bits` the weights are rounded, to a half or a quarter of the size.
    """
    extras = {}
    if matrices:
        extras = {_MEL: torch.from_numpy(matrices.mel), _DCT: torch.from_numpy(matrices.dct)}
    weights.write(Path(path), _KIND, model, weights.Contents(SCHEMA, settings, card, {}, extras), bits)


def matrices(contents: Contents) -> Matrices | None:
    """Return what a file's features are computed with, if it has that. Raises ModelFileError if that is of no use."""
    if not contents.extras:
        return None
    found = Matrices(contents.extras[_MEL].numpy(), contents.extras[_DCT].numpy())
    shape = contents.settings.features
    bins = shape.fft_length // 2 + 1
    if found.mel.shape != (shape.mel_bands, bins) or found.dct.shape != (shape.coefficients, shape.mel_bands):
        raise ModelFileError("the model's matrices of features do not fit its settings")
    return found


def inspect(path: str | Path) -> Contents:
    """Read what a model file says of itself. Raises ModelFileError."""
    return weights.read(Path(path), _KIND)[0]


def load(path: str | Path) -> tuple[Model, Contents]:
    """Rebuild the model of a file, ready for inference (on the CPU). Raises ModelFileError."""
    contents, tensors = weights.read(Path(path), _KIND)
    return weights.rebuild(contents.settings, tensors), contents
