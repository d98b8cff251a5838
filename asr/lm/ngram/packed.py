"""The packed form of a model, to be handed on: some three bytes for an n-gram, a fifth of the compact form.

    asr-ngram-packed\\n  | uint32 format | uint32 bytes of the header | uint32 CRC-32 of that number and what follows
    header: JSON in UTF-8, then each array, deflated

Logs of probabilities are whole multiples of `step`, of which a text loses nothing that could be measured. What can be
found again is left out: where the children of an entry stand follows from how many they are, and which n-gram ends
another one from the words. Each number stands as its lower byte in one plane and its upper ones in others, for deflate.
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
from asr.lm.ngram import Ints, NgramModel, trie
from asr.lm.ngram.trie import Level
from asr.lm.text import LmError

MAGIC = b"asr-ngram-packed\n"
FORMAT = 1
PREFIX = struct.Struct("<17sIII")
# Natural log: half of it is the largest error.
STEP = 1 / 512
KINDS = {"words": "<u4", "log_probs": "<u4", "backoffs": "<i4", "children": "<u4", "names": "|u1"}

Bytes = npt.NDArray[np.uint8]


def write(path: Path, model: NgramModel, step: float = STEP) -> None:
    """Write a model, whole or not at all, its logs as multiples of `step`. Raises OSError."""
    arrays = model.arrays
    values: dict[str, npt.NDArray[Any]] = {
        "words": arrays.words[1:],
        "log_probs": np.rint(-arrays.log_probs[1:].astype(np.float64) / step).clip(0, 2**32 - 1),
        "backoffs": np.rint(arrays.backoffs[1:].astype(np.float64) / step).clip(-(2**31), 2**31 - 1),
        "children": np.diff(arrays.first_child),
        "names": np.frombuffer("\n".join(model.words).encode(), np.uint8),
    }
    parts = [zlib.compress(_planes(values[name].astype(kind)), 9) for name, kind in KINDS.items()]
    sizes = {name: [len(values[name]), len(part)] for name, part in zip(KINDS, parts, strict=True)}
    header = json.dumps({"counts": model.counts, "step": step, "arrays": sizes}).encode()
    body = b"".join([header, *parts])
    with open_atomic(path) as out:
        out.write(PREFIX.pack(MAGIC, FORMAT, len(header), _crc(len(header), body)) + body)


def read(path: Path) -> NgramModel:
    """Read a model; raises OSError, and LmError if the file is not whole."""
    content = path.read_bytes()
    if len(content) < PREFIX.size or not content.startswith(MAGIC):
        raise LmError(f"{path}: not a packed language model")
    _, number, length, crc = PREFIX.unpack(content[: PREFIX.size])
    if number != FORMAT:
        raise LmError(f"{path}: packed format {number}, but this program reads format {FORMAT}")
    # Compiled code trusts the indices in the arrays, so a damaged file must not reach it.
    if _crc(length, content[PREFIX.size :]) != crc:
        raise LmError(f"{path}: broken or cut off")
    try:
        header = json.loads(content[PREFIX.size : PREFIX.size + length])
        values, start = {}, PREFIX.size + length
        for name, kind in KINDS.items():
            count, size = header["arrays"][name]
            values[name] = _joined(zlib.decompress(content[start : start + size]), count, kind)
            start += size
        words = values["names"].tobytes().decode().split("\n")
        counts, step = [int(count) for count in header["counts"]], float(header["step"])
        fits = _fits(counts, values, len(words))
    except (ValueError, KeyError, TypeError, IndexError, zlib.error) as error:
        raise LmError(f"{path}: not what a packed language model has in it ({error})") from error
    if not fits:
        raise LmError(f"{path}: not what a packed language model has in it (numbers that do not fit)")
    return trie.assemble(words, _levels(counts, step, values))


def _fits(counts: Sequence[int], values: Mapping[str, npt.NDArray[Any]], words: int) -> bool:
    """Say whether the numbers of a file are those of a trie: a right sum was not always reckoned by `write`."""
    total = sum(counts)
    sizes = {"words": total, "log_probs": total, "backoffs": total - counts[-1], "children": 1 + total - counts[-1]}
    if min(counts) < 0 or counts[0] != words or any(len(values[name]) != size for name, size in sizes.items()):
        return False
    ends = np.cumsum([0, 1, *counts[:-1]])
    children = np.concatenate([[0], np.cumsum(values["children"], dtype=np.int64)])
    return bool(
        np.array_equal(values["words"][:words], np.arange(words))
        and (values["words"] < words).all()
        and np.array_equal(np.diff(children[ends]), counts)
    )


def _levels(counts: Sequence[int], step: float, values: Mapping[str, npt.NDArray[Any]]) -> list[Level]:
    """Return the entries of each order, and find again which n-gram ends each."""
    words = values["words"].astype(np.int32)
    log_probs, backoffs = -step * values["log_probs"], step * values["backoffs"]
    parents = np.repeat(np.arange(len(values["children"]), dtype=np.int32), values["children"])
    keys = trie.keys_of(parents, words)
    suffix: Ints = np.zeros(1, np.int32)
    levels = []
    for start, end in trie.spans(counts):
        span = slice(start - 1, end - 1)
        if start == 1:
            found: Ints = np.zeros(end - start, np.int32)
        else:
            found = trie.suffixes(keys[: start - 1], suffix, parents[span], words[span])
        suffix = np.concatenate([suffix, found])
        levels.append(Level(parents[span], words[span], log_probs[span], backoffs[span], found))
    return levels


def _crc(length: int, body: bytes) -> int:
    return zlib.crc32(body, length)


def _planes(values: npt.NDArray[Any]) -> bytes:
    """Return the lowest bytes of all numbers, then the next ones, and so on."""
    return np.ascontiguousarray(values.view(np.uint8).reshape(len(values), values.itemsize).T).tobytes()


def _joined(planes: bytes, count: int, kind: str) -> npt.NDArray[Any]:
    size = np.dtype(kind).itemsize
    return np.ascontiguousarray(np.frombuffer(planes, np.uint8).reshape(size, count).T).view(kind)[:, 0]
