"""The compact form of a model: its arrays in one file beside the ARPA, mapped into memory.

    asr-ngram\\n  | uint32 format | uint32 bytes of the header | uint32 CRC-32 of the header | header: JSON in UTF-8
    zeros to a multiple of 64 bytes, then each array, each starting at a multiple of 64 bytes

The header says where each array starts, the CRC-32 of all that follows it, and of which ARPA file it was made.
"""

import hashlib
import json
import logging
import struct
import sys
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asr.files import open_atomic
from asr.lm.ngram import Arrays, NgramModel, arpa, packed
from asr.lm.text import LmError

MAGIC = b"asr-ngram\n"
FORMAT = 1
PREFIX = struct.Struct("<10sIII")
ALIGNMENT = 64
# The order in the file, and the type of each; little-endian, as all machines that run this are.
KINDS = {"words": "<i4", "log_probs": "<f4", "backoffs": "<f4", "first_child": "<i4", "suffix": "<i4", "names": "|u1"}
PART = 1 << 24

log = logging.getLogger(__name__)


def beside(path: Path) -> Path:
    """Return the name of the compact file of an ARPA file."""
    return path.with_name(f"{path.name}.bin")


def load(path: Path, on_build: Callable[[Path], None] | None = None) -> NgramModel:
    """Load a model from a compact or packed file, or from an ARPA file by way of the compact file beside it.

    That file is made if it is missing, broken or older than the ARPA; a folder that cannot be written to goes without.
    `on_build` is called with its name before the ARPA is read for it. Raises OSError and LmError.
    """
    with path.open("rb") as file:
        head = file.read(len(packed.MAGIC))
    if head.startswith(MAGIC):
        return read(path)
    if head == packed.MAGIC:
        return packed.read(path)
    compact = beside(path)
    try:
        model, source = _opened(compact)
        if _is_of(path, source):
            return model
        log.info("%s: %s has changed", compact, path)
    except FileNotFoundError:
        pass
    except (OSError, LmError) as error:
        log.info("%s", error)
    if on_build:
        on_build(compact)
    before = path.stat()
    model = arpa.read(path)
    digest = _digest(path)
    after = path.stat()
    if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns):
        try:
            write(compact, model, {"size": after.st_size, "mtime_ns": after.st_mtime_ns, "sha256": digest})
        except OSError as error:
            log.info("%s: not written (%s)", compact, error)
    return model


def read(path: Path) -> NgramModel:
    """Map a compact file into memory; raises OSError, and LmError if it is not whole."""
    return _opened(path)[0]


def write(path: Path, model: NgramModel, source: Mapping[str, Any] | None = None) -> None:
    """Write a compact file, all of it or nothing; raises OSError."""
    names = np.frombuffer("\n".join(model.words).encode(), np.uint8)
    arrays = {**model.arrays._asdict(), "names": names}
    offset = crc = 0
    places = {}
    parts = []
    for name, kind in KINDS.items():
        data = np.ascontiguousarray(arrays[name], kind).tobytes()
        padded = data + bytes(-len(data) % ALIGNMENT)
        places[name] = [offset, len(data)]
        offset += len(padded)
        crc = zlib.crc32(padded, crc)
        parts.append(padded)
    body = {"counts": model.counts, "arrays": places, "size": offset, "crc32": crc, "source": source}
    header = json.dumps(body).encode()
    with open_atomic(path) as out:
        out.write(PREFIX.pack(MAGIC, FORMAT, len(header), zlib.crc32(header)) + header)
        out.write(bytes(-out.tell() % ALIGNMENT))
        for part in parts:
            out.write(part)


def _opened(path: Path) -> tuple[NgramModel, Mapping[str, Any]]:
    """Map a file, and return the model and what the header says of its source."""
    if sys.byteorder != "little":
        raise LmError(f"{path}: compact files are for little-endian machines; load the ARPA")
    size = path.stat().st_size
    if size < PREFIX.size:
        raise LmError(f"{path}: {size} bytes are no compact language model")
    mapped = np.asarray(np.memmap(path, np.uint8, "r"))
    magic, number, length, crc = PREFIX.unpack(mapped[: PREFIX.size].tobytes())
    if magic != MAGIC:
        raise LmError(f"{path}: not a compact language model")
    if number != FORMAT:
        raise LmError(f"{path}: format {number}, but this program reads format {FORMAT}")
    packed = mapped[PREFIX.size : PREFIX.size + length].tobytes()
    if zlib.crc32(packed) != crc:
        raise LmError(f"{path}: the header is broken")
    header = json.loads(packed)
    start = PREFIX.size + length
    data = mapped[start + -start % ALIGNMENT :]
    # Compiled code trusts the indices in the arrays, so a damaged file must not reach it.
    if len(data) != header["size"] or _crc(data) != header["crc32"]:
        raise LmError(f"{path}: broken or cut off ({len(data)} of {header['size']} bytes of arrays)")
    return _model(data, header), header["source"] or {}


def _model(data: npt.NDArray[np.uint8], header: Mapping[str, Any]) -> NgramModel:
    arrays = {}
    for name, kind in KINDS.items():
        offset, size = header["arrays"][name]
        arrays[name] = data[offset : offset + size].view(np.dtype(kind))
    words = arrays.pop("names").tobytes().decode().split("\n")
    return NgramModel(tuple(words), tuple(header["counts"]), Arrays(**arrays))


def _crc(data: npt.NDArray[np.uint8]) -> int:
    crc = 0
    for start in range(0, len(data), PART):
        crc = zlib.crc32(data[start : start + PART].data, crc)
    return crc


def _is_of(path: Path, source: Mapping[str, Any]) -> bool:
    """Return whether a compact file was made of what now stands in the ARPA; a copy with a new time is the same."""
    stat = path.stat()
    if stat.st_size != source.get("size"):
        return False
    return stat.st_mtime_ns == source.get("mtime_ns") or _digest(path) == source.get("sha256")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
