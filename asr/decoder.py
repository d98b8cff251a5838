"""Log-probabilities -> hypotheses with words, times and confidences, by whatever the settings of a decoder name."""

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from asr import alignment, beam, config, lm
from asr.alignment import Word
from asr.beam import BeamSettings, LmSettings
from asr.beam.language import NONE, Prior
from asr.confidence import confidences
from asr.decoding import DecodingError, Hypothesis, LogProbs, greedy
from asr.lm import LanguageModel
from asr.parallel import ahead
from asr.rnnlm import RnnLm
from asr.text import Alphabet


@dataclass(frozen=True)
class DecoderSettings:
    """How log-probabilities become text, as decoder.toml has it.

    `greedy`: by the best path; nothing else counts then. `lm`, `rescorer`: files of language models, the first to guide
    the search, the second, a recurrent one, to judge the hypotheses that it leaves: `rescorer_weight` multiplies its
    natural log-probabilities. `temperature`: of the confidences.
    """

    greedy: bool = False
    lm: str = ""
    rescorer: str = ""
    rescorer_weight: float = 0.5
    temperature: float = 1.0
    search: BeamSettings = BeamSettings()
    weights: LmSettings = LmSettings()

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature = {self.temperature} is not more than 0")
        if not 0 <= self.rescorer_weight < math.inf:
            raise ValueError(f"rescorer_weight = {self.rescorer_weight} is not 0 or more")


GREEDY = DecoderSettings(greedy=True)

# Words are aligned as if nothing were less probable: where there can be but a space, a tidy text may have none.
_LEAST = -1e4


@dataclass(frozen=True)
class Models:
    """The language models of a decoder, and the nats that each occurrence of a word or phrase adds."""

    lm: LanguageModel | None = None
    rescorer: RnnLm | None = None
    hotwords: Mapping[str, float] = field(default_factory=lambda: NONE)


class Decoder:
    """A decoder for models of one alphabet, whose frames are `seconds_per_frame` apart.

    Raises DecodingError where the alphabet cannot say what the models or the hotwords say.
    """

    def __init__(
        self,
        alphabet: Alphabet,
        seconds_per_frame: float,
        settings: DecoderSettings = GREEDY,
        models: Models = Models(),
    ) -> None:
        self.settings = settings
        self._alphabet = alphabet
        self._seconds = seconds_per_frame
        self._rescorer = models.rescorer
        if models.rescorer and models.rescorer.alphabet.characters != alphabet.characters:
            other = models.rescorer.alphabet.characters
            raise DecodingError(f"the rescorer's alphabet is {other!r}, the acoustic model's {alphabet.characters!r}")
        self._prior = None if settings.greedy else Prior(alphabet, settings.weights, models.lm, models.hotwords)

    def decode(self, log_probs: LogProbs, count: int = 1, words: bool = False) -> list[Hypothesis]:
        """Return the `count` best hypotheses of (T', V), best first; there may be fewer, never none.

        With `words` the best one has its words with their times and confidences. Raises DecodingError.
        """
        if self._prior is None:
            found = [greedy(log_probs, self._alphabet)]
        else:
            every = words or self._rescorer is not None
            found = beam.beam_search(
                log_probs, self._alphabet, self.settings.search, self._prior, None if every else count
            )
            found = self._rescored(found)
        if not words:
            return found[:count]
        sure = None if self._prior is None else confidences(found, self.settings.temperature)
        return [self._with_words(found[0], log_probs, sure), *found[1:count]]

    def decode_each(
        self, rows: Iterable[LogProbs], count: int = 1, words: bool = False, threads: int = 0
    ) -> list[list[Hypothesis]]:
        """Decode each of some (T', V) as `decode` does, on so many threads (0: a thread for each core)."""
        threads = threads or os.cpu_count() or 1
        if self._prior is None or threads == 1:
            return [self.decode(row, count, words) for row in rows]
        return list(ahead(lambda row: self.decode(row, count, words), rows, threads))

    def _rescored(self, found: list[Hypothesis]) -> list[Hypothesis]:
        if self._rescorer is None:
            return found
        scores = self._rescorer.score([one.text for one in found])
        weight = self.settings.rescorer_weight
        new = [replace(one, lm_score=one.lm_score + weight * more) for one, more in zip(found, scores, strict=True)]
        return sorted(new, key=lambda one: -one.score)

    def _with_words(self, one: Hypothesis, log_probs: LogProbs, sure: Sequence[float] | None) -> Hypothesis:
        """Return a hypothesis with its words; without `sure` the acoustic model says how sure each is."""
        if not one.text:
            return one
        heard = np.maximum(log_probs, _LEAST)
        aligned = alignment.align(heard, alignment.encode(one.text, self._alphabet))
        words = alignment.words(aligned, one.text, self._alphabet, self._seconds)
        if sure is not None:
            words = [Word(word.text, word.start, word.end, value) for word, value in zip(words, sure, strict=True)]
        return replace(one, words=tuple(words))


def read(path: str | Path, overrides: Sequence[str] = ()) -> DecoderSettings:
    """Read decoder.toml; files that it names are beside it. Raises ConfigError."""
    settings = config.read(path, DecoderSettings, overrides)
    folder = Path(path).parent
    return replace(
        settings,
        lm=str(folder / settings.lm) if settings.lm else "",
        rescorer=str(folder / settings.rescorer) if settings.rescorer else "",
    )


def open_models(
    settings: DecoderSettings, hotwords: Mapping[str, float] = NONE, on_build: Callable[[Path], None] | None = None
) -> Models:
    """Open the files that the settings name; `on_build` as in `lm.load`. Raises LmError, NgramError and RnnLmError."""
    if settings.greedy:
        return Models()
    guide = lm.load(settings.lm, on_build) if settings.lm else None
    rescorer = lm.load(settings.rescorer, on_build) if settings.rescorer else None
    if rescorer is not None and not isinstance(rescorer, RnnLm):
        raise lm.LmError(f"{settings.rescorer}: an n-gram model; the rescorer is meant to be a recurrent one")
    return Models(guide, rescorer, hotwords)


def warm_up() -> None:
    """Compile the search, or read what was compiled before."""
    beam.beam_search(np.zeros((1, 2)), Alphabet("A"))
