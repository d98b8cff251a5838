"""Containers and codecs that libsndfile does not read, such as M4A, MP4, Matroska, WebM, WMA and AMR, through PyAV.

PyAV is optional: its wheel, 36 MB, carries FFmpeg.
"""

import importlib
import importlib.util
import struct
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asr.audio.containers import Part
from asr.audio.waveforms import AudioError

if TYPE_CHECKING:
    from av import AudioFrame
    from av.container import InputContainer

INSTALLED = importlib.util.find_spec("av") is not None
SUFFIXES = {
    *(".m4a", ".m4b", ".aac", ".ac3", ".amr", ".awb", ".wma", ".ape", ".wv", ".mka", ".spx"),
    *(".mp4", ".m4v", ".webm", ".mkv", ".mov", ".avi", ".wmv", ".flv", ".mpg", ".mpeg", ".3gp"),
}
# FFmpeg's names of the formats. Others, such as playlists, open further files and addresses.
_FORMATS = "mov,mp4,m4a,3gp,matroska,webm,asf,aac,ac3,eac3,amr,ape,avi,flv,mpeg,ogg,wv"
# PyAV reads the file itself; FFmpeg must open nothing else.
_OPTIONS = {"format_whitelist": _FORMATS, "protocol_whitelist": "none"}
_BUFFER = 1 << 17
# The object of an ASF header with, after its size and the id of the file: the size of the file, its date, the number of
# packets, the duration (100 ns, with the preroll), that of sending, the preroll (ms) and flags.
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_FIELDS = struct.Struct("<6QI")
# Seconds by which the samples may fall short of the announced duration: it is rounded, and codecs have delays.
_TOLERANCE = 0.5


class MediaFile:
    """An audio track of a media file, with those attributes of a soundfile.SoundFile that `AudioReader` uses.

    `track` counts from 1. `sample_rate` and `channels` are those of the first samples. Packets that cannot be decoded
    are left out, and counted in `damaged`. Raises RuntimeError if the file is not one of the formats, and AudioError
    if it has no such track.
    """

    def __init__(self, path: Path, track: int = 1, frames: int = 0) -> None:
        self._av: Any = importlib.import_module("av")
        self._path = path
        # The end of the last packet of all tracks, in seconds.
        self._end = 0.0
        self._file = path.open("rb")
        try:
            self._container: InputContainer = self._av.open(self._file, buffer_size=_BUFFER, options=_OPTIONS)
        except (self._av.FFmpegError, UnicodeError) as error:
            self._file.close()
            raise RuntimeError(getattr(error, "strerror", None) or str(error)) from error
        try:
            self._stream: Any = self._select(track)
            self.frames, self.damaged = frames, 0
            self._samples = self._decode()
            first = next(self._samples, None)
            if first is None:
                raise AudioError("its audio track has no samples that can be decoded")
        except BaseException:
            self.close()
            raise
        self._rest = first
        self.channels = first.shape[1]

    def __enter__(self) -> "MediaFile":
        """Return the file."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._container.close()
        self._file.close()

    def seekable(self) -> bool:
        """Return False: a decoder that starts at another packet may return other samples.

        An AAC decoder replaces noise by random numbers whose state no seek restores, and Opus needs half a second to
        give the same samples again; in Matroska files, times are rounded to milliseconds.
        """
        return False

    def read(self, count: int, **_: object) -> NDArray[np.float32]:
        """Return the next `count` samples, float32 (samples, channels); fewer at the end. Raises RuntimeError."""
        chunks: list[NDArray[np.float32]] = []
        while count > 0:
            if not len(self._rest):
                following = next(self._samples, None)
                if following is None:
                    break
                self._rest = following
            chunks.append(self._rest[:count])
            self._rest = self._rest[count:]
            count -= len(chunks[-1])
        return np.concatenate(chunks) if chunks else np.zeros((0, self.channels), np.float32)

    def missing(self, decoded: float) -> str:
        """Return what the file lacks at its end, after `decoded` seconds of the track were read to the end."""
        if self._container.format.name in ("aac", "amr", "ac3", "eac3", "mpeg"):
            return ""  # the duration is estimated from the bit rate
        if self._container.format.name == "avi":
            # FFmpeg knows only what is there.
            with self._path.open("rb") as file:
                announced_size = 8 + int.from_bytes(file.read(8)[4:], "little")
            size = self._path.stat().st_size
            message = f"truncated: the header announces {announced_size} bytes, the file has {size}"
            return message if announced_size > size else ""
        if self._container.format.name == "asf":
            announced, decoded = _asf_duration(self._path), max(decoded, self._end)
        elif self._stream.duration:
            announced = float(self._stream.duration * self._stream.time_base)
        else:
            # That of the longest track, which may be another one.
            announced, decoded = (self._container.duration or 0) / self._av.time_base, max(decoded, self._end)
        if announced <= decoded + _TOLERANCE:
            return ""
        return f"truncated: the header announces {announced:.1f} s, the file has {decoded:.1f} s"

    def _select(self, track: int) -> Any:
        tracks = self._container.streams.audio
        if not tracks:
            raise AudioError("has no audio track")
        if track > len(tracks):
            names = [
                " ".join(filter(None, [str(number), one.metadata.get("language"), one.metadata.get("title")]))
                for number, one in enumerate(tracks, 1)
            ]
            raise AudioError(f"no audio track {track}; the file has {len(tracks)} ({', '.join(names)})")
        if tracks[track - 1].codec_context is None:
            raise AudioError(f"the codec of audio track {track} is not known to FFmpeg")
        return tracks[track - 1]

    def _decode(self) -> Iterator[NDArray[np.float32]]:
        self.samplerate = channels = 0
        packets: Any = self._container.demux()
        while True:
            try:
                packet = next(packets, None)
            except self._av.FFmpegError:  # the file ends within a packet
                self.damaged += 1
                return
            if packet is None:
                return
            if packet.pts is not None and packet.time_base:
                self._end = max(self._end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if packet.stream.index != self._stream.index:
                continue
            try:
                decoded = packet.decode()
            except self._av.EOFError:
                return
            except self._av.FFmpegError:
                self.damaged += 1
                continue
            for frame in decoded:
                samples = _to_float(frame)
                self.samplerate = self.samplerate or frame.sample_rate
                channels = channels or samples.shape[1]
                if (frame.sample_rate, samples.shape[1]) != (self.samplerate, channels):
                    has, expected = (
                        f"{frame.sample_rate} Hz and {samples.shape[1]}",
                        f"{self.samplerate} Hz and {channels}",
                    )
                    raise RuntimeError(f"changes to {has} channels from {expected}")
                if len(samples):
                    yield samples


def _asf_duration(path: Path) -> float:
    """Return the duration that the header of an ASF file states, in seconds; 0 if it states none.

    FFmpeg estimates another one if the file has not the size that the header states.
    """
    with path.open("rb") as file:
        header = file.read(_BUFFER)
    place = header.find(_ASF_FILE_PROPERTIES)
    if place < 0 or len(header) < place + 40 + _ASF_FIELDS.size:
        return 0.0
    *_, duration, _, preroll, flags = _ASF_FIELDS.unpack_from(header, place + 40)
    is_broadcast = flags & 1
    return 0.0 if is_broadcast else float(duration / 1e7 - preroll / 1e3)


def _to_float(frame: "AudioFrame") -> NDArray[np.float32]:
    array: NDArray[Any] = frame.to_ndarray()
    array = array.T if frame.format.is_planar else array.reshape(-1, frame.layout.nb_channels)
    if array.dtype == np.uint8:
        return (array.astype(np.float32) - np.float32(128)) / np.float32(128)
    scale = 1.0 if array.dtype.kind == "f" else float(np.iinfo(array.dtype).max) + 1
    return np.ascontiguousarray(array / np.float32(scale)).astype(np.float32)


def parts(path: Path, track: int, longest: float) -> list[Part]:
    """Return the one part of a media file, which is decoded once, as its header states its length inexactly.

    `longest`: the number of seconds after which decoding ends. Raises RuntimeError for other files, and AudioError.
    """
    status = path.stat()
    return [_part(path, track, longest, status.st_size, status.st_mtime_ns)]


# A file with many segments is opened for each of them.
@lru_cache(maxsize=256)
def _part(path: Path, track: int, longest: float, size: int, modified: int) -> Part:
    fault, length = "", 0
    with MediaFile(path, track) as file:
        try:
            while length <= longest * file.samplerate and (count := len(file.read(_BUFFER))):
                length += count
        except RuntimeError as error:
            fault = f"damaged: {error}"
        decoded = length / file.samplerate
        if file.damaged:
            fault = f"damaged: {file.damaged} packets cannot be decoded"
        elif not fault and decoded <= longest:
            fault = file.missing(decoded)
        opened = partial(MediaFile, path, track, length)
        return Part(opened, file.samplerate, file.channels, length, fault)
