"""The file of a recurrent language model: a safetensors file as in asr.model.weights, of the format asr-rnnlm.

Its settings are those of the text (with the alphabet), the network's (model), the unit, and of words the vocabulary.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from asr.config import check_choices
from asr.lm.recurrent.network import RnnLm, RnnLmSettings
from asr.lm.recurrent.vocabulary import Vocabulary
from asr.lm.text import LmError
from asr.model import weights
from asr.text import Alphabet, TextSettings

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

    def build(self) -> RnnLm:
        """Build the network with initial weights. Raises ValueError for words without a vocabulary."""
        vocabulary = Vocabulary(self.vocabulary, self.rare) if self.unit == "word" else None
        return RnnLm(Alphabet(self.text.alphabet), self.model, vocabulary)


Contents = weights.Contents[LmFileSettings]
_KIND = weights.Kind(FORMAT, SCHEMA, LmFileSettings, LmError, "a recurrent language model")


def save(path: str | Path, model: RnnLm, settings: LmFileSettings, card: dict[str, Any], bits: int = 32) -> None:
    """Write a model file atomically, with weights of 32, 16 or 8 bits. Raises LmError."""
    if model.vocabulary:
        settings = replace(settings, vocabulary=model.vocabulary.words, rare=model.vocabulary.rare)
    weights.write(Path(path), _KIND, model, weights.Contents(SCHEMA, settings, card, {}), bits)


def inspect(path: str | Path) -> Contents:
    """Read the settings and the card of a model file. Raises LmError."""
    return weights.read(Path(path), _KIND)[0]


def load(path: str | Path) -> tuple[RnnLm, Contents]:
    """Load a model file for inference on the CPU. Raises LmError."""
    contents, tensors = weights.read(Path(path), _KIND)
    return weights.rebuild(contents.settings, tensors), contents
