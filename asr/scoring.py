"""References + hypotheses -> error counts, rates and their intervals.

Alignments are jiwer's. Rates are pooled over the corpus: all errors over all reference words. The 95 % interval is the
percentile bootstrap over utterances of Bisani and Ney (2004), section 2.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import jiwer
import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1_000
SEED = 20040517

Counts = NDArray[np.int64]


class ScoringError(ValueError):
    """References and hypotheses that cannot be scored."""


@dataclass(frozen=True)
class Rate:
    """An error rate as a fraction, with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class UtteranceScore:
    """Counts of one utterance, in words (`words` of the reference) and characters."""

    id: str
    reference: str
    hypothesis: str
    words: int
    substitutions: int
    deletions: int
    insertions: int
    characters: int
    character_errors: int

    @property
    def errors(self) -> int:
        """Return the word errors."""
        return self.substitutions + self.deletions + self.insertions


@dataclass(frozen=True)
class Score:
    """Counts and rates of a corpus; `utterance_scores` in the order given."""

    wer: Rate
    cer: Rate
    utterances: int
    words: int
    substitutions: int
    deletions: int
    insertions: int
    characters: int
    character_errors: int
    utterance_scores: tuple[UtteranceScore, ...]


def interval(errors: Counts, totals: Counts, resamples: int = RESAMPLES, seed: int = SEED) -> Rate:
    """Return the pooled rate of counts (utterances,) and its bootstrap interval.

    Raises ScoringError when the references are empty altogether: a rate needs something to divide by.
    """
    total = int(totals.sum())
    if total == 0:
        raise ScoringError("the references hold no words at all: there is no error rate")
    random = np.random.default_rng(seed)
    rates = []
    for _ in range(resamples):
        chosen = random.integers(len(totals), size=len(totals))
        drawn = totals[chosen].sum()
        # A sample of empty references alone says nothing of the rate.
        if drawn:
            rates.append(errors[chosen].sum() / drawn)
    low, high = np.percentile(rates, [2.5, 97.5])
    return Rate(int(errors.sum()) / total, float(low), float(high))


def _count(identity: str, reference: str, hypothesis: str) -> UtteranceScore:
    # One space between words and none at the ends, so that the layout is no error.
    tidy = " ".join(reference.split()), " ".join(hypothesis.split())
    words = jiwer.process_words(*tidy)
    characters = jiwer.process_characters(*tidy)
    return UtteranceScore(
        identity,
        reference,
        hypothesis,
        words.hits + words.substitutions + words.deletions,
        words.substitutions,
        words.deletions,
        words.insertions,
        characters.hits + characters.substitutions + characters.deletions,
        characters.substitutions + characters.deletions + characters.insertions,
    )


def score(references: Sequence[str], hypotheses: Sequence[str], ids: Sequence[str] | None = None) -> Score:
    """Score hypotheses against references, pair by pair; an empty reference makes every hypothesised word an insertion.

    Raises ScoringError when there are none, their numbers differ, or all references are empty.
    """
    if len(references) != len(hypotheses):
        raise ScoringError(f"{len(references)} references but {len(hypotheses)} hypotheses")
    if ids is not None and len(ids) != len(references):
        raise ScoringError(f"{len(references)} references but {len(ids)} ids")
    if not references:
        raise ScoringError("no utterances to score")
    names = ids if ids is not None else [str(number) for number in range(1, len(references) + 1)]
    rows = tuple(map(_count, names, references, hypotheses))

    def column(name: str) -> Counts:
        return np.array([getattr(row, name) for row in rows], dtype=np.int64)

    return Score(
        wer=interval(column("errors"), column("words")),
        cer=interval(column("character_errors"), column("characters")),
        utterances=len(rows),
        words=int(column("words").sum()),
        substitutions=int(column("substitutions").sum()),
        deletions=int(column("deletions").sum()),
        insertions=int(column("insertions").sum()),
        characters=int(column("characters").sum()),
        character_errors=int(column("character_errors").sum()),
        utterance_scores=rows,
    )


def worst(result: Score, count: int) -> list[UtteranceScore]:
    """Return the utterances with the most word errors, most first, correct ones left out."""
    wrong = [row for row in result.utterance_scores if row.errors]
    return sorted(wrong, key=lambda row: (-row.errors, row.words, row.id))[:count]
