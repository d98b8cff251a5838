"""References + hypotheses -> error counts, alignments, rates and their intervals.

Alignments are jiwer's. Rates are pooled over the corpus: all errors over all reference words. The 95 % interval is the
percentile bootstrap over utterances of Bisani and Ney (2004), section 2.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import jiwer
import numpy as np
from rapidfuzz.distance import Levenshtein

from asr.scoring.alignment import Chunk, Edit, chunks, edits
from asr.scoring.bootstrap import RESAMPLES as RESAMPLES
from asr.scoring.bootstrap import SEED as SEED
from asr.scoring.bootstrap import Counts as Counts
from asr.scoring.bootstrap import Rate as Rate
from asr.scoring.bootstrap import ScoringError as ScoringError
from asr.scoring.bootstrap import interval as interval


@dataclass(frozen=True, slots=True)
class UtteranceScore:
    """Counts of one utterance, in words (`words` of the reference) and characters, and its words' alignment."""

    id: str
    reference: str
    hypothesis: str
    words: int
    substitutions: int
    deletions: int
    insertions: int
    characters: int
    character_errors: int
    alignment: tuple[Chunk, ...]

    @property
    def errors(self) -> int:
        """Return the word errors."""
        return self.substitutions + self.deletions + self.insertions

    def edits(self, wrong_only: bool = False) -> Iterator[Edit]:
        """Yield the alignment word by word; `wrong_only`: the errors alone."""
        return edits(self.alignment, self.reference.split(), self.hypothesis.split(), wrong_only)


@dataclass(frozen=True)
class Score:
    """Counts and rates of a corpus; `utterance_scores` in the order given.

    `ser`: the sentence error rate, of the utterances with any word wrong; `sentence_errors` is their number.
    """

    wer: Rate
    cer: Rate
    ser: Rate
    utterances: int
    sentence_errors: int
    words: int
    substitutions: int
    deletions: int
    insertions: int
    characters: int
    character_errors: int
    utterance_scores: tuple[UtteranceScore, ...]

    @property
    def errors(self) -> int:
        """Return the word errors."""
        return self.substitutions + self.deletions + self.insertions

    def column(self, name: str) -> Counts:
        """Return one count of each utterance."""
        return np.array([getattr(row, name) for row in self.utterance_scores], dtype=np.int64)


def _count(identity: str, reference: str, hypothesis: str) -> UtteranceScore:
    # One space between words and none at the ends, so that the layout is no error.
    tidy = " ".join(reference.split()), " ".join(hypothesis.split())
    words = jiwer.process_words(*tidy)
    return UtteranceScore(
        identity,
        reference,
        hypothesis,
        words.hits + words.substitutions + words.deletions,
        words.substitutions,
        words.deletions,
        words.insertions,
        len(tidy[0]),
        # As jiwer counts, without the alignment that it makes of them.
        Levenshtein.distance(*tidy),
        chunks(words.alignments[0]),
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

    wrong = (column("errors") > 0).astype(np.int64)
    return Score(
        wer=interval(column("errors"), column("words")),
        cer=interval(column("character_errors"), column("characters")),
        ser=interval(wrong, np.ones_like(wrong)),
        utterances=len(rows),
        sentence_errors=int(wrong.sum()),
        words=int(column("words").sum()),
        substitutions=int(column("substitutions").sum()),
        deletions=int(column("deletions").sum()),
        insertions=int(column("insertions").sum()),
        characters=int(column("characters").sum()),
        character_errors=int(column("character_errors").sum()),
        utterance_scores=rows,
    )


def nearest(reference: str, hypotheses: Sequence[str]) -> str:
    """Return the hypothesis with the fewest word errors, the first of equal ones."""
    words = reference.split()
    return min(hypotheses, key=lambda one: Levenshtein.distance(words, one.split()))


def worst(result: Score, count: int) -> list[UtteranceScore]:
    """Return the utterances with the most word errors, most first, correct ones left out."""
    wrong = [row for row in result.utterance_scores if row.errors]
    return sorted(wrong, key=lambda row: (-row.errors, row.words, row.id))[:count]
