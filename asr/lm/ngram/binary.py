"""The binary form of an n-gram model: its arrays in one file, mapped into memory.

    asr-ngram\\n  | uint32 format | uint32 bytes of the header | uint32 CRC-32 of the header | header: JSON in UTF-8
    zeros to a multiple of 64 bytes, then each array, each starting at a multiple of 64 bytes

The header has the offset and size of each array, the CRC-32 of all that follows it, and the source: size, time and
SHA-256 of the ARPA file.
"""

import json
import logging
import struct
import sys
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from asr.files import open_atomic, sha256
from asr.lm.ngram import arpa, packed
from asr.lm.ngram.model import Arrays, NgramModel
from asr.lm.text import LmError

MAGIC = b"asr-ngram\n"
FORMAT = 1
# How the files of KenLM's build_binary begin, in each of its versions.
_KENLM = b"mmap lm http://kheafield.com/code"
_PREFIX = struct.Struct("<10sIII")
_ALIGNMENT = 64
# The order and types of the arrays in the file, little-endian.
_TYPES = {"words": "<i4", "log_probs": "<f4", "backoffs": "<f4", "first_child": "<i4", "suffix": "<i4", "names": "|u1"}

_log = logging.getLogger(__name__)


def beside(path: Path) -> Path:
    """Return the path of the binary file of an ARPA file."""
    return path.with_name(f"{path.name}.bin")


def load(path: Path, on_build: Callable[[Path], None] | None = None) -> NgramModel:
    """Load a binary or packed file, or an ARPA file through the binary file beside it.

    The binary file is written if it is missing, damaged or of another ARPA file, and if the folder is writable.
    `on_build` is called with its path before the ARPA file is read. Raises OSError and LmError.
    """
    with path.open("rb") as file:
        head = file.read(max(len(packed.MAGIC), len(_KENLM)))
    if head.startswith(MAGIC):
        return read(path)
    if head.startswith(packed.MAGIC):
        return packed.read(path)
    if head.startswith(_KENLM):
        raise LmError(f"{path}: a binary file of KenLM, which cannot be read; give the ARPA file that it was made from")
    target = beside(path)
    try:
        model, source = _open(target)
        if _is_from(path, source):
            return model
        _log.info("%s: %s has changed", target, path)
    except FileNotFoundError:
        pass
    except (OSError, LmError) as error:
        _log.info("%s", error)
    if on_build:
        on_build(target)
    before = path.stat()
    model = arpa.read(path)
    digest = sha256(path)
    after = path.stat()
    if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns):
        try:
            write(target, model, {"size": after.st_size, "mtime_ns": after.st_mtime_ns, "sha256": digest})
        except OSError as error:
            _log.info("%s: not written (%s)", target, error)
    return model


def read(path: Path) -> NgramModel:
    """Map a binary file into memory. Raises OSError, and LmError if the file is damaged."""
    return _open(path)[0]


def write(path: Path, model: NgramModel, source: Mapping[str, Any] | None = None) -> None:
    """Write a binary file atomically. Raises OSError."""
    arrays = {**model.arrays._asdict(), "names": np.frombuffer("\n".join(model.words).encode(), np.uint8)}
    offset = crc = 0
    table = {}
    blocks = []
    for name, kind in _TYPES.items():
        data = np.ascontiguousarray(arrays[name], kind).tobytes()
        table[name] = [offset, len(data)]
        blocks.append(data + bytes(-len(data) % _ALIGNMENT))
        offset += len(blocks[-1])
        crc = zlib.crc32(blocks[-1], crc)
    content = {"counts": model.counts, "arrays": table, "size": offset, "crc32": crc, "source": source}
    header = json.dumps(content).encode()
    with open_atomic(path) as out:
        out.write(_PREFIX.pack(MAGIC, FORMAT, len(header), zlib.crc32(header)) + header)
        out.write(bytes(-out.tell() % _ALIGNMENT))
        out.writelines(blocks)


def _open(path: Path) -> tuple[NgramModel, Mapping[str, Any]]:
    """Map a file into memory and return the model and the header's source."""
    if sys.byteorder != "little":
        raise LmError(f"{path}: binary files are for little-endian machines; load the ARPA file")
    size = path.stat().st_size
    if size < _PREFIX.size:
        raise LmError(f"{path}: {size} bytes are too few for a binary language model")
    mapped = np.asarray(np.memmap(path, np.uint8, "r"))
    magic, number, length, crc = _PREFIX.unpack(mapped[: _PREFIX.size].tobytes())
    if magic != MAGIC:
        raise LmError(f"{path}: not a binary language model")
    if number != FORMAT:
        raise LmError(f"{path}: format {number}, but this version reads format {FORMAT}")
    start = _PREFIX.size + length
    encoded = mapped[_PREFIX.size : start].tobytes()
    if zlib.crc32(encoded) != crc:
        raise LmError(f"{path}: the header is damaged")
    header = json.loads(encoded)
    data = mapped[start + -start % _ALIGNMENT :]
    # Compiled code trusts the indices in the arrays, so a damaged file must not reach it.
    if len(data) != header["size"] or zlib.crc32(data.data) != header["crc32"]:
        raise LmError(f"{path}: damaged or truncated ({len(data)} of {header['size']} bytes of arrays)")
    arrays = {}
    for name, kind in _TYPES.items():
        offset, size = header["arrays"][name]
        arrays[name] = data[offset : offset + size].view(np.dtype(kind))
    words = arrays.pop("names").tobytes().decode().split("\n")
    return NgramModel(tuple(words), tuple(header["counts"]), Arrays(**arrays)), header["source"] or {}


def _is_from(path: Path, source: Mapping[str, Any]) -> bool:
    """Return whether `source` describes the ARPA file; a copy with another time is the same file."""
    stat = path.stat()
    if stat.st_size != source.get("size"):
        return False
    return stat.st_mtime_ns == source.get("mtime_ns") or sha256(path) == source.get("sha256")
