"""Count the n-grams of texts of any size: sorted runs on disk, merged by key ranges.

An n-gram of order k is counted by a key of 64 bits at any order: the entry of the (k - 1)-gram at a position (32 bits)
and the word that follows (32 bits). Memory grows with the vocabulary and the chunk size; texts and counts are mapped
files in a folder that the caller deletes.
"""

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from asr.lm.ngram.model import UNKNOWN_ID, UNKNOWN_WORD, Ints, Longs
from asr.lm.ngram.trie import MAX_ENTRIES, keys_of
from asr.lm.text import BEGIN, END, LmError

BEGIN_ID, END_ID = 1, 2
# Words of a text that are replaced at a time.
_BLOCK = 1 << 20


@dataclass(frozen=True, eq=False)
class Counts:
    """How often each n-gram of one order occurs in the text, sorted by key."""

    base: int  # the entry of the first n-gram in the trie of all n-grams
    keys: Longs
    raw: Longs
    suffix: Ints  # entries


def write_text(
    sentences: Iterable[Sequence[str]], path: Path, vocabulary: Iterable[str] | None, min_count: int | None = None
) -> tuple[str, ...]:
    """Write each sentence as <s>, words, </s> in 32-bit ids, and return the words by id.

    All words are known that are in the vocabulary or occur at least `min_count` times; the others are <unk>. None: no
    others are known than those of the vocabulary, or without one all. Raises LmError if there is no sentence, or a word
    that an ARPA file cannot represent.
    """
    ids: defaultdict[str, int] = defaultdict()
    ids.default_factory = ids.__len__
    for word in (UNKNOWN_WORD, BEGIN, END, *(vocabulary or ())):
        ids[word]
    given, empty = len(ids), True
    with path.open("wb") as out:
        for sentence in sentences:
            empty = False
            if vocabulary is None or min_count:
                row = array("i", map(ids.__getitem__, sentence))
            else:
                row = array("i", (ids.get(word, UNKNOWN_ID) for word in sentence))
            if BEGIN_ID in row or END_ID in row:
                raise LmError(f"{BEGIN} or {END} inside a sentence: {' '.join(sentence)[:80]!r}")
            out.write(array("i", (BEGIN_ID,)) + row + array("i", (END_ID,)))
    if empty:
        raise LmError("no sentences to estimate a language model from")
    for word in ids:
        # Bytes are split at ASCII white space only, as ARPA files are.
        if word.encode().split() != [word.encode()]:
            raise LmError(f"the word {word!r} is empty or contains white space")
    return _without_rare(tuple(ids), given, path, min_count) if min_count and min_count > 1 else tuple(ids)


def _without_rare(words: tuple[str, ...], given: int, path: Path, min_count: int) -> tuple[str, ...]:
    """Replace rare words of a text by <unk>, except the first `given` ones, and return the others by their new ids."""
    text = np.memmap(path, np.int32, "r+")
    counts = np.zeros(len(words), np.int64)
    for start, end in _chunks(len(text), _BLOCK):
        counts += np.bincount(text[start:end], minlength=len(words))
    kept = counts >= min_count
    kept[:given] = True
    new_ids = np.where(kept, np.cumsum(kept) - 1, UNKNOWN_ID).astype(np.int32)
    for start, end in _chunks(len(text), _BLOCK):
        text[start:end] = new_ids[text[start:end]]
    return tuple(word for word, keep in zip(words, kept.tolist(), strict=True) if keep)


def count(text: Path, words: int, order: int, chunk: int) -> Iterator[Counts]:
    """Count the n-grams of each order, lowest first, `chunk` positions at a time, with files beside the text."""
    ids = np.memmap(text, np.int32, "r")
    # The entry of the n-gram that begins at each position; -1 if the sentence ends within it.
    entries = np.memmap(text.with_name("entries"), np.int32, "w+", shape=ids.shape)
    raw = np.zeros(words, np.int64)
    for start, end in _chunks(len(ids), chunk):
        raw += np.bincount(ids[start:end], minlength=words)
        entries[start:end] = 1 + ids[start:end]
    base = 1
    counts = Counts(base, np.arange(words, dtype=np.int64), raw, np.zeros(words, np.int32))
    yield counts
    for k in range(2, order + 1):
        base += len(counts.keys)
        folder = text.with_name(f"order-{k}")
        folder.mkdir()
        spans = _chunks(len(ids) - k + 1, chunk)
        runs = (np.unique(_keys(ids, entries, k, span)[0], return_counts=True) for span in spans)
        keys, raw = _merged(runs, folder, chunk)
        if base + len(keys) > MAX_ENTRIES:
            raise LmError(f"more than {MAX_ENTRIES} different n-grams; use a lower order or less text")
        counts = Counts(base, keys, raw, _assign_entries(ids, entries, (k, base), keys, chunk))
        yield counts


def _chunks(length: int, chunk: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + chunk, length)) for start in range(0, length, chunk))


def _keys(ids: Ints, entries: Ints, order: int, span: tuple[int, int]) -> tuple[Longs, Longs]:
    """Return the keys and the positions of the n-grams that begin within a span of the text."""
    start, end = span
    following = ids[start + order - 1 : end + order - 1]
    contexts = entries[start : start + len(following)]
    offsets = np.flatnonzero((contexts >= 0) & (following != BEGIN_ID))
    return keys_of(contexts[offsets], following[offsets]), start + offsets


def _merged(runs: Iterable[tuple[Longs, Longs]], folder: Path, chunk: int) -> tuple[Longs, Longs]:
    """Write sorted runs to files, and merge them into one file of keys and one of counts."""
    names = []
    for i, run in enumerate(runs):
        names.append((f"keys-{i}.npy", f"counts-{i}.npy"))
        for name, values in zip(names[-1], run, strict=True):
            np.save(folder / name, values)
    keys, counts = ([np.load(folder / pair[i], "r", allow_pickle=False) for pair in names] for i in (0, 1))
    with (folder / "keys").open("wb") as keys_out, (folder / "counts").open("wb") as counts_out:
        for parts in _ranges(keys, chunk):
            merged, inverse = np.unique(np.concatenate([keys[i][part] for i, part in parts]), return_inverse=True)
            weights = np.concatenate([counts[i][part] for i, part in parts])
            summed = np.zeros(len(merged), np.int64)
            np.add.at(summed, inverse, weights)
            keys_out.write(merged.tobytes())
            counts_out.write(summed.tobytes())
    del keys, counts
    for name in chain.from_iterable(names):
        (folder / name).unlink()
    return _mapped(folder / "keys"), _mapped(folder / "counts")


def _mapped(path: Path) -> Longs:
    # An empty file cannot be mapped.
    return np.memmap(path, np.int64, "r") if path.stat().st_size else np.empty(0, np.int64)


def _ranges(runs: Sequence[Longs], chunk: int) -> Iterator[list[tuple[int, slice]]]:
    """Split sorted runs at the same keys, so that the parts between two splits have at most 2 `chunk` keys in all."""
    step = max(1, chunk // max(1, len(runs)))
    samples = np.sort(np.concatenate([np.empty(0, np.int64), *(run[::step] for run in runs)]))
    cuts = np.unique(samples[:: max(1, len(runs))])[1:]
    edges = [np.concatenate([[0], np.searchsorted(run, cuts), [len(run)]]).tolist() for run in runs]
    for i in range(len(cuts) + 1):
        parts = [(run, slice(edge[i], edge[i + 1])) for run, edge in enumerate(edges) if edge[i] < edge[i + 1]]
        if parts:
            yield parts


def _assign_entries(ids: Ints, entries: Ints, level: tuple[int, int], keys: Longs, chunk: int) -> Ints:
    """Store the entry of the n-gram of this order at each position, and return the suffix of each entry."""
    order, base = level
    suffix = np.zeros(len(keys), np.int32)
    for start, end in _chunks(len(ids), chunk):
        wanted, positions = _keys(ids, entries, order, (start, end))
        indices = np.searchsorted(keys, wanted)
        # The n-gram without its first word is the shorter n-gram that begins one position later.
        suffix[indices] = entries[positions + 1]
        entries[start:end] = -1
        entries[positions] = base + indices
    return suffix
