"""Utterances -> train, dev and test sets that share no speakers and no texts."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from asr.corpora.manifest import CorpusError, Utterance


@dataclass(frozen=True)
class SplitSettings:
    """The sizes of dev and test in hours, 0 for none, and what is not divided: `by` "speaker" or "utterance".

    `share_texts`: sets may have the same texts.
    """

    dev_hours: float
    test_hours: float
    by: str = "speaker"
    seed: int = 1
    share_texts: bool = False


@dataclass(frozen=True)
class Split:
    """The sets by name, and the utterances that are left out, because another set has their texts."""

    sets: dict[str, list[Utterance]]
    left_out: list[Utterance]


def split(utterances: Sequence[Utterance], settings: SplitSettings) -> Split:
    """Divide utterances into test, dev and train, whatever their order; the same seed gives the same sets.

    Speakers, in random order, join a set as long as they bring it closer to its size; train takes the others. Raises
    CorpusError for an utterance without a speaker, and if a set remains empty.
    """
    groups: dict[str, list[Utterance]] = {}
    for row in sorted(utterances, key=lambda row: row.id):
        if settings.by == "speaker" and not row.speaker:
            raise CorpusError(f"utterance {row.id} has no speaker; add it, or split --by utterance")
        groups.setdefault(row.speaker if settings.by == "speaker" else row.id, []).append(row)
    names = sorted(groups)
    random.Random(settings.seed).shuffle(names)  # noqa: S311
    sets: dict[str, list[Utterance]] = {}
    for name, hours in (("test", settings.test_hours), ("dev", settings.dev_hours)):
        if hours:
            sets[name] = _take(groups, names, 3600 * hours)
    sets["train"] = [row for group in names for row in groups[group]]
    left_out: list[Utterance] = []
    seen: set[str] = set()
    for name, rows in sets.items():
        if not settings.share_texts:
            left_out += [row for row in rows if _text(row) in seen]
            sets[name] = [row for row in rows if _text(row) not in seen]
        if not sets[name]:
            why = "their texts are all in other sets; allow this with --share-texts" if rows else "too few speakers"
            raise CorpusError(f"no utterances for {name}: {why if settings.by == 'speaker' or rows else 'too few'}")
        seen |= {_text(row) for row in rows}
    order = ("train", "dev", "test")
    return Split({name: sorted(sets[name], key=lambda row: row.id) for name in order if name in sets}, left_out)


def _take(groups: dict[str, list[Utterance]], names: list[str], seconds: float) -> list[Utterance]:
    """Take groups out of `names` until they have about this many seconds."""
    taken: list[Utterance] = []
    total = 0.0
    for name in list(names):
        duration = sum(row.duration for row in groups[name])
        if abs(total + duration - seconds) < abs(total - seconds):
            taken += groups[name]
            names.remove(name)
            total += duration
    return taken


def _text(row: Utterance) -> str:
    return " ".join(row.text.casefold().split())
