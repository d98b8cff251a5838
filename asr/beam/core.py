"""CTC prefix beam search, compiled by numba at its first use and cached on the disk.

Prefixes are nodes of a tree in flat arrays. A prefix in the beam has the log-probability of its paths that end in
blank and of those that end in its last token (Graves, 2012, section 7.5.3; Hannun et al., 2014, algorithm 1).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.beam.compiling import Doubles, Ints, compiled
from asr.beam.fusion import Guide, Verdict, final, judge
from asr.text import BLANK

NOTHING = -np.inf


class Tree(NamedTuple):
    """Prefixes as nodes, 0 the empty one: each one's parent, last token, first child and next sibling.

    `stamp`: the frame in which a prefix was last reached; `blank` and `last`: the log-probabilities of its paths up to
    there that end in blank and in its last token; `verdict`: what a language model says of it.
    """

    parent: Ints
    token: Ints
    child: Ints
    sibling: Ints
    stamp: Ints
    blank: Doubles
    last: Doubles
    verdict: Verdict


class Beam(NamedTuple):
    """The prefixes kept: their nodes, and the log-probabilities of their paths that end in blank and in their token."""

    nodes: Ints
    blank: Doubles
    last: Doubles


class Frame(NamedTuple):
    """One frame: its number, its log-probabilities (V,), the tokens to try, and the least score that is followed."""

    number: int
    row: Doubles
    tried: Ints
    lowest: float


@compiled
def _tree(size: int, begin: int) -> Tree:
    """Return a tree of the empty prefix with room for `size`; `begin` is the language model's state there."""
    ints = np.full((7, size), -1, np.int32)
    ints[1] = BLANK
    doubles = np.full((2, size), NOTHING)
    scores = np.zeros((2, size))
    verdict = Verdict(ints[5], ints[6], scores[0], scores[1])
    verdict.state[0], verdict.place[0] = begin, 0
    return Tree(ints[0], ints[1], ints[2], ints[3], ints[4], doubles[0], doubles[1], verdict)


@compiled
def _with_room(tree: Tree, nodes: int, more: int) -> Tree:
    """Return the tree with room for so many more nodes."""
    if nodes + more <= len(tree.parent):
        return tree
    grown = _tree(2 * (nodes + more), 0)
    grown.parent[:nodes], grown.token[:nodes] = tree.parent[:nodes], tree.token[:nodes]
    grown.child[:nodes], grown.sibling[:nodes] = tree.child[:nodes], tree.sibling[:nodes]
    grown.stamp[:nodes] = tree.stamp[:nodes]
    grown.blank[:nodes], grown.last[:nodes] = tree.blank[:nodes], tree.last[:nodes]
    old, new = tree.verdict, grown.verdict
    new.state[:nodes], new.place[:nodes] = old.state[:nodes], old.place[:nodes]
    new.score[:nodes], new.promise[:nodes] = old.score[:nodes], old.promise[:nodes]
    return grown


@compiled
def _add(left: float, right: float) -> float:
    """Return the log of the sum of two numbers given by their logs."""
    if left < right:
        left, right = right, left
    if right == NOTHING:
        return left
    return float(left + np.log1p(np.exp(right - left)))


@compiled
def _sums(blank: Doubles, last: Doubles) -> Doubles:
    """Return the log-probability of each prefix, however its paths end."""
    sums = np.empty(len(blank))
    for place in range(len(blank)):
        sums[place] = _add(blank[place], last[place])
    return sums


@compiled
def _best(scores: Doubles, width: int, lowest: float) -> NDArray[np.int64]:
    """Return the places of the `width` highest scores of at least `lowest`, in order; the first of equal ones."""
    found = np.flatnonzero(scores >= lowest)
    if len(found) <= width:
        return found
    kept = scores[found]
    least = np.partition(kept, len(kept) - width)[len(kept) - width]
    ties = width - np.count_nonzero(kept > least)
    chosen = np.empty(width, np.int64)
    count = 0
    for place in range(len(kept)):
        if kept[place] > least or (kept[place] == least and ties > 0):
            ties -= kept[place] == least
            chosen[count] = found[place]
            count += 1
    return chosen


@compiled
def _longer(tree: Tree, guide: Guide, nodes: int, node: int, token: int) -> int:
    """Return the child of a node by a token, made as node number `nodes` if it is not there."""
    reached = tree.child[node]
    while reached >= 0 and tree.token[reached] != token:
        reached = tree.sibling[reached]
    if reached >= 0:
        return int(reached)
    tree.parent[nodes], tree.token[nodes] = node, token
    tree.sibling[nodes], tree.child[node] = tree.child[node], nodes
    judge(guide, tree.verdict, node, nodes, token)
    return nodes


@compiled
def _reach(tree: Tree, node: int, frame: int, reached: Ints, count: int) -> int:
    """List a node among those reached in this frame, once; return how many those are."""
    if tree.stamp[node] == frame:
        return count
    tree.stamp[node] = frame
    tree.blank[node] = tree.last[node] = NOTHING
    reached[count] = node
    return count + 1


@compiled
def _step(tree: Tree, guide: Guide, nodes: int, beam: Beam, frame: Frame) -> tuple[int, Ints]:
    """Go one frame further with every prefix of the beam; return the number of nodes, and those that were reached."""
    row = frame.row
    reached = np.empty(len(beam.nodes) * (1 + len(frame.tried)), np.int32)
    count = 0
    for place in range(len(beam.nodes)):
        node, blank, last = beam.nodes[place], beam.blank[place], beam.last[place]
        total = _add(blank, last)
        count = _reach(tree, node, frame.number, reached, count)
        tree.blank[node] = total + row[BLANK]
        if node:
            tree.last[node] = _add(tree.last[node], last + row[tree.token[node]])
        for token in frame.tried:
            # A repeated token needs a blank between, or it is merged.
            score = (blank if node and token == tree.token[node] else total) + row[token]
            if score + tree.verdict.promise[node] < frame.lowest or score == NOTHING:
                continue
            child = _longer(tree, guide, nodes, node, token)
            nodes = max(nodes, child + 1)
            count = _reach(tree, child, frame.number, reached, count)
            tree.last[child] = _add(tree.last[child], score)
    return nodes, reached[:count]


class Limits(NamedTuple):
    """How widely is searched; see BeamSettings. `skip` is the log of `blank_skip`."""

    width: int
    token_margin: float
    beam_margin: float
    skip: float


@compiled
def search(log_probs: Doubles, limits: Limits, guide: Guide) -> tuple[Ints, Ints, Ints, Doubles, Doubles]:
    """Search (T', V); return the tree, as each node's parent and token, and of the nodes in the last beam the number,
    the log-probability and the language model's score, weighted.
    """
    tree, nodes = _tree(1024, guide.begin), 1
    beam = Beam(np.zeros(1, np.int32), np.zeros(1), np.full(1, NOTHING))
    for number in range(len(log_probs)):
        row = log_probs[number]
        sums = _sums(beam.blank, beam.last)
        if row[BLANK] >= limits.skip:
            beam = Beam(beam.nodes, sums + row[BLANK], np.full(len(sums), NOTHING))
            continue
        tried = np.flatnonzero(row >= row.max() - limits.token_margin).astype(np.int32)
        tried = tried[tried != BLANK]
        tree = _with_room(tree, nodes, len(sums) * len(tried))
        lowest = (sums + tree.verdict.promise[beam.nodes]).max() + row.max() - limits.beam_margin
        nodes, reached = _step(tree, guide, nodes, beam, Frame(number, row, tried, lowest))
        sums = _sums(tree.blank[reached], tree.last[reached]) + tree.verdict.promise[reached]
        # What is impossible is not kept, however wide the beam.
        kept = reached[_best(sums, limits.width, max(sums.max() - limits.beam_margin, -1e300))]
        beam = Beam(kept, tree.blank[kept], tree.last[kept])
        if len(kept) == 0:
            break
    finals = np.empty(len(beam.nodes))
    for place in range(len(finals)):
        finals[place] = final(guide, tree.verdict, beam.nodes[place])
    return tree.parent[:nodes].copy(), tree.token[:nodes].copy(), beam.nodes, _sums(beam.blank, beam.last), finals
