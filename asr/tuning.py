"""The log-probabilities of a dev set -> the settings of a decoder that make the fewest word errors there.

A dev set is small, and the best of many settings on it is partly luck. So of the weights that are tried, those win
whose neighbours do well too, and a setting that is no better than the greedy decoder is not taken.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from rapidfuzz.distance import Levenshtein

from asr.beam import BeamSettings, LmSettings
from asr.confidence import fit_temperature
from asr.decoder import GREEDY, NO_MODELS, Decoder, DecoderSettings, Models, Rescorer
from asr.decoding import LogProbs
from asr.manifest import Utterance
from asr.recognition import Recognizer
from asr.scoring import Rate, ScoringError
from asr.scoring.significance import paired_bootstrap
from asr.text import Alphabet, normalise

# Of a language model's weight and the bonus for each word: first these, then finer ones around the best.
WEIGHTS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 2.5)
BONUSES = (-2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0)
USUAL = LmSettings()
UNKNOWNS = (0.0, -2.0, -5.0, -8.0, -12.0, -20.0)
RESCORER_WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.3)
# From the narrowest search to the widest; the quickest one wins that makes no more errors than the widest.
_MARGINS = ((7.0, 10.0), (9.0, 14.0), (12.0, 20.0))
SEARCHES = tuple(BeamSettings(width, *margins) for width, margins in product((10, 25, 50, 100, 200), _MARGINS))
BASE = DecoderSettings()
# How widely is searched while weights are tried.
_TRYING = BeamSettings(50, 9.0, 14.0)


@dataclass(frozen=True)
class Dev:
    """Utterances: their log-probabilities, normalised texts, seconds of audio in all and seconds of a frame."""

    rows: Sequence[LogProbs]
    texts: Sequence[str]
    audio_seconds: float
    seconds_per_frame: float

    @property
    def words(self) -> int:
        """Return the words of all texts."""
        return sum(len(text.split()) for text in self.texts)


@dataclass(frozen=True)
class Trial:
    """What some settings came to: word errors in each utterance, and the seconds that decoding took."""

    settings: DecoderSettings
    errors: tuple[int, ...]
    seconds: float

    @property
    def total(self) -> int:
        """Return the word errors in all."""
        return sum(self.errors)


@dataclass(frozen=True)
class Tuned:
    """The settings found, with their trial and the greedy decoder's, the trials of the first weights and bonuses, row
    by row of one weight, those of how widely is searched, and the words of each utterance.
    """

    best: Trial
    greedy: Trial
    surface: tuple[Trial, ...]
    searches: tuple[Trial, ...]
    words: tuple[int, ...]

    @property
    def settings(self) -> DecoderSettings:
        """Return the settings: the greedy decoder's where nothing was better."""
        return self.best.settings


def hear(
    recognizer: Recognizer, utterances: Sequence[Utterance], progress: Callable[[float, float], None] | None = None
) -> Dev:
    """Return what a model's network says of utterances, once for all trials. Raises AudioError and ScoringError."""
    texts = [normalise(one.text, recognizer.settings.text.normaliser) for one in utterances]
    if not any(texts):
        raise ScoringError("the texts hold no words at all: there is nothing to tune on")
    rows = recognizer.log_probs(utterances, progress)
    return Dev(rows, texts, sum(one.duration for one in utterances), recognizer.settings.seconds_per_frame)


def trials(models: Models) -> int:
    """Return about how many settings `tune` tries."""
    weights = len(WEIGHTS) * len(BONUSES) + len(UNKNOWNS) + 25 if models.lm else len(BONUSES)
    return (
        1
        + weights
        + len(SEARCHES)
        + (len(RESCORER_WEIGHTS) * (3 if models.lm else 1 + len(BONUSES)) if models.rescorer else 0)
    )


def difference(found: Tuned) -> Rate:
    """Return by how much the WER is lower than the greedy decoder's, with its 95 % interval (paired bootstrap)."""
    greedy, best, words = (np.array(one, np.int64) for one in (found.greedy.errors, found.best.errors, found.words))
    return paired_bootstrap(greedy, best, words).difference


class _Memory:
    """A rescorer that scores each text once."""

    def __init__(self, rescorer: Rescorer) -> None:
        self.alphabet = rescorer.alphabet
        self._rescorer = rescorer
        self._scores: dict[str, float] = {}

    def score(self, texts: Sequence[str]) -> list[float]:
        new = [text for text in dict.fromkeys(texts) if text not in self._scores]
        self._scores |= zip(new, self._rescorer.score(new) if new else [], strict=True)
        return [self._scores[text] for text in texts]


class _Bench:
    """Tries settings, each once."""

    def __init__(self, dev: Dev, alphabet: Alphabet, models: Models, on_trial: Callable[[Trial], None] | None) -> None:
        self._dev = dev
        self._references = [text.split() for text in dev.texts]
        self._tried: dict[DecoderSettings, Trial] = {}
        # Remembered scores make trials quick, and their times wrong.
        self._honest = Decoder(alphabet, dev.seconds_per_frame, BASE, models)
        models = replace(models, rescorer=models.rescorer and _Memory(models.rescorer))
        self._decoder = Decoder(alphabet, dev.seconds_per_frame, BASE, models)
        self._greedy = Decoder(alphabet, dev.seconds_per_frame)
        self._on_trial = on_trial

    def decoder(self, settings: DecoderSettings) -> Decoder:
        return self._greedy if settings.greedy else self._decoder.having(settings)

    def trial(self, settings: DecoderSettings, threads: int = 0) -> Trial:
        """Try settings, on so many threads (0: one for each core; the seconds then say little)."""
        if settings not in self._tried:
            decoder = self.decoder(settings)
            begin = time.perf_counter()
            found = [one[0].text.split() for one in decoder.decode_each(self._dev.rows, threads=threads)]
            seconds = time.perf_counter() - begin
            pairs = zip(self._references, found, strict=True)
            errors = tuple(Levenshtein.distance(reference, one) for reference, one in pairs)
            self._tried[settings] = Trial(settings, errors, seconds)
            if self._on_trial:
                self._on_trial(self._tried[settings])
        return self._tried[settings]

    def timed(self, trial: Trial) -> Trial:
        """Return a trial with the time that its settings take by themselves."""
        if trial.settings.greedy or not trial.settings.rescorer_weight:
            return trial
        decoder = self._honest.having(trial.settings)
        begin = time.perf_counter()
        for row in self._dev.rows:
            decoder.decode(row)
        return replace(trial, seconds=time.perf_counter() - begin)

    def grid(self, base: DecoderSettings, weights: Sequence[float], bonuses: Sequence[float]) -> list[Trial]:
        """Try weights and bonuses, row by row."""
        changed = (replace(base.weights, lm_weight=one, word_bonus=two) for one, two in product(weights, bonuses))
        return [self.trial(replace(base, weights=one)) for one in changed]


def _steady(trials: Sequence[Trial], columns: int) -> Trial:
    """Return the trial of a grid, row by row, that does best with its neighbours, itself counting as four of them.

    Of equal ones the most usual is taken.
    """

    def judged(place: int) -> tuple[float, int, float]:
        row, column = divmod(place, columns)
        near = [
            trials[(row + down) * columns + column + right].total
            for down, right in ((0, -1), (0, 1), (-1, 0), (1, 0))
            if 0 <= column + right < columns and 0 <= (row + down) * columns + column + right < len(trials)
        ]
        weights = trials[place].settings.weights
        unusual = abs(weights.lm_weight - USUAL.lm_weight) + abs(weights.word_bonus - USUAL.word_bonus) / 4
        return (4 * trials[place].total + sum(near)) / (4 + len(near)), trials[place].total, unusual

    return trials[min(range(len(trials)), key=judged)]


def _between(values: Sequence[float], middle: float) -> list[float]:
    """Return the middle one and finer steps to its neighbours."""
    place = values.index(middle)
    low, high = values[max(place - 1, 0)], values[min(place + 1, len(values) - 1)]
    found = {middle + part * (end - middle) for end in (low, high) for part in (0, 1 / 3, 2 / 3)}
    return sorted(round(value, 3) for value in found)


def tune(
    dev: Dev,
    alphabet: Alphabet,
    models: Models = NO_MODELS,
    base: DecoderSettings = BASE,
    on_trial: Callable[[Trial], None] | None = None,
) -> Tuned:
    """Search weights, then the rescorer's, then the width, and fit the temperature of the confidences.

    What `base` has beside them, such as the names of files and `lexicon_only`, is kept. `on_trial` is told each trial.
    Raises DecodingError where the models do not fit the alphabet.
    """
    bench = _Bench(dev, alphabet, models, on_trial)
    greedy = bench.trial(GREEDY, 1)
    settings = replace(base, greedy=False, search=_TRYING, rescorer_weight=0.0)
    surface: list[Trial] = []
    if models.lm is None:
        settings = replace(settings, weights=replace(settings.weights, lm_weight=0.0))
        settings = _least(bench, (_with(settings, word_bonus=bonus) for bonus in BONUSES))
    else:
        surface = bench.grid(settings, WEIGHTS, BONUSES)
        settings = _weighed(bench, settings, surface)
    if models.rescorer is not None:
        settings = _least(bench, _rescored(settings, models.lm is not None))
        if not settings.rescorer_weight:
            settings = replace(settings, rescorer="")
    searches = [bench.trial(replace(settings, search=one), 1) for one in SEARCHES]
    best = min((one for one in searches if one.total <= searches[-1].total), key=lambda one: one.seconds)
    if best.total >= greedy.total and not models.hotwords:
        best = greedy
    settings = _calibrated(bench, dev, best.settings)
    words = tuple(len(text.split()) for text in dev.texts)
    best = replace(bench.timed(best), settings=settings)
    return Tuned(best, greedy, tuple(surface), tuple(searches), words)


def _with(settings: DecoderSettings, **changes: float) -> DecoderSettings:
    weights: LmSettings = replace(settings.weights, **changes)  # type: ignore[arg-type]
    return replace(settings, weights=weights)


def _least(bench: _Bench, tried: Iterable[DecoderSettings]) -> DecoderSettings:
    """Return the settings of the fewest errors, the first of equal ones."""
    return min((bench.trial(one) for one in tried), key=lambda one: one.total).settings


def _rescored(settings: DecoderSettings, guided: bool) -> list[DecoderSettings]:
    """Return settings with each weight of the rescorer, and with less of the language model, or other bonuses."""
    weights = settings.weights
    others = [_with(settings, lm_weight=round(part * weights.lm_weight, 3)) for part in (1.0, 0.8, 0.6)]
    if not guided:
        others = [settings, *(_with(settings, word_bonus=bonus) for bonus in BONUSES)]
    return [replace(other, rescorer_weight=weight) for weight in RESCORER_WEIGHTS for other in others]


def _weighed(bench: _Bench, settings: DecoderSettings, surface: Sequence[Trial]) -> DecoderSettings:
    """Return the settings with the best weights: of unknown words, then finer ones of the language model."""
    coarse = _steady(surface, len(BONUSES)).settings.weights
    settings = _with(settings, lm_weight=coarse.lm_weight, word_bonus=coarse.word_bonus)
    if not settings.weights.lexicon_only:
        settings = _least(bench, (_with(settings, unknown_score=value) for value in (coarse.unknown_score, *UNKNOWNS)))
    weights, bonuses = _between(WEIGHTS, coarse.lm_weight), _between(BONUSES, coarse.word_bonus)
    return _steady(bench.grid(settings, weights, bonuses), len(bonuses)).settings


def _calibrated(bench: _Bench, dev: Dev, settings: DecoderSettings) -> DecoderSettings:
    """Return the settings with the temperature that fits the confidences."""
    if settings.greedy:
        return settings
    decoder = bench.decoder(settings)
    lists = [decoder.decode(row, settings.search.beam_width) for row in dev.rows]
    return replace(settings, temperature=round(fit_temperature(lists, dev.texts), 3))
