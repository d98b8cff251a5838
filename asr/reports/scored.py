"""Pairs of reference and hypothesis + a normaliser -> their score, and that of the texts as they were given."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.scoring import Score, score
from asr.scoring.groups import Detail
from asr.text import normaliser as find_normaliser
from asr.transcripts.matching import Pair

# What the scores of texts as they were given are of.
RAW = "none"


@dataclass(frozen=True)
class Scored:
    """Pairs as they were given, their score once normalised, and `raw`, the score without: rows in the same order."""

    pairs: tuple[Pair, ...]
    normaliser: str
    score: Score
    raw: Score

    @property
    def details(self) -> list[Detail]:
        """Return what is known of each utterance beside its texts."""
        return [Detail(pair.speaker, pair.duration, pair.confidences) for pair in self.pairs]


def scored(pairs: Sequence[Pair], normaliser: str = RAW, equivalents: Path | None = None) -> Scored:
    """Score pairs, both texts normalised alike.

    Raises TextError, and ScoringError where there are no pairs, or no words in the references.
    """
    normalise = find_normaliser(normaliser, equivalents)
    ids = [pair.id for pair in pairs]
    plain = find_normaliser(RAW)
    given = [(plain(pair.reference), plain(pair.hypothesis)) for pair in pairs]
    written = [(normalise(pair.reference), normalise(pair.hypothesis)) for pair in pairs]
    result = score([one for one, _ in written], [two for _, two in written], ids)
    raw = result if given == written else score([one for one, _ in given], [two for _, two in given], ids)
    return Scored(tuple(pairs), normaliser, result, raw)
