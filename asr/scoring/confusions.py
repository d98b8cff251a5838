"""The most frequent errors of words and characters, and the words that cost most."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from asr.scoring.counts import DELETION, INSERTION, SUBSTITUTION, Edit, Score

COUNT = 50
EXAMPLES = 3


@dataclass(frozen=True)
class Confusion:
    """An error and its frequency: `reference` is "" for an insertion, `hypothesis` for a deletion.

    `examples`: ids of the first utterances with it.
    """

    reference: str
    hypothesis: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Confusions:
    """The most frequent errors, most first; the `distinct` counts are those of all errors."""

    substitutions: tuple[Confusion, ...]
    deletions: tuple[Confusion, ...]
    insertions: tuple[Confusion, ...]
    distinct_substitutions: int
    distinct_deletions: int
    distinct_insertions: int


@dataclass(frozen=True)
class HarmfulWord:
    """A word, its occurrences in the references, its errors and the WER without these errors.

    A substitution or a deletion counts for the word of the reference, an insertion for the inserted word.
    """

    word: str
    occurrences: int
    substitutions: int
    deletions: int
    insertions: int
    wer_without: float
    errors: int


def word_errors(score: Score, count: int = COUNT) -> Confusions:
    """Return the `count` most frequent substitutions, deletions and insertions of words."""
    return _confusions(((row.id, row.edits(wrong_only=True)) for row in score.utterance_scores if row.errors), count)


def character_errors(score: Score, count: int = COUNT) -> Confusions:
    """Return the `count` most frequent substitutions, deletions and insertions of characters."""
    rows = (row for row in score.utterance_scores if row.character_errors)
    return _confusions(((row.id, row.character_edits()) for row in rows), count)


def _confusions(utterances: Iterable[tuple[str, Iterable[Edit]]], count: int) -> Confusions:
    counts: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    examples: dict[tuple[str, str], list[str]] = defaultdict(list)
    for identity, edits in utterances:
        for edit in edits:
            key = edit.reference, edit.hypothesis
            counts[edit.operation][key] += 1
            if len(examples[key]) < EXAMPLES and identity not in examples[key]:
                examples[key].append(identity)

    def most_frequent(operation: str) -> tuple[Confusion, ...]:
        ordered = sorted(counts[operation].items(), key=lambda item: (-item[1], item[0]))[:count]
        return tuple(Confusion(*key, number, tuple(examples[key])) for key, number in ordered)

    return Confusions(
        most_frequent(SUBSTITUTION),
        most_frequent(DELETION),
        most_frequent(INSERTION),
        len(counts[SUBSTITUTION]),
        len(counts[DELETION]),
        len(counts[INSERTION]),
    )


def harmful_words(score: Score, count: int = COUNT) -> tuple[HarmfulWord, ...]:
    """Return the `count` words with the most errors."""
    occurrences: Counter[str] = Counter()
    errors: dict[str, Counter[str]] = defaultdict(Counter)
    for row in score.utterance_scores:
        occurrences.update(row.reference.split())
        for edit in row.edits(wrong_only=True):
            errors[edit.reference or edit.hypothesis][edit.operation] += 1
    return tuple(
        HarmfulWord(
            word,
            occurrences[word],
            errors[word][SUBSTITUTION],
            errors[word][DELETION],
            errors[word][INSERTION],
            (score.errors - errors[word].total()) / score.words,
            errors[word].total(),
        )
        for word in sorted(errors, key=lambda word: (-errors[word].total(), word))[:count]
    )
