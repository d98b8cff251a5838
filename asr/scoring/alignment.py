"""A reference and a hypothesis -> which word stands for which.

All errors cost the same, as in jiwer and in the definition of the word error rate. sclite's costs (substitution 4,
deletion and insertion 3) prefer a deletion and an insertion to two substitutions where both explain the hypothesis;
its count of errors is therefore sometimes higher, never lower.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import jiwer
from rapidfuzz.distance import Levenshtein

CORRECT, SUBSTITUTION, DELETION, INSERTION = "=", "S", "D", "I"
_OPERATIONS = {
    "equal": CORRECT,
    "substitute": SUBSTITUTION,
    "replace": SUBSTITUTION,
    "delete": DELETION,
    "insert": INSERTION,
}


@dataclass(frozen=True, slots=True)
class Chunk:
    """A run of words treated alike: from `start` to before `end` in the reference and in the hypothesis."""

    operation: str
    reference_start: int
    reference_end: int
    hypothesis_start: int
    hypothesis_end: int


@dataclass(frozen=True, slots=True)
class Edit:
    """One word of the reference and what stands for it in the hypothesis; "" where there is none.

    `operation`: = (correct), S (substitution), D (deletion) or I (insertion). `position`: the index in the reference
    of the word, or of the word before which the insertion stands.
    """

    operation: str
    reference: str
    hypothesis: str
    position: int


def characters(reference: str, hypothesis: str) -> tuple[Chunk, ...]:
    """Align two texts character by character."""
    codes = Levenshtein.opcodes(reference, hypothesis)
    return tuple(Chunk(_OPERATIONS[one.tag], one.src_start, one.src_end, one.dest_start, one.dest_end) for one in codes)


def chunks(alignment: Iterable[jiwer.AlignmentChunk]) -> tuple[Chunk, ...]:
    """Return jiwer's alignment of one utterance."""
    return tuple(
        Chunk(_OPERATIONS[one.type], one.ref_start_idx, one.ref_end_idx, one.hyp_start_idx, one.hyp_end_idx)
        for one in alignment
    )


def edits(
    alignment: Iterable[Chunk], reference: list[str] | str, hypothesis: list[str] | str, wrong_only: bool = False
) -> Iterator[Edit]:
    """Yield an alignment word by word (or character by character); `wrong_only`: its errors alone."""
    for chunk in alignment:
        operation, start, begin = chunk.operation, chunk.reference_start, chunk.hypothesis_start
        if operation == INSERTION:
            for index in range(begin, chunk.hypothesis_end):
                yield Edit(operation, "", hypothesis[index], start)
        elif operation == DELETION:
            for index in range(start, chunk.reference_end):
                yield Edit(operation, reference[index], "", index)
        elif operation == SUBSTITUTION or not wrong_only:
            for offset in range(chunk.reference_end - start):
                yield Edit(operation, reference[start + offset], hypothesis[begin + offset], start + offset)
