"""The file of a recurrent language model: a safetensors file as in asr.model.weights, of the format asr-rnnlm.

Its settings are those of the text (with the alphabet), the network's (model), the unit, and of words the vocabulary.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asr.config import check_choices
from asr.lm.recurrent.model import RnnLm
from asr.lm.recurrent.settings import RnnLmSettings
from asr.lm.recurrent.vocabulary import Vocabulary
from asr.lm.text import LmError
from asr.model import weights
from asr.model.settings import Shape
from asr.text import Alphabet, TextSettings

if TYPE_CHECKING:
    from asr.lm.recurrent.network import RnnLmNetwork

FORMAT = "asr-rnnlm"
SCHEMA = 3


@dataclass(frozen=True)
class LmFileSettings:
    """What rebuilds a language model besides its weights.

    `unit`: whether the tokens are characters or words. A word model has a `vocabulary`, the most frequent words first;
    `rare` is the number of other words in the training texts.
    """

    text: TextSettings = TextSettings()
    model: RnnLmSettings = RnnLmSettings()
    unit: str = "character"
    vocabulary: tuple[str, ...] = ()
    rare: int = 0

    def __post_init__(self) -> None:
        if self.text.alphabet == "auto":
            raise ValueError("text.alphabet = 'auto': a language model needs the characters themselves")
        check_choices(self, unit=("character", "word"))
        if self.unit == "character" and (self.vocabulary or self.rare):
            raise ValueError("vocabulary: only word models have a vocabulary")
        if self.unit == "word" and self.model.tied:
            raise ValueError("model.tied = true: only character models can be tied")
        if self.vocabulary:
            Vocabulary(self.vocabulary, self.rare)

    def shapes(self) -> dict[str, Shape]:
        """Return the shape of each parameter. Raises ValueError for words without a vocabulary."""
        if self.unit == "character":
            return self.model.character_shapes(len(Alphabet(self.text.alphabet)))
        return self.model.word_shapes(len(Vocabulary(self.vocabulary, self.rare)))


Contents = weights.Contents[LmFileSettings]
_KIND = weights.Kind(FORMAT, SCHEMA, LmFileSettings, LmError, "a recurrent language model")


def save(path: str | Path, network: "RnnLmNetwork", settings: LmFileSettings, card: dict[str, Any]) -> None:
    """Write a model file atomically. Raises LmError."""
    if network.vocabulary:
        settings = replace(settings, vocabulary=network.vocabulary.words, rare=network.vocabulary.rare)
    weights.write(Path(path), _KIND, network, weights.Contents(SCHEMA, settings, card, {}))


def pack(path: Path, source: Path, bits: int) -> None:
    """Write a model file with the weights of another one rounded to 16 or 8 bits. Raises LmError."""
    contents, tensors = weights.read(source, _KIND)
    weights.write(path, _KIND, tensors, contents, bits)


def inspect(path: str | Path) -> Contents:
    """Read the settings and the card of a model file. Raises LmError."""
    return weights.read(Path(path), _KIND)[0]


@dataclass(frozen=True)
class Start:
    """What training continues from: the settings, with the vocabulary, and the weights of a model."""

    settings: LmFileSettings
    tensors: Mapping[str, NDArray[np.float32]]


def read(path: str | Path) -> Start:
    """Read a model file to continue its training. Raises LmError."""
    contents, tensors = weights.read(Path(path), _KIND)
    return Start(contents.settings, {name: tensor.astype(np.float32) for name, tensor in tensors.items()})


def load(path: str | Path) -> tuple[RnnLm, Contents]:
    """Load a model file for inference on the CPU. Raises LmError."""
    contents, tensors = weights.read(Path(path), _KIND)
    settings = contents.settings
    vocabulary = Vocabulary(settings.vocabulary, settings.rare) if settings.unit == "word" else None
    return RnnLm(Alphabet(settings.text.alphabet), settings.model, vocabulary, tensors), contents
