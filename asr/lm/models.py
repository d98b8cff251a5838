"""Language models of whatever kind: open a file, cut sentences into what a model foretells, measure a model."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr.lm import recurrent as rnnlm
from asr.lm.ngram import BEGIN, END, SPACE, NgramModel, binary, is_character_model, walk
from asr.lm.recurrent import UNKNOWN, RnnLm, WordLm
from asr.lm.text import LmError, TextReader, TextSource

LanguageModel = NgramModel | RnnLm | WordLm
UNITS = ("word", "character")
# Sentences that a recurrent model scores together.
_TOGETHER = 1024


def is_recurrent(path: Path) -> bool:
    """Say whether a file is of the format that recurrent models have (safetensors), by its first bytes.

    Raises LmError if there is no such file, and OSError.
    """
    if not path.is_file():
        problem = "a folder" if path.is_dir() else "no such file"
        raise LmError(f"{path}: {problem}; a language model is meant: .arpa, .arpa.gz, .bin or .safetensors")
    with path.open("rb") as file:
        head = file.read(9)
    # The length of a JSON object, then that object.
    return path.suffix == ".safetensors" or (len(head) == 9 and head[8:] == b"{" and not any(head[4:8]))


def load(path: str | Path, on_build: Callable[[Path], None] | None = None) -> LanguageModel:
    """Open a language model: ARPA (.gz, too), the compact form of one, or a recurrent model's safetensors.

    `on_build` is called with the name of the compact file before an ARPA has to be read, which takes long, and that
    file is made beside it. Raises LmError and OSError naming the file.
    """
    path = Path(path)
    if is_recurrent(path):
        return rnnlm.load(path)[0]
    return binary.load(path, on_build)


def tokens(reader: TextReader, unit: str) -> Iterator[list[str]]:
    """Cut sentences into words or characters, a space as SPACE. Raises LmError naming file and line."""
    for text in reader:
        found = text.split(" ") if unit == "word" else characters(text)
        for marker in (BEGIN, END):
            if marker in found:
                raise LmError(f"{reader.place}: {marker} stands for an end of a sentence and cannot be a word of it")
        yield found


def vocabulary(path: Path, normaliser: str) -> list[str]:
    """Read a list of words, one on each line. Raises LmError naming the line."""
    reader = TextReader(TextSource((path,), normaliser, ids=False))
    words = []
    for text in reader:
        if " " in text or text in (BEGIN, END):
            raise LmError(f"{reader.place}: {text[:80]!r} is no word; one word on each line is meant")
        words.append(text)
    return words


def characters(text: str) -> list[str]:
    """Return the characters of a text as character models write them."""
    return list(text.replace(" ", SPACE))


@dataclass(frozen=True)
class Perplexity:
    """How well a model foretells sentences; each sentence's end is foretold too, and counts as a word and a character.

    The counts are without ends. `log_prob` (natural log) is of everything, `unknown_log_prob` the part of it that
    unknown words have. Of character models a word with an unknown character is unknown. For word models the figures
    per character are those of a character model that is as good.
    """

    sentences: int
    words: int
    characters: int
    unknown_words: int
    unknown_characters: int
    log_prob: float
    unknown_log_prob: float

    @property
    def per_word(self) -> float:
        """Return the perplexity of words."""
        return _perplexity(self.log_prob, self.words + self.sentences)

    @property
    def per_known_word(self) -> float:
        """Return the perplexity of words, the unknown ones left out of the sum and of the count."""
        known = self.words - self.unknown_words
        return _perplexity(self.log_prob - self.unknown_log_prob, known + self.sentences)

    @property
    def per_character(self) -> float:
        """Return the perplexity of characters, spaces among them."""
        return _perplexity(self.log_prob, self.characters + self.sentences)

    @property
    def per_known_character(self) -> float:
        """Return the perplexity of characters, those of unknown words left out of the sum and of the count."""
        known = self.characters - self.unknown_characters
        return _perplexity(self.log_prob - self.unknown_log_prob, known + self.sentences)

    @property
    def unknown_rate(self) -> float:
        """Return the share of unknown words, 0 to 1 (the OOV rate)."""
        return self.unknown_words / self.words if self.words else 0.0


def _perplexity(log_prob: float, count: int) -> float:
    try:
        return math.exp(-log_prob / count)
    except OverflowError:
        return math.inf


def perplexity(model: LanguageModel, texts: Iterable[str]) -> Perplexity:
    """Measure a model on normalised texts, one at a time. Raises LmError if there are none.

    Recurrent models know no unknown character: TextError.
    """
    parts = _by_sentence(model, texts) if isinstance(model, NgramModel) else _recurrent(model, texts)
    sums = [0.0] * 7
    for part in parts:
        sums = [left + right for left, right in zip(sums, part, strict=True)]
    if not sums[0]:
        raise LmError("perplexity: no sentences")
    counts = [round(value) for value in sums[:5]]
    return Perplexity(counts[0], counts[1], counts[2], counts[3], counts[4], sums[5], sums[6])


# In the order of Perplexity's fields.
_Part = tuple[int, int, int, int, int, float, float]


def _recurrent(model: RnnLm | WordLm, texts: Iterable[str]) -> Iterator[_Part]:
    rest = iter(texts)
    while part := list(islice(rest, _TOGETHER)):
        if isinstance(model, WordLm):
            yield from map(_of_words, part, map(model.encode, part), model.log_probs(part))
        else:
            words, size = sum(len(text.split()) for text in part), sum(map(len, part))
            yield len(part), words, size, 0, 0, math.fsum(model.score(part)), 0.0


def _of_words(text: str, tokens: list[int], log_probs: NDArray[np.float64]) -> _Part:
    strange = np.array(tokens, np.int64) == UNKNOWN
    words = text.split()
    size = sum(len(word) for word, unknown in zip(words, strange, strict=True) if unknown)
    lost = float(log_probs[:-1][strange].sum())
    return 1, len(words), len(text), int(strange.sum()), size, float(log_probs.sum()), lost


def _by_sentence(model: NgramModel, texts: Iterable[str]) -> Iterator[_Part]:
    letters = is_character_model(model)
    markers = [model.vocabulary[BEGIN], model.vocabulary[END]]
    for text in texts:
        words = text.split()
        cut = characters(text) if letters else words
        ids = model.ids([*cut, END])
        inner = ids[:-1]
        inner[np.isin(inner, markers)] = 0
        log_probs = walk(model.arrays, model.begin_state, ids)
        unknown = inner == 0
        count = size = int(np.count_nonzero(unknown))
        if count and letters:
            spaces = np.array([token == SPACE for token in cut])
            owners = np.cumsum(spaces)
            strange = np.unique(owners[unknown])
            unknown = np.isin(owners, strange) & ~spaces
            count, size = len(strange), int(np.count_nonzero(unknown))
        elif count:
            size = sum(len(word) for word, strange in zip(words, unknown, strict=True) if strange)
        yield 1, len(words), len(text), count, size, float(log_probs.sum()), float(log_probs[:-1][unknown].sum())
