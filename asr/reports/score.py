"""Pairs of reference and hypothesis -> scores, with a normaliser and as given."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.scoring import Score, score
from asr.text import normaliser as find_normaliser
from asr.transcripts.matching import Pair

# The normaliser of `ScoredPairs.raw`.
RAW = "none"


@dataclass(frozen=True)
class ScoredPairs:
    """Pairs as given and two scores in the same order: `score` with the normaliser, `raw` as given.

    `raw` is `score` itself where the normaliser changes no text.
    """

    pairs: tuple[Pair, ...]
    normaliser: str
    score: Score
    raw: Score


def score_pairs(pairs: Sequence[Pair], normaliser: str = RAW, equivalents: Path | None = None) -> ScoredPairs:
    """Normalise both texts of each pair in the same way and score them.

    Raises TextError, and ScoringError if there are no pairs or no words in the references.
    """
    normalise = find_normaliser(normaliser, equivalents)
    ids = [pair.id for pair in pairs]
    plain = find_normaliser(RAW)
    given = [(plain(pair.reference), plain(pair.hypothesis)) for pair in pairs]
    normalised = [(normalise(pair.reference), normalise(pair.hypothesis)) for pair in pairs]

    def scores(texts: Sequence[tuple[str, str]]) -> Score:
        return score([reference for reference, _ in texts], [hypothesis for _, hypothesis in texts], ids)

    result = scores(normalised)
    return ScoredPairs(tuple(pairs), normaliser, result, result if given == normalised else scores(given))
