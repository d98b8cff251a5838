"""CTC prefix beam search, compiled by numba at its first use and cached on the disk.

Prefixes are nodes of a tree in flat arrays. A prefix in the beam has the log-probability of its paths that end in
blank and of those that end in its last token (Graves, 2012, section 7.5.3; Hannun et al., 2014, algorithm 1).

Texts are tidy: a space at the begin or after a space adds nothing, so its paths are those of the prefix that stands.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.beam.compiling import Doubles, Ints, compiled
from asr.beam.fusion import Guide, Verdict, blank_verdict, copy_verdict, final, judge
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
def _tree(size: int) -> Tree:
    """Return a tree of the empty prefix with room for `size`."""
    ints = np.full((5, size), -1, np.int32)
    ints[1] = BLANK
    doubles = np.full((2, size), NOTHING)
    return Tree(ints[0], ints[1], ints[2], ints[3], ints[4], doubles[0], doubles[1], blank_verdict(size))


@compiled
def _with_room(tree: Tree, nodes: int, more: int) -> Tree:
    """Return the tree with room for so many more nodes."""
    if nodes + more <= len(tree.parent):
        return tree
    grown = _tree(2 * (nodes + more))
    grown.parent[:nodes], grown.token[:nodes] = tree.parent[:nodes], tree.token[:nodes]
    grown.child[:nodes], grown.sibling[:nodes] = tree.child[:nodes], tree.sibling[:nodes]
    grown.stamp[:nodes] = tree.stamp[:nodes]
    grown.blank[:nodes], grown.last[:nodes] = tree.blank[:nodes], tree.last[:nodes]
    copy_verdict(tree.verdict, grown.verdict, nodes)
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
        if node and tree.token[node] != guide.space:
            tree.last[node] = _add(tree.last[node], last + row[tree.token[node]])
        for token in frame.tried:
            if token == guide.space and (node == 0 or tree.token[node] == token):
                tree.last[node] = _add(tree.last[node], total + row[token])
                continue
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


class Search(NamedTuple):
    """How far a search has come: `nodes` of the tree are used, `frame` frames are done."""

    tree: Tree
    nodes: int
    beam: Beam
    frame: int


@compiled
def begin(guide: Guide) -> Search:
    """Return a search before the first frame: the empty prefix."""
    tree = _tree(1024)
    verdict = tree.verdict
    verdict.state[0], verdict.place[0] = guide.words.begin, 0
    verdict.letters[0], verdict.hot[0] = guide.letters.begin, guide.hot.begin
    return Search(tree, 1, Beam(np.zeros(1, np.int32), np.zeros(1), np.full(1, NOTHING)), 0)


@compiled
def proceed(search: Search, row: Doubles, limits: Limits, guide: Guide) -> Search:
    """Go one frame further, with its log-probabilities (V,)."""
    tree, nodes, beam = search.tree, search.nodes, search.beam
    if len(beam.nodes) == 0:
        return search
    sums = _sums(beam.blank, beam.last)
    if row[BLANK] >= limits.skip:
        skipped = Beam(beam.nodes, sums + row[BLANK], np.full(len(sums), NOTHING))
        return Search(tree, nodes, skipped, search.frame + 1)
    tried = np.flatnonzero(row >= row.max() - limits.token_margin).astype(np.int32)
    tried = tried[tried != BLANK]
    tree = _with_room(tree, nodes, len(sums) * len(tried))
    lowest = (sums + tree.verdict.promise[beam.nodes]).max() + row.max() - limits.beam_margin
    nodes, reached = _step(tree, guide, nodes, beam, Frame(search.frame, row, tried, lowest))
    sums = _sums(tree.blank[reached], tree.last[reached]) + tree.verdict.promise[reached]
    # What is impossible is not kept, however wide the beam.
    kept = reached[_best(sums, limits.width, max(sums.max() - limits.beam_margin, -1e300))]
    return Search(tree, nodes, Beam(kept, tree.blank[kept], tree.last[kept]), search.frame + 1)


class Found(NamedTuple):
    """The texts of the last beam, the likeliest first: text i has the tokens `tokens[ends[i - 1] : ends[i]]`.

    `acoustic`: the log-probability of its paths; `share`: what the language models add.
    """

    tokens: Ints
    ends: Ints
    acoustic: Doubles
    share: Doubles


@compiled
def finish(search: Search, guide: Guide) -> Found:
    """Return what the beam says now that all has been heard."""
    tree, beam = search.tree, search.beam
    nodes = beam.nodes.copy()
    acoustic = _sums(beam.blank, beam.last)
    for place in range(len(nodes)):
        tree.stamp[nodes[place]] = -2 - place
    # A space at the end adds nothing either: the prefix before it is the same text.
    for place in range(len(nodes)):
        if nodes[place] and tree.token[nodes[place]] == guide.space:
            before = tree.parent[nodes[place]]
            nodes[place] = before
            if tree.stamp[before] <= -2:
                other = -2 - tree.stamp[before]
                acoustic[other] = _add(acoustic[other], acoustic[place])
                acoustic[place] = NOTHING
    share = np.empty(len(nodes))
    for place in range(len(nodes)):
        share[place] = final(guide, tree.verdict, nodes[place])
    order = np.argsort(-(acoustic + share), kind="mergesort")
    order = order[(acoustic + share)[order] > NOTHING]
    tokens, ends = _spelt(tree, nodes[order])
    return Found(tokens, ends, acoustic[order], share[order])


@compiled
def _spelt(tree: Tree, nodes: Ints) -> tuple[Ints, Ints]:
    """Return the tokens of prefixes one after another, and where each one's end."""
    ends = np.zeros(len(nodes), np.int32)
    for place in range(len(nodes)):
        node, length = nodes[place], 0
        while node:
            node, length = tree.parent[node], length + 1
        ends[place] = length + (ends[place - 1] if place else 0)
    tokens = np.empty(ends[-1] if len(ends) else 0, np.int32)
    for place in range(len(nodes)):
        node, at = nodes[place], ends[place]
        while node:
            at -= 1
            tokens[at] = tree.token[node]
            node = tree.parent[node]
    return tokens, ends


@compiled
def search(log_probs: Doubles, limits: Limits, guide: Guide) -> Found:
    """Search (T', V)."""
    state = begin(guide)
    for number in range(len(log_probs)):
        state = proceed(state, log_probs[number], limits, guide)
    return finish(state, guide)
