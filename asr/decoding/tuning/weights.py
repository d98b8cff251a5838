"""How much a language model and each word should count: first coarsely, then finer around what does best."""

from collections.abc import Sequence
from dataclasses import replace

from asr.decoding.beam import LmSettings
from asr.decoding.decoder import DecoderSettings
from asr.decoding.tuning.bench import Bench, Trial

# Of a language model's weight and the bonus for each word: first these, then finer ones around the best.
WEIGHTS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 2.5)
BONUSES = (-2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0)
USUAL = LmSettings()
UNKNOWNS = (0.0, -2.0, -5.0, -8.0, -12.0, -20.0)
# Where a search is slow: of these first, and on so many words first and then.
FEW_WEIGHTS = (0.0, 0.4, 0.8, 1.3, 2.0)
FEW_BONUSES = (-2.0, 0.0, 2.0, 4.0, 8.0)
FEW_WORDS = 2_000
MORE_WORDS = 8_000


def steady(trials: Sequence[Trial], columns: int) -> Trial:
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


def changed(settings: DecoderSettings, **changes: float) -> DecoderSettings:
    weights: LmSettings = replace(settings.weights, **changes)  # type: ignore[arg-type]
    return replace(settings, weights=weights)


def _near(values: Sequence[float], middle: float) -> Sequence[float]:
    """Return the middle one and its neighbours."""
    place = values.index(middle)
    return values[max(place - 1, 0) : place + 2]


def of_words(bench: Bench, settings: DecoderSettings) -> tuple[DecoderSettings, list[Trial]]:
    """Return the settings with the best weights for a model of words, and the trials of the first ones.

    The whole grid is tried, then scores of unknown words, then finer steps around the best: such a search is quick.
    """
    surface = bench.grid(settings, WEIGHTS, BONUSES)
    coarse = steady(surface, len(BONUSES)).settings.weights
    settings = changed(settings, lm_weight=coarse.lm_weight, word_bonus=coarse.word_bonus)
    if not settings.weights.lexicon_only:
        settings = bench.least(_with_unknowns(settings))
    weights, bonuses = _between(WEIGHTS, coarse.lm_weight), _between(BONUSES, coarse.word_bonus)
    settings = steady(bench.grid(settings, weights, bonuses), len(bonuses)).settings
    if settings.weights.lexicon_only:
        # No word is unknown now; of use is the score to who lifts the lock.
        opened = bench.least(_with_unknowns(replace(settings, weights=replace(settings.weights, lexicon_only=False))))
        settings = changed(settings, unknown_score=opened.weights.unknown_score)
    return settings, surface


def _with_unknowns(settings: DecoderSettings) -> list[DecoderSettings]:
    """Return the settings with each score of unknown words, their own first."""
    return [changed(settings, unknown_score=value) for value in (settings.weights.unknown_score, *UNKNOWNS)]


def of_letters(bench: Bench, settings: DecoderSettings) -> tuple[DecoderSettings, list[Trial]]:
    """Return the settings with the best weights for a model of letters, and the trials of the last ones.

    Such a search is slow, and no word is unknown to it: a few words tell where to look, and more of them what is best.
    """
    few = bench.part(FEW_WORDS)
    best = steady(few.grid(settings, FEW_WEIGHTS, FEW_BONUSES), len(FEW_BONUSES)).settings.weights
    weights, bonuses = _near(WEIGHTS, best.lm_weight), _near(BONUSES, best.word_bonus)
    best = steady(few.grid(settings, weights, bonuses), len(bonuses)).settings.weights
    weights, bonuses = _near(WEIGHTS, best.lm_weight), _near(BONUSES, best.word_bonus)
    surface = bench.part(MORE_WORDS).grid(settings, weights, bonuses)
    return steady(surface, len(bonuses)).settings, surface
