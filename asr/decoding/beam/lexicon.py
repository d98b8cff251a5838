"""The words of a language model as a tree of their characters, which allows to score unfinished words."""

from collections.abc import Iterable

import numpy as np

from asr.decoding.beam.compiling import Rows, inlined
from asr.lm.ngram import NgramModel
from asr.text import Alphabet

OUTSIDE = -1
# The n-gram model's id of an unknown word.
UNKNOWN = 0

# Node 0 is the root. The children of n are first_child[n] to first_child[n + 1] - 1, with `token` the character that
# leads to each. `word`: the word that ends at a node, or -1. `best`: the natural-log probability, without context, of
# the likeliest word at the node or below it. One node is added at the end to close the children of the last one.
NODE = np.dtype([("first_child", np.int32), ("token", np.int32), ("word", np.int32), ("best", np.float32)])


@inlined
def descend(lexicon: Rows, node: int, token: int) -> int:
    """Return the child of a node by a token, or OUTSIDE."""
    low, end = 0, 0
    if node >= 0:
        low, end = lexicon[node]["first_child"], lexicon[node + 1]["first_child"]
    high = end
    while low < high:
        middle = (low + high) >> 1
        if lexicon[middle]["token"] < token:
            low = middle + 1
        else:
            high = middle
    return low if low < end and lexicon[low]["token"] == token else OUTSIDE


def empty() -> Rows:
    """Return a lexicon without words."""
    return np.array([(1, 0, OUTSIDE, -np.inf), (1, 0, OUTSIDE, -np.inf)], NODE)


def build(model: NgramModel, alphabet: Alphabet, more: Iterable[str] = (), floor: float = -np.inf) -> Rows:
    """Return the lexicon of the model's words that the alphabet can write, without its markers.

    `more`: additional words, which the model scores as unknown. `floor`: the least log-probability of a word.
    """
    words = [(word, number) for number, word in enumerate(model.words) if word[:1] != "<"]
    words += [(word, UNKNOWN) for word in dict.fromkeys(more) if word not in model.vocabulary]
    ids = alphabet.ids("".join(word for word, _ in words))
    lengths = np.array([len(word) for word, _ in words], np.int64)
    # Words as rows of tokens, padded with 0, which is no token of an alphabet's character.
    kind = np.min_scalar_type(len(alphabet)).newbyteorder(">")
    rows = np.zeros((len(words), int(lengths.max(initial=0)) + 1), kind)
    inside = np.arange(rows.shape[1]) < lengths[:, None]
    rows[inside] = ids
    usable = np.flatnonzero((lengths > 0) & ((rows > 0) == inside).all(axis=1))
    # Big-endian numbers are sorted as bytes are.
    order = usable[np.argsort(rows[usable].view(f"S{rows.dtype.itemsize * rows.shape[1]}")[:, 0], kind="stable")]
    rows, lengths, numbers = rows[order], lengths[order], np.array([number for _, number in words], np.int64)[order]
    scores = np.maximum(model.unigram_log_probs(numbers), floor)
    shared = np.zeros(len(order), np.int64)
    shared[1:] = np.logical_and.accumulate(rows[1:] == rows[:-1], axis=1).sum(axis=1)
    # Breadth first: the nodes of a depth are the different prefixes of that length, in order. Each is the first row of
    # its words, of which the first may be the prefix itself.
    before, depth = np.zeros(1, np.int64), 0
    levels, degrees = [np.array([(0, 0, OUTSIDE, scores.max(initial=-np.inf))], NODE)], []
    while before.size:
        depth += 1
        nodes = np.flatnonzero((shared < depth) & (lengths >= depth))
        degrees.append(np.bincount(np.searchsorted(before, nodes, side="right") - 1, minlength=len(before)))
        level = np.zeros(len(nodes), NODE)
        if nodes.size:
            level["token"] = rows[nodes, depth - 1]
            level["word"] = np.where(lengths[nodes] == depth, numbers[nodes], OUTSIDE)
            level["best"] = np.maximum.reduceat(np.where(lengths >= depth, scores, -np.inf), nodes)
        levels.append(level)
        before = nodes
    last = np.array([(0, 0, OUTSIDE, -np.inf)], NODE)
    lexicon = np.concatenate([*levels, last])
    lexicon["first_child"] = 1 + np.cumsum([0, *np.concatenate(degrees)])
    return lexicon
