"""Open a language model file of any kind, and measure a model on texts."""

from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

from asr.lm import recurrent
from asr.lm.evaluation import Perplexity
from asr.lm.ngram import NgramModel, binary
from asr.lm.recurrent import RnnLm
from asr.lm.text import LmError

LanguageModel = NgramModel | RnnLm
# Sentences that a recurrent model scores together.
_BATCH = 1024


def is_recurrent(path: Path) -> bool:
    """Return whether a file is a recurrent model (safetensors), by its first bytes.

    Raises OSError, and LmError if there is no such file.
    """
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "no such file"
        raise LmError(f"{path}: {problem}; expected a language model: .arpa, .arpa.gz, .bin or .safetensors")
    with path.open("rb") as file:
        head = file.read(9)
    # A safetensors file begins with the length of a JSON object (8 bytes), then that object.
    return path.suffix == ".safetensors" or (len(head) == 9 and head[8:] == b"{" and not any(head[4:8]))


def load(path: str | Path, on_build: Callable[[Path], None] | None = None) -> LanguageModel:
    """Load a language model: ARPA (also .gz), a binary or packed n-gram model, or a recurrent model (safetensors).

    Reading an ARPA file is slow, so a binary file is written beside it; `on_build` is called with that file's path
    first. Raises LmError and OSError naming the file.
    """
    path = Path(path)
    if is_recurrent(path):
        return recurrent.load(path)[0]
    return binary.load(path, on_build)


def perplexity(model: LanguageModel, texts: Iterable[str]) -> Perplexity:
    """Measure a model on normalised texts. Raises LmError if there are none.

    Raises TextError if a recurrent character model does not know a character.
    """
    rest = iter(texts)
    total = Perplexity()
    while batch := list(islice(rest, _BATCH)):
        total += model.perplexity(batch)
    if not total.sentences:
        raise LmError("perplexity: no sentences")
    return total
