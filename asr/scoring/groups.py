"""The word error rate of parts of a corpus: by speaker, length, speaking rate and position in the utterance."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from asr.scoring.bootstrap import Counts, Rate, ScoringError, interval
from asr.scoring.counts import Score, UtteranceScore

# Lower bounds; the last group has no upper bound.
DURATIONS = (0.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0)
RATES = (0.0, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
LENGTHS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
POSITIONS = 10

_Key = TypeVar("_Key", str, int)


@dataclass(frozen=True)
class Group:
    """A part of the corpus: a speaker's `name`, or bounds from `low` to before `high` (None: no bound).

    `wer` is None if the references have no words.
    """

    name: str
    low: float | None
    high: float | None
    utterances: int
    words: int
    substitutions: int
    deletions: int
    insertions: int
    wer: Rate | None
    errors: int


def check_length(score: Score, values: Sequence[object]) -> None:
    """Raise ScoringError unless there is a value for each utterance."""
    if len(values) != score.utterances:
        raise ScoringError(f"{score.utterances} utterances but values of {len(values)}")


def by_speaker(score: Score, speakers: Sequence[str]) -> tuple[Group, ...]:
    """Return the speakers, that with the highest WER first; utterances with an empty speaker are left out."""
    rows = _split(score, [speaker or None for speaker in speakers])
    groups = [_group(name, (None, None), _counts(part)) for name, part in rows.items()]
    return tuple(sorted(groups, key=lambda group: (-(group.wer.value if group.wer else math.inf), group.name)))


def by_duration(score: Score, durations: Sequence[float]) -> tuple[Group, ...]:
    """Return groups by seconds; utterances of unknown duration (0) are left out."""
    return _by_bounds(score, [duration or None for duration in durations], DURATIONS)


def by_speaking_rate(score: Score, durations: Sequence[float]) -> tuple[Group, ...]:
    """Return groups by reference words per second; utterances of unknown duration (0) are left out."""
    check_length(score, durations)
    rows = zip(score.utterance_scores, durations, strict=True)
    return _by_bounds(score, [row.words / duration if duration else None for row, duration in rows], RATES)


def by_length(score: Score) -> tuple[Group, ...]:
    """Return groups by reference words; utterances without any are left out."""
    return _by_bounds(score, [row.words or None for row in score.utterance_scores], LENGTHS)


def by_position(score: Score) -> tuple[Group, ...]:
    """Return the tenths of the utterances, from 0 (the start) to 1; utterances without words are left out.

    An insertion counts at the word after it, or at the last word.
    """
    rows = [row for row in score.utterance_scores if row.words]
    counts = np.zeros((POSITIONS, len(rows), 4), dtype=np.int64)
    columns = {"S": 1, "D": 2, "I": 3}
    for number, row in enumerate(rows):
        for index in range(row.words):
            counts[index * POSITIONS // row.words, number, 0] += 1
        for edit in row.edits(wrong_only=True):
            tenth = min(edit.position, row.words - 1) * POSITIONS // row.words
            counts[tenth, number, columns[edit.operation]] += 1
    groups = []
    for tenth in range(POSITIONS):
        present = counts[tenth][counts[tenth].any(axis=1)]
        if len(present):
            groups.append(_group("", (tenth / POSITIONS, (tenth + 1) / POSITIONS), present))
    return tuple(groups)


def _by_bounds(score: Score, values: Sequence[float | None], bounds: Sequence[float]) -> tuple[Group, ...]:
    rows = _split(
        score, [None if value is None else int(np.searchsorted(bounds, value, side="right")) - 1 for value in values]
    )
    ends = [*bounds[1:], None]
    return tuple(_group("", (bounds[index], ends[index]), _counts(rows[index])) for index in sorted(rows))


def _split(score: Score, keys: Sequence[_Key | None]) -> dict[_Key, list[UtteranceScore]]:
    check_length(score, keys)
    rows: dict[_Key, list[UtteranceScore]] = defaultdict(list)
    for row, key in zip(score.utterance_scores, keys, strict=True):
        if key is not None:
            rows[key].append(row)
    return rows


def _counts(rows: Sequence[UtteranceScore]) -> Counts:
    return np.array([(row.words, row.substitutions, row.deletions, row.insertions) for row in rows], dtype=np.int64)


def _group(name: str, bounds: tuple[float | None, float | None], counts: Counts) -> Group:
    """Return a group of counts (utterances, 4): words, substitutions, deletions, insertions."""
    words, substitutions, deletions, insertions = (int(column) for column in counts.sum(axis=0))
    errors = counts[:, 1:].sum(axis=1)
    rate = interval(errors, counts[:, 0]) if words else None
    return Group(name, *bounds, len(counts), words, substitutions, deletions, insertions, rate, int(errors.sum()))
