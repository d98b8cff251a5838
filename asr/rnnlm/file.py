"""The file of a language model: a safetensors file as asr.weights describes it, of the format asr-rnnlm.

Its settings are those of text, the alphabet in it, and model.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr import weights
from asr.rnnlm.network import RnnLm, RnnLmError, RnnLmSettings
from asr.text import Alphabet, TextSettings

FORMAT = "asr-rnnlm"
SCHEMA = 2


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


# What the file of a language model says of itself.
Contents = weights.Contents[Settings]
_KIND = weights.Kind(
    FORMAT, SCHEMA, Settings, RnnLmError, "a language model file", ", not of a recurrent language model"
)


def save(path: str | Path, model: RnnLm, settings: Settings, card: dict[str, Any], bits: int = 32) -> None:
    """Write the file of a language model whole or not at all, its weights in 32, 16 or 8 bits. Raises RnnLmError."""
    weights.write(Path(path), _KIND, model, weights.Contents(SCHEMA, settings, card, {}), bits)


def inspect(path: str | Path) -> Contents:
    """Read what the file of a language model says of itself. Raises RnnLmError."""
    return weights.read(Path(path), _KIND)[0]


def load(path: str | Path) -> tuple[RnnLm, Contents]:
    """Rebuild the language model of a file, ready for inference (on the CPU). Raises RnnLmError."""
    contents, tensors = weights.read(Path(path), _KIND)
    return weights.rebuild(contents.settings, tensors), contents
