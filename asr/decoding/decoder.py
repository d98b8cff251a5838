"""Log-probabilities -> hypotheses with words, times and confidences, by whatever the settings of a decoder name."""

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from asr import config, lm
from asr.decoding import beam
from asr.decoding.beam import BeamSettings, LmSettings
from asr.decoding.beam.language import NONE, Prior
from asr.decoding.confidence import confidences
from asr.decoding.greedy import DecodingError, Greedy, LogProbs, with_words
from asr.lm.ngram import NgramModel, is_character_model
from asr.lm.recurrent import RnnLm, WordLm
from asr.parallel import prefetch
from asr.text import Alphabet
from asr.transcripts.records import Hypothesis


@dataclass(frozen=True)
class DecoderSettings:
    """How log-probabilities become text, as decoder.toml has it.

    `greedy`: by the best path; nothing else counts then. `lm`, `rescorer`: files of language models, the first to guide
    the search, the second, a recurrent one, to judge the best hypotheses that it leaves: `rescorer_weight` multiplies
    its natural log-probabilities, and of the first one's weight the part `guide_weight` is kept then. `temperature`: of
    the confidences.
    """

    greedy: bool = False
    lm: str = ""
    rescorer: str = ""
    rescorer_weight: float = 0.5
    guide_weight: float = 1.0
    temperature: float = 1.0
    search: BeamSettings = BeamSettings()
    weights: LmSettings = LmSettings()

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature = {self.temperature} is not more than 0")
        for name in ("rescorer_weight", "guide_weight"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} = {getattr(self, name)} is not 0 or more")


GREEDY = DecoderSettings(greedy=True)


class Rescorer(Protocol):
    """A language model that scores whole texts, such as WordLm or RnnLm."""

    alphabet: Alphabet

    def score(self, texts: Sequence[str]) -> list[float]:
        """Return the natural-log probability of each text."""


@dataclass(frozen=True)
class Models:
    """The language models of a decoder, and the nats that each occurrence of a word or phrase adds."""

    lm: NgramModel | RnnLm | None = None
    rescorer: Rescorer | None = None
    hotwords: Mapping[str, float] = field(default_factory=dict)


NO_MODELS = Models()
# Texts of an utterance that a rescorer judges: the best ones hold almost all that it could find.
_JUDGED = 100


@dataclass(frozen=True)
class Candidates:
    """What a search leaves, best first, and the natural-log probability of each text: `guide`'s and the rescorer's.

    Both are empty where nothing is rescored.
    """

    hypotheses: list[Hypothesis]
    guide: Sequence[float] = ()
    rescorer: Sequence[float] = ()


class Decoder:
    """A decoder for models of one alphabet, whose frames are `seconds_per_frame` apart.

    Raises DecodingError where the alphabet cannot say what the models or the hotwords say.
    """

    def __init__(
        self,
        alphabet: Alphabet,
        seconds_per_frame: float,
        settings: DecoderSettings = GREEDY,
        models: Models = NO_MODELS,
    ) -> None:
        self.settings = settings
        self._alphabet = alphabet
        self._seconds = seconds_per_frame
        self._greedy = Greedy(alphabet, seconds_per_frame)
        self._rescorer = models.rescorer
        if models.rescorer and models.rescorer.alphabet.characters != alphabet.characters:
            other = models.rescorer.alphabet.characters
            raise DecodingError(f"the rescorer's alphabet is {other!r}, the acoustic model's {alphabet.characters!r}")
        self._prior = None if settings.greedy else Prior(alphabet, settings.weights, models.lm, models.hotwords)

    def having(self, settings: DecoderSettings) -> "Decoder":
        """Return the same decoder, which must not be greedy, with other settings and the same models, quickly."""
        other = copy(self)
        other.settings = settings
        other._prior = self._prior and self._prior.having(settings.weights)
        return other

    def decode(self, log_probs: LogProbs, count: int = 1, words: bool = False) -> list[Hypothesis]:
        """Return the `count` best hypotheses of (T', V), best first; there may be fewer, never none.

        With `words` the best one has its words with their times and confidences. Raises DecodingError.
        """
        if self._prior is None:
            return self._greedy.decode(log_probs, count, words)
        found = self.judged(self.candidates(log_probs, count, words))
        if not words:
            return found[:count]
        best = with_words(found[0], log_probs, self._alphabet, self._seconds)
        sure = zip(best.words, confidences(found, self.settings.temperature), strict=True)
        best = replace(best, words=tuple(replace(word, confidence=value) for word, value in sure))
        return [best, *found[1:count]]

    def decode_each(
        self, rows: Iterable[LogProbs], count: int = 1, words: bool = False, threads: int = 0
    ) -> list[list[Hypothesis]]:
        """Decode each of some (T', V) as `decode` does, on so many threads (0: a thread for each core)."""
        threads = threads or os.cpu_count() or 1
        if self._prior is None or threads == 1:
            return [self.decode(row, count, words) for row in rows]
        return list(prefetch(lambda row: self.decode(row, count, words), rows, threads))

    def candidates(self, log_probs: LogProbs, count: int = 1, words: bool = False) -> Candidates:
        """Search (T', V), and let the rescorer, if it has a weight, judge what is left. Raises DecodingError."""
        if self._prior is None:
            return Candidates(self._greedy.decode(log_probs, count))
        rescorer = self._rescorer if self.settings.rescorer_weight else None
        every = max(count, _JUDGED) if rescorer else None if words else count
        found = beam.beam_search(log_probs, self._alphabet, self.settings.search, self._prior, every)
        if not rescorer:
            return Candidates(found)
        texts = [one.text for one in found]
        # Where the guide keeps its weight, what it says of a text is in the search's score already.
        guide = [0.0] * len(texts) if self.settings.guide_weight == 1 else self._prior.log_probs(texts)
        return Candidates(found, guide, rescorer.score(texts))

    def judged(self, candidates: Candidates) -> list[Hypothesis]:
        """Return the candidates with what the rescorer says of them, best first."""
        if not candidates.rescorer:
            return candidates.hypotheses
        settings = self.settings
        kept = (settings.guide_weight - 1) * settings.weights.lm_weight
        rows = zip(candidates.hypotheses, candidates.guide, candidates.rescorer, strict=True)
        new = [
            replace(one, lm_score=one.lm_score + kept * guide + settings.rescorer_weight * more)
            for one, guide, more in rows
        ]
        return sorted(new, key=lambda one: -one.score)


@dataclass(frozen=True)
class Plan:
    """A decoder that is yet to learn of the alphabet."""

    settings: DecoderSettings = GREEDY
    models: Models = NO_MODELS

    def decoder(self, alphabet: Alphabet, seconds_per_frame: float) -> Decoder:
        """Return the decoder. Raises DecodingError where the models do not fit the alphabet."""
        return Decoder(alphabet, seconds_per_frame, self.settings, self.models)


def read(path: str | Path) -> Plan:
    """Read decoder.toml and open the language models that it names.

    Raises ConfigError and LmError.
    """
    settings = read_settings(path)
    return Plan(settings, open_models(settings))


def read_settings(path: str | Path, overrides: Sequence[str] = ()) -> DecoderSettings:
    """Read decoder.toml; files that it names are beside it. Raises ConfigError."""
    settings = config.read(path, DecoderSettings, overrides)
    return replace(settings, lm=_beside(path, settings.lm), rescorer=_beside(path, settings.rescorer))


def from_card(card: Mapping[str, Any]) -> DecoderSettings | None:
    """Return the settings that a model file brings, if it does. Raises DecodingError."""
    if "decoder" not in card:
        return None
    if not isinstance(card["decoder"], Mapping):
        raise DecodingError("the model's card: decoder is no section")
    try:
        return config.from_dict(DecoderSettings, card["decoder"])
    except config.ConfigError as error:
        raise DecodingError(f"the model's card: decoder: {error}") from error


def _beside(path: str | Path, name: str) -> str:
    return os.path.normpath(Path(path).parent / name) if name else ""


def to_toml(settings: DecoderSettings, folder: Path) -> str:
    """Return decoder.toml, to stand in `folder`, from where it names the files of language models."""
    values = config.to_dict(settings)
    for name in ("lm", "rescorer"):
        values[name] = os.path.relpath(values[name], folder) if values[name] else ""
    sections = {name: values.pop(name) for name in ("search", "weights")}
    lines = [_line(name, value) for name, value in values.items()]
    for section, inner in sections.items():
        lines += ["", f"[{section}]", *(_line(name, value) for name, value in inner.items())]
    return "\n".join(lines) + "\n"


def _line(name: str, value: object) -> str:
    # Of these kinds JSON's notation is TOML's too, but for what is infinite.
    return f"{name} = {str(value) if isinstance(value, float) else json.dumps(value)}"


def open_models(
    settings: DecoderSettings, hotwords: Mapping[str, float] = NONE, on_build: Callable[[Path], None] | None = None
) -> Models:
    """Open the files that the settings name; `on_build` as in `lm.load`. Raises LmError."""
    if settings.greedy:
        return NO_MODELS
    guide = lm.load(settings.lm, on_build) if settings.lm else None
    if isinstance(guide, WordLm):
        raise lm.LmError(
            f"{settings.lm}: a recurrent model of words, which judges whole texts: give it as the rescorer (--rescorer)"
        )
    rescorer = lm.load(settings.rescorer, on_build) if settings.rescorer else None
    if isinstance(rescorer, NgramModel):
        raise lm.LmError(f"{settings.rescorer}: an n-gram model; the rescorer is meant to be a recurrent one")
    return Models(guide, rescorer, hotwords)


def knows_words(models: Models) -> bool:
    """Say whether the language model has n-grams of words: then the search is quick, and words may be unknown."""
    return isinstance(models.lm, NgramModel) and not is_character_model(models.lm)


def is_brief(settings: DecoderSettings, frames: float) -> bool:
    """Say whether so many frames are decoded sooner without compiling the search."""
    recurrent = settings.lm.endswith(".safetensors")
    return settings.greedy or not (recurrent or beam.pays(frames, settings.search.beam_width))


def warm_up() -> None:
    """Compile the search, or read what was compiled before."""
    beam.beam_search(np.zeros((1, 2)), Alphabet("A"))
