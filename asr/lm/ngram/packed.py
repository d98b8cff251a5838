"""The packed form of an n-gram model for distribution: two to three bytes per n-gram, an eighth of the binary form.

    asr-ngram-packed\\n  | uint32 format | uint32 bytes of the header | uint32 CRC-32 of that number and what follows
    header: JSON in UTF-8, then each array, deflated

Log-probabilities are multiples of `step`. What can be computed is left out: the index of the first child of an entry
follows from the numbers of children. Almost always the n-gram without its first word is in the model too; then `words`
has its rank among the children of its parent, which gives both the suffix and the word (Pibiri and Venturini, 2019).
Otherwise `words` has the number of these children plus the word. In format 1 `words` has the words. The bytes of the
numbers are stored in planes, all lowest bytes first, and frequent words have low ids, because that deflates better.
"""

import json
import struct
import zlib
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asr.files import open_atomic
from asr.lm.ngram import trie
from asr.lm.ngram.model import UNKNOWN_ID, Arrays, Floats, Ints, Longs, NgramModel
from asr.lm.text import LmError

MAGIC = b"asr-ngram-packed\n"
FORMAT = 2
PREFIX = struct.Struct("<17sIII")
# Natural log; the largest rounding error is half of it. It changed the perplexity of the English 4-gram by 0.1 %.
STEP = 1 / 16
_TYPES = {"words": "<u4", "log_probs": "<u4", "backoffs": "<i4", "children": "<u4", "names": "|u1"}


def write(path: Path, model: NgramModel, step: float = STEP) -> None:
    """Write a packed file atomically, with log-probabilities rounded to multiples of `step`. Raises OSError."""
    order = np.argsort(-model.arrays.log_probs[1 : 1 + len(model.words)], kind="stable").astype(np.int32)
    model = trie.reordered(model, np.concatenate([[UNKNOWN_ID], order[order != UNKNOWN_ID]]).astype(np.int32))
    arrays = model.arrays
    values: dict[str, npt.NDArray[Any]] = {
        "words": _ranks(arrays),
        "log_probs": np.rint(-arrays.log_probs[1:].astype(np.float64) / step).clip(0, 2**32 - 1),
        "backoffs": np.rint(arrays.backoffs[1:].astype(np.float64) / step).clip(-(2**31), 2**31 - 1),
        "children": np.diff(arrays.first_child),
        "names": np.frombuffer("\n".join(model.words).encode(), np.uint8),
    }
    parts = [zlib.compress(_planes(values[name].astype(kind)), 9) for name, kind in _TYPES.items()]
    sizes = {name: [len(values[name]), len(part)] for name, part in zip(_TYPES, parts, strict=True)}
    header = json.dumps({"counts": model.counts, "step": step, "arrays": sizes}).encode()
    body = b"".join([header, *parts])
    with open_atomic(path) as out:
        out.write(PREFIX.pack(MAGIC, FORMAT, len(header), zlib.crc32(body, len(header))) + body)


def read(path: Path) -> NgramModel:
    """Read a packed file. Raises OSError, and LmError if the file is damaged."""
    content = path.read_bytes()
    if len(content) < PREFIX.size or not content.startswith(MAGIC):
        raise LmError(f"{path}: not a packed language model")
    _, number, length, crc = PREFIX.unpack(content[: PREFIX.size])
    if number not in (1, FORMAT):
        raise LmError(f"{path}: packed format {number}, but this version reads formats 1 to {FORMAT}")
    # Compiled code trusts the indices in the arrays, so a damaged file must not reach it.
    if zlib.crc32(content[PREFIX.size :], length) != crc:
        raise LmError(f"{path}: damaged or truncated")
    try:
        header = json.loads(content[PREFIX.size : PREFIX.size + length])
        sizes = {name: (int(count), int(size)) for name, (count, size) in header["arrays"].items()}
        starts = dict(
            zip(_TYPES, accumulate((sizes[name][1] for name in _TYPES), initial=PREFIX.size + length), strict=False)
        )

        def values(name: str) -> npt.NDArray[Any]:
            part = content[starts[name] : starts[name] + sizes[name][1]]
            return _from_planes(zlib.decompress(part), sizes[name][0], _TYPES[name])

        words = values("names").tobytes().decode().split("\n")
        counts, step = [int(count) for count in header["counts"]], float(header["step"])
        arrays = _arrays(counts, step, values, len(words), ranked=number > 1)
    except (ValueError, KeyError, TypeError, IndexError, zlib.error) as error:
        raise LmError(f"{path}: invalid content of a packed language model ({error})") from error
    return NgramModel(tuple(words), tuple(counts), arrays)


def _ranks(arrays: Arrays) -> Longs:
    """Return what `words` has: the rank of each n-gram's suffix, or the number of ranks plus the word."""
    parents = trie.parents_of(arrays, 1, len(arrays.words))
    suffix, words = arrays.suffix[1:].astype(np.int64), arrays.words[1:].astype(np.int64)
    ranks = words.copy()
    # A unigram has its word, which is the rank of the suffix of a bigram, too.
    later = np.flatnonzero(parents)
    contexts = arrays.suffix[parents[later]]
    first, count = arrays.first_child[contexts], np.diff(arrays.first_child)[contexts]
    rank = suffix[later] - first
    ranks[later] = np.where((rank >= 0) & (rank < count), rank, count + words[later])
    return ranks


def _arrays(
    counts: Sequence[int], step: float, values: Callable[[str], npt.NDArray[Any]], vocabulary: int, ranked: bool
) -> Arrays:
    """Return the trie, given the numbers in the file. Raises ValueError if they form none.

    For large models, most time is spent on new memory: numbers have 32 bits, and each array is freed after its use.
    """
    total = 1 + sum(counts)
    first_child = _first_child(counts, values("children"), vocabulary)
    ranks, words, suffix = values("words"), np.full(total, -1, np.int32), np.zeros(total, np.int32)
    if len(ranks) != total - 1 or ranks.max(initial=0) >= 1 << 31:
        raise ValueError("inconsistent numbers")
    before = 0
    for start, end in trie.spans(counts):
        last = ranks[start - 1 : end - 1].astype(np.int32)
        shorter, absent = np.zeros_like(last), np.empty(0, np.int64)
        if before:
            parents = _parents(first_child, before, start)
            contexts = suffix[parents]
            known = first_child[contexts + 1] - first_child[contexts] if ranked else np.zeros_like(last)
            absent = np.flatnonzero(last >= known)
            shorter = first_child[contexts] + last
            shorter[absent] = 0
            own = last[absent] - known[absent]
            last = words[shorter]
            last[absent] = own
        if (not before and not np.array_equal(last, np.arange(vocabulary))) or (last >= vocabulary).any():
            raise ValueError("inconsistent numbers")
        if absent.size:
            keys = trie.keys_of(_parents(first_child, 0, before), words[1:start])
            shorter[absent] = trie.suffixes(keys, suffix[:start], parents[absent], own)
        words[start:end], suffix[start:end] = last, shorter
        before = start
    del ranks
    log_probs = _scaled(values("log_probs"), -step, total)
    arrays = Arrays(words, log_probs, _scaled(values("backoffs"), step, total - counts[-1]), first_child, suffix)
    for array in arrays:
        array.setflags(write=False)
    return arrays


def _first_child(counts: Sequence[int], children: npt.NDArray[np.uint32], vocabulary: int) -> Ints:
    """Return the index of the first child of each entry, given the numbers of children.

    Raises ValueError if they form no trie: a correct checksum does not prove that `write` wrote the file.
    """
    if min(counts) < 0 or counts[0] != vocabulary or len(children) != 1 + sum(counts[:-1]):
        raise ValueError("inconsistent numbers")
    # Also if the numbers of children are too large for 32 bits.
    ends = np.cumsum([0, 1, *counts[:-1]])
    if [int(children[start:end].sum(dtype=np.int64)) for start, end in pairwise(ends.tolist())] != list(counts):
        raise ValueError("inconsistent numbers")
    first_child = np.ones(len(children) + 1, np.int32)
    np.cumsum(children, dtype=np.int32, out=first_child[1:])
    first_child[1:] += 1
    return first_child


def _parents(first_child: Ints, start: int, end: int) -> Ints:
    """Return the parent of each child of the entries `start` to `end` (exclusive)."""
    return np.repeat(np.arange(start, end, dtype=np.int32), np.diff(first_child[start : end + 1]))


def _scaled(values: npt.NDArray[Any], step: float, size: int) -> Floats:
    """Return 0 and the multiples of `step`."""
    if len(values) != size - 1:
        raise ValueError("inconsistent numbers")
    scaled = np.zeros(size, np.float32)
    np.multiply(values, np.float32(step), out=scaled[1:], dtype=np.float32, casting="unsafe")
    return scaled


def _planes(values: npt.NDArray[Any]) -> bytes:
    """Return the lowest bytes of all numbers, then the next bytes, and so on."""
    return np.ascontiguousarray(values.view(np.uint8).reshape(len(values), values.itemsize).T).tobytes()


def _from_planes(planes: bytes, count: int, kind: str) -> npt.NDArray[Any]:
    size = np.dtype(kind).itemsize
    return np.ascontiguousarray(np.frombuffer(planes, np.uint8).reshape(size, count).T).view(kind)[:, 0]
