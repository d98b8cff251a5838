"""The file of a language model: a safetensors file as asr.weights describes it, of the format asr-rnnlm.

Its settings are those of text, the alphabet in it, those of the network (model), its unit, and of words the vocabulary.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from asr.lm.recurrent.network import RnnLm, RnnLmSettings
from asr.lm.recurrent.words import Vocabulary, WordLm
from asr.lm.text import LmError
from asr.model import weights
from asr.text import Alphabet, TextSettings

FORMAT = "asr-rnnlm"
SCHEMA = 3
UNITS = ("character", "word")


@dataclass(frozen=True)
class LmFileSettings:
    """What rebuilds a language model, its weights apart.

    `unit`: what is foretold, a character or a word; of words the `vocabulary`, the most frequent first, and how many
    `rare` ones the texts had beside it.
    """

    text: TextSettings = TextSettings()
    model: RnnLmSettings = RnnLmSettings()
    unit: str = "character"
    vocabulary: tuple[str, ...] = ()
    rare: int = 0

    def __post_init__(self) -> None:
        if self.text.alphabet == "auto":
            raise ValueError("text.alphabet = 'auto' is no alphabet; a model has the characters themselves")
        if self.unit not in UNITS:
            raise ValueError(f"unit = {self.unit!r} is not one of {', '.join(UNITS)}")
        if self.unit == "character" and (self.vocabulary or self.rare):
            raise ValueError("vocabulary: of models of words alone")
        if self.unit == "word" and self.model.tied:
            raise ValueError("model.tied = true: of models of characters alone")
        if self.vocabulary:
            Vocabulary(self.vocabulary, self.rare)

    def of(self, vocabulary: Vocabulary) -> "LmFileSettings":
        """Return the same settings with a vocabulary."""
        return replace(self, vocabulary=vocabulary.words, rare=vocabulary.rare)

    def build(self) -> RnnLm | WordLm:
        """Make the network, its weights as initialised. Raises ValueError for words without a vocabulary."""
        alphabet = Alphabet(self.text.alphabet)
        if self.unit == "character":
            return RnnLm(alphabet, self.model)
        return WordLm(Vocabulary(self.vocabulary, self.rare), alphabet, self.model)


# What the file of a language model says of itself.
Contents = weights.Contents[LmFileSettings]
_KIND = weights.Kind(
    FORMAT, SCHEMA, LmFileSettings, LmError, "a language model file", ", not of a recurrent language model"
)


def save(
    path: str | Path, model: RnnLm | WordLm, settings: LmFileSettings, card: dict[str, Any], bits: int = 32
) -> None:
    """Write the file of a language model whole or not at all, its weights in 32, 16 or 8 bits. Raises LmError."""
    if isinstance(model, WordLm):
        settings = settings.of(model.vocabulary)
    weights.write(Path(path), _KIND, model, weights.Contents(SCHEMA, settings, card, {}), bits)


def inspect(path: str | Path) -> Contents:
    """Read what the file of a language model says of itself. Raises LmError."""
    return weights.read(Path(path), _KIND)[0]


def load(path: str | Path) -> tuple[RnnLm | WordLm, Contents]:
    """Rebuild the language model of a file, ready for inference (on the CPU). Raises LmError."""
    contents, tensors = weights.read(Path(path), _KIND)
    return weights.rebuild(contents.settings, tensors), contents
