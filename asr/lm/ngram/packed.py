"""The packed form of an n-gram model for distribution: about three bytes per n-gram, a fifth of the binary form.

    asr-ngram-packed\\n  | uint32 format | uint32 bytes of the header | uint32 CRC-32 of that number and what follows
    header: JSON in UTF-8, then each array, deflated

Log-probabilities are multiples of `step`. What can be computed is left out: the index of the first child of an entry
follows from the numbers of children, and suffixes follow from the words. The bytes of the numbers are stored in planes,
all lowest bytes first, because that deflates better.
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
from asr.lm.ngram.model import Ints, NgramModel
from asr.lm.ngram.trie import Level
from asr.lm.text import LmError

MAGIC = b"asr-ngram-packed\n"
FORMAT = 1
_PREFIX = struct.Struct("<17sIII")
# Natural log; the largest rounding error is half of it, which has no measurable effect on perplexity.
STEP = 1 / 512
_TYPES = {"words": "<u4", "log_probs": "<u4", "backoffs": "<i4", "children": "<u4", "names": "|u1"}


def write(path: Path, model: NgramModel, step: float = STEP) -> None:
    """Write a packed file atomically, with log-probabilities rounded to multiples of `step`. Raises OSError."""
    arrays = model.arrays
    values: dict[str, npt.NDArray[Any]] = {
        "words": arrays.words[1:],
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
        out.write(_PREFIX.pack(MAGIC, FORMAT, len(header), zlib.crc32(body, len(header))) + body)


def read(path: Path) -> NgramModel:
    """Read a packed file. Raises OSError, and LmError if the file is damaged."""
    content = path.read_bytes()
    if len(content) < _PREFIX.size or not content.startswith(MAGIC):
        raise LmError(f"{path}: not a packed language model")
    _, number, length, crc = _PREFIX.unpack(content[: _PREFIX.size])
    if number != FORMAT:
        raise LmError(f"{path}: packed format {number}, but this version reads format {FORMAT}")
    # Compiled code trusts the indices in the arrays, so a damaged file must not reach it.
    if zlib.crc32(content[_PREFIX.size :], length) != crc:
        raise LmError(f"{path}: damaged or truncated")
    try:
        header = json.loads(content[_PREFIX.size : _PREFIX.size + length])
        values, start = {}, _PREFIX.size + length
        for name, kind in _TYPES.items():
            count, size = header["arrays"][name]
            values[name] = _from_planes(zlib.decompress(content[start : start + size]), count, kind)
            start += size
        words = values["names"].tobytes().decode().split("\n")
        counts, step = [int(count) for count in header["counts"]], float(header["step"])
        consistent = _is_consistent(counts, values, len(words))
    except (ValueError, KeyError, TypeError, IndexError, zlib.error) as error:
        raise LmError(f"{path}: invalid content of a packed language model ({error})") from error
    if not consistent:
        raise LmError(f"{path}: invalid content of a packed language model (inconsistent numbers)")
    return trie.assemble(words, _levels(counts, step, values))


def _is_consistent(counts: Sequence[int], values: Mapping[str, npt.NDArray[Any]], words: int) -> bool:
    """Return whether the numbers form a trie: a correct checksum does not prove that `write` wrote the file."""
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
    """Return the entries of each order with their suffixes."""
    words = values["words"].astype(np.int32)
    log_probs, backoffs = -step * values["log_probs"], step * values["backoffs"]
    parents = np.repeat(np.arange(len(values["children"]), dtype=np.int32), values["children"])
    keys = trie.keys_of(parents, words)
    suffix: Ints = np.zeros(1, np.int32)
    levels = []
    for start, end in trie.spans(counts):
        span = slice(start - 1, end - 1)
        if start == 1:
            shorter: Ints = np.zeros(end - start, np.int32)
        else:
            shorter = trie.suffixes(keys[: start - 1], suffix, parents[span], words[span])
        suffix = np.concatenate([suffix, shorter])
        levels.append(Level(parents[span], words[span], log_probs[span], backoffs[span], shorter))
    return levels


def _planes(values: npt.NDArray[Any]) -> bytes:
    """Return the lowest bytes of all numbers, then the next bytes, and so on."""
    return np.ascontiguousarray(values.view(np.uint8).reshape(len(values), values.itemsize).T).tobytes()


def _from_planes(planes: bytes, count: int, kind: str) -> npt.NDArray[Any]:
    size = np.dtype(kind).itemsize
    return np.ascontiguousarray(np.frombuffer(planes, np.uint8).reshape(size, count).T).view(kind)[:, 0]
