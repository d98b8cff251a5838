"""Sound files -> mono float32 waveforms at the model's sample rate."""

import math
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from asr.audio import containers
from asr.audio.waveforms import (
    SAMPLE_RATE,
    AudioError,
    Waveform,
    block_resampler,
    check_length,
    check_rate,
    check_samples,
    resample,
    to_mono,
)

SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".sph"}
LONGEST = 24 * 3600.0
# Seconds by which a duration may miss the end of the file and still mean all of it.
_ROUNDING = 0.010
_NOT_AUDIO = "not a sound file of a supported format (WAV, FLAC, OGG, Opus, MP3, AIFF, NIST SPHERE)"
_BLOCK_SIZE = 1 << 17


@dataclass(frozen=True)
class AudioInfo:
    """The header of a sound file; `frames` is the number of samples of each channel."""

    sample_rate: int
    channels: int
    frames: int

    @property
    def duration(self) -> float:
        """Return the length in seconds."""
        return self.frames / self.sample_rate


class AudioReader:
    """A sound file that is opened and checked once and read any number of times, from one thread at a time.

    `info` is its header; `block_size` the number of samples, of all channels together, that are decoded at once.
    Raises AudioError for a file that is missing, empty, truncated, too long or not audio.
    """

    def __init__(self, path: str | Path, block_size: int = _BLOCK_SIZE) -> None:
        self.path = Path(path)
        self._block_size = block_size
        self._open: Callable[[], soundfile.SoundFile] = partial(containers.open_file, self.path)
        with _errors(self.path):
            _check_file(self.path)
            with self.path.open("rb") as file:
                if containers.is_truncated_ogg(file):
                    raise AudioError("truncated: its last Ogg page is not complete")
                try:
                    # For the first read. Each later one opens its own decoder: after a seek, MP3 decodes differently.
                    self._unused: soundfile.SoundFile | None = containers.open_file(self.path, file)
                except (RuntimeError, TypeError, UnicodeError) as error:
                    raise AudioError(_NOT_AUDIO) from error
            with_length = containers.with_length(self.path, self._unused)
            if with_length is not None:
                self._unused.close()
                self._open, self._unused = with_length, with_length()
            self.info = _info(self._unused)
            try:
                _check_header(self.path, self._unused)
            except AudioError:
                self.close()
                raise

    def __enter__(self) -> "AudioReader":
        """Return the reader."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file; a later read opens it again."""
        if self._unused is not None:
            self._unused.close()
            self._unused = None

    def read(
        self,
        sample_rate: int = SAMPLE_RATE,
        offset: float = 0.0,
        duration: float | None = None,
        channel: int | None = None,
    ) -> Waveform:
        """Return the waveform, float32 (samples,), at `sample_rate` Hz.

        Channels are averaged, or one `channel` (from 0 on) is taken. `offset` and `duration` (seconds) select a
        segment; a duration within 10 ms of the rest of the file, as rounding leaves it, means all of it. Raises
        AudioError for a segment that exceeds the file, damaged or truncated samples and digital silence.
        """
        with _errors(self.path):
            start, count = self._range(offset, duration)
            samples = np.concatenate([np.zeros(0, np.float32), *self._decode(start, count, channel)])
            check_length(count, bool(samples.any()), self.info.sample_rate, sample_rate)
            return resample(samples, self.info.sample_rate, sample_rate)

    def blocks(
        self,
        sample_rate: int = SAMPLE_RATE,
        offset: float = 0.0,
        duration: float | None = None,
        channel: int | None = None,
    ) -> Iterator[Waveform]:
        """Yield the waveform that `read` returns, in blocks of seconds. Raises AudioError as `read` does."""
        with _errors(self.path):
            start, count = self._range(offset, duration)
            resample_block = block_resampler(self.info.sample_rate, sample_rate)
            done, audible = 0, False
            for mono in self._decode(start, count, channel):
                done += len(mono)
                audible = audible or bool(mono.any())
                yield resample_block(mono, done == count)
            check_length(count, audible, self.info.sample_rate, sample_rate)

    def _range(self, offset: float, duration: float | None) -> tuple[int, int]:
        """Return the index of the first sample of a segment and the number of its samples."""
        rate, frames = self.info.sample_rate, self.info.frames
        if not 0 <= offset < math.inf:
            raise AudioError(f"offset {offset:g} s; expected 0 or more seconds")
        if duration is not None and not 0 < duration < math.inf:
            raise AudioError(f"duration {duration:g} s; expected more than 0 seconds")
        start = round(offset * rate)
        if start >= frames:
            raise AudioError(f"offset {offset:g} s is not before the end of the file ({self.info.duration:.3f} s)")
        count = frames - start if duration is None else round(duration * rate)
        if abs(start + count - frames) <= _ROUNDING * rate:
            count = frames - start
        if start + count > frames:
            segment = f"{offset:g}–{offset + (duration or 0):g} s"
            raise AudioError(f"segment {segment} exceeds the file ({self.info.duration:.3f} s)")
        return start, count

    def _decode(self, start: int, count: int, channel: int | None) -> Iterator[Waveform]:
        """Yield `count` samples from index `start` on, mono, in blocks: a header may claim any number of samples."""
        if channel is not None and not 0 <= channel < self.info.channels:
            raise AudioError(f"no channel {channel + 1}; the file has {self.info.channels}")
        sound, self._unused = self._unused or self._open(), None
        with sound:
            if _info(sound) != self.info:
                raise AudioError("the file was changed while it was read")
            if start:
                sound.seek(start)
            # soundfile would seek after each block, after which MP3 and Opus decode differently.
            sound.seekable = lambda: False
            done = 0
            while done < count:
                size = min(max(1, self._block_size // sound.channels), count - done)
                samples = sound.read(size, dtype="float32", always_2d=True)
                if len(samples) < size:
                    read = start + done + len(samples)
                    raise AudioError(f"truncated: the header announces {sound.frames} samples, the file has {read}")
                mono = to_mono(samples if channel is None else samples[:, channel])
                check_samples(mono, done)
                done += size
                yield mono


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    """Raise what reading a file raises as AudioError with the file's name."""
    try:
        yield
    except AudioError as error:
        raise type(error)(f"{path}: {error}") from error.__cause__
    except (FileNotFoundError, NotADirectoryError) as error:
        raise AudioError(f"{path}: no such file") from error
    except PermissionError as error:
        raise AudioError(f"{path}: no permission to read it") from error
    except OSError as error:
        raise AudioError(f"{path}: {error.strerror or error}") from error
    except RuntimeError as error:  # libsndfile's
        raise AudioError(f"{path}: damaged: {str(error).rstrip('.')}") from error


def _info(sound: soundfile.SoundFile) -> AudioInfo:
    return AudioInfo(sound.samplerate, sound.channels, sound.frames)


def _check_file(path: Path) -> None:
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise AudioError("a folder, not a sound file")
    if not stat.S_ISREG(status.st_mode):
        raise AudioError("not a regular file")
    if status.st_size == 0:
        raise AudioError("the file is empty (0 bytes)")


def _check_header(path: Path, sound: soundfile.SoundFile) -> None:
    check_rate(sound.samplerate)
    if sound.frames <= 0:
        raise AudioError("0 samples")
    if sound.frames > LONGEST * sound.samplerate:
        hours = sound.frames / sound.samplerate / 3600
        raise AudioError(f"{hours:.0f} hours long; the limit is {LONGEST / 3600:.0f} hours")
    missing = containers.missing_samples(path, sound)
    if missing:
        raise AudioError(f"truncated: the header announces {missing}")


def info(path: str | Path) -> AudioInfo:
    """Read the header of a sound file. Raises AudioError."""
    with AudioReader(path) as reader:
        return reader.info


def load(
    path: str | Path,
    sample_rate: int = SAMPLE_RATE,
    offset: float = 0.0,
    duration: float | None = None,
    channel: int | None = None,
) -> Waveform:
    """Read a sound file as a mono waveform, float32 (samples,), as `AudioReader.read` does. Raises AudioError."""
    with AudioReader(path) as reader:
        return reader.read(sample_rate, offset, duration, channel)
