"""Word and character errors of utterances and of a corpus, with the alignment of words.

jiwer aligns and counts. All errors cost the same, as in the definition of the word error rate. sclite's costs
(substitution 4, deletion and insertion 3) prefer a deletion and an insertion to two substitutions; its number of errors
is therefore sometimes higher, never lower. Rates are pooled: all errors of the corpus over all reference words.
"""

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass

import jiwer
import numpy as np
from rapidfuzz.distance import Levenshtein

from asr.scoring.blocks import Block, parts
from asr.scoring.bootstrap import Counts, Rate, ScoringError, interval

CORRECT, SUBSTITUTION, DELETION, INSERTION = "=", "S", "D", "I"


@dataclass(frozen=True, slots=True)
class Edit:
    """A word of the reference and the word of the hypothesis aligned with it; "" where there is none.

    `operation`: = (correct), S (substitution), D (deletion) or I (insertion). `position`: the index of the reference
    word, for an insertion of the word after it.
    """

    operation: str
    reference: str
    hypothesis: str
    position: int


@dataclass(frozen=True, slots=True)
class UtteranceScore:
    """The word and character errors of one utterance; `words` and `characters` are those of the reference.

    `chosen`: the reference is one of several, the nearest to the hypothesis.
    """

    id: str
    reference: str
    hypothesis: str
    words: int
    substitutions: int
    deletions: int
    insertions: int
    errors: int
    characters: int
    character_errors: int
    alignment: tuple[jiwer.AlignmentChunk, ...]
    chosen: bool = False

    def edits(self, wrong_only: bool = False) -> Iterator[Edit]:
        """Yield the alignment word by word, or only the errors."""
        return _edits(self.alignment, self.reference.split(), self.hypothesis.split(), wrong_only)

    def character_edits(self) -> Iterator[Edit]:
        """Yield the errors of the alignment of characters."""
        reference, hypothesis = _single_spaced(self.reference), _single_spaced(self.hypothesis)
        alignment = jiwer.process_characters(reference, hypothesis).alignments[0]
        return _edits(alignment, reference, hypothesis, wrong_only=True)


def _edits(
    alignment: Iterable[jiwer.AlignmentChunk], reference: Sequence[str], hypothesis: Sequence[str], wrong_only: bool
) -> Iterator[Edit]:
    for chunk in alignment:
        start, hypothesis_start = chunk.ref_start_idx, chunk.hyp_start_idx
        if chunk.type == "insert":
            for word in hypothesis[hypothesis_start : chunk.hyp_end_idx]:
                yield Edit(INSERTION, "", word, start)
        elif chunk.type == "delete":
            for index in range(start, chunk.ref_end_idx):
                yield Edit(DELETION, reference[index], "", index)
        elif chunk.type == "substitute" or not wrong_only:
            operation = SUBSTITUTION if chunk.type == "substitute" else CORRECT
            for offset in range(chunk.ref_end_idx - start):
                yield Edit(operation, reference[start + offset], hypothesis[hypothesis_start + offset], start + offset)


@dataclass(frozen=True)
class Score:
    """The errors and rates of a corpus; `utterance_scores` in the order given.

    `ser` is the sentence error rate: the fraction of utterances with a word error, of which there are
    `sentence_errors`. `segments`: the parts of utterances from which the intervals of WER and CER are, where there are
    few and long utterances; 0 where the utterances themselves are resampled.
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
    errors: int
    characters: int
    character_errors: int
    utterance_scores: tuple[UtteranceScore, ...]
    segments: int = 0

    def column(self, name: str) -> Counts:
        """Return one count of each utterance."""
        return _column(self.utterance_scores, name)


def score(
    references: Sequence[str],
    hypotheses: Sequence[str],
    ids: Sequence[str] | None = None,
    chosen: Container[str] = (),
) -> Score:
    """Score hypotheses against references in the same order; ids default to 1, 2, ….

    `chosen`: the ids whose references were chosen among several, so that other systems may have others.

    All words of the hypothesis of an empty reference are insertions. Raises ScoringError if there are no utterances,
    their numbers differ or all references are empty.
    """
    ids = [str(number) for number in range(1, len(references) + 1)] if ids is None else ids
    if len(references) != len(hypotheses):
        raise ScoringError(f"{len(references)} references but {len(hypotheses)} hypotheses")
    if len(references) != len(ids):
        raise ScoringError(f"{len(references)} references but {len(ids)} ids")
    if not references:
        raise ScoringError("no utterances to score")
    rows = tuple(
        _score_utterance(*texts, texts[0] in chosen) for texts in zip(ids, references, hypotheses, strict=True)
    )
    names = ("words", "substitutions", "deletions", "insertions", "errors", "characters", "character_errors")
    columns = {name: _column(rows, name) for name in names}
    wrong = (columns["errors"] > 0).astype(np.int64)
    segments = parts(rows)
    return Score(
        wer=_rate(columns["errors"], columns["words"], segments, "errors", "words"),
        cer=_rate(columns["character_errors"], columns["characters"], segments, "character_errors", "characters"),
        ser=interval(wrong, np.ones_like(wrong)),
        utterances=len(rows),
        sentence_errors=int(wrong.sum()),
        utterance_scores=rows,
        segments=len(segments or ()),
        **{name: int(column.sum()) for name, column in columns.items()},
    )


def _rate(errors: Counts, totals: Counts, segments: Sequence[Block] | None, wrong: str, total: str) -> Rate:
    """Return the rate of the utterances with the interval of the segments, if these are resampled in their place."""
    if segments is None:
        return interval(errors, totals)
    columns = [np.array([getattr(part, name) for part in segments], np.int64) for name in (wrong, total)]
    rate = interval(columns[0], columns[1])
    value = int(errors.sum()) / int(totals.sum())
    # A segment may have more character errors than the same part of the best alignment.
    factor = value / rate.value if rate.value else 1.0
    return Rate(value, rate.low * factor, rate.high * factor)


def _column(rows: Sequence[UtteranceScore], name: str) -> Counts:
    return np.array([getattr(row, name) for row in rows], dtype=np.int64)


def _single_spaced(text: str) -> str:
    """Return a text with one space between words, so that its layout is no error."""
    return " ".join(text.split())


def _score_utterance(identity: str, reference: str, hypothesis: str, chosen: bool) -> UtteranceScore:
    texts = _single_spaced(reference), _single_spaced(hypothesis)
    words = jiwer.process_words(*texts)
    return UtteranceScore(
        identity,
        reference,
        hypothesis,
        words.hits + words.substitutions + words.deletions,
        words.substitutions,
        words.deletions,
        words.insertions,
        words.substitutions + words.deletions + words.insertions,
        len(texts[0]),
        # The distance of jiwer.process_characters, without its alignment.
        Levenshtein.distance(*texts),
        tuple(words.alignments[0]),
        chosen,
    )


def nearest(reference: str, hypotheses: Sequence[str]) -> str:
    """Return the hypothesis with the fewest word errors, the first of equal ones."""
    words = reference.split()
    return min(hypotheses, key=lambda hypothesis: Levenshtein.distance(words, hypothesis.split()))


def worst(result: Score, count: int) -> list[UtteranceScore]:
    """Return the utterances with the most word errors, most first, without the correct ones."""
    wrong = [row for row in result.utterance_scores if row.errors]
    return sorted(wrong, key=lambda row: (-row.errors, row.words, row.id))[:count]
