"""Several systems' scores on the same utterances -> which is better, and whether that is shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from asr.scoring import Counts, Score, ScoringError
from asr.scoring.significance import Bootstrap, Mapsswe, holm, mapsswe, paired_bootstrap

LEVEL = 0.05
# More than for an interval, as a p near 5 % should not depend on the seed; and more again for many comparisons, so
# that the smallest p that a bootstrap can give stays small enough when it is corrected.
_RESAMPLES = 10_000
_RESAMPLES_EACH = 400


@dataclass(frozen=True)
class System:
    """What one system made of the utterances."""

    name: str
    score: Score


@dataclass(frozen=True)
class SpeakerContrast:
    """Two systems on one speaker: errors of both, and the utterances that the second won, lost and tied."""

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
    """Two systems compared. `wins`: the utterances where the second makes fewer errors than the first.

    `bootstrap_p`, `mapsswe_p`: corrected for the number of comparisons. `shown`: both are below 5 %. `better` is ""
    where both systems make as many errors.
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


def compare(systems: Sequence[System], speakers: Sequence[str] = ()) -> tuple[Contrast, ...]:
    """Compare each system with each other one; `speakers`: of the utterances, "" where unknown.

    Raises ScoringError for fewer than two systems, names that are not unique, or scores of different utterances.
    """
    if len(systems) < 2:
        raise ScoringError("a comparison needs two systems")
    names = [system.name for system in systems]
    if len(set(names)) < len(names):
        raise ScoringError(f"two systems have the same name: {', '.join(names)}")
    rows = [(row.id, row.reference) for row in systems[0].score.utterance_scores]
    for system in systems[1:]:
        if [(row.id, row.reference) for row in system.score.utterance_scores] != rows:
            raise ScoringError(f"{system.name} was scored on other utterances or references than {names[0]}")
    pairs = list(combinations(systems, 2))
    resamples = max(_RESAMPLES, _RESAMPLES_EACH * len(pairs))
    words = systems[0].score.column("words")
    bootstraps = [
        paired_bootstrap(one.score.column("errors"), two.score.column("errors"), words, resamples) for one, two in pairs
    ]
    tests = [mapsswe(one.score, two.score) for one, two in pairs]
    corrected = zip(holm([one.p for one in bootstraps]), holm([one.p for one in tests]), strict=True)
    return tuple(
        _contrast(pair, bootstrap, test, ps, speakers)
        for pair, bootstrap, test, ps in zip(pairs, bootstraps, tests, corrected, strict=True)
    )


def _contrast(
    pair: tuple[System, System], bootstrap: Bootstrap, test: Mapsswe, ps: tuple[float, float], speakers: Sequence[str]
) -> Contrast:
    first, second = pair
    value = bootstrap.difference.value
    better = second.name if value > 0 else first.name if value < 0 else ""
    shown = bool(better) and max(ps) < LEVEL
    one, two, words = first.score.column("errors"), second.score.column("errors"), first.score.column("words")
    wins, losses = int((two < one).sum()), int((two > one).sum())
    return Contrast(
        first=first.name,
        second=second.name,
        bootstrap=bootstrap,
        mapsswe=test,
        bootstrap_p=ps[0],
        mapsswe_p=ps[1],
        shown=shown,
        better=better,
        verdict=_verdict(pair, bootstrap, ps, better, shown),
        wins=wins,
        losses=losses,
        ties=len(one) - wins - losses,
        speakers=_by_speaker(one, two, words, speakers),
    )


def _points(fraction: float) -> str:
    # No "-0.00".
    return f"{round(100 * fraction, 2) + 0.0:.2f}"


def _verdict(
    pair: tuple[System, System], bootstrap: Bootstrap, ps: tuple[float, float], better: str, shown: bool
) -> str:
    first, second = (system.name for system in pair)
    difference = bootstrap.difference
    low, high = difference.low, difference.high
    if not better:
        words = f"{first} and {second} make as many errors, 95 % interval of the difference"
        return f"{words} {_points(low)} to {_points(high)}: no difference shown"
    if better == first:
        low, high = -high, -low
    told = f"{better} is better by {_points(abs(difference.value))} points, "
    told += f"95 % interval {_points(low)} to {_points(high)}: {'shown' if shown else 'not shown'}"
    if shown or min(ps) >= LEVEL:
        return told
    return f"{told}, as the two tests disagree (bootstrap p = {ps[0]:.3f}, MAPSSWE p = {ps[1]:.3f})"


def _by_speaker(first: Counts, second: Counts, words: Counts, speakers: Sequence[str]) -> tuple[SpeakerContrast, ...]:
    if not any(speakers):
        return ()
    column = np.array(speakers)
    found = []
    for speaker in sorted(set(speakers)):
        own = column == speaker
        one, two = first[own], second[own]
        wins, losses = int((two < one).sum()), int((two > one).sum())
        errors = int(one.sum()), int(two.sum())
        size = int(own.sum())
        found.append(SpeakerContrast(speaker, size, int(words[own].sum()), *errors, wins, losses, size - wins - losses))
    return tuple(found)
