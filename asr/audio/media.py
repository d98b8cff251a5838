"""Containers and codecs that libsndfile does not read, such as M4A, MP4, Matroska, WebM, WMA and AMR, through PyAV.

PyAV is optional: its wheel, 36 MB, carries FFmpeg.
"""

import importlib
import importlib.util
from collections.abc import Iterator
from functools import partial
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
        """Return False: the times of packets are not exact enough to find a sample."""
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

    def announced(self) -> float:
        """Return the duration of the track that the header states, in seconds; 0 if it states none."""
        if self._container.format.name in ("aac", "amr", "ac3", "eac3", "mpeg"):
            return 0.0  # estimated from the bit rate
        if self._stream.duration:
            return float(self._stream.duration * self._stream.time_base)
        # That of Matroska files is that of the longest track.
        alone = len(self._container.streams) == 1
        return (self._container.duration or 0) / self._av.time_base if alone else 0.0

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
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except self._av.FFmpegError:  # the file ends within a packet
                self.damaged += 1
                return
            if packet is None:
                return
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
        elif not fault and decoded <= longest and file.announced() > decoded + _TOLERANCE:
            fault = f"truncated: the header announces {file.announced():.1f} s, the file has {decoded:.1f} s"
        opened = partial(MediaFile, path, track, length)
        return [Part(opened, file.samplerate, file.channels, length, fault)]
