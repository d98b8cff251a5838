"""CTC prefix beam search, compiled by numba at its first use and cached on the disk.

Prefixes are nodes of a tree in flat arrays. A prefix in the beam has the log-probability of its paths that end in
blank and of those that end in its last token (Graves, 2012, section 7.5.3; Hannun et al., 2014, algorithm 1).

Texts are tidy: a space at the begin or after a space adds nothing, so its paths are those of the prefix that stands.
"""

import numpy as np
from numpy.typing import NDArray

from asr.decoding.beam.bound import Limits
from asr.decoding.beam.compiling import Doubles, Rows, compiled
from asr.decoding.beam.fusion import PREFIX, UNASKED, Guide
from asr.decoding.beam.growing import KEPT, Grown, Search, frame_of, grow, stay
from asr.decoding.beam.scores import NOTHING, best
from asr.text import BLANK


@compiled
def _with_room(prefixes: Rows, used: int, more: int) -> Rows:
    """Return the prefixes with room for so many more."""
    if used + more <= len(prefixes):
        return prefixes
    grown = np.empty(2 * (used + more), PREFIX)
    grown[:used] = prefixes[:used]
    return grown


@compiled
def _child(prefixes: Rows, parent: int, token: int) -> int:
    """Return the prefix with one token more, or -1 if the tree has none."""
    if not prefixes[parent]["born"] & (1 << token % 31):
        return -1
    child = int(prefixes[parent]["child"])
    while child >= 0 and prefixes[child]["token"] != token:
        child = int(prefixes[child]["sibling"])
    return child


@compiled
def _keep(search: Search, stayed: Rows, more: Grown, kept: NDArray[np.int64]) -> Search:
    """Make a beam of some prefixes; places from len(stayed) on are of those that have grown."""
    used, before, grown, lasts = search.used, len(stayed), more.prefixes, more.lasts
    prefixes = _with_room(search.prefixes, used, len(kept))
    beam = np.empty(len(kept), KEPT)
    for place in range(before):
        prefixes[stayed[place]["node"]]["at"] = -1
    for place in range(len(kept)):
        index = int(kept[place])
        if index < before:
            beam[place] = stayed[index]
        else:
            index -= before
            parent, token = int(grown[index]["parent"]), int(grown[index]["token"])
            node = _child(prefixes, parent, token)
            if node < 0:
                node = used
                used += 1
                prefixes[node] = grown[index]
                prefixes[node]["child"], prefixes[node]["sibling"] = -1, prefixes[parent]["child"]
                prefixes[node]["born"] = 0
                prefixes[parent]["child"] = node
                prefixes[parent]["born"] |= 1 << token % 31
            beam[place]["node"], beam[place]["blank"] = node, NOTHING
            beam[place]["last"] = beam[place]["total"] = lasts[index]
        prefixes[beam[place]["node"]]["at"] = place
    return Search(prefixes, used, beam)


@compiled
def begin(guide: Guide) -> Search:
    """Return a search before the first frame: the empty prefix."""
    prefixes, beam = np.empty(1024, PREFIX), np.empty(1, KEPT)
    prefixes[0]["parent"], prefixes[0]["token"], prefixes[0]["child"], prefixes[0]["sibling"] = -1, BLANK, -1, -1
    prefixes[0]["at"], prefixes[0]["state"], prefixes[0]["spot"], prefixes[0]["row"] = 0, guide.scales.begin, 0, 0
    prefixes[0]["born"] = 0
    prefixes[0]["after"], prefixes[0]["letters"], prefixes[0]["hot"] = UNASKED, guide.scales.begin, guide.hot.begin
    prefixes[0]["gain"], prefixes[0]["score"], prefixes[0]["promise"] = 0.0, 0.0, 0.0
    beam[0]["node"], beam[0]["blank"], beam[0]["last"], beam[0]["total"] = 0, 0.0, NOTHING, 0.0
    return Search(prefixes, 1, beam)


@compiled
def skip(beam: Rows, blank: float) -> None:
    """Let a frame in which there is but blank go by, for the beam as it stands in memory."""
    for place in range(len(beam)):
        beam[place]["blank"] = beam[place]["total"] = beam[place]["total"] + blank
        beam[place]["last"] = NOTHING


@compiled
def proceed(search: Search, row: Doubles, limits: Limits, guide: Guide) -> Search:
    """Go one frame further, with its log-probabilities (V,)."""
    beam = search.beam
    if len(beam) == 0:
        return search
    if row[BLANK] >= limits.skip:
        skip(beam, row[BLANK])
        return search
    frame = frame_of(row, limits.token_threshold)
    stayed = stay(search, frame, guide.scales.space)
    if len(frame.tried) == 0 and stayed.least >= stayed.most - limits.beam_threshold and stayed.least > NOTHING:
        return Search(search.prefixes, search.used, stayed.beam)
    grown = grow(search, guide, stayed, frame, limits)
    sums = np.empty(len(stayed.beam) + len(grown.lasts))
    for place in range(len(stayed.beam)):
        sums[place] = stayed.beam[place]["value"]
    for place in range(len(grown.lasts)):
        sums[len(stayed.beam) + place] = grown.lasts[place] + grown.prefixes[place]["promise"]
    # What is impossible is not kept, however wide the beam.
    kept = best(sums, limits.width, max(sums.max() - limits.beam_threshold, grown.lowest, -1e300))
    return _keep(search, stayed.beam, grown, kept)
