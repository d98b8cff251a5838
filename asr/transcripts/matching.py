"""References and a system's hypotheses -> pairs, matched by id and never by their order."""

from collections.abc import Sequence
from dataclasses import dataclass

from asr.transcripts.record import TranscriptError, TranscriptRow, shown

# Ids that a message lists.
_LISTED = 5


@dataclass(frozen=True, slots=True)
class Pair:
    """A reference and the hypothesis for it; `duration` in seconds, 0 where unknown; `confidences` of its words."""

    id: str
    reference: str
    hypothesis: str
    speaker: str = ""
    duration: float = 0.0
    confidences: tuple[float, ...] = ()


@dataclass(frozen=True)
class Matched:
    """The pairs in the order of the references; the ids without hypothesis (paired with "") and without reference."""

    pairs: tuple[Pair, ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]


def listed(ids: Sequence[str]) -> str:
    """Return the first few ids, and how many more there are."""
    more = f" and {len(ids) - _LISTED} more" if len(ids) > _LISTED else ""
    return f"{', '.join(map(shown, ids[:_LISTED]))}{more}"


def _ids(ids: Sequence[str]) -> str:
    return f"{len(ids)} {'id' if len(ids) == 1 else 'ids'}"


def match(
    references: Sequence[TranscriptRow], hypotheses: Sequence[TranscriptRow], source: str, allow_missing: bool = False
) -> Matched:
    """Pair references and hypotheses of the same id; `source` names the hypotheses in messages.

    `allow_missing`: a reference without hypothesis counts as if nothing had been recognised, and a hypothesis without
    reference is left out. Raises TranscriptError if it is needed and not given, and where no id is in both.
    """
    scored = [reference for reference in references if reference.scored]
    found = {hypothesis.id: hypothesis for hypothesis in hypotheses}
    known = {reference.id for reference in references}
    missing = tuple(one.id for one in scored if one.id not in found)
    extra = tuple(one.id for one in hypotheses if one.id not in known)
    if len(missing) == len(scored):
        there = shown(hypotheses[0].id) if hypotheses else "none"
        wanted = shown(scored[0].id) if scored else "none"
        raise TranscriptError(f"{source}: no id of the references is in it (it has {there}, they have {wanted})")
    if (missing or extra) and not allow_missing:
        told = [f"{_ids(missing)} of the references missing ({listed(missing)})"] if missing else []
        told += [f"{_ids(extra)} in no reference ({listed(extra)})"] if extra else []
        raise TranscriptError(
            f"{source}: {'; '.join(told)}; --allow-missing counts the missing as deleted and leaves the others out"
        )
    return Matched(tuple(_pair(one, found.get(one.id)) for one in scored), missing, extra)


def _pair(reference: TranscriptRow, hypothesis: TranscriptRow | None) -> Pair:
    if hypothesis is None:
        return Pair(reference.id, reference.text, "", reference.speaker, reference.duration)
    return Pair(
        reference.id,
        reference.text,
        hypothesis.text,
        reference.speaker or hypothesis.speaker,
        reference.duration or hypothesis.duration,
        hypothesis.confidences,
    )
