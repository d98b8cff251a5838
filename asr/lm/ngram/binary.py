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

from asr.caching import cache_folder, user_cache
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
# Bytes of a packed file from which on mapping is faster than unpacking by more than a moment.
_WORTH_CACHING = 1 << 20
_BLOCK = 1 << 18
# The order and types of the arrays in the file, little-endian.
_TYPES = {"words": "<i4", "log_probs": "<f4", "backoffs": "<f4", "first_child": "<i4", "suffix": "<i4", "names": "|u1"}

_log = logging.getLogger(__name__)


def beside(path: Path) -> Path:
    """Return the path of the binary file of an ARPA file."""
    return path.with_name(f"{path.name}.bin")


def load(path: Path, on_build: Callable[[Path], None] | None = None) -> NgramModel:
    """Load a binary file, or an ARPA or packed file through its binary form.

    The binary form is written if it is missing, damaged or of another file, and if its folder is writable. That of an
    ARPA file is beside it; `on_build` is called with its path before the ARPA file is read. That of a packed file is in
    the user's cache folder. Raises OSError and LmError.
    """
    with path.open("rb") as file:
        head = file.read(max(packed.PREFIX.size, len(_KENLM)))
    if head.startswith(MAGIC):
        return read(path)
    if head.startswith(_KENLM):
        raise LmError(f"{path}: a binary file of KenLM, which cannot be read; give the ARPA file that it was made from")
    if not head.startswith(packed.MAGIC):
        return _load_through(beside(path), path, arpa.read, on_build)
    target = _cached(path, head)
    return _load_through(target, path, packed.read) if target else packed.read(path)


def _cached(path: Path, head: bytes) -> Path | None:
    """Return the path of the binary form of a packed file, by its size and the checksum in its head."""
    size = path.stat().st_size
    if size < _WORTH_CACHING:
        return None
    folder = cache_folder(f"lm-{head[: packed.PREFIX.size][-4:].hex()}-{size}", [user_cache()])
    return folder and folder / "lm.bin"


def _load_through(
    target: Path,
    path: Path,
    read_source: Callable[[Path], NgramModel],
    on_build: Callable[[Path], None] | None = None,
) -> NgramModel:
    """Load a file from its binary form `target`, which is written first if need be."""
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
    model = read_source(path)
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
    blocks: list[memoryview | bytes] = []
    for name, kind in _TYPES.items():
        data = np.ascontiguousarray(arrays[name], kind)
        padding = bytes(-data.nbytes % _ALIGNMENT)
        table[name] = [offset, data.nbytes]
        blocks += [data.data, padding]
        offset += data.nbytes + len(padding)
        crc = zlib.crc32(padding, zlib.crc32(data.data, crc))
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
    with path.open("rb", buffering=0) as file:
        prefix = file.read(_PREFIX.size)
        if len(prefix) < _PREFIX.size:
            raise LmError(f"{path}: {len(prefix)} bytes are too few for a binary language model")
        magic, number, length, crc = _PREFIX.unpack(prefix)
        if magic != MAGIC:
            raise LmError(f"{path}: not a binary language model")
        if number != FORMAT:
            raise LmError(f"{path}: format {number}, but this version reads format {FORMAT}")
        encoded = file.read(length)
        if zlib.crc32(encoded) != crc:
            raise LmError(f"{path}: the header is damaged")
        header = json.loads(encoded)
        start = _PREFIX.size + length
        start += -start % _ALIGNMENT
        # Compiled code trusts the indices in the arrays, so a damaged file must not reach it. The checksum is that of
        # the file as read: mapped pages would all count as memory of this process.
        file.seek(start)
        block, size, crc = bytearray(_BLOCK), 0, 0
        while count := file.readinto(block):
            size += count
            crc = zlib.crc32(memoryview(block)[:count], crc)
        if size != header["size"] or crc != header["crc32"]:
            raise LmError(f"{path}: damaged or truncated ({size} of {header['size']} bytes of arrays)")
        data = np.asarray(np.memmap(file, np.uint8, "r", start, shape=(size,)))
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
