"""Container formats: files that were joined or streamed, whose headers are wrong, and what is missing of a file."""

import io
import mmap
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import soundfile

from asr.audio import mp3

_BLOCK = 1 << 16
# More files in one are taken as damage: each header that is found is opened.
_MOST_PARTS = 10_000
# Samples of each channel that are decoded in one call: libsndfile returns nothing of a call that meets damage.
CHUNK = 4096
# The length that libsndfile gives to a FLAC file that does not state it.
_FLAC_UNKNOWN = 0x7FFFFFFFFFFFFFFF
# An Ogg page: a header of 27 bytes, the count of segments as its last; their sizes; at most 255 segments of 255 bytes.
_OGG_HEADER, _OGG_PAGE = 27, 27 + 255 + 255 * 255
TRUNCATED_OGG = "truncated: its last Ogg page is not complete"


@dataclass(frozen=True)
class Part:
    """A sound file, or one of several that were joined into one file.

    `frames`: the number of its samples of each channel. `fault`: what is missing before or in it; empty if nothing is.
    `plain`: whether `open_file` opens it, since libsndfile alone reads it correctly.
    """

    open: Callable[[], soundfile.SoundFile]
    sample_rate: int
    channels: int
    frames: int
    fault: str = ""
    plain: bool = False


class SplicedFile(io.RawIOBase):
    """Reads as its pieces in order: bytes, and ranges of positions in the file at `path`, which is not held in memory.

    Raises OSError.
    """

    def __init__(self, path: Path, pieces: Sequence[bytes | range]) -> None:
        self._file = path.open("rb")
        self._pieces = pieces
        self._size = sum(map(len, pieces))
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        """Fill a buffer with the next bytes; return their number, 0 at the end."""
        before = 0
        for piece in self._pieces:
            first = self._position - before
            before += len(piece)
            if first < len(piece):
                wanted = piece[first : first + len(buffer)]
                if isinstance(wanted, range):
                    self._file.seek(wanted.start)
                    wanted = self._file.read(len(wanted))
                buffer[: len(wanted)] = wanted
                self._position += len(wanted)
                return len(wanted)
        return 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position."""
        self._position = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence])
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


def open_file(path: Path, file: BinaryIO | None = None) -> soundfile.SoundFile:
    """Open a sound file by its content; `file`: the open file. Raises RuntimeError (libsndfile's) and OSError."""
    if path.suffix.lower() == ".mp3":
        # libsndfile recognises an MP3 file that begins with other bytes by its name only. Its bytes need not be text.
        return soundfile.SoundFile(path if os.name == "nt" else os.fsencode(path))
    if os.name == "nt":  # a descriptor cannot be handed over
        return _open_pieces(path, [range(path.stat().st_size)])
    descriptor = os.dup(file.fileno()) if file else os.open(path, os.O_RDONLY)
    os.lseek(descriptor, 0, os.SEEK_SET)
    try:
        return soundfile.SoundFile(descriptor)
    except RuntimeError:
        # libsndfile does not open a WAV or AIFF file that another one follows.
        with path.open("rb") as joined:
            first, *others = _ranges(joined, path.stat().st_size)
        if not others:
            raise
        return _open_pieces(path, [first])


def _open_pieces(path: Path, pieces: Sequence[bytes | range]) -> soundfile.SoundFile:
    # libsndfile asks for as many bytes as it needs, and takes fewer for the end of the file.
    return soundfile.SoundFile(io.BufferedReader(SplicedFile(path, pieces), _BLOCK))


def parts(path: Path, file: BinaryIO, sound: soundfile.SoundFile) -> list[Part]:
    """Return the parts of a sound file, of which `sound` is the first: one, unless several files were joined.

    `file` is the open file, without a buffer. Raises RuntimeError (libsndfile's) and OSError.
    """
    # The descriptor that `sound` reads from has the same position.
    position = file.tell()
    try:
        return _find_parts(path, file, sound)
    finally:
        file.seek(position)


def _find_parts(path: Path, file: BinaryIO, sound: soundfile.SoundFile) -> list[Part]:
    size = os.fstat(file.fileno()).st_size
    if sound.format in ("WAV", "WAVEX", "RF64", "AIFF", "AU"):
        ranges = _ranges(file, size)
        if sound.subtype == "MPEG_LAYER_III" and len(ranges) == 1:
            return _mp3_in_wav(path, file, sound, size)
        return _parts(path, file, sound, ranges)
    if sound.format not in ("FLAC", "OGG", "MP3"):
        return _parts(path, file, sound, [range(size)])
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if sound.format == "MP3":
            return _mp3_parts(path, content, 0, sound) or _parts(path, file, sound, [range(size)])
        starts = _ogg_starts(content) if sound.format == "OGG" else _flac_starts(content)
        return _parts(path, file, sound, _split(size, starts))


def _split(size: int, starts: Sequence[int]) -> list[range]:
    """Return the ranges of a file that begin at `starts`; the first one begins at 0."""
    edges = [0, *starts[1:], size]
    return [range(first, end) for first, end in pairwise(edges)]


def _add(starts: list[int], position: int) -> None:
    """Add where a part begins. Raises RuntimeError, as libsndfile does for damage, if there are too many."""
    if len(starts) == _MOST_PARTS:
        raise RuntimeError(f"more than {_MOST_PARTS:,} joined files")
    starts.append(position)


def _ranges(file: BinaryIO, size: int) -> list[range]:
    """Return the ranges of the WAV, AIFF or AU files that follow each other in a file."""
    starts: list[int] = []
    end = 0
    while True:
        file.seek(min(end, size))
        length = _length(file.read(28))
        if starts and not length:
            return _split(size, starts)
        _add(starts, end)
        end += length


def _length(head: bytes) -> int:
    """Return the length that the header of a WAV, AIFF or AU file states, 0 for other bytes."""
    kind, form = head[:4], head[8:12]
    if kind == b"RIFF" and form == b"WAVE":
        length = 8 + int.from_bytes(head[4:8], "little")
    elif kind == b"RF64" and form == b"WAVE":
        length = 8 + int.from_bytes(head[20:28], "little")
    elif kind == b"FORM" and form in (b"AIFF", b"AIFC"):
        length = 8 + int.from_bytes(head[4:8], "big")
    elif kind == b".snd":
        return int.from_bytes(head[4:8], "big") + int.from_bytes(form, "big")
    else:
        return 0
    return length + length % 2


def _flac_starts(content: mmap.mmap) -> list[int]:
    """Return where the FLAC files that follow each other begin."""
    starts: list[int] = []
    position = content.find(b"fLaC")
    while position >= 0:
        frames = _flac_frames(content, position)
        # The signature alone may stand in the samples of a file.
        if frames or not starts:
            _add(starts, position)
        position = content.find(b"fLaC", frames or position + 4)
    return starts


def _flac_frames(content: mmap.mmap, position: int) -> int:
    """Return where the frames of the FLAC file at a position begin, after its metadata; 0 if no such file is there."""
    position, is_last = position + 4, False
    while not is_last:
        header = content[position : position + 4]
        if len(header) < 4:
            return 0
        is_last = bool(header[0] & 0x80)
        position += 4 + int.from_bytes(header[1:], "big")
    return position if content[position : position + 2] in (b"\xff\xf8", b"\xff\xf9") else 0


def _ogg_starts(content: mmap.mmap) -> list[int]:
    """Return where the links of a chained Ogg file begin, each with the first pages of its streams."""
    starts: list[int] = []
    is_first, position = False, content.find(b"OggS")
    while position >= 0:
        page = content[position : position + _OGG_HEADER + 255]
        was_first, is_first = is_first, len(page) > 5 and bool(page[5] & 2)
        if is_first and not was_first:
            _add(starts, position)
        position = content.find(b"OggS", position + _ogg_page_size(page))
    return starts


def _ogg_page_size(page: bytes) -> int:
    """Return the size of the Ogg page that begins with these bytes."""
    count = page[_OGG_HEADER - 1] if len(page) >= _OGG_HEADER else 0
    return _OGG_HEADER + count + sum(page[_OGG_HEADER : _OGG_HEADER + count])


def _parts(path: Path, file: BinaryIO, sound: soundfile.SoundFile, ranges: Sequence[range]) -> list[Part]:
    if len(ranges) == 1:
        return [_part(path, file, sound, ranges[0], plain=True)]
    found: list[Part] = []
    for number, bounds in enumerate(ranges, 1):
        try:
            with _open_pieces(path, [bounds]) as one:
                found.append(_part(path, file, one, bounds, plain=False))
        except RuntimeError as error:
            fault = f"damaged: part {number} of {len(ranges)} joined files: {reason(error)}"
            found.append(Part(partial(_open_pieces, path, [bounds]), sound.samplerate, sound.channels, 0, fault))
    return found


def reason(error: RuntimeError) -> str:
    """Return what an error of libsndfile says, without the name of the file."""
    return str(error).rpartition(": ")[2].rstrip(".")


def _part(path: Path, file: BinaryIO, sound: soundfile.SoundFile, bounds: range, plain: bool) -> Part:
    """Return the part in a range of the file, with the length that its header lacks; `sound` is the part, opened."""
    header = partial(Part, sample_rate=sound.samplerate, channels=sound.channels)
    pieces: list[bytes | range] = [bounds]
    fault = missing_samples(file, bounds, sound)
    if sound.format in ("WAV", "WAVEX") and sound.frames == 0:
        data = _unfinished_data_chunk(file, bounds)
        if data:
            pieces = [range(bounds.start, data + 4), b"\xff" * 4, range(data + 8, bounds.stop)]
            with _open_pieces(path, pieces) as streamed:
                return header(partial(_open_pieces, path, pieces), frames=streamed.frames)
    elif sound.format == "FLAC" and sound.frames == _FLAC_UNKNOWN:
        with _open_pieces(path, pieces) as streamed:
            length, fault = _decoded_length(streamed)
        # The number of samples is the 36 bits from the middle of STREAMINFO's byte 13 on.
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            place = content.find(b"fLaC", bounds.start) + 8 + 13
            number = (content[place] & 0xF0) << 32 | length
        pieces = [range(bounds.start, place), number.to_bytes(5, "big"), range(place + 5, bounds.stop)]
        return header(partial(_open_pieces, path, pieces), frames=length, fault=fault)
    opened = partial(open_file, path) if plain else partial(_open_pieces, path, pieces)
    frames = sound.frames
    if sound.subtype.startswith("MPEG"):
        # Outside MP3 files, and in layers I and II, libsndfile estimates the length.
        with opened() as estimated:
            frames, damage = _decoded_length(estimated)
        fault = fault or damage
    return header(opened, frames=frames, fault=fault, plain=plain)


def _decoded_length(sound: soundfile.SoundFile) -> tuple[int, str]:
    """Return the number of samples that can be decoded, and what ended it before the end of the file."""
    # soundfile would seek after each read, which libsndfile refuses where it does not know the length.
    sound.seekable = lambda: False
    length = 0
    try:
        while count := len(sound.read(CHUNK, dtype="int16", always_2d=True)):
            length += count
    except RuntimeError as error:
        return length, f"damaged: {reason(error)}"
    return length, ""


def _unfinished_data_chunk(file: BinaryIO, bounds: range) -> int:
    """Return the position of a WAV file's data chunk, or 0 if its chunks fill the file: it is finished, and empty."""
    position, data = bounds.start + 12, 0
    while position + 8 <= bounds.stop:
        file.seek(position)
        header = file.read(8)
        if header[:4] == b"data":
            data = data or position
        length = int.from_bytes(header[4:], "little")
        position += 8 + length + length % 2
    return 0 if 0 <= position - bounds.stop <= 1 else data


def _mp3_in_wav(path: Path, file: BinaryIO, sound: soundfile.SoundFile, size: int) -> list[Part]:
    """Return the parts of the MP3 file in a WAV file, of which libsndfile estimates the length."""
    fault = missing_samples(file, range(size), sound)
    position = 12
    while position + 8 <= size:
        file.seek(position)
        header = file.read(8)
        length = int.from_bytes(header[4:], "little")
        if header[:4] == b"data":
            found = _mp3_parts(path, file.read(length), position + 8)
            if found:
                return [replace(found[0], fault=fault or found[0].fault), *found[1:]]
        position += 8 + length + length % 2
    return _parts(path, file, sound, [range(size)])


def _mp3_parts(
    path: Path, content: mp3.Content, offset: int = 0, sound: soundfile.SoundFile | None = None
) -> list[Part]:
    """Return the parts of an MP3 file, none if it has no frames of layer III of a known size.

    `offset`: its position in the file at `path`. `sound`: that file, opened, if the MP3 file is all of it.
    """
    runs = mp3.runs(content)
    found = []
    for run, following in zip(runs, [*runs[1:], None], strict=False):
        start = run.first - run.skipped
        fault = f"damaged: {run.skipped} bytes at byte {start} are not MPEG frames" if run.skipped else ""
        if sound and len(runs) == 1 and run.xing is not None:
            return [Part(partial(open_file, path), sound.samplerate, sound.channels, sound.frames, fault, plain=True)]
        # Without its length, libsndfile assumes the first frame's bit rate throughout.
        length: list[bytes | range] = [mp3.xing_frame(run)] if run.xing is None else []
        end = following.first if following else len(content)
        opened = partial(_open_pieces, path, [*length, range(offset + run.first, offset + end)])
        try:
            with opened() as one:
                frames, rate, channels = one.frames, one.samplerate, one.channels
                if run.xing is None or (following and following.skipped and run.xing > run.count):
                    frames, damage = _decoded_length(one)
                    fault = fault or damage
        except RuntimeError:
            continue  # a few bytes that look like a frame
        if frames:
            found.append(Part(opened, rate, channels, frames, fault))
    return found


def is_truncated_ogg(file: BinaryIO, bounds: range | None = None) -> bool:
    """Return whether a file, or a range of one, is Ogg and ends within a page.

    libsndfile silently drops such a page, up to seconds, or does not open the file.
    """
    bounds = bounds or range(os.fstat(file.fileno()).st_size)
    file.seek(bounds.start)
    if file.read(4) != b"OggS":
        return False
    file.seek(max(bounds.start, bounds.stop - _OGG_PAGE))
    end = file.read(bounds.stop - file.tell())
    page = end[end.rfind(b"OggS") :]
    return len(page) < _ogg_page_size(page)


def missing_samples(file: BinaryIO, bounds: range, sound: soundfile.SoundFile) -> str:
    """Return what is missing at the end of a WAV, AIFF, SPHERE or Ogg file in a range of `file`, or an empty text."""
    if sound.format == "OGG":
        return TRUNCATED_OGG if is_truncated_ogg(file, bounds) else ""
    # libsndfile notes in its log, as "data : 32000 (should be 15956)", that fewer bytes follow than the header claims.
    sizes = re.findall(
        r"^\s*(?:data|SSND|Data Size|riff|Riff size)\s*:\s*(\d+)\s*\(should be (\d+)", sound.extra_info, re.M
    )
    for claimed, actual in sizes:
        # Streaming writers leave a size just under 2 or 4 GiB: whole blocks, less the header.
        unknown = 2**31 - _BLOCK <= int(claimed) <= 2**31 or int(claimed) >= 2**32 - _BLOCK
        if int(claimed) > int(actual) and not unknown:
            return f"truncated: the header announces {claimed} bytes, the file has {actual}"
    if sound.format == "NIST":
        file.seek(bounds.start)
        claim = re.search(rb"^sample_count -i (\d+)", file.read(1024), re.M)
        if claim and int(claim[1]) > sound.frames:
            return f"truncated: the header announces {int(claim[1])} samples, the file has {sound.frames}"
    return ""
