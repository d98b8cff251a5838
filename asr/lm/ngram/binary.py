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
    # Nobody else writes to the user's cache folder.
    return _load_through(target, path, packed.read, checked=False) if target else packed.read(path)


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
    checked: bool = True,
) -> NgramModel:
    """Load a file from its binary form `target`, which is written first if need be, and `checked` if it is there."""
    try:
        model, source = _open(target, checked)
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


def _check(model: NgramModel) -> None:
    """Raise ValueError if the numbers form no trie: a correct checksum does not prove that `write` wrote the file."""
    counts, arrays = model.counts, model.arrays
    total, vocabulary = 1 + sum(counts), len(model.words)
    inner = total - counts[-1]
    sizes = (
        len(arrays.words),
        len(arrays.log_probs),
        len(arrays.suffix),
        len(arrays.backoffs),
        len(arrays.first_child),
    )
    if min(counts) < 0 or counts[0] != vocabulary or sizes != (total, total, total, inner, inner + 1):
        raise ValueError("inconsistent numbers")
    fits = arrays.first_child[0] == 1 and arrays.first_child[inner] == total and inner > 0
    fits = fits and np.array_equal(arrays.words[1 : 1 + vocabulary], np.arange(vocabulary))
    # In blocks, which take little memory.
    blocks = ((start, min(start + _BLOCK, total)) for start in range(1, total, _BLOCK))
    if not (fits and all(_is_consistent(arrays, start, end, vocabulary) for start, end in blocks)):
        raise ValueError("inconsistent numbers")


def _is_consistent(arrays: Arrays, start: int, end: int, vocabulary: int) -> bool:
    """Return whether some entries have words of the vocabulary, suffixes before them and children after them."""
    inner = len(arrays.backoffs)
    words, suffix = arrays.words[start:end], arrays.suffix[start:end]
    first_child = arrays.first_child[start : min(end, inner) + 1]
    return bool(
        ((words >= 0) & (words < vocabulary)).all()
        and ((suffix >= 0) & (suffix < np.minimum(np.arange(start, end), inner))).all()
        and (np.diff(first_child) >= 0).all()
        and (first_child[:-1] > np.arange(start, max(start, min(end, inner)))).all()
    )


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


def _open(path: Path, checked: bool = True) -> tuple[NgramModel, Mapping[str, Any]]:
    """Map a file into memory and return the model and the header's source.

    With `checked` the arrays are searched for numbers that the search cannot use, such as indices outside them.
    """
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
        try:
            header = json.loads(encoded)
            expected = int(header["size"]), int(header["crc32"])
            places = {name: (int(offset), int(size)) for name, (offset, size) in header["arrays"].items()}
            counts, source = tuple(int(count) for count in header["counts"]), header["source"] or {}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise LmError(f"{path}: the header is invalid ({error})") from error
        start = _PREFIX.size + length
        start += -start % _ALIGNMENT
        # Compiled code trusts the indices in the arrays, so a damaged file must not reach it. The checksum is that of
        # the file as read: mapped pages would all count as memory of this process.
        file.seek(start)
        block, size, crc = bytearray(_BLOCK), 0, 0
        while count := file.readinto(block):
            size += count
            crc = zlib.crc32(memoryview(block)[:count], crc)
        if (size, crc) != expected:
            raise LmError(f"{path}: damaged or truncated ({size} of {expected[0]} bytes of arrays)")
        data = np.asarray(np.memmap(file, np.uint8, "r", start, shape=(size,)))
    try:
        arrays = {
            name: data[offset : offset + size].view(np.dtype(_TYPES[name])) for name, (offset, size) in places.items()
        }
        words = arrays.pop("names").tobytes().decode().split("\n")
        model = NgramModel(tuple(words), counts, Arrays(**arrays))
        if checked:
            _check(model)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise LmError(f"{path}: invalid content of a binary language model ({error})") from error
    return model, source


def _is_from(path: Path, source: Mapping[str, Any]) -> bool:
    """Return whether `source` describes the ARPA file; a copy with another time is the same file."""
    stat = path.stat()
    if stat.st_size != source.get("size"):
        return False
    return stat.st_mtime_ns == source.get("mtime_ns") or sha256(path) == source.get("sha256")
