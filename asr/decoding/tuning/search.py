"""Search for the settings with the fewest word errors on a dev set.

A dev set is small, so that the best of many settings is partly luck. So the LM weight and word insertion bonus are
chosen whose neighbours in the grid do well too, and settings no better than the greedy decoder are not chosen.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from asr.decoding.beam import BeamSettings, LmSettings
from asr.decoding.confidence import fit_temperature
from asr.decoding.decoder import BEAM, GREEDY, RESCORED, DecoderSettings, LanguageModels
from asr.decoding.priors import PriorSettings, measure
from asr.decoding.tuning.trials import Trial, TrialRunner, with_weights
from asr.parallel.threads import prefetch
from asr.scoring import Rate
from asr.scoring.comparison import paired_bootstrap

# LM weights and word insertion bonuses of the first grid. Finer steps around the best follow.
WEIGHTS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 2.5)
BONUSES = (-2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0)
UNKNOWN_SCORES = (0.0, -2.0, -5.0, -8.0, -12.0, -20.0, -30.0, -45.0)
# Where a search is slow: a coarser first grid, and the words of the dev set for the first grids and for the last.
FEW_WEIGHTS = (0.0, 0.4, 0.8, 1.3, 2.0)
FEW_BONUSES = (-2.0, 0.0, 2.0, 4.0, 8.0)
FEW_WORDS = 2_000
MORE_WORDS = 8_000
# Of the priors; 0 leaves them out.
PRIOR_SCALES = (0.0, 0.2, 0.4, 0.6, 0.8)
RESCORER_WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.3)
CHARACTER_WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
RESCORING_LM_SCALES = (1.0, 0.8, 0.6, 0.4, 0.2)
# From the narrowest search to the widest; the fastest wins that makes no more errors than the widest.
_THRESHOLDS = ((7.0, 10.0), (9.0, 14.0), (12.0, 20.0))
SEARCHES = tuple(BeamSettings(width, *thresholds) for width, thresholds in product((10, 25, 50, 100, 200), _THRESHOLDS))
# The widest search where the language model makes it slow.
_SLOW_WIDEST = BeamSettings(100, *_THRESHOLDS[-1])
# The search while weights are tried.
_TRIAL_SEARCH = BeamSettings(50, 9.0, 14.0)
# Where words are searched by their phonemes, of which many sound alike, wider searches make fewer errors.
_PRONOUNCED_TRIAL = BeamSettings(200, 9.0, 14.0)
_PRONOUNCED_SEARCHES = tuple(BeamSettings(width, *_THRESHOLDS[-1]) for width in (100, 500, 1500, 4000, 8000))


@dataclass(frozen=True)
class TuningResult:
    """The best trial and the greedy decoder's, the trials of the grid of LM weights and word insertion bonuses, row by
    row of one weight, those of the searches, and the words of each utterance.
    """

    best: Trial
    greedy: Trial
    grid: tuple[Trial, ...]
    searches: tuple[Trial, ...]
    words: tuple[int, ...]

    @property
    def settings(self) -> DecoderSettings:
        """Return the best settings: the greedy decoder's if none are better."""
        return self.best.settings

    def improvement(self) -> Rate:
        """Return the WER of the greedy decoder minus the best one, with its 95 % interval (paired bootstrap)."""
        greedy, best, words = (np.array(row, np.int64) for row in (self.greedy.errors, self.best.errors, self.words))
        return paired_bootstrap(greedy, best, words).difference


def trial_count(models: LanguageModels) -> int:
    """Return about how many trials `tune` runs."""
    weights, searches = len(BONUSES), len(SEARCHES)
    if models.lm and models.has_word_ngrams and not models.pronunciations:
        weights = len(WEIGHTS) * len(BONUSES) + len(PRIOR_SCALES) + len(UNKNOWN_SCORES) + 25
    elif models.lm:
        weights, searches = len(FEW_WEIGHTS) * len(FEW_BONUSES) + len(PRIOR_SCALES) + 2 * 9, 5
        weights += len(UNKNOWN_SCORES) if models.has_word_ngrams else 0
    scales = len(RESCORING_LM_SCALES) if models.lm else 1 + len(BONUSES)
    shares = len(CHARACTER_WEIGHTS) if models.pronunciations else 1
    rescored = len(RESCORER_WEIGHTS) * scales * shares if models.rescorer else shares - 1
    return 1 + weights + searches + rescored


def tune(runner: TrialRunner, base: DecoderSettings = BEAM) -> TuningResult:
    """Tune the LM weights and the scale of the priors, the weights of the rescorer and of the characters, and the beam,
    and fit the temperature of the confidences.

    With a character or recurrent language model or with pronunciations, whose searches are slow, the weights are tuned
    on a part of the set. The comparison with the greedy decoder is always on the whole set. Other settings of `base`,
    such as paths and `lexicon_only`, are kept. Raises DecodingError if the models do not fit the alphabet.
    """
    dev, models = runner.dev, runner.models
    greedy = runner.run(GREEDY, 1)
    pronounced = models.pronunciations is not None and runner.alphabet.phonemes is not None
    trial = _PRONOUNCED_TRIAL if pronounced else _TRIAL_SEARCH
    settings = replace(base, greedy=False, search=trial, rescorer_weight=0.0, character_weight=0.0)
    grid: list[Trial] = []
    slow = models.lm is not None and (pronounced or not models.has_word_ngrams)
    if models.lm is None:
        settings = with_weights(settings, lm_weight=0.0)
        settings = runner.best(with_weights(settings, word_bonus=bonus) for bonus in BONUSES)
    else:
        settings, grid = (_tune_slow if slow else _tune_word_ngrams)(runner, settings)
    part = runner.subset(MORE_WORDS) if slow else runner
    choices = [settings]
    if pronounced:
        # The weights of the final score are those for the texts of a wide search.
        settings = replace(settings, search=_PRONOUNCED_SEARCHES[-1])
        choices = [replace(settings, character_weight=weight) for weight in CHARACTER_WEIGHTS]
    if models.rescorer is not None:
        choices = [one for choice in choices for one in _rescored(choice, models.lm is not None)]
    if len(choices) > 1:
        settings = part.best(choices)
    if models.rescorer is not None and not settings.rescorer_weight:
        settings = replace(settings, rescorer="", rescoring_lm_scale=1.0)
    if slow and not pronounced:
        searches = list(_widened(runner, settings))
    else:
        tried = _PRONOUNCED_SEARCHES if pronounced else SEARCHES
        searches = runner.run_all([replace(settings, search=search) for search in tried], 1)
    good = [trial for trial in searches if trial.total_errors <= searches[-1].total_errors]
    best = min(good, key=lambda trial: trial.seconds)
    if best.total_errors >= greedy.total_errors and not models.hotwords:
        best = greedy
    else:
        decoder = runner.decoder(best.settings)
        # As many texts as there are when an utterance is transcribed.
        count = RESCORED if decoder.rescores else best.settings.search.beam_width
        decoded = prefetch(lambda row: decoder.decode(row, count), dev.rows, os.cpu_count() or 1)
        lists = (
            [decoder.add_words(first, row), *others] for row, (first, *others) in zip(dev.rows, decoded, strict=True)
        )
        settings = replace(best.settings, temperature=round(fit_temperature(lists, dev.texts), 3))
        best = replace(runner.timed(best), settings=settings)
    words = tuple(len(text.split()) for text in dev.texts)
    return TuningResult(best, greedy, tuple(grid), tuple(searches), words)


def _tune_word_ngrams(runner: TrialRunner, settings: DecoderSettings) -> tuple[DecoderSettings, list[Trial]]:
    """Tune the weights of a word n-gram model: the whole grid, scores of unknown words, then finer steps."""
    grid = runner.grid(settings, WEIGHTS, BONUSES)
    coarse = stable_best(grid, len(BONUSES)).settings.weights
    settings = with_weights(settings, lm_weight=coarse.lm_weight, word_bonus=coarse.word_bonus)
    settings = runner.best(_with_priors(runner, settings))
    if not settings.weights.lexicon_only:
        settings = runner.best(_with_unknown_scores(settings))
    weights, bonuses = _finer(WEIGHTS, coarse.lm_weight), _finer(BONUSES, coarse.word_bonus)
    settings = stable_best(runner.grid(settings, weights, bonuses), len(bonuses)).settings
    return _for_any_word(runner, settings), grid


def _tune_slow(runner: TrialRunner, settings: DecoderSettings) -> tuple[DecoderSettings, list[Trial]]:
    """Tune the weights of a language model whose search is slow: on a few words at first, and on more at last."""
    few = runner.subset(FEW_WORDS)
    settings = stable_best(few.grid(settings, FEW_WEIGHTS, FEW_BONUSES), len(FEW_BONUSES)).settings
    settings, best = few.best(_with_priors(runner, settings)), settings.weights
    grid: list[Trial] = []
    for part in (few, runner.subset(MORE_WORDS)):
        weights, bonuses = _neighbours(WEIGHTS, best.lm_weight), _neighbours(BONUSES, best.word_bonus)
        grid = part.grid(settings, weights, bonuses)
        chosen = stable_best(grid, len(bonuses)).settings
        best = chosen.weights
    return _for_any_word(few, chosen), grid


def _for_any_word(runner: TrialRunner, settings: DecoderSettings) -> DecoderSettings:
    """Return settings that allow only known words with the best score of unknown ones, as a user can allow any word."""
    if not (settings.weights.lexicon_only and runner.models.has_word_ngrams):
        return settings
    any_word = replace(settings, weights=replace(settings.weights, lexicon_only=False))
    return with_weights(settings, unknown_score=runner.best(_with_unknown_scores(any_word)).weights.unknown_score)


def _with_priors(runner: TrialRunner, settings: DecoderSettings) -> list[DecoderSettings]:
    """Return the settings with each scale of the priors, which are measured on the runner's set."""
    measured = measure(runner.dev.rows)
    scales = [PriorSettings(scale, measured if scale else ()) for scale in PRIOR_SCALES if measured or not scale]
    return [replace(settings, priors=priors) for priors in scales]


def stable_best(grid: Sequence[Trial], columns: int) -> Trial:
    """Return the trial of a grid, row by row, with the fewest errors averaged with its neighbours.

    It counts as four of them. Of equal ones the closest to the default settings is taken.
    """
    usual = LmSettings()

    def cost(index: int) -> tuple[float, int, float]:
        row, column = divmod(index, columns)
        near = [
            grid[(row + down) * columns + column + right].total_errors
            for down, right in ((0, -1), (0, 1), (-1, 0), (1, 0))
            if 0 <= column + right < columns and 0 <= (row + down) * columns + column + right < len(grid)
        ]
        weights, errors = grid[index].settings.weights, grid[index].total_errors
        unusual = abs(weights.lm_weight - usual.lm_weight) + abs(weights.word_bonus - usual.word_bonus) / 4
        return (4 * errors + sum(near)) / (4 + len(near)), errors, unusual

    return grid[min(range(len(grid)), key=cost)]


def _neighbours(values: Sequence[float], middle: float) -> Sequence[float]:
    """Return the middle value and its neighbours."""
    index = values.index(middle)
    return values[max(index - 1, 0) : index + 2]


def _finer(values: Sequence[float], middle: float) -> list[float]:
    """Return the middle value and two steps to each of its neighbours."""
    near = _neighbours(values, middle)
    steps = {middle + part * (end - middle) for end in (near[0], near[-1]) for part in (0, 1 / 3, 2 / 3)}
    return sorted(round(value, 3) for value in steps)


def _with_unknown_scores(settings: DecoderSettings) -> list[DecoderSettings]:
    """Return the settings with each score of unknown words, their own first."""
    return [with_weights(settings, unknown_score=value) for value in (settings.weights.unknown_score, *UNKNOWN_SCORES)]


def _rescored(settings: DecoderSettings, with_lm: bool) -> list[DecoderSettings]:
    """Return settings with each weight of the rescorer and each scale of the LM weight, or without one each bonus."""
    if with_lm:
        others = [replace(settings, rescoring_lm_scale=scale) for scale in RESCORING_LM_SCALES]
    else:
        others = [settings, *(with_weights(settings, word_bonus=bonus) for bonus in BONUSES)]
    return [replace(other, rescorer_weight=weight) for other in others for weight in RESCORER_WEIGHTS]


def _widened(runner: TrialRunner, settings: DecoderSettings) -> Iterator[Trial]:
    """Try searches from the narrowest on until one makes no more errors than the widest, which comes last."""
    widest = runner.run(replace(settings, search=_SLOW_WIDEST), 1)
    for search in SEARCHES[: SEARCHES.index(_SLOW_WIDEST)]:
        trial = runner.run(replace(settings, search=search), 1)
        yield trial
        if trial.total_errors <= widest.total_errors:
            break
    yield widest
