"""The words of a language model as a tree of their letters, so that a word is judged before it ends."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.beam.compiling import Doubles, Ints, compiled
from asr.ngram import NgramModel, score_each
from asr.text import Alphabet

OUTSIDE = -1
# The n-gram model's id of an unknown word.
UNKNOWN = 0


class Lexicon(NamedTuple):
    """Nodes, 0 the root: the children of n are first_child[n] to first_child[n + 1] - 1, `token` the letter to each.

    `word`: the word that ends at a node, or -1; `best`: the natural log-probability, with no context, of the likeliest
    word at the node or below it.
    """

    first_child: Ints
    token: Ints
    word: Ints
    best: Doubles


@compiled
def descend(lexicon: Lexicon, node: int, token: int) -> int:
    """Return the child of a node by a token, or OUTSIDE."""
    if node < 0:
        return OUTSIDE
    low, end = lexicon.first_child[node], lexicon.first_child[node + 1]
    high = end
    while low < high:
        middle = (low + high) >> 1
        if lexicon.token[middle] < token:
            low = middle + 1
        else:
            high = middle
    return int(low) if low < end and lexicon.token[low] == token else OUTSIDE


def build(model: NgramModel, alphabet: Alphabet, more: Iterable[str] = (), floor: float = -np.inf) -> Lexicon:
    """Return the lexicon of the model's words that the alphabet can write, without its markers.

    `more`: words to have beside them, which the model scores as unknown; no word has less than `floor`.
    """
    words = [(word, number) for number, word in enumerate(model.words) if word[:1] != "<"]
    words += [(word, UNKNOWN) for word in dict.fromkeys(more) if word not in model.vocabulary]
    spelled = [(alphabet.ids(word), number) for word, number in words]
    entries = sorted((tuple(ids.tolist()), number) for ids, number in spelled if len(ids) and ids.all())
    numbers = np.array([number for _, number in entries], np.int64)
    scores = np.maximum(score_each(model.arrays, np.zeros_like(numbers), numbers), floor)
    # Breadth first, a level at a time: the nodes of a level are the different prefixes of that length, in order.
    groups: list[tuple[int, int, int]] = [(0, len(entries), 0)]
    tokens, words, first, best = [0], [OUTSIDE], [], [float(scores.max(initial=-np.inf))]
    place = 0
    while place < len(groups):
        begin, end, depth = groups[place]
        first.append(len(groups))
        if begin < end and len(entries[begin][0]) == depth and depth:
            words[place] = int(numbers[begin])
            begin += 1
        while begin < end:
            letter = entries[begin][0][depth]
            stop = begin
            while stop < end and entries[stop][0][depth] == letter:
                stop += 1
            groups.append((begin, stop, depth + 1))
            tokens.append(letter)
            words.append(OUTSIDE)
            best.append(float(scores[begin:stop].max()))
            begin = stop
        place += 1
    first.append(len(groups))
    ints: list[NDArray[np.int32]] = [np.array(values, np.int32) for values in (first, tokens, words)]
    return Lexicon(ints[0], ints[1], ints[2], np.array(best))
