"""Counts of n-grams of any amount of text: sorted runs on the disk, merged by ranges of keys.

The n-grams of order k are counted as pairs of 32 bits, the number of the (k - 1)-gram that stands at a position and the
word that follows, so that a key has 64 bits whatever the order. Memory grows with the vocabulary and the part of the
text that is taken at a time; texts and counts are mapped files in a folder that the caller takes away.
"""

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr.lm.ngram import BEGIN, END, UNKNOWN, Ints, Longs
from asr.lm.ngram.trie import LARGEST, keys_of
from asr.lm.text import LmError

BEGIN_ID, END_ID = 1, 2


@dataclass(frozen=True, eq=False)
class Counts:
    """How often each n-gram of one order stands in the text; sorted by key."""

    base: int  # the entry of the first in the trie of all n-grams
    keys: Longs
    raw: Longs
    suffix: Ints  # entries


def write_text(sentences: Iterable[Sequence[str]], path: Path, vocabulary: Iterable[str] | None) -> tuple[str, ...]:
    """Write each sentence as <s>, words, </s> in ids of 32 bits, and return the words by id.

    With a vocabulary all other words are <unk>. Raises LmError if there is no sentence, or a word that an ARPA file
    cannot hold.
    """
    ids: defaultdict[str, int] = defaultdict()
    ids.default_factory = ids.__len__
    for word in (UNKNOWN, BEGIN, END, *(vocabulary or ())):
        ids[word]
    empty = True
    with path.open("wb") as out:
        for sentence in sentences:
            empty = False
            if vocabulary is None:
                row = array("i", map(ids.__getitem__, sentence))
            else:
                row = array("i", (ids.get(word, 0) for word in sentence))
            if BEGIN_ID in row or END_ID in row:
                raise LmError(f"{BEGIN} or {END} stands inside a sentence: {' '.join(sentence)[:80]!r}")
            out.write(array("i", (BEGIN_ID,)) + row + array("i", (END_ID,)))
    if empty:
        raise LmError("a language model needs text: there is no sentence")
    for word in ids:
        # On bytes, split knows no white space but ASCII's, as ARPA files do.
        if word.encode().split() != [word.encode()]:
            raise LmError(f"the word {word!r} is empty or has white space inside")
    return tuple(ids)


def count(text: Path, words: int, order: int, chunk: int) -> Iterator[Counts]:
    """Count the n-grams of each order, lowest first, with files beside the text, `chunk` positions at a time."""
    ids = np.memmap(text, np.int32, "r")
    # The entry of the n-gram that begins at each position; -1 where the sentence ends before.
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
        keys, raw = _merged(_runs(ids, entries, k, chunk), folder, chunk)
        if base + len(keys) > LARGEST:
            raise LmError(f"more than {LARGEST} different n-grams: take a lower order or less text")
        counts = Counts(base, keys, raw, _numbered(ids, entries, (k, base), keys, chunk))
        yield counts


def _chunks(length: int, chunk: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + chunk, length)) for start in range(0, length, chunk))


def _keys(ids: Ints, entries: Ints, order: int, span: tuple[int, int]) -> tuple[Longs, Longs]:
    """Return the keys of the n-grams that begin within a span of the text, and where."""
    start, end = span
    following = ids[start + order - 1 : end + order - 1]
    contexts = entries[start : start + len(following)]
    places = np.flatnonzero((contexts >= 0) & (following != BEGIN_ID))
    return keys_of(contexts[places], following[places]), start + places


def _runs(ids: Ints, entries: Ints, order: int, chunk: int) -> Iterator[tuple[Longs, Longs]]:
    for span in _chunks(len(ids) - order + 1, chunk):
        keys, _ = _keys(ids, entries, order, span)
        yield np.unique(keys, return_counts=True)


def _merged(runs: Iterable[tuple[Longs, Longs]], folder: Path, chunk: int) -> tuple[Longs, Longs]:
    """Spill sorted runs to files, and merge them into one of keys and one of counts."""
    spilled = 0
    for i, run in enumerate(runs):
        for name, values in zip(("keys", "counts"), run, strict=True):
            np.save(folder / f"{name}-{i}.npy", values)
        spilled += 1
    keys, counts = (
        [np.load(folder / f"{name}-{i}.npy", "r", allow_pickle=False) for i in range(spilled)]
        for name in ("keys", "counts")
    )
    with (folder / "keys").open("wb") as keys_out, (folder / "counts").open("wb") as counts_out:
        for parts in _ranges(keys, chunk):
            merged, inverse = np.unique(np.concatenate([keys[i][part] for i, part in parts]), return_inverse=True)
            weights = np.concatenate([counts[i][part] for i, part in parts])
            summed = np.zeros(len(merged), np.int64)
            np.add.at(summed, inverse, weights)
            keys_out.write(merged.tobytes())
            counts_out.write(summed.tobytes())
    del keys, counts
    for i in range(spilled):
        for name in ("keys", "counts"):
            (folder / f"{name}-{i}.npy").unlink()
    return _mapped(folder / "keys"), _mapped(folder / "counts")


def _mapped(path: Path) -> Longs:
    # A file without a byte cannot be mapped.
    return np.memmap(path, np.int64, "r") if path.stat().st_size else np.empty(0, np.int64)


def _ranges(runs: Sequence[Longs], chunk: int) -> Iterator[list[tuple[int, slice]]]:
    """Cut sorted runs at the same keys, so that the parts between two cuts have 2 `chunk` keys at most together."""
    step = max(1, chunk // max(1, len(runs)))
    samples = np.sort(np.concatenate([np.empty(0, np.int64), *(run[::step] for run in runs)]))
    cuts = np.unique(samples[:: max(1, len(runs))])[1:]
    edges = [np.concatenate([[0], np.searchsorted(run, cuts), [len(run)]]).tolist() for run in runs]
    for i in range(len(cuts) + 1):
        parts = [(run, slice(edge[i], edge[i + 1])) for run, edge in enumerate(edges) if edge[i] < edge[i + 1]]
        if parts:
            yield parts


def _numbered(ids: Ints, entries: Ints, level: tuple[int, int], keys: Longs, chunk: int) -> Ints:
    """Put the entry of the n-gram of this level at each position, and return the suffix of each entry."""
    order, base = level
    suffix = np.zeros(len(keys), np.int32)
    for start, end in _chunks(len(ids), chunk):
        wanted, places = _keys(ids, entries, order, (start, end))
        found = np.searchsorted(keys, wanted)
        # The n-gram without its first word is the shorter one that begins a position later.
        suffix[found] = entries[places + 1]
        entries[start:end] = -1
        entries[places] = base + found
    return suffix
