"""CTC prefix beam search, compiled by numba at its first use and cached on the disk.

Prefixes are nodes of a tree in flat arrays. A prefix in the beam has the log-probability of its paths that end in
blank and of those that end in its last token (Graves, 2012, section 7.5.3; Hannun et al., 2014, algorithm 1).

Texts are tidy: a space at the begin or after a space adds nothing, so its paths are those of the prefix that stands.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.beam.compiling import Doubles, Ints, Rows, compiled
from asr.beam.fusion import PREFIX, UNASKED, Guide, judge
from asr.beam.scores import NOTHING, add, best
from asr.text import BLANK

# A prefix in the beam: its node, and the log-probabilities of its paths that end in blank, in its token, and in either.
KEPT = np.dtype([("node", np.int64), ("blank", np.float64), ("last", np.float64), ("total", np.float64)])


class Limits(NamedTuple):
    """How widely is searched; see BeamSettings. `skip` is the log of `blank_skip`."""

    width: int
    token_margin: float
    beam_margin: float
    skip: float


class Search(NamedTuple):
    """How far a search has come: the `prefixes`, of which `used` are any, and the `beam`."""

    prefixes: Rows
    used: int
    beam: Rows


class Frame(NamedTuple):
    """One frame: its log-probabilities (V,), the tokens to try, and the least score that is followed."""

    row: Doubles
    tried: Ints
    lowest: float


@compiled
def _with_room(prefixes: Rows, used: int, more: int) -> Rows:
    """Return the prefixes with room for so many more."""
    if used + more <= len(prefixes):
        return prefixes
    grown = np.empty(2 * (used + more), PREFIX)
    grown[:used] = prefixes[:used]
    return grown


@compiled
def _stay(prefixes: Rows, beam: Rows, row: Doubles, space: int) -> tuple[Rows, float, float]:
    """Return the beam after a frame in which no prefix grows, its least promise and its most."""
    stayed = np.empty(len(beam), KEPT)
    least, most = np.inf, NOTHING
    for place in range(len(beam)):
        node, total = beam[place]["node"], beam[place]["total"]
        token = prefixes[node]["token"]
        blank, last = total + row[BLANK], NOTHING
        if space >= 0 and (node == 0 or token == space):
            last = total + row[space]
        elif node:
            last = beam[place]["last"] + row[token]
        stayed[place]["node"], stayed[place]["blank"], stayed[place]["last"] = node, blank, last
        stayed[place]["total"] = add(blank, last)
        value = stayed[place]["total"] + prefixes[node]["promise"]
        least, most = min(least, value), max(most, value)
    return stayed, least, most


@compiled
def _lead(prefixes: Rows, guide: Guide, beam: Rows, row: Doubles) -> float:
    """Return the promise of the best prefix with the frame's likeliest token, where that makes another prefix."""
    lead, highest = 0, NOTHING
    for place in range(len(beam)):
        value = beam[place]["total"] + prefixes[beam[place]["node"]]["promise"]
        if value > highest:
            lead, highest = place, value
    node, token = beam[lead]["node"], int(row.argmax())
    if token == BLANK or token == (prefixes[node]["token"] if node else guide.scales.space):
        return NOTHING
    grown = np.empty(1, PREFIX)
    judge(guide, guide.lexicon, prefixes[node], token, grown[0])
    return float(beam[lead]["total"] + row[token] + grown[0]["promise"])


@compiled
def _grow(prefixes: Rows, guide: Guide, beam: Rows, stayed: Rows, frame: Frame) -> tuple[Rows, Doubles]:
    """Let every prefix of the beam grow by every token, and add those that the beam has to `stayed`.

    Return the others, `at` the node of what the tree has and -1 for what is new, and their paths' log-probabilities.
    """
    row, tried, lowest = frame.row, frame.tried, frame.lowest
    lexicon, space, rise = guide.lexicon, guide.scales.space, guide.scales.rise
    grown, lasts = np.empty(len(beam) * len(tried), PREFIX), np.empty(len(beam) * len(tried))
    count = 0
    children = np.full(len(row), -1, np.int32)
    for place in range(len(beam)):
        node, blank, total = beam[place]["node"], beam[place]["blank"], beam[place]["total"]
        own = prefixes[node]["token"] if node else space
        # At most: a letter lets the growing word lose, a space puts its score in the place of its promise.
        most, most_at_space = prefixes[node]["promise"] + rise, prefixes[node]["score"] + rise
        child = prefixes[node]["child"]
        while child >= 0:
            children[prefixes[child]["token"]] = child
            child = prefixes[child]["sibling"]
        for token in tried:
            if token == space and own == space:
                continue
            # A repeated token needs a blank between, or it is merged.
            score = (blank if token == own else total) + row[token]
            child = children[token]
            if child >= 0 and prefixes[child]["at"] >= 0:
                at = prefixes[child]["at"]
                stayed[at]["last"] = add(stayed[at]["last"], score)
                stayed[at]["total"] = add(stayed[at]["blank"], stayed[at]["last"])
                continue
            if score == NOTHING or score + (most_at_space if token == space else most) < lowest:
                continue
            judge(guide, lexicon, prefixes[node], token, grown[count])
            value = score + grown[count]["promise"]
            if value < lowest or value == NOTHING:
                continue
            grown[count]["parent"], grown[count]["token"], grown[count]["at"] = node, token, child
            lasts[count] = score
            count += 1
        child = prefixes[node]["child"]
        while child >= 0:
            children[prefixes[child]["token"]] = -1
            child = prefixes[child]["sibling"]
    return grown[:count], lasts[:count]


@compiled
def _keep(search: Search, stayed: Rows, grown: Rows, lasts: Doubles, kept: NDArray[np.int64]) -> Search:
    """Make a beam of some prefixes; places from len(stayed) on are of those that have grown."""
    used, before = search.used, len(stayed)
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
            node = int(grown[index]["at"])
            if node < 0:
                node = used
                used += 1
                parent = grown[index]["parent"]
                prefixes[node] = grown[index]
                prefixes[node]["child"], prefixes[node]["sibling"] = -1, prefixes[parent]["child"]
                prefixes[parent]["child"] = node
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
    prefixes[0]["after"], prefixes[0]["letters"], prefixes[0]["hot"] = UNASKED, guide.scales.begin, guide.hot.begin
    prefixes[0]["gain"], prefixes[0]["score"], prefixes[0]["promise"] = 0.0, 0.0, 0.0
    beam[0]["node"], beam[0]["blank"], beam[0]["last"], beam[0]["total"] = 0, 0.0, NOTHING, 0.0
    return Search(prefixes, 1, beam)


@compiled
def _likely(row: Doubles, margin: float) -> Ints:
    """Return the tokens but blank that are within a margin of the likeliest one."""
    found, count = np.empty(len(row), np.int32), 0
    lowest = row.max() - margin
    for token in range(len(row)):
        if row[token] >= lowest and token != BLANK:
            found[count] = token
            count += 1
    return found[:count]


@compiled
def skip(beam: Rows, blank: float) -> None:
    """Let a frame in which there is but blank go by, for the beam as it stands in memory."""
    for place in range(len(beam)):
        beam[place]["blank"] = beam[place]["total"] = beam[place]["total"] + blank
        beam[place]["last"] = NOTHING


@compiled
def proceed(search: Search, row: Doubles, limits: Limits, guide: Guide) -> Search:
    """Go one frame further, with its log-probabilities (V,)."""
    prefixes, beam = search.prefixes, search.beam
    if len(beam) == 0:
        return search
    if row[BLANK] >= limits.skip:
        skip(beam, row[BLANK])
        return search
    tried = _likely(row, limits.token_margin)
    stayed, least, most = _stay(prefixes, beam, row, guide.scales.space)
    if len(tried) == 0 and least >= most - limits.beam_margin and least > NOTHING:
        return Search(prefixes, search.used, stayed)
    # Of what is kept in the end: for a word that no model knows it lies far below what is heard.
    lowest = max(most, _lead(prefixes, guide, beam, row)) - limits.beam_margin
    if len(beam) >= limits.width:
        # What scores less than all that stay, which can only gain, is not among the best.
        lowest = max(lowest, least)
    grown, lasts = _grow(prefixes, guide, beam, stayed, Frame(row, tried, lowest))
    sums = np.empty(len(stayed) + len(grown))
    for place in range(len(stayed)):
        sums[place] = stayed[place]["total"] + prefixes[stayed[place]["node"]]["promise"]
    for place in range(len(grown)):
        sums[len(stayed) + place] = lasts[place] + grown[place]["promise"]
    # What is impossible is not kept, however wide the beam.
    kept = best(sums, limits.width, max(sums.max() - limits.beam_margin, -1e300))
    return _keep(search, stayed, grown, lasts, kept)
