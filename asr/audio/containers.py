"""Container formats: streamed files whose headers lack the length, and truncated files that libsndfile accepts."""

import io
import mmap
import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

import soundfile

_BLOCK = 1 << 16
# The length that libsndfile gives to a FLAC file that does not state it.
_FLAC_UNKNOWN = 0x7FFFFFFFFFFFFFFF
# An Ogg page: a header of 27 bytes, the count of segments as its last; their sizes; at most 255 segments of 255 bytes.
_OGG_HEADER, _OGG_PAGE = 27, 27 + 255 + 255 * 255
# MPEG layer III, by the header's index: kbit/s of version 1 and of versions 2 and 2.5, Hz of version 1.
_MPEG1_KILOBITS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG2_KILOBITS = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_MPEG1_RATES = (44_100, 48_000, 32_000)


class PatchedFile:
    """A file that reads as if `content` stood at `position`; recordings of hours are not held in memory for that."""

    def __init__(self, path: Path, position: int, content: bytes) -> None:
        self._file = path.open("rb")
        self._position, self._content = position, content

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        first = self._file.tell()
        data = self._file.read(size)
        start, end = max(first, self._position), min(first + len(data), self._position + len(self._content))
        if start >= end:
            return data
        patch = self._content[start - self._position : end - self._position]
        return data[: start - first] + patch + data[end - first :]

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the position."""
        return self._file.tell()

    def __del__(self) -> None:
        self._file.close()


def open_file(path: Path, file: BinaryIO | None = None) -> soundfile.SoundFile:
    """Open a sound file by its content; `file`: the open file. Raises RuntimeError (libsndfile's) and OSError."""
    if path.suffix.lower() == ".mp3":
        # libsndfile recognises an MP3 file that begins with other bytes by its name only. Its bytes need not be text.
        return soundfile.SoundFile(path if os.name == "nt" else os.fsencode(path))
    if os.name == "nt":  # a descriptor cannot be handed over
        return _open_patched(path, 0, b"")
    descriptor = os.dup(file.fileno()) if file else os.open(path, os.O_RDONLY)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return soundfile.SoundFile(descriptor)


def _open_patched(path: Path, position: int, content: bytes) -> soundfile.SoundFile:
    return soundfile.SoundFile(PatchedFile(path, position, content))


def with_length(path: Path, sound: soundfile.SoundFile) -> Callable[[], soundfile.SoundFile] | None:
    """Return a function that opens the file with its length in the header, or None if the header has it.

    Streamed files, of ffmpeg to a pipe for example, lack it. Raises RuntimeError (libsndfile's) and OSError.
    """
    if sound.format in ("WAV", "WAVEX") and sound.frames == 0:
        with path.open("rb") as file:
            data = _unfinished_data_chunk(file, path.stat().st_size)
        return partial(_open_patched, path, data + 4, b"\xff" * 4) if data else None
    if sound.format == "FLAC" and sound.frames == _FLAC_UNKNOWN:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            # STREAMINFO is the first block; the number of samples is the 36 bits from the middle of its byte 13 on.
            position = content.find(b"fLaC") + 8 + 13
            length = (content[position] & 0xF0) << 32 | _decoded_length(sound)
        return partial(_open_patched, path, position, length.to_bytes(5, "big"))
    # For an MP3 file that does not state its length, libsndfile assumes the first frame's bit rate throughout.
    if sound.format == "MP3" and re.search(r"bitrate mode\s*: constant", sound.extra_info):
        mp3 = _mp3_with_length(path.read_bytes(), sound.frames)
        return None if mp3 is None else lambda: soundfile.SoundFile(io.BytesIO(mp3))
    return None


def _decoded_length(sound: soundfile.SoundFile) -> int:
    # soundfile would seek after each read, which libsndfile refuses where it does not know the length.
    sound.seekable = lambda: False
    length = 0
    while count := len(sound.read(_BLOCK, dtype="int16", always_2d=True)):
        length += count
    return length


def _unfinished_data_chunk(file: BinaryIO, size: int) -> int:
    """Return the position of a WAV file's data chunk, or 0 if its chunks fill the file: it is finished, and empty."""
    position, data = 12, 0
    while position + 8 <= size:
        file.seek(position)
        header = file.read(8)
        if header[:4] == b"data":
            data = data or position
        length = int.from_bytes(header[4:], "little")
        position += 8 + length + length % 2
    return 0 if 0 <= position - size <= 1 else data


def _mp3_with_length(content: bytes, expected: int) -> bytes | None:
    """Return the file with a Xing frame before its frames, or None if it has one or is as long as expected."""
    frames = _mp3_frames(content)
    first = next(frames, None)
    if first is None:
        return None
    version1, mono = content[first + 1] & 0x08 != 0, content[first + 3] >> 6 == 3
    # The Xing header follows the side information of a frame that is otherwise silent.
    xing = 4 + ((17 if mono else 32) if version1 else (9 if mono else 17))
    if content[first + xing : first + xing + 4] in (b"Xing", b"Info"):
        return None
    following = list(frames)
    count = 1 + len(following)
    if not following or abs(count * (1152 if version1 else 576) - expected) <= 2 * 1152:
        return None
    header = content[first : first + 4] + bytes(xing - 4) + b"Xing" + (1).to_bytes(4, "big") + count.to_bytes(4, "big")
    return header.ljust(following[0] - first, b"\0") + content[first:]


def _mp3_frames(content: bytes) -> Iterator[int]:
    """Yield the position of each MPEG layer III frame."""
    position = 0
    if content[:3] == b"ID3":
        # The tag's size: four bytes of seven bits.
        position = 10 + sum(byte << shift for byte, shift in zip(content[6:10], (21, 14, 7, 0), strict=True))
    while position + 4 <= len(content):
        _, kind, rates, _ = content[position : position + 4]
        version, layer, index = kind >> 3 & 3, kind >> 1 & 3, rates >> 2 & 3
        valid = content[position] == 0xFF and kind >= 0xE0 and layer == 1 and version != 1
        if not valid or index == 3 or not 0 < rates >> 4 < 15:
            position += 1
            continue
        kilobits = (_MPEG1_KILOBITS if version == 3 else _MPEG2_KILOBITS)[rates >> 4]
        rate = _MPEG1_RATES[index] >> {3: 0, 2: 1, 0: 2}[version]
        size = (144 if version == 3 else 72) * kilobits * 1000 // rate + (rates >> 1 & 1)
        yield position
        position += size


def is_truncated_ogg(file: BinaryIO) -> bool:
    """Return whether a file is Ogg and ends within a page. libsndfile silently drops such a page, up to seconds."""
    if file.read(4) != b"OggS":
        return False
    file.seek(max(0, file.seek(0, os.SEEK_END) - _OGG_PAGE))
    end = file.read()
    page = end[end.rfind(b"OggS") :]
    if len(page) < _OGG_HEADER:
        return True
    sizes = page[_OGG_HEADER : _OGG_HEADER + page[_OGG_HEADER - 1]]
    return len(page) < _OGG_HEADER + page[_OGG_HEADER - 1] + sum(sizes)


def missing_samples(path: Path, sound: soundfile.SoundFile) -> str | None:
    """Return "X bytes, the file has Y" if a WAV, AIFF or SPHERE header claims more than follows, else None."""
    # libsndfile notes in its log, as "data : 32000 (should be 15956)", that fewer bytes follow than the header claims.
    sizes = re.findall(r"^\s*(?:data|SSND|Data Size)\s*:\s*(\d+)\s*\(should be (\d+)", sound.extra_info, re.M)
    for claimed, actual in sizes:
        # Streaming writers leave a size just under 2 or 4 GiB: whole blocks, less the header.
        unknown = 2**31 - _BLOCK <= int(claimed) <= 2**31 or int(claimed) >= 2**32 - _BLOCK
        if int(claimed) > int(actual) and not unknown:
            return f"{claimed} bytes of samples, the file has {actual}"
    if sound.format == "NIST":
        with path.open("rb") as file:
            claim = re.search(rb"^sample_count -i (\d+)", file.read(1024), re.M)
        if claim and int(claim[1]) > sound.frames:
            return f"{int(claim[1])} samples, the file has {sound.frames}"
    return None
