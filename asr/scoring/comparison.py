"""Comparison of systems on the same utterances: the differences, paired bootstrap and MAPSSWE."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from asr.scoring.blocks import FEW_UTTERANCES, blocks
from asr.scoring.bootstrap import RESAMPLES, SEED, Counts, Rate, ScoringError, resampled_rates
from asr.scoring.counts import INSERTION, Score, UtteranceScore

# Consecutive words that both systems have right separate two segments, as in SCTK.
BOUNDARY = 2
LEVEL = 0.05
# More than for an interval, as a p near 5 % should not depend on the seed; and more for many comparisons, so that the
# smallest p of a bootstrap stays below 5 % when it is corrected.
_RESAMPLES = 10_000
_RESAMPLES_PER_PAIR = 400


@dataclass(frozen=True)
class Bootstrap:
    """The paired bootstrap: `difference` is the WER of the first system minus that of the second; p is two-sided."""

    difference: Rate
    p: float


@dataclass(frozen=True)
class Mapsswe:
    """The matched-pairs sentence-segment word error test; p is two-sided.

    `mean`: the errors per segment of the first system minus those of the second. `z` is None if all differences are
    equal or there is only one segment.
    """

    segments: int
    mean: float
    z: float | None
    p: float


@dataclass(frozen=True)
class SpeakerContrast:
    """Two systems on one speaker; the second has fewer errors in `wins` utterances and more in `losses`."""

    speaker: str
    utterances: int
    words: int
    first_errors: int
    second_errors: int
    wins: int
    losses: int
    ties: int


@dataclass(frozen=True)
class Contrast:
    """Two systems compared; the second has fewer errors in `wins` utterances and more in `losses`.

    `bootstrap_p`, `mapsswe_p`: corrected for the number of comparisons. `shown`: both are below 5 %. `better` is the
    name of the system with fewer errors, "" if both have the same number.
    """

    first: str
    second: str
    bootstrap: Bootstrap
    mapsswe: Mapsswe
    bootstrap_p: float
    mapsswe_p: float
    shown: bool
    better: str
    verdict: str
    wins: int
    losses: int
    ties: int
    speakers: tuple[SpeakerContrast, ...]


def paired_bootstrap(
    first: Counts, second: Counts, words: Counts, resamples: int = RESAMPLES, seed: int = SEED
) -> Bootstrap:
    """Compare the errors (utterances,) of two systems by drawing the same utterances for both (Bisani and Ney 2004).

    Raises ScoringError if there are no words.
    """
    difference, samples = resampled_rates(first - second, words, resamples, seed)
    if not len(samples):
        return Bootstrap(difference, 1.0)
    # The sample itself counts as one of the draws, so that p is never 0.
    tail = min(int((samples <= 0).sum()), int((samples >= 0).sum()))
    return Bootstrap(difference, min(1.0, 2 * (tail + 1) / (len(samples) + 1)))


def segments(first: UtteranceScore, second: UtteranceScore) -> list[tuple[int, int]]:
    """Return the errors of both systems in each segment of an utterance that has any.

    Segments are separated by the ends of the utterance, and by two or more words that both systems have right without
    an insertion between them (Gillick and Cox 1989; as SCTK does).
    """
    if not first.errors and not second.errors:
        return []
    if first.reference != second.reference:
        # Each was compared with the nearest of several references: their positions differ.
        return [(first.errors, second.errors)]
    # Errors of both systems in the order of the utterance: before a word, at the word, before the next word, …
    errors = np.zeros((2 * first.words + 1, 2), dtype=np.int64)
    for column, row in enumerate((first, second)):
        for edit in row.edits(wrong_only=True):
            errors[2 * edit.position + (edit.operation != INSERTION), column] += 1
    per_segment: list[tuple[int, int]] = []
    last = -1
    for index in np.flatnonzero(errors.any(axis=1)).tolist():
        one, two = errors[index].tolist()
        # Words at odd indices after the last error and before this one.
        if index // 2 - (last + 1) // 2 >= BOUNDARY or not per_segment:
            per_segment.append((0, 0))
        per_segment[-1] = (per_segment[-1][0] + one, per_segment[-1][1] + two)
        last = index
    return per_segment


def matched_pairs(differences: Sequence[int]) -> Mapsswe:
    """Test whether the differences in errors of the segments have mean 0 (Gillick and Cox 1989)."""
    count = len(differences)
    if count == 0:
        return Mapsswe(0, 0.0, None, 1.0)
    values = np.asarray(differences, dtype=np.float64)
    mean = float(values.mean())
    deviation = float(values.std(ddof=1)) if count > 1 else 0.0
    if deviation == 0:
        # The variance cannot be estimated; use the exact sign test.
        return Mapsswe(count, mean, None, min(1.0, 2 * 0.5**count) if mean else 1.0)
    z = mean / (deviation / math.sqrt(count))
    return Mapsswe(count, mean, z, math.erfc(abs(z) / math.sqrt(2)))


def mapsswe(first: Score, second: Score) -> Mapsswe:
    """Compare two scores of the same utterances in the same order."""
    rows = zip(first.utterance_scores, second.utterance_scores, strict=True)
    return matched_pairs([one - two for pair in rows for one, two in segments(*pair)])


def holm(values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number (Holm 1979), in the order given."""
    corrected = [0.0] * len(values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        largest = max(largest, min(1.0, values[index] * (len(values) - rank)))
        corrected[index] = largest
    return corrected


def compare(systems: Mapping[str, Score], speakers: Sequence[str] = ()) -> tuple[Contrast, ...]:
    """Compare each pair of systems, given the score of each by name; `speakers` of the utterances, "" where unknown.

    Raises ScoringError for fewer than two systems, or scores of different utterances.
    """
    if len(systems) < 2:
        raise ScoringError("a comparison needs two systems")
    base, *names = systems
    rows = _references(systems[base])
    for name in names:
        if _references(systems[name]) != rows:
            raise ScoringError(f"{name} was scored on other utterances or references than {base}")
    pairs = list(combinations(systems.items(), 2))
    resamples = max(_RESAMPLES, _RESAMPLES_PER_PAIR * len(pairs))
    bootstraps = [_bootstrap(first, second, resamples) for (_, first), (_, second) in pairs]
    tests = [mapsswe(first, second) for (_, first), (_, second) in pairs]
    corrected = zip(holm([test.p for test in bootstraps]), holm([test.p for test in tests]), strict=True)
    return tuple(
        _contrast(pair, bootstrap, test, p_values, speakers)
        for pair, bootstrap, test, p_values in zip(pairs, bootstraps, tests, corrected, strict=True)
    )


def _bootstrap(first: Score, second: Score, resamples: int) -> Bootstrap:
    """Resample the utterances, or parts of them if there are few."""
    if len(first.utterance_scores) >= FEW_UTTERANCES or any(row.chosen for row in first.utterance_scores):
        errors = first.column("errors"), second.column("errors")
        return paired_bootstrap(*errors, first.column("words"), resamples)
    rows_of_both = zip(first.utterance_scores, second.utterance_scores, strict=True)
    parts = [(blocks(one), blocks(two)) for one, two in rows_of_both]
    rows = [(a.errors, b.errors, a.words) for pair in parts for a, b in zip(*pair, strict=True)]
    one, two, words = np.array(rows, np.int64).T
    return paired_bootstrap(one, two, words, resamples)


def _references(score: Score) -> list[tuple[str, str | None]]:
    return [(row.id, None if row.chosen else row.reference) for row in score.utterance_scores]


def _contrast(
    pair: tuple[tuple[str, Score], tuple[str, Score]],
    bootstrap: Bootstrap,
    test: Mapsswe,
    p_values: tuple[float, float],
    speakers: Sequence[str],
) -> Contrast:
    (first, one), (second, two) = pair
    value = bootstrap.difference.value
    better = second if value > 0 else first if value < 0 else ""
    shown = bool(better) and max(p_values) < LEVEL
    whole, *by_speaker = _by_speaker(one, two, speakers)
    return Contrast(
        first=first,
        second=second,
        bootstrap=bootstrap,
        mapsswe=test,
        bootstrap_p=p_values[0],
        mapsswe_p=p_values[1],
        shown=shown,
        better=better,
        verdict=_verdict(first, second, bootstrap, p_values),
        wins=whole.wins,
        losses=whole.losses,
        ties=whole.ties,
        speakers=tuple(by_speaker),
    )


def _verdict(first: str, second: str, bootstrap: Bootstrap, p_values: tuple[float, float]) -> str:
    # Adding 0.0 turns -0.0 into 0.0.
    value, low, high = (
        round(100 * bound, 2) + 0.0
        for bound in (bootstrap.difference.value, bootstrap.difference.low, bootstrap.difference.high)
    )
    if math.isnan(low):
        ahead = second if value > 0 else first
        difference = f"{ahead} is better by {abs(value):.2f} points" if value else "the same number of errors"
        return f"{first} and {second}: {difference}; too little text for an interval and tests: not significant"
    if not bootstrap.difference.value:
        words = f"{first} and {second} have the same number of errors, 95 % interval of the difference"
        return f"{words} {low:.2f} to {high:.2f}: no significant difference"
    better = second
    if bootstrap.difference.value < 0:
        better, value, low, high = first, -value, 0.0 - high, 0.0 - low
    significant = [p < LEVEL for p in p_values]
    verdict = f"{better} is better by {value:.2f} points, 95 % interval {low:.2f} to {high:.2f}: "
    verdict += "significant" if all(significant) else "not significant"
    if any(significant) and not all(significant):
        verdict += f", as the two tests disagree (bootstrap p = {p_values[0]:.3f}, MAPSSWE p = {p_values[1]:.3f})"
    return verdict


def _by_speaker(one: Score, two: Score, speakers: Sequence[str]) -> list[SpeakerContrast]:
    """Return the contrast of all utterances and, if any speaker is known, of each speaker."""
    first, second, words = one.column("errors"), two.column("errors"), one.column("words")
    column = np.array(speakers)
    parts = [("", np.ones(len(words), dtype=bool))]
    parts += [(speaker, column == speaker) for speaker in sorted(set(speakers))] if any(speakers) else []
    contrasts = []
    for speaker, chosen in parts:
        before, after = first[chosen], second[chosen]
        wins, losses = int((after < before).sum()), int((after > before).sum())
        errors = int(before.sum()), int(after.sum())
        ties = len(before) - wins - losses
        contrasts.append(SpeakerContrast(speaker, len(before), int(words[chosen].sum()), *errors, wins, losses, ties))
    return contrasts
