"""The trie of an n-gram model: sorted keys to flat arrays, and back to n-grams.

The key of an entry has its parent (the n-gram without its last word) in the upper 32 bits and its word in the lower 32.
In breadth-first order with sorted children the keys of all entries ascend, so a binary search finds any entry.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from asr.lm.ngram.model import Arrays, Ints, Longs, NgramModel
from asr.lm.text import LmError

WORD_BITS = 32
WORD_MASK = (1 << WORD_BITS) - 1
MAX_ENTRIES = 2**31 - 2


@dataclass(frozen=True, eq=False)
class Level:
    """All entries of one order, sorted by key."""

    parents: Ints  # entries
    words: Ints
    log_probs: npt.NDArray[np.floating]  # natural log
    backoffs: npt.NDArray[np.floating]  # natural log; empty at the highest order
    suffix: Ints  # entries


def keys_of(parents: Ints | Longs, words: Ints) -> Longs:
    """Return the keys of entries."""
    return (parents.astype(np.int64) << WORD_BITS) | words


def find(keys: Longs, parents: Ints | Longs, words: Ints) -> Longs:
    """Return the entries of n-grams, given all `keys` of the trie, or -1 for an n-gram that is not in it."""
    wanted = keys_of(parents, words)
    indices = np.searchsorted(keys, wanted)
    present = keys[np.minimum(indices, len(keys) - 1)] == wanted
    return np.where(present & (parents >= 0), indices + 1, -1)


def suffixes(keys: Longs, suffix: Ints, parents: Ints, words: Ints) -> Ints:
    """Return the entry of the longest proper suffix in the trie of each n-gram.

    `keys` and `suffix` hold all lower orders, with a unigram of each word; `suffix` starts with entry 0.
    """
    contexts = suffix[parents].astype(np.int64)
    # The suffix of a bigram is a unigram, which is found without a search.
    entries = np.where(contexts == 0, 1 + words.astype(np.int64), -1)
    remaining = np.flatnonzero(contexts)
    while remaining.size:
        entries[remaining] = find(keys, contexts[remaining], words[remaining])
        remaining = remaining[entries[remaining] < 0]
        contexts[remaining] = suffix[contexts[remaining]]
    return entries.astype(np.int32)


def assemble(words: Sequence[str], levels: Sequence[Level], keep_backoffs: bool = False) -> NgramModel:
    """Build a model from the entries of each order; empty highest orders are dropped.

    With `keep_backoffs`, one stays above entries with back-off weights, which an unknown longer n-gram needs.

    Raises LmError if there are too many entries for 32 bits.
    """
    while len(levels) > 1 and not len(levels[-1].words) and not (keep_backoffs and levels[-2].backoffs.any()):
        levels = levels[:-1]
    counts = [len(level.words) for level in levels]
    total = 1 + sum(counts)
    if total > MAX_ENTRIES:
        raise LmError(f"{total} n-grams exceed the maximum of {MAX_ENTRIES}; raise the cut-offs")
    inner = total - counts[-1]
    degrees = np.zeros(inner + 1, np.int64)
    for level in levels:
        degrees[1:] += np.bincount(level.parents, minlength=inner)
    first_child = (1 + np.cumsum(degrees)).astype(np.int32)
    lower = levels[:-1]
    arrays = Arrays(
        np.concatenate([[-1], *(level.words for level in levels)]).astype(np.int32),
        np.concatenate([[0.0], *(level.log_probs for level in levels)]).astype(np.float32),
        np.concatenate([[0.0], *(level.backoffs for level in lower)]).astype(np.float32),
        first_child,
        np.concatenate([[0], *(level.suffix for level in levels)]).astype(np.int32),
    )
    for array in arrays:
        array.setflags(write=False)
    return NgramModel(tuple(words), tuple(counts), arrays)


def spans(counts: Sequence[int]) -> list[tuple[int, int]]:
    """Return the start and end (exclusive) of the entries of each order, given their counts."""
    ends = 1 + np.cumsum((0, *counts))
    return list(pairwise(ends.tolist()))


def parents_of(arrays: Arrays, start: int, end: int) -> Ints:
    """Return the parents of the entries `start` to `end` (exclusive); entry 0 has none."""
    entries = np.arange(start, end, dtype=np.int32)
    return (np.searchsorted(arrays.first_child, entries, side="right") - 1).astype(np.int32)


def ngrams(model: NgramModel, order: int, start: int, end: int) -> Ints:
    """Return the word ids (entries, order) of the entries `start` to `end` (exclusive), all of one order."""
    ids = np.empty((end - start, order), np.int32)
    ids[:, -1] = model.arrays.words[start:end]
    entries = parents_of(model.arrays, start, end)
    for column in range(order - 2, -1, -1):
        ids[:, column] = model.arrays.words[entries]
        entries = (np.searchsorted(model.arrays.first_child, entries, side="right") - 1).astype(np.int32)
    return ids


def keep(model: NgramModel, kept: npt.NDArray[np.bool_]) -> NgramModel:
    """Return the model without the entries that are not `kept`; the parent of a kept entry must be kept."""
    arrays = model.arrays
    renumbered = (np.cumsum(kept) - 1).astype(np.int32)
    suffix = arrays.suffix.copy()
    for _ in range(model.order):
        suffix = np.where(kept[suffix], suffix, arrays.suffix[suffix])
    levels = []
    for start, end in spans(model.counts):
        entries = start + np.flatnonzero(kept[start:end])
        levels.append(
            Level(
                renumbered[parents_of(arrays, start, end)[entries - start]],
                arrays.words[entries],
                arrays.log_probs[entries],
                arrays.backoffs[entries] if end <= len(arrays.backoffs) else np.empty(0),
                renumbered[suffix[entries]],
            )
        )
    return assemble(model.words, levels, keep_backoffs=not model.counts[-1])


def reordered(model: NgramModel, order: Ints) -> NgramModel:
    """Return the same model with other word ids: word `order[i]` gets the id i. <unk> must keep its id."""
    arrays = model.arrays
    new_ids, entries = np.empty_like(order), np.zeros(len(arrays.words), np.int32)
    new_ids[order] = np.arange(len(order), dtype=order.dtype)
    levels = []
    for start, end in spans(model.counts):
        parents, words = entries[parents_of(arrays, start, end)], new_ids[arrays.words[start:end]]
        by_key = np.argsort(keys_of(parents, words))
        entries[start + by_key] = np.arange(start, end, dtype=np.int32)
        old = start + by_key
        backoffs = arrays.backoffs[old] if end <= len(arrays.backoffs) else np.empty(0)
        # Suffixes are of lower orders, which have their new entries.
        levels.append(
            Level(parents[by_key], words[by_key], arrays.log_probs[old], backoffs, entries[arrays.suffix[old]])
        )
    return assemble([model.words[i] for i in order], levels, keep_backoffs=True)
