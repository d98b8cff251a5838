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
    spelled = [(alphabet.ids(word), number) for word, number in words]
    entries = sorted((tuple(ids.tolist()), number) for ids, number in spelled if len(ids) and ids.all())
    numbers = np.array([number for _, number in entries], np.int64)
    scores = np.maximum(model.unigram_log_probs(numbers), floor)
    # Breadth first, one level at a time: the nodes of a level are the different prefixes of that length, in order.
    groups: list[tuple[int, int, int]] = [(0, len(entries), 0)]
    rows: list[tuple[int, int, int, float]] = []
    tokens, best = [0], [float(scores.max(initial=-np.inf))]
    for node, (begin, end, depth) in enumerate(groups):
        word, first = OUTSIDE, len(groups)
        if begin < end and len(entries[begin][0]) == depth and depth:
            word = int(numbers[begin])
            begin += 1  # noqa: PLW2901
        while begin < end:
            token = entries[begin][0][depth]
            stop = begin
            while stop < end and entries[stop][0][depth] == token:
                stop += 1
            groups.append((begin, stop, depth + 1))
            tokens.append(token)
            best.append(float(scores[begin:stop].max()))
            begin = stop  # noqa: PLW2901
        rows.append((first, tokens[node], word, best[node]))
    return np.array([*rows, (len(groups), 0, OUTSIDE, -np.inf)], NODE)
