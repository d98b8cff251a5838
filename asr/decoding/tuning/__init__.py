"""The log-probabilities of a dev set -> the settings of a decoder that make the fewest word errors there.

A dev set is small, and the best of many settings on it is partly luck. So of the weights that are tried, those win
whose neighbours do well too, and a setting that is no better than the greedy decoder is not taken.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from asr.decoding.beam import BeamSettings
from asr.decoding.confidence import fit_temperature
from asr.decoding.decoder import GREEDY, NO_MODELS, DecoderSettings, LanguageModels
from asr.decoding.tuning.bench import BASE, Bench
from asr.decoding.tuning.bench import Dev as Dev
from asr.decoding.tuning.bench import Trial as Trial
from asr.decoding.tuning.weights import (
    BONUSES,
    FEW_BONUSES,
    FEW_WEIGHTS,
    MORE_WORDS,
    UNKNOWNS,
    WEIGHTS,
    changed,
    of_letters,
    of_words,
)
from asr.scoring import Rate
from asr.scoring.significance import paired_bootstrap
from asr.text import Alphabet

RESCORER_WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.3)
# Of the weight of the model that guides: what the rescorer knows as well need not be counted twice.
GUIDE_WEIGHTS = (1.0, 0.8, 0.6, 0.4, 0.2)
# From the narrowest search to the widest; the quickest one wins that makes no more errors than the widest.
_MARGINS = ((7.0, 10.0), (9.0, 14.0), (12.0, 20.0))
SEARCHES = tuple(BeamSettings(width, *margins) for width, margins in product((10, 25, 50, 100, 200), _MARGINS))
# The widest that is tried where the language model makes a search slow.
_WIDE = BeamSettings(100, *_MARGINS[-1])
# How widely is searched while weights are tried.
_TRYING = BeamSettings(50, 9.0, 14.0)


@dataclass(frozen=True)
class Tuned:
    """The settings found, with their trial and the greedy decoder's, the trials of a grid of weights and bonuses, row
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


def trials(models: LanguageModels) -> int:
    """Return about how many settings `tune` tries."""
    weights, searches = len(BONUSES), len(SEARCHES)
    if models.lm and models.has_word_ngrams:
        weights = len(WEIGHTS) * len(BONUSES) + len(UNKNOWNS) + 25
    elif models.lm:
        weights, searches = len(FEW_WEIGHTS) * len(FEW_BONUSES) + 2 * 9, 5
    rescored = len(RESCORER_WEIGHTS) * (len(GUIDE_WEIGHTS) if models.lm else 1 + len(BONUSES)) if models.rescorer else 0
    return 1 + weights + searches + rescored


def difference(found: Tuned) -> Rate:
    """Return by how much the WER is lower than the greedy decoder's, with its 95 % interval (paired bootstrap)."""
    greedy, best, words = (np.array(one, np.int64) for one in (found.greedy.errors, found.best.errors, found.words))
    return paired_bootstrap(greedy, best, words).difference


def tune(
    dev: Dev,
    alphabet: Alphabet,
    models: LanguageModels = NO_MODELS,
    base: DecoderSettings = BASE,
    on_trial: Callable[[Trial], None] | None = None,
) -> Tuned:
    """Search weights, then the rescorer's, then the width, and fit the temperature of the confidences.

    With a model of letters, whose searches are slow, weights are sought on a part of the set; whether the settings are
    better than the greedy decoder is always seen on the whole.

    What `base` has beside them, such as the names of files and `lexicon_only`, is kept. `on_trial` is told each trial.
    Raises DecodingError where the models do not fit the alphabet.
    """
    bench = Bench(dev, alphabet, models, on_trial)
    greedy = bench.trial(GREEDY, 1)
    settings = replace(base, greedy=False, search=_TRYING, rescorer_weight=0.0)
    surface: list[Trial] = []
    slow = models.lm is not None and not models.has_word_ngrams
    if models.lm is None:
        settings = changed(settings, lm_weight=0.0)
        settings = bench.least(changed(settings, word_bonus=bonus) for bonus in BONUSES)
    else:
        settings, surface = (of_letters if slow else of_words)(bench, settings)
    if models.rescorer is not None:
        some = bench.part(MORE_WORDS) if slow else bench
        settings = some.least(_rescored(settings, models.lm is not None))
        if not settings.rescorer_weight:
            settings = replace(settings, rescorer="", rescoring_lm_scale=1.0)
    searches = list(_widened(bench, settings) if slow else (_searched(bench, settings, one) for one in SEARCHES))
    best = min((one for one in searches if one.total <= searches[-1].total), key=lambda one: one.seconds)
    if best.total >= greedy.total and not models.hotwords:
        best = greedy
    settings = _calibrated(bench, dev, best.settings)
    words = tuple(len(text.split()) for text in dev.texts)
    best = replace(bench.timed(best), settings=settings)
    return Tuned(best, greedy, tuple(surface), tuple(searches), words)


def _searched(bench: Bench, settings: DecoderSettings, search: BeamSettings) -> Trial:
    return bench.trial(replace(settings, search=search), 1)


def _widened(bench: Bench, settings: DecoderSettings) -> Iterator[Trial]:
    """Try searches from the narrowest on until one makes no more errors than a wide one, which comes last."""
    widest = _searched(bench, settings, _WIDE)
    for search in SEARCHES[: SEARCHES.index(_WIDE)]:
        trial = _searched(bench, settings, search)
        yield trial
        if trial.total <= widest.total:
            break
    yield widest


def _rescored(settings: DecoderSettings, guided: bool) -> list[DecoderSettings]:
    """Return settings with each weight of the rescorer, and with less of the language model, or other bonuses."""
    if guided:
        others = [replace(settings, rescoring_lm_scale=part) for part in GUIDE_WEIGHTS]
    else:
        others = [settings, *(changed(settings, word_bonus=bonus) for bonus in BONUSES)]
    return [replace(other, rescorer_weight=weight) for other in others for weight in RESCORER_WEIGHTS]


def _calibrated(bench: Bench, dev: Dev, settings: DecoderSettings) -> DecoderSettings:
    """Return the settings with the temperature that fits the confidences."""
    if settings.greedy:
        return settings
    decoder = bench.decoder(settings)
    lists = [decoder.decode(row, settings.search.beam_width) for row in dev.rows]
    return replace(settings, temperature=round(fit_temperature(lists, dev.texts), 3))
