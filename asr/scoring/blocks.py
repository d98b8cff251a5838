"""Parts of utterances, which are resampled in place of utterances where these are few and long.

The bootstrap draws independent parts of a corpus. One long recording is a single part, whose rate would seem certain.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rapidfuzz.distance import Levenshtein

if TYPE_CHECKING:
    from asr.scoring.counts import UtteranceScore

# Fewer utterances than these are split.
FEW_UTTERANCES = 20
# Reference words of a part, about one sentence.
BLOCK_WORDS = 20


@dataclass(frozen=True, slots=True)
class Block:
    """The reference words and characters of a part of an utterance, and their errors."""

    words: int
    errors: int
    characters: int
    character_errors: int


def blocks(row: "UtteranceScore") -> list[Block]:
    """Return the parts of an utterance of about `BLOCK_WORDS` reference words, at least one."""
    count = max(1, round(row.words / BLOCK_WORDS))
    if count == 1:
        return [Block(row.words, row.errors, row.characters, row.character_errors)]
    errors = [0] * count
    texts: list[tuple[list[str], list[str]]] = [([], []) for _ in range(count)]
    for edit in row.edits():
        index = min(edit.position, row.words - 1) * count // row.words
        errors[index] += edit.operation != "="
        for text, word in zip(texts[index], (edit.reference, edit.hypothesis), strict=True):
            if word:
                text.append(word)
    joined = [(" ".join(reference), " ".join(hypothesis)) for reference, hypothesis in texts]
    return [
        Block(len(words), wrong, len(pair[0]), Levenshtein.distance(*pair))
        for (words, _), wrong, pair in zip(texts, errors, joined, strict=True)
    ]


def parts(rows: Sequence["UtteranceScore"]) -> list[Block] | None:
    """Return the parts to resample in place of few utterances; None if the utterances themselves are resampled."""
    if len(rows) >= FEW_UTTERANCES:
        return None
    split = [block for row in rows for block in blocks(row)]
    return split if len(split) > len(rows) else None
