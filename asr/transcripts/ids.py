"""The ids of utterances: that of a recording without one is its path, and which ids name the same utterance."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence


def audio_id(audio: str, channel: object = None) -> str:
    """Return the id of a recording: its path without the suffix, with _ for white space, and -CHANNEL if it has one."""
    folder, slash, name = audio.replace("\\", "/").rpartition("/")
    stem = name.rpartition(".")[0] or name
    identity = re.sub(r"\s", "_", f"{folder}{slash}{stem}")
    return identity if channel in (None, "") else f"{identity}-{channel}"


def same_ids(references: Sequence[str], hypotheses: Sequence[str]) -> dict[str, str]:
    """Return the reference's id for each hypothesis's id that names the same utterance.

    Equal ids do. So do ids of which one is the end of the other's path (`x` and `folder/x`), if that is true of no
    other id on either side.
    """
    equal = set(references) & set(hypotheses)
    rest = [identity for identity in references if identity not in equal]
    by_name: dict[str, list[str]] = defaultdict(list)
    for identity in rest:
        by_name[_parts(identity)[-1]].append(identity)
    longest = {
        hypothesis: _longest(hypothesis, by_name[_parts(hypothesis)[-1]])
        for hypothesis in hypotheses
        if hypothesis not in equal
    }
    counts: dict[str, int] = defaultdict(int)
    for found in longest.values():
        for identity in found:
            counts[identity] += 1
    matched = {identity: identity for identity in equal}
    return matched | {
        hypothesis: found[0] for hypothesis, found in longest.items() if len(found) == 1 and counts[found[0]] == 1
    }


def _parts(identity: str) -> list[str]:
    return [part for part in identity.split("/") if part not in ("", ".")] or [identity]


def _longest(identity: str, candidates: Iterable[str]) -> list[str]:
    """Return the candidates with the most parts of the path in common, of those that end equally."""
    own = _parts(identity)
    common = defaultdict(list)
    for candidate in candidates:
        theirs = _parts(candidate)
        size = min(len(own), len(theirs))
        if own[-size:] == theirs[-size:]:
            common[size].append(candidate)
    return common[max(common)] if common else []
