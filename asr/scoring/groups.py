"""A score -> the word error rate of its parts: by speaker, length, speaking rate and place in the utterance."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from asr.scoring import Counts, Rate, Score, ScoringError, UtteranceScore, interval

# Lower bounds; the last part has no upper one.
DURATIONS = (0.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0)
RATES = (0.0, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
LENGTHS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
POSITIONS = 10

_Key = TypeVar("_Key", str, int)


@dataclass(frozen=True, slots=True)
class Detail:
    """What is known of an utterance beside its text: `duration` in seconds, 0 where unknown.

    `confidences`: of the words of the hypothesis, 0 to 1; empty where unknown.
    """

    speaker: str = ""
    duration: float = 0.0
    confidences: tuple[float, ...] = ()


@dataclass(frozen=True)
class Group:
    """A part of the corpus: its name (of a speaker) or its bounds, `low` and up to before `high` (None: no end).

    `wer` is None where there are no words to divide by.
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

    @property
    def errors(self) -> int:
        """Return the word errors."""
        return self.substitutions + self.deletions + self.insertions


def _group(name: str, bounds: tuple[float | None, float | None], counts: Counts) -> Group:
    # Columns: words, substitutions, deletions, insertions.
    words, substitutions, deletions, insertions = (int(column) for column in counts.sum(axis=0))
    rate = interval(counts[:, 1:].sum(axis=1), counts[:, 0]) if words else None
    return Group(name, *bounds, len(counts), words, substitutions, deletions, insertions, rate)


def _matrix(rows: Sequence[UtteranceScore]) -> Counts:
    return np.array([(row.words, row.substitutions, row.deletions, row.insertions) for row in rows], dtype=np.int64)


def _check(score: Score, details: Sequence[Detail]) -> None:
    if len(details) != score.utterances:
        raise ScoringError(f"{score.utterances} utterances but details of {len(details)}")


def _parted(score: Score, keys: Sequence[_Key | None]) -> dict[_Key, list[UtteranceScore]]:
    parts: dict[_Key, list[UtteranceScore]] = defaultdict(list)
    for row, key in zip(score.utterance_scores, keys, strict=True):
        if key is not None:
            parts[key].append(row)
    return parts


def by_speaker(score: Score, details: Sequence[Detail]) -> tuple[Group, ...]:
    """Return the speakers, the worst first; empty where no speaker is known."""
    _check(score, details)
    parts = _parted(score, [detail.speaker or None for detail in details])
    groups = [_group(name, (None, None), _matrix(rows)) for name, rows in parts.items()]
    return tuple(sorted(groups, key=lambda group: (-(group.wer.value if group.wer else math.inf), group.name)))


def _by_bounds(score: Score, values: Sequence[float | None], bounds: Sequence[float]) -> tuple[Group, ...]:
    known = [None if value is None else int(np.searchsorted(bounds, value, side="right")) - 1 for value in values]
    parts = _parted(score, [key if key is None or key >= 0 else None for key in known])
    ends = [*bounds[1:], None]
    return tuple(_group("", (bounds[index], ends[index]), _matrix(parts[index])) for index in sorted(parts))


def by_duration(score: Score, details: Sequence[Detail]) -> tuple[Group, ...]:
    """Return the parts by seconds; utterances of unknown duration are left out."""
    _check(score, details)
    return _by_bounds(score, [detail.duration or None for detail in details], DURATIONS)


def by_speaking_rate(score: Score, details: Sequence[Detail]) -> tuple[Group, ...]:
    """Return the parts by reference words a second; utterances of unknown duration are left out."""
    _check(score, details)
    rows = zip(score.utterance_scores, details, strict=True)
    return _by_bounds(score, [row.words / detail.duration if detail.duration else None for row, detail in rows], RATES)


def by_length(score: Score) -> tuple[Group, ...]:
    """Return the parts by reference words; utterances without any are left out."""
    return _by_bounds(score, [float(row.words) for row in score.utterance_scores], LENGTHS)


def _tenth(index: int, words: int) -> int:
    return min(index, words - 1) * POSITIONS // words


def by_position(score: Score) -> tuple[Group, ...]:
    """Return the tenths of the utterances, from 0 (the begin) to 1; utterances without words are left out.

    An insertion counts where the word after it stands, or with the last word.
    """
    rows = [row for row in score.utterance_scores if row.words]
    counts = np.zeros((POSITIONS, len(rows), 4), dtype=np.int64)
    columns = {"S": 1, "D": 2, "I": 3}
    for number, row in enumerate(rows):
        for index in range(row.words):
            counts[_tenth(index, row.words), number, 0] += 1
        for edit in row.edits(wrong_only=True):
            counts[_tenth(edit.position, row.words), number, columns[edit.operation]] += 1
    groups = []
    for tenth in range(POSITIONS):
        there = counts[tenth][counts[tenth].any(axis=1)]
        if len(there):
            groups.append(_group("", (tenth / POSITIONS, (tenth + 1) / POSITIONS), there))
    return tuple(groups)
