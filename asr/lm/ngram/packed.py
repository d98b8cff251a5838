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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asr.files import open_atomic
from asr.lm.ngram import trie
from asr.lm.ngram.model import UNKNOWN_ID, Arrays, Longs, NgramModel
from asr.lm.ngram.trie import Level
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
        values, start = {}, PREFIX.size + length
        for name, kind in _TYPES.items():
            count, size = header["arrays"][name]
            values[name] = _from_planes(zlib.decompress(content[start : start + size]), count, kind)
            start += size
        words = values["names"].tobytes().decode().split("\n")
        counts, step = [int(count) for count in header["counts"]], float(header["step"])
        levels = _levels(counts, step, values, len(words), ranked=number > 1)
    except (ValueError, KeyError, TypeError, IndexError, zlib.error) as error:
        raise LmError(f"{path}: invalid content of a packed language model ({error})") from error
    return trie.assemble(words, levels, keep_backoffs=True)


def _check_sizes(counts: Sequence[int], values: Mapping[str, npt.NDArray[Any]], words: int) -> None:
    """Raise ValueError if the numbers form no trie: a correct checksum does not prove that `write` wrote the file."""
    total = sum(counts)
    sizes = {"words": total, "log_probs": total, "backoffs": total - counts[-1], "children": 1 + total - counts[-1]}
    consistent = (
        min(counts) >= 0 and counts[0] == words and all(len(values[name]) == size for name, size in sizes.items())
    )
    if consistent:
        ends = np.cumsum([0, 1, *counts[:-1]])
        children = np.concatenate([[0], np.cumsum(values["children"], dtype=np.int64)])
        consistent = np.array_equal(np.diff(children[ends]), counts)
    if not consistent:
        raise ValueError("inconsistent numbers")


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


def _levels(
    counts: Sequence[int], step: float, values: Mapping[str, npt.NDArray[Any]], vocabulary: int, ranked: bool
) -> list[Level]:
    """Return the entries of each order with their suffixes. Raises ValueError if the numbers form no trie."""
    _check_sizes(counts, values, vocabulary)
    # Numbers of 32 bits only: for large models, time is spent on new memory.
    log_probs, backoffs = (np.float32(step) * values[name].astype(np.float32) for name in ("log_probs", "backoffs"))
    np.negative(log_probs, out=log_probs)
    if values["words"].max(initial=0) >= 1 << 31:
        raise ValueError("inconsistent numbers")
    degrees = values["children"].astype(np.int32)
    first_child = 1 + np.cumsum(degrees, dtype=np.int32) - degrees
    parents = np.repeat(np.arange(len(degrees), dtype=np.int32), degrees)
    words, suffix = np.full(1, -1, np.int32), np.zeros(1, np.int32)
    levels: list[Level] = []
    for start, end in trie.spans(counts):
        span = slice(start - 1, end - 1)
        ranks = values["words"][span].astype(np.int32)
        last, shorter, absent = ranks, np.zeros(end - start, np.int32), np.empty(0, np.int64)
        if start > 1:
            contexts = suffix[parents[span]]
            known = degrees[contexts] if ranked else np.zeros(end - start, np.int32)
            absent = np.flatnonzero(ranks >= known)
            shorter = first_child[contexts] + ranks
            shorter[absent] = 0
            last = words[shorter]
            last[absent] = ranks[absent] - known[absent]
        if (start == 1 and not np.array_equal(last, np.arange(vocabulary))) or (last >= vocabulary).any():
            raise ValueError("inconsistent numbers")
        if absent.size:
            keys = trie.keys_of(parents[: start - 1], words[1:])
            shorter[absent] = trie.suffixes(keys, suffix, parents[span][absent], last[absent])
        words = np.concatenate([words, last])
        suffix = np.concatenate([suffix, shorter])
        levels.append(Level(parents[span], words[start:], log_probs[span], backoffs[span], suffix[start:]))
    return levels


def _planes(values: npt.NDArray[Any]) -> bytes:
    """Return the lowest bytes of all numbers, then the next bytes, and so on."""
    return np.ascontiguousarray(values.view(np.uint8).reshape(len(values), values.itemsize).T).tobytes()


def _from_planes(planes: bytes, count: int, kind: str) -> npt.NDArray[Any]:
    size = np.dtype(kind).itemsize
    return np.ascontiguousarray(np.frombuffer(planes, np.uint8).reshape(size, count).T).view(kind)[:, 0]
