"""The model file: safetensors of the format asr-model, with the settings of features, text and model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr.errors import AsrError
from asr.features import NO_MATRICES, FeatureSettings, Matrices
from asr.model import weights
from asr.model.settings import ModelSettings, Shape
from asr.text import Alphabet, TextSettings

FORMAT = "asr-model"
SCHEMA = 2


class ModelFileError(AsrError):
    """A model file that cannot be read or written; the message names it."""


@dataclass(frozen=True)
class ModelFileSettings:
    """The settings that rebuild a model, without its weights."""

    features: FeatureSettings = FeatureSettings()
    text: TextSettings = TextSettings()
    model: ModelSettings = ModelSettings()

    def __post_init__(self) -> None:
        if self.text.alphabet == "auto":
            raise ValueError("text.alphabet = 'auto' cannot be stored; a model file lists the characters")

    @property
    def alphabet(self) -> Alphabet:
        """Return the alphabet of the model's output."""
        return Alphabet(self.text.alphabet, self.text.phonemes)

    @property
    def seconds_per_frame(self) -> float:
        """Return the time from one output frame to the next."""
        return self.model.time_reduction * self.features.frame_duration

    def shapes(self) -> dict[str, Shape]:
        """Return the shape of each parameter of the network."""
        return self.model.shapes(self.features.dimension, self.alphabet.outputs)


Contents = weights.Contents[ModelFileSettings]
_MEL, _DCT = "features.mel", "features.dct"
_KIND = weights.Kind(
    FORMAT, SCHEMA, ModelFileSettings, ModelFileError, "a model file", "; asr train writes model files", (_MEL, _DCT)
)


def save(  # noqa: PLR0913 - the contents of the file
    path: str | Path,
    network: weights.Network,
    settings: ModelFileSettings,
    card: dict[str, Any],
    matrices: Matrices | None = None,
    *,
    bits: int = 32,
) -> None:
    """Write a model file atomically; recognition needs the features' `matrices`. Raises ModelFileError.

    With 16 or 8 `bits` the weights are rounded, and the file has a half or a quarter of the size.
    """
    extras = {}
    if matrices and matrices is not NO_MATRICES:
        extras = {_MEL: matrices.mel, _DCT: matrices.dct}
    weights.write(Path(path), _KIND, network, weights.Contents(SCHEMA, settings, card, {}, extras), bits)


def matrices(contents: Contents) -> Matrices | None:
    """Return the matrices of the features, None if the file lacks them. Raises ModelFileError for wrong shapes."""
    if contents.settings.features.kind == "given":
        return NO_MATRICES
    if not contents.extras:
        return None
    mel, dct = contents.extras[_MEL], contents.extras[_DCT]
    settings = contents.settings.features
    expected = (settings.mel_bands, settings.fft_length // 2 + 1), (settings.coefficients, settings.mel_bands)
    if (mel.shape, dct.shape) != expected:
        raise ModelFileError(f"the model's feature matrices are {mel.shape} and {dct.shape}, expected {expected}")
    return Matrices(mel, dct)


def inspect(path: str | Path) -> Contents:
    """Read the settings, the card and the shapes of a model file. Raises ModelFileError."""
    return weights.read(Path(path), _KIND)[0]


def read(path: str | Path) -> tuple[Contents, weights.Tensors]:
    """Read a model file with its weights. Raises ModelFileError."""
    return weights.read(Path(path), _KIND)
