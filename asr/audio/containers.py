"""Sound files whose headers do not tell their length, and Ogg files cut off: what libsndfile leaves to us."""

import io
import mmap
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import soundfile

_BLOCK = 1 << 16
# What libsndfile says of a FLAC file that does not state its length.
_ENDLESS = 0x7FFFFFFFFFFFFFFF
# An Ogg page: a header of 27 bytes, the count of segments as its last; their sizes; at most 255 segments of 255 bytes.
_OGG_HEADER, _OGG_PAGE = 27, 27 + 255 + 255 * 255
# MPEG layer III, by the header's index: kbit/s of version 1 and of versions 2 and 2.5, Hz of version 1.
_MPEG1_KILOBITS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG2_KILOBITS = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_MPEG1_RATES = (44_100, 48_000, 32_000)


def is_cut_off(path: Path) -> bool:
    """Tell whether an Ogg file ends within a page. libsndfile drops such a page, up to seconds of sound, silently."""
    with path.open("rb") as file:
        if file.read(4) != b"OggS":
            return False
        file.seek(max(0, path.stat().st_size - _OGG_PAGE))
        end = file.read()
    page = end[end.rfind(b"OggS") :]
    if len(page) < _OGG_HEADER:
        return True
    sizes = page[_OGG_HEADER : _OGG_HEADER + page[_OGG_HEADER - 1]]
    return len(page) < _OGG_HEADER + page[_OGG_HEADER - 1] + sum(sizes)


class Mended:
    """A file, read with some of its bytes replaced, so that hours of sound are not held in memory for that."""

    def __init__(self, path: Path, place: int, content: bytes) -> None:
        self._file = path.open("rb")
        self._place, self._content = place, content

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        first = self._file.tell()
        found = self._file.read(size)
        start, end = max(first, self._place), min(first + len(found), self._place + len(self._content))
        if start >= end:
            return found
        return found[: start - first] + self._content[start - self._place : end - self._place] + found[end - first :]

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the place."""
        return self._file.tell()

    def __del__(self) -> None:
        self._file.close()


def opened(path: Path) -> soundfile.SoundFile:
    """Open a sound file by its content, whatever its name. Raises RuntimeError (libsndfile's) and OSError."""
    if path.suffix.lower() == ".raw":
        # soundfile would ask for the rate of a file of this name; of a file without a name it does not.
        return soundfile.SoundFile(Mended(path, 0, b""))
    # A name need not be text on Unix; on Windows it is.
    return soundfile.SoundFile(path if os.name == "nt" else os.fsencode(path))


def with_length(path: Path, sound: soundfile.SoundFile) -> Mended | io.BytesIO | None:
    """Return the file with its length put into its header, where it was streamed (by ffmpeg to a pipe, say) without.

    None: its header is good as it is. Raises RuntimeError (libsndfile's) where it cannot be decoded to its end.
    """
    if sound.format in ("WAV", "WAVEX") and sound.frames == 0:
        with path.open("rb") as file:
            data = _unfinished(file, path.stat().st_size)
        return Mended(path, data + 4, b"\xff" * 4) if data else None
    if sound.format == "FLAC" and sound.frames == _ENDLESS:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            # STREAMINFO is the first block; the count of samples are 36 bits from the middle of its byte 13 on.
            place = content.find(b"fLaC") + 8 + 13
            length = (content[place] & 0xF0) << 32 | _decoded_length(sound)
        return Mended(path, place, length.to_bytes(5, "big"))
    # Where an MP3 file does not state its length, libsndfile takes the first frame's bit rate for that of all.
    if sound.format == "MP3" and re.search(r"bitrate mode\s*: constant", sound.extra_info):
        return _mp3_with_length(path.read_bytes(), sound.frames)
    return None


def _decoded_length(sound: soundfile.SoundFile) -> int:
    # soundfile would seek to the end of what it read, which libsndfile refuses where it does not know the end.
    sound.seekable = lambda: False
    length = 0
    while count := len(sound.read(_BLOCK, dtype="int16", always_2d=True)):
        length += count
    return length


def _unfinished(file: BinaryIO, size: int) -> int:
    """Return the place of a WAV file's data chunk, or 0 where its chunks fill it: it is finished, and empty."""
    place, data = 12, 0
    while place + 8 <= size:
        file.seek(place)
        header = file.read(8)
        if header[:4] == b"data":
            data = data or place
        length = int.from_bytes(header[4:], "little")
        place += 8 + length + length % 2
    return 0 if 0 <= place - size <= 1 else data


def _mp3_with_length(content: bytes, expected: int) -> io.BytesIO | None:
    frames = _mp3_frames(content)
    first = next(frames, None)
    if first is None:
        return None
    version1, mono = content[first + 1] & 0x08 != 0, content[first + 3] >> 6 == 3
    # The Xing header stands behind the side information of a frame that is otherwise silent.
    place = 4 + ((17 if mono else 32) if version1 else (9 if mono else 17))
    if content[first + place : first + place + 4] in (b"Xing", b"Info"):
        return None
    following = list(frames)
    count = 1 + len(following)
    if not following or abs(count * (1152 if version1 else 576) - expected) <= 2 * 1152:
        return None
    header = content[first : first + 4] + bytes(place - 4) + b"Xing" + (1).to_bytes(4, "big") + count.to_bytes(4, "big")
    return io.BytesIO(header.ljust(following[0] - first, b"\0") + content[first:])


def _mp3_frames(content: bytes) -> Iterator[int]:
    """Yield the place of each MPEG layer III frame."""
    place = 0
    if content[:3] == b"ID3":
        # The tag's size: four bytes of seven bits.
        place = 10 + sum(byte << shift for byte, shift in zip(content[6:10], (21, 14, 7, 0), strict=True))
    while place + 4 <= len(content):
        _, kind, rates, _ = content[place : place + 4]
        version, layer, index = kind >> 3 & 3, kind >> 1 & 3, rates >> 2 & 3
        good = content[place] == 0xFF and kind >= 0xE0 and layer == 1 and version != 1
        if not good or index == 3 or not 0 < rates >> 4 < 15:
            place += 1
            continue
        kilobits = (_MPEG1_KILOBITS if version == 3 else _MPEG2_KILOBITS)[rates >> 4]
        rate = _MPEG1_RATES[index] >> {3: 0, 2: 1, 0: 2}[version]
        size = (144 if version == 3 else 72) * kilobits * 1000 // rate + (rates >> 1 & 1)
        yield place
        place += size
