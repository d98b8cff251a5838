"""Pairs of references and hypotheses with the same id."""

from collections.abc import Sequence
from dataclasses import dataclass

from asr.transcripts.ids import same_ids
from asr.transcripts.rows import TranscriptError, TranscriptRow, quoted

# Ids that a message lists.
_LISTED_IDS = 5


@dataclass(frozen=True, slots=True)
class Pair:
    """A reference and its hypothesis.

    `duration` in seconds, 0 where unknown; `confidences` of the words of the hypothesis; `alternatives` of the
    reference as in TranscriptRow.
    """

    id: str
    reference: str
    hypothesis: str
    speaker: str = ""
    duration: float = 0.0
    confidences: tuple[float, ...] = ()
    alternatives: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Matched:
    """The pairs in the order of the references, the ids without hypothesis and the ids without reference.

    A reference without hypothesis is paired with an empty text.
    """

    pairs: tuple[Pair, ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]


def list_ids(ids: Sequence[str]) -> str:
    """Return the first ids and the number of the others."""
    more = f" and {len(ids) - _LISTED_IDS} more" if len(ids) > _LISTED_IDS else ""
    return f"{', '.join(map(quoted, ids[:_LISTED_IDS]))}{more}"


def match(
    references: Sequence[TranscriptRow], hypotheses: Sequence[TranscriptRow], name: str, allow_missing: bool = False
) -> Matched:
    """Pair the references and the hypotheses of the same id, in any order; `name` of the hypotheses is for messages.

    See `same_ids` for ids that are paths. With `allow_missing`, a reference without hypothesis counts as deleted and a
    hypothesis without reference is left out. Raises TranscriptError for such ids otherwise, and if no id is in both.
    """
    scored = [reference for reference in references if reference.scored]
    for hypothesis in hypotheses:
        if hypothesis.alternatives:
            raise TranscriptError(
                f"{name}, row {hypothesis.row}: a hypothesis with alternatives {quoted(hypothesis.text)}; keep one"
            )
    same = same_ids([reference.id for reference in references], [hypothesis.id for hypothesis in hypotheses])
    by_id = {same[hypothesis.id]: hypothesis for hypothesis in hypotheses if hypothesis.id in same}
    missing = tuple(reference.id for reference in scored if reference.id not in by_id)
    extra = tuple(hypothesis.id for hypothesis in hypotheses if hypothesis.id not in same)
    if len(missing) == len(scored):
        theirs = quoted(hypotheses[0].id) if hypotheses else "none"
        ours = quoted(scored[0].id) if scored else "none"
        raise TranscriptError(f"{name}: no id is in the references (its first id is {theirs}, theirs is {ours})")
    if (missing or extra) and not allow_missing:
        counts = [f"no hypothesis for {_count_ids(missing)} ({list_ids(missing)})"] if missing else []
        counts += [f"{_count_ids(extra)} not in the references ({list_ids(extra)})"] if extra else []
        raise TranscriptError(
            f"{name}: {'; '.join(counts)}; --allow-missing counts missing ids as deletions and ignores the others"
        )
    return Matched(tuple(_pair(reference, by_id.get(reference.id)) for reference in scored), missing, extra)


def _count_ids(ids: Sequence[str]) -> str:
    return f"{len(ids)} {'id' if len(ids) == 1 else 'ids'}"


def _pair(reference: TranscriptRow, hypothesis: TranscriptRow | None) -> Pair:
    if hypothesis is None:
        hypothesis = TranscriptRow(reference.id, "", 0)
    return Pair(
        reference.id,
        reference.text,
        hypothesis.text,
        reference.speaker or hypothesis.speaker,
        reference.duration or hypothesis.duration,
        hypothesis.confidences,
        reference.alternatives,
    )
