"""CTC prefix beam search, compiled by numba at its first use and cached on the disk.

Prefixes are nodes of a tree in flat arrays. A prefix in the beam has the log-probability of its paths that end in
blank and of those that end in its last token (Graves, 2012, section 7.5.3; Hannun et al., 2014, algorithm 1).
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

from asr.text import BLANK

Function = TypeVar("Function", bound=Callable[..., object])
Ints = NDArray[np.int32]
Doubles = NDArray[np.float64]
NOTHING = -np.inf


def compiled(function: Function) -> Function:
    """Compile a function for the numbers it is called with, to run without the interpreter's lock."""
    return cast(Function, njit(cache=True, nogil=True, error_model="numpy")(function))


class Tree(NamedTuple):
    """Prefixes as nodes, 0 the empty one: each one's parent, last token, first child and next sibling.

    `stamp`: the frame in which a prefix was last reached; `blank` and `last`: the log-probabilities of its paths up to
    there that end in blank and in its last token.
    """

    parent: Ints
    token: Ints
    child: Ints
    sibling: Ints
    stamp: Ints
    blank: Doubles
    last: Doubles


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
def _tree(size: int) -> Tree:
    """Return a tree of the empty prefix with room for `size`."""
    ints = np.full((5, size), -1, np.int32)
    ints[1] = BLANK
    doubles = np.full((2, size), NOTHING)
    return Tree(ints[0], ints[1], ints[2], ints[3], ints[4], doubles[0], doubles[1])


@compiled
def _with_room(tree: Tree, nodes: int, more: int) -> Tree:
    """Return the tree with room for so many more nodes."""
    if nodes + more <= len(tree.parent):
        return tree
    grown = _tree(2 * (nodes + more))
    grown.parent[:nodes], grown.token[:nodes] = tree.parent[:nodes], tree.token[:nodes]
    grown.child[:nodes], grown.sibling[:nodes] = tree.child[:nodes], tree.sibling[:nodes]
    grown.stamp[:nodes], grown.blank[:nodes], grown.last[:nodes] = (
        tree.stamp[:nodes],
        tree.blank[:nodes],
        tree.last[:nodes],
    )
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
def _longer(tree: Tree, nodes: int, node: int, token: int) -> int:
    """Return the child of a node by a token, made as node number `nodes` if it is not there."""
    reached = tree.child[node]
    while reached >= 0 and tree.token[reached] != token:
        reached = tree.sibling[reached]
    if reached >= 0:
        return int(reached)
    tree.parent[nodes], tree.token[nodes] = node, token
    tree.sibling[nodes], tree.child[node] = tree.child[node], nodes
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
def _step(tree: Tree, nodes: int, beam: Beam, frame: Frame) -> tuple[int, Ints]:
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
            if score < frame.lowest or score == NOTHING:
                continue
            child = _longer(tree, nodes, node, token)
            nodes = max(nodes, child + 1)
            count = _reach(tree, child, frame.number, reached, count)
            tree.last[child] = _add(tree.last[child], score)
    return nodes, reached[:count]


@compiled
def search(
    log_probs: Doubles, width: int, token_margin: float, beam_margin: float, skip: float
) -> tuple[Ints, Ints, Ints, Doubles]:
    """Search (T', V) and return the tree, as each node's parent and token, and the nodes and log-probabilities found.

    In each frame, tokens that are `token_margin` nats less likely than the likeliest are not tried, and prefixes
    `beam_margin` under the best are dropped. Where the log-probability of blank is `skip` or more, no other token is.
    """
    tree, nodes = _tree(1024), 1
    beam = Beam(np.zeros(1, np.int32), np.zeros(1), np.full(1, NOTHING))
    for number in range(len(log_probs)):
        row = log_probs[number]
        sums = _sums(beam.blank, beam.last)
        if row[BLANK] >= skip:
            beam = Beam(beam.nodes, sums + row[BLANK], np.full(len(sums), NOTHING))
            continue
        tried = np.flatnonzero(row >= row.max() - token_margin).astype(np.int32)
        tried = tried[tried != BLANK]
        tree = _with_room(tree, nodes, len(sums) * len(tried))
        nodes, reached = _step(tree, nodes, beam, Frame(number, row, tried, sums.max() + row.max() - beam_margin))
        sums = _sums(tree.blank[reached], tree.last[reached])
        # What is impossible is not kept, however wide the beam.
        kept = reached[_best(sums, width, max(sums.max() - beam_margin, -1e300))]
        beam = Beam(kept, tree.blank[kept], tree.last[kept])
        if len(kept) == 0:
            break
    return tree.parent[:nodes].copy(), tree.token[:nodes].copy(), beam.nodes, _sums(beam.blank, beam.last)
