"""One frame of the search: what becomes of the prefixes of the beam as they are, and with one more token."""

from typing import Any, NamedTuple

import numpy as np

from asr.decoding.beam.bound import Limits, Stayed, bound_of, see
from asr.decoding.beam.compiling import Doubles, Ints, Rows, compiled, inlined
from asr.decoding.beam.fusion import PREFIX, Guide, Scales, judge
from asr.decoding.beam.lexicon import OUTSIDE, descend
from asr.decoding.beam.scores import NOTHING, add
from asr.text import BLANK

# A prefix in the beam: its node, the log-probabilities of its paths that end in blank, in its token, and in either, and
# the last one with what the guide promises. Of the prefixes in the beam that have one token more, `child` is the place
# of one, and `next` that of its sibling.
KEPT = np.dtype(
    [(name, np.float64) for name in ("blank", "last", "total", "value")]
    + [(name, np.int32) for name in ("node", "child", "next", "unused")]
)
# The first of these are tokens that a prefix may grow by, and the spots in the lexicon to which they lead. `seen` is of
# the token of that number: the place of the prefix that the beam has with it, too.
CHOICE = np.dtype([(name, np.int32) for name in ("token", "spot", "seen")])


class Search(NamedTuple):
    """How far a search has come: the `prefixes`, of which `used` are any, and the `beam`."""

    prefixes: Rows
    used: int
    beam: Rows


class Frame(NamedTuple):
    """One frame: its log-probabilities (V,), the tokens to try, in order, and the least of theirs and the most."""

    row: Doubles
    tried: Ints
    least: float
    most: float


class Grown(NamedTuple):
    """Prefixes with one token more, and the log-probabilities of their paths.

    No prefix that comes to less than `lowest`, grown or not, is among the best.
    """

    prefixes: Rows
    lasts: Doubles
    lowest: float


@inlined
def frame_of(row: Doubles, margin: float) -> Frame:
    """Return a frame in which those tokens are tried, but blank, that are within a margin of the likeliest one."""
    found, count, most = np.empty(len(row), np.int32), 0, NOTHING
    least = row.max() - margin
    for token in range(len(row)):
        if row[token] >= least and token != BLANK:
            found[count] = token
            count += 1
            most = max(most, row[token])
    return Frame(row, found[:count], least, most)


@compiled
def stay(search: Search, frame: Frame, space: int) -> Stayed:
    """Let a frame go by in which no prefix grows but into another of the beam."""
    prefixes, beam, row = search.prefixes, search.beam, frame.row
    stayed, least, most = np.empty(len(beam), KEPT), np.inf, NOTHING
    for place in range(len(beam)):
        node, total = beam[place]["node"], beam[place]["total"]
        token = prefixes[node]["token"]
        last = NOTHING
        if space >= 0 and (node == 0 or token == space):
            last = total + row[space]
        elif node:
            last = beam[place]["last"] + row[token]
        stayed[place]["node"], stayed[place]["blank"], stayed[place]["last"] = node, total + row[BLANK], last
        stayed[place]["child"] = stayed[place]["next"] = -1
    for place in range(len(beam)):
        node, last = beam[place]["node"], stayed[place]["last"]
        parent = prefixes[node]["parent"]
        before = prefixes[parent]["at"] if node else -1
        if before >= 0:
            stayed[place]["next"], stayed[before]["child"] = stayed[before]["child"], place
            token = prefixes[node]["token"]
            if row[token] >= frame.least:
                # A repeated token needs a blank between, or it is merged.
                twice = parent > 0 and token == prefixes[parent]["token"]
                last = add(last, (beam[before]["blank"] if twice else beam[before]["total"]) + row[token])
                stayed[place]["last"] = last
        total = add(stayed[place]["blank"], last)
        value = total + prefixes[node]["promise"]
        stayed[place]["total"], stayed[place]["value"] = total, value
        least, most = min(least, value), max(most, value)
    return Stayed(stayed, least, most)


@inlined
def _lead(search: Search, guide: Guide, frame: Frame, scratch: Any) -> float:
    """Return the promise of the best prefix with the frame's likeliest token, where that makes another prefix."""
    prefixes, beam = search.prefixes, search.beam
    place, highest = 0, NOTHING
    for other in range(len(beam)):
        value = beam[other]["total"] + prefixes[beam[other]["node"]]["promise"]
        if value > highest:
            place, highest = other, value
    node, token, value = beam[place]["node"], int(frame.row.argmax()), NOTHING
    if token != BLANK and token != (prefixes[node]["token"] if node else guide.scales.space):
        scratch["spot"] = descend(guide.lexicon, prefixes[node]["spot"], token)
        judge(guide, guide.lexicon, prefixes[node], token, scratch)
        value = beam[place]["total"] + frame.row[token] + scratch["promise"]
    return float(value)


@inlined
def _choose(scales: Scales, lexicon: Rows, place: tuple[int, float], frame: Frame, choices: Rows) -> int:
    """Set the tokens by which a prefix may grow, in order; return how many there are.

    `place`: its spot in the lexicon, and the least log-probability of a token with which it may be kept.
    """
    row, tried, space, (spot, least) = frame.row, frame.tried, scales.space, place
    count, child, end = 0, 0, 0
    if spot >= 0:
        child, end = lexicon[spot]["first_child"], lexicon[spot + 1]["first_child"]
    if scales.words and scales.unknown == NOTHING and end - child < 2 * len(tried):
        # Locked to the lexicon: nothing else need be looked at.
        if lexicon[spot]["word"] >= 0 and row[space] >= least:
            choices[0]["token"], choices[0]["spot"], count = space, 0, 1
        for found in range(child, end):
            if row[lexicon[found]["token"]] >= least:
                choices[count]["token"], choices[count]["spot"] = lexicon[found]["token"], found
                count += 1
    else:
        for token in tried:
            if row[token] >= least:
                while child < end and lexicon[child]["token"] < token:
                    child += 1
                known = child < end and lexicon[child]["token"] == token
                choices[count]["token"], choices[count]["spot"] = token, child if known else OUTSIDE
                count += 1
    return count


@compiled
def grow(search: Search, guide: Guide, stayed: Stayed, frame: Frame, limits: Limits) -> Grown:
    """Let every prefix of the beam grow by every token into what the beam does not have, if it may be kept."""
    if len(frame.tried) == 0:
        return Grown(np.empty(0, PREFIX), np.empty(0), NOTHING)
    prefixes, beam, stayers, row = search.prefixes, search.beam, stayed.beam, frame.row
    lexicon, scales = guide.lexicon, guide.scales
    space, rise, width, sharp = scales.space, scales.rise, limits.width, scales.words and not scales.hot
    grown = np.empty(1 + len(beam) * len(frame.tried), PREFIX)
    lasts, count = np.empty(len(grown)), 0
    choices = np.empty(len(row), CHOICE)
    for token in frame.tried:
        choices[token]["seen"] = -1
    # Of what is kept in the end: for a word that no model knows it lies far below what is heard.
    top = max(stayed.most, _lead(search, guide, frame, grown[0]))
    bound, counts = bound_of(stayed, top, limits, len(beam) * len(frame.tried))
    for place in range(len(beam)):
        node, blank, total = beam[place]["node"], beam[place]["blank"], beam[place]["total"]
        # At most: a letter lets the growing word lose, a space puts its score in the place of its promise.
        sure, most = prefixes[node]["score"], prefixes[node]["promise"] + rise
        least = max(frame.least, bound[0]["lowest"] - total - max(most, sure + rise))
        if not frame.most >= least:
            continue
        own = prefixes[node]["token"] if node else space
        child = stayers[place]["child"]
        while child >= 0:
            choices[prefixes[stayers[child]["node"]]["token"]]["seen"] = place
            child = stayers[child]["next"]
        for choice in range(_choose(scales, lexicon, (prefixes[node]["spot"], least), frame, choices)):
            token, spot = choices[choice]["token"], choices[choice]["spot"]
            if choices[token]["seen"] == place or (token == space and own == space):
                continue
            score, limit = (blank if token == own else total) + row[token], most
            if token == space:
                limit = sure + rise
            elif sharp:
                word = max(scales.stranger, scales.weight * lexicon[spot]["best"]) if spot >= 0 else scales.stranger
                limit = sure + scales.bonus + word
            if score + limit < bound[0]["lowest"] or score == NOTHING:
                continue
            grown[count]["spot"] = spot if token != space else 0
            judge(guide, lexicon, prefixes[node], token, grown[count])
            value = score + grown[count]["promise"]
            if value < bound[0]["lowest"] or value == NOTHING:
                continue
            grown[count]["parent"], grown[count]["token"], lasts[count] = node, token, score
            see(bound[0], counts, value, width)
            count += 1
    return Grown(grown[:count], lasts[:count], bound[0]["lowest"])
