"""A score -> which words and characters go wrong, and what that costs."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from asr.scoring import Score
from asr.scoring.alignment import DELETION, INSERTION, SUBSTITUTION, Edit, characters, edits

COUNT = 50
EXAMPLES = 3


@dataclass(frozen=True)
class Confusion:
    """An error and how often it was made: `reference` is "" for an insertion, `hypothesis` for a deletion.

    `examples`: ids of the first utterances with it.
    """

    reference: str
    hypothesis: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Errors:
    """The most frequent errors, most first; the `distinct` counts are of all that there are."""

    substitutions: tuple[Confusion, ...]
    deletions: tuple[Confusion, ...]
    insertions: tuple[Confusion, ...]
    distinct_substitutions: int
    distinct_deletions: int
    distinct_insertions: int


@dataclass(frozen=True)
class Harm:
    """A word, how often it is in the references, the errors it takes part in and the WER were there none of these.

    A substitution or deletion is counted for the word of the reference, an insertion for the word inserted.
    """

    word: str
    occurrences: int
    substitutions: int
    deletions: int
    insertions: int
    wer_without: float

    @property
    def errors(self) -> int:
        """Return the errors of the word."""
        return self.substitutions + self.deletions + self.insertions


class _Tally:
    def __init__(self) -> None:
        self.counts: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
        self.examples: dict[tuple[str, str], list[str]] = defaultdict(list)

    def add(self, identity: str, wrong: Iterable[Edit]) -> None:
        for edit in wrong:
            key = (edit.reference, edit.hypothesis)
            self.counts[edit.operation][key] += 1
            known = self.examples[key]
            if len(known) < EXAMPLES and identity not in known:
                known.append(identity)

    def top(self, operation: str, count: int) -> tuple[Confusion, ...]:
        found = sorted(self.counts[operation].items(), key=lambda item: (-item[1], item[0]))[:count]
        return tuple(Confusion(*key, number, tuple(self.examples[key])) for key, number in found)

    def errors(self, count: int) -> Errors:
        return Errors(
            substitutions=self.top(SUBSTITUTION, count),
            deletions=self.top(DELETION, count),
            insertions=self.top(INSERTION, count),
            distinct_substitutions=len(self.counts[SUBSTITUTION]),
            distinct_deletions=len(self.counts[DELETION]),
            distinct_insertions=len(self.counts[INSERTION]),
        )


def word_errors(score: Score, count: int = COUNT) -> Errors:
    """Return the `count` most frequent confusions, deletions and insertions of words."""
    tally = _Tally()
    for row in score.utterance_scores:
        if row.errors:
            tally.add(row.id, row.edits(wrong_only=True))
    return tally.errors(count)


def character_errors(score: Score, count: int = COUNT) -> Errors:
    """Return the `count` most frequent confusions, deletions and insertions of characters."""
    tally = _Tally()
    for row in score.utterance_scores:
        if row.character_errors:
            reference, hypothesis = " ".join(row.reference.split()), " ".join(row.hypothesis.split())
            wrong = edits(characters(reference, hypothesis), reference, hypothesis, wrong_only=True)
            tally.add(row.id, wrong)
    return tally.errors(count)


def harmful_words(score: Score, count: int = COUNT) -> tuple[Harm, ...]:
    """Return the `count` words with the most errors, and what the WER would be without these."""
    occurrences: Counter[str] = Counter()
    wrong: dict[str, Counter[str]] = defaultdict(Counter)
    for row in score.utterance_scores:
        occurrences.update(row.reference.split())
        for edit in row.edits(wrong_only=True):
            wrong[edit.reference or edit.hypothesis][edit.operation] += 1
    order: Sequence[str] = sorted(wrong, key=lambda word: (-wrong[word].total(), word))[:count]
    return tuple(
        Harm(
            word,
            occurrences[word],
            wrong[word][SUBSTITUTION],
            wrong[word][DELETION],
            wrong[word][INSERTION],
            (score.errors - wrong[word].total()) / score.words,
        )
        for word in order
    )
