"""The words of a language model as a tree of their tokens, which allows to score unfinished words.

The tokens of a word are its characters, or the phonemes of one of its pronunciations.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, compress
from typing import NamedTuple

import numpy as np

from asr.decoding.beam.compiling import Ints, Rows, inlined
from asr.lm.ngram import NgramModel
from asr.text import Alphabet

OUTSIDE = -1
# The n-gram model's id of an unknown word.
UNKNOWN = 0
# Longer words are left out: the memory that `build` takes is proportional to the length of the longest.
_LONGEST = 256

# Node 0 is the root. The children of n are first_child[n] to first_child[n + 1] - 1, with the `token` that leads to
# each. The words that end at n are those from first_word[n] to first_word[n + 1] - 1 of the lexicon's `words`. `best`:
# the natural-log probability, without context, of the likeliest word at the node or below it. One node is added at the
# end to close the children and words of the last one.
NODE = np.dtype([("first_child", np.int32), ("token", np.int32), ("first_word", np.int32), ("best", np.float32)])


class Lexicon(NamedTuple):
    """The nodes, and the ids of the words that end at them, at each node the likeliest word first.

    Ids are those of the n-gram model; words that it does not have follow its own. At most one spelled word ends at a
    node, but any number of words that are pronounced alike.
    """

    nodes: Rows
    words: Ints


@inlined
def descend(nodes: Rows, node: int, token: int) -> int:
    """Return the child of a node by a token, or OUTSIDE."""
    low, end = 0, 0
    if node >= 0:
        low, end = nodes[node]["first_child"], nodes[node + 1]["first_child"]
    high = end
    while low < high:
        middle = (low + high) >> 1
        if nodes[middle]["token"] < token:
            low = middle + 1
        else:
            high = middle
    return low if low < end and nodes[low]["token"] == token else OUTSIDE


@inlined
def likeliest_word(nodes: Rows, words: Ints, node: int) -> int:
    """Return the likeliest word without context that ends at a node, or OUTSIDE."""
    word = OUTSIDE
    if node >= 0 and nodes[node]["first_word"] < nodes[node + 1]["first_word"]:
        word = words[nodes[node]["first_word"]]
    return word


def empty() -> Lexicon:
    """Return a lexicon without words."""
    return Lexicon(np.array([(1, 0, 0, -np.inf), (1, 0, 0, -np.inf)], NODE), np.zeros(0, np.int32))


def build(
    model: NgramModel,
    alphabet: Alphabet,
    more: Iterable[str] = (),
    floor: float = -np.inf,
    pronunciations: Mapping[str, Sequence[str]] | None = None,
) -> Lexicon:
    """Return the lexicon of the model's words that the alphabet can write, without its markers.

    `more`: additional words outside the model, which it scores as unknown. `floor`: the least log-probability of a
    word. `pronunciations`: of each word, which are written instead of its characters.
    """
    count, others = len(model.words), list(more)
    known = np.array([word[:1] != "<" for word in model.words], bool)
    words = [*compress(model.words, known), *others]
    numbers = np.append(np.flatnonzero(known), np.arange(count, count + len(others)))
    if pronunciations is not None:
        several = [pronunciations.get(word, ()) for word in words]
        several = [each if len(each) < 2 else tuple(dict.fromkeys(each)) for each in several]
        words, numbers = list(chain.from_iterable(several)), np.repeat(numbers, list(map(len, several)))
    lengths = np.fromiter(map(len, words), np.int64, len(words))
    if lengths.max(initial=0) > _LONGEST:
        short = lengths <= _LONGEST
        words, numbers, lengths = list(compress(words, short)), numbers[short], lengths[short]
    ids = alphabet.ids("".join(words))
    # Words as rows of tokens, padded with 0, which is no token of an alphabet's character.
    kind = np.min_scalar_type(len(alphabet)).newbyteorder(">")
    rows = np.zeros((len(words), int(lengths.max(initial=0)) + 1), kind)
    inside = np.arange(rows.shape[1]) < lengths[:, None]
    rows[inside] = ids
    space = alphabet.encode(" ")[0] if " " in alphabet.characters else 0
    usable = np.flatnonzero((lengths > 0) & (((rows > 0) & (rows != space)) == inside).all(axis=1))
    scores = np.maximum(model.unigram_log_probs(np.where(numbers < count, numbers, UNKNOWN)), floor)
    usable = usable[np.argsort(-scores[usable], kind="stable")]
    # Big-endian numbers are sorted as bytes are.
    order = usable[np.argsort(rows[usable].view(f"S{rows.dtype.itemsize * rows.shape[1]}")[:, 0], kind="stable")]
    rows, lengths, numbers, scores = rows[order], lengths[order], numbers[order], scores[order]
    shared = np.zeros(len(order), np.int64)
    shared[1:] = np.logical_and.accumulate(rows[1:] == rows[:-1], axis=1).sum(axis=1)
    # Breadth first: the nodes of a depth are the different prefixes of that length, in order. Each is the first row of
    # its words, of which the first ones may be the prefix itself.
    before, depth = np.zeros(1, np.int64), 0
    levels, degrees = [np.array([(0, 0, 0, scores.max(initial=-np.inf))], NODE)], []
    # In the order of the nodes: the words that end at them, and how many end at each, of which the root has none.
    ended, ends = [np.zeros(0, np.int64)], [np.zeros(1, np.int64)]
    while before.size:
        depth += 1
        nodes = np.flatnonzero((shared < depth) & (lengths >= depth))
        degrees.append(np.bincount(np.searchsorted(before, nodes, side="right") - 1, minlength=len(before)))
        level = np.zeros(len(nodes), NODE)
        if nodes.size:
            level["token"] = rows[nodes, depth - 1]
            level["best"] = np.maximum.reduceat(np.where(lengths >= depth, scores, -np.inf), nodes)
            ended.append(numbers[lengths == depth])
            ends.append(np.add.reduceat(lengths == depth, nodes, dtype=np.int64))
        levels.append(level)
        before = nodes
    last = np.array([(0, 0, 0, -np.inf)], NODE)
    lexicon = np.concatenate([*levels, last])
    lexicon["first_child"] = 1 + np.cumsum([0, *np.concatenate(degrees)])
    lexicon["first_word"][1:] = np.cumsum(np.concatenate(ends))
    return Lexicon(lexicon, np.concatenate(ended).astype(np.int32))
