"""Sound files -> mono float32 waveforms at the model's sample rate."""

import math
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from asr.audio import containers, media
from asr.audio.containers import Part
from asr.audio.waveforms import (
    SAMPLE_RATE,
    AudioError,
    ChannelMix,
    Waveform,
    block_resampler,
    check_length,
    check_rate,
    check_samples,
    resample,
    to_mono,
)

_SOUND_SUFFIXES = {
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".aiff", ".aif", ".aifc"),
    *(".au", ".caf", ".w64", ".sph"),
}
MEDIA_SUFFIXES = media.SUFFIXES
# Names of recordings that are read: with PyAV, media files too.
SUFFIXES = _SOUND_SUFFIXES | (MEDIA_SUFFIXES if media.INSTALLED else set())
MEDIA_HINT = "pip install 'asr[media]'"
LONGEST = 24 * 3600.0
# Seconds by which a duration may miss the end of the file and still mean all of it.
_ROUNDING = 0.010
_NOT_AUDIO = "not a sound file of a supported format (WAV, FLAC, OGG, Opus, MP3, MP2, AIFF, AU, CAF, W64, NIST SPHERE)"
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

    `file`: a path, or a binary file object, which is copied from its position to its end, as headers are read back and
    forth. `info` is the header; `block_size` the number of samples, of all channels together, that are decoded at once,
    and `track` the audio track of a media file, such as a film, from 1 on. Files that were joined into one are read one
    after the other. Raises AudioError for a file that is missing, empty, too long or not audio, and, if `strict`, for
    one that is truncated or damaged. Otherwise what can be decoded of it is read, `notes` says what is missing, and
    `info` has the length that was read once all of it was.
    """

    def __init__(
        self, file: str | Path | BinaryIO, block_size: int = _BLOCK_SIZE, strict: bool = True, track: int = 1
    ) -> None:
        self._copies: tempfile.TemporaryDirectory[str] | None = None
        if isinstance(file, (str, os.PathLike)):
            self.path, self._name = Path(file), str(file)
        else:
            self._copies, self._name = tempfile.TemporaryDirectory(prefix="asr-"), file_name(file)
            self.path = Path(self._copies.name, "file").with_suffix(Path(self._name).suffix)
        self.notes: list[str] = []
        self._block_size = block_size
        self._strict = strict
        # The channel that was chosen for a segment in place of the average, by start and count.
        self._chosen: dict[tuple[int, int], int | None] = {}
        # For the first read. Each later one opens its own decoder: after a seek, MP3 decodes differently.
        self._unused: soundfile.SoundFile | None = None
        with ExitStack() as stack, _errors(self._name):
            stack.callback(self.close)
            if not isinstance(file, (str, os.PathLike)):
                _copy(file, self.path)
            _check_file(self.path)
            with self.path.open("rb", buffering=0) as opened:
                try:
                    self._unused = containers.open_file(self.path, opened)
                except (RuntimeError, TypeError, UnicodeError) as error:
                    if containers.is_truncated_ogg(opened):
                        raise AudioError(containers.TRUNCATED_OGG) from error
                    self._parts = self._checked(_media_parts(self.path, track))
                else:
                    if track != 1:
                        raise AudioError(f"no audio track {track}; the file has 1")
                    self._parts = self._checked(containers.parts(self.path, opened, self._unused))
            if self._unused is not None and not self._parts[0].plain:
                self._unused.close()
                self._unused = None
            stack.pop_all()  # it stays open

    def __enter__(self) -> "AudioReader":
        """Return the reader."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the file."""
        self.close()

    @property
    def info(self) -> AudioInfo:
        """Return the sample rate, the number of channels and the length."""
        first = self._parts[0]
        return AudioInfo(first.sample_rate, first.channels, sum(part.frames for part in self._parts))

    def close(self) -> None:
        """Close the file, and remove the copy of a file object; a later read opens a path again."""
        if self._unused is not None:
            self._unused.close()
            self._unused = None
        if self._copies is not None:
            self._copies.cleanup()

    def read(
        self,
        sample_rate: int = SAMPLE_RATE,
        offset: float = 0.0,
        duration: float | None = None,
        channel: int | None = None,
    ) -> Waveform:
        """Return the waveform, float32 (samples,), at `sample_rate` Hz.

        Channels are averaged, or one `channel` (from 0 on) is taken; of channels that cancel each other in the average,
        the loudest is taken, with a note. `offset` and `duration` (seconds) select a segment; a duration within 10 ms
        of the rest of the file, as rounding leaves it, means all of it. Raises AudioError for a segment that exceeds
        the file, damaged or truncated samples and digital silence.
        """
        with _errors(self._name):
            start, count = self._range(offset, duration)
            mix = ChannelMix()
            samples = _joined(self._decode(start, count, channel, mix))
            if channel is None and mix.loudest is not None:
                self._note_cancelled(mix.loudest)
                samples = _joined(self._decode(start, len(samples), mix.loudest))
            check_length(len(samples), bool(samples.any()), self.info.sample_rate, sample_rate)
            return resample(samples, self.info.sample_rate, sample_rate)

    def blocks(
        self,
        sample_rate: int = SAMPLE_RATE,
        offset: float = 0.0,
        duration: float | None = None,
        channel: int | None = None,
    ) -> Iterator[Waveform]:
        """Yield the waveform that `read` returns, in blocks of seconds. Raises AudioError as `read` does."""
        with _errors(self._name):
            start, count = self._range(offset, duration)
            if channel is None and self.info.channels > 1:
                channel = self._choose_channel(start, count)
                start, count = self._range(offset, duration)
            resample_block = block_resampler(self.info.sample_rate, sample_rate)
            done, audible = 0, False
            # The resampler must know which block is the last one, and damage may end the samples early.
            waiting: Waveform | None = None
            for mono in self._decode(start, count, channel):
                if waiting is not None:
                    yield resample_block(waiting, False)
                done += len(mono)
                audible = audible or bool(mono.any())
                waiting = mono
            if waiting is not None:
                yield resample_block(waiting, True)
            check_length(done, audible, self.info.sample_rate, sample_rate)

    def _checked(self, parts: Sequence[Part]) -> list[Part]:
        """Return the parts that can be read together. Raise AudioError, or note what cannot."""
        first = parts[0]
        check_rate(first.sample_rate)
        kept: list[Part] = []
        seconds = 0.0
        for part in parts:
            if part.fault:
                self._note(part.fault)
            if (part.sample_rate, part.channels) == (first.sample_rate, first.channels):
                kept.append(part)
            else:
                has, expected = (f"{one.sample_rate} Hz and {one.channels} channels" for one in (part, first))
                self._note(f"joined files: what follows {seconds:.1f} s has {has}, not {expected}, and is left out")
            seconds += part.frames / part.sample_rate
        if sum(part.frames for part in kept) <= 0:
            raise AudioError("; ".join([*self.notes, "0 samples"]))
        if seconds > LONGEST:
            raise AudioError(f"{seconds / 3600:.0f} hours long; the limit is {LONGEST / 3600:.0f} hours")
        return kept

    def _note(self, fault: str) -> None:
        """Raise a fault, or note it unless the reader is strict."""
        if self._strict:
            raise AudioError(fault)
        if fault not in self.notes:
            self.notes.append(fault)

    def _note_cancelled(self, channel: int) -> None:
        note = f"its channels cancel each other when averaged (opposite polarity); channel {channel + 1} is taken"
        if note not in self.notes:
            self.notes.append(note)

    def _choose_channel(self, start: int, count: int) -> int | None:
        """Return the channel to take in place of the average of the channels, None for the average."""
        if (start, count) not in self._chosen:
            mix = ChannelMix()
            for _ in self._decode(start, count, None, mix):
                pass
            if mix.loudest is not None:
                self._note_cancelled(mix.loudest)
            self._chosen[start, min(count, self.info.frames - start)] = self._chosen[start, count] = mix.loudest
        return self._chosen[start, count]

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

    def _decode(self, start: int, count: int, channel: int | None, mix: ChannelMix | None = None) -> Iterator[Waveform]:
        """Yield `count` samples from index `start` on, mono, in blocks: a header may claim any number of samples.

        `mix` is given all channels. Fewer samples are yielded of a damaged part.
        """
        if channel is not None and not 0 <= channel < self.info.channels:
            raise AudioError(f"no channel {channel + 1}; the file has {self.info.channels}")
        first = done = 0
        for index, frames in enumerate([part.frames for part in self._parts]):
            skipped = max(0, start - first)
            wanted = min(first + frames, start + count) - first - skipped
            if wanted > 0:
                for samples in self._decode_part(index, skipped, wanted):
                    mono = to_mono(samples if channel is None else samples[:, channel])
                    check_samples(mono, done)
                    if mix:
                        mix.add(samples, mono)
                    done += len(mono)
                    yield mono
            first += frames

    def _decode_part(self, index: int, start: int, count: int) -> Iterator[NDArray[np.float32]]:
        """Yield samples (samples, channels) of one part in blocks."""
        part = self._parts[index]
        sound, self._unused = self._unused if index == 0 else None, None
        with sound or part.open() as sound:
            if (sound.samplerate, sound.channels) != (part.sample_rate, part.channels) or sound.frames < part.frames:
                raise AudioError("the file was changed while it was read")
            position = 0
            if start and sound.seekable():
                position = sound.seek(start)
            # soundfile would seek after each block, after which MP3 and Opus decode differently.
            sound.seekable = lambda: False
            size = max(1, self._block_size // sound.channels)
            while position < start + count:
                # A codec that cannot seek decodes what is before the segment.
                wanted = min(size, (start if position < start else start + count) - position)
                samples, damage = _read(sound, wanted)
                if len(samples) and position >= start:
                    yield samples
                position += len(samples)
                if len(samples) < wanted:
                    announced = f"the header announces {sound.frames} samples, the file has {position}"
                    lost = f"{damage}; nothing after {position / part.sample_rate:.1f} s can be read" if damage else ""
                    self._note(lost or f"truncated: {announced}")
                    self._parts[index] = replace(part, frames=position)
                    return


def _read(sound: soundfile.SoundFile, count: int) -> tuple[NDArray[np.float32], str]:
    """Return `count` samples, or those before damage, and what the damage is; an empty text at the end of the file."""
    chunks = [np.zeros((0, sound.channels), np.float32)]
    damage = ""
    while count > 0 and not damage:
        try:
            chunk = sound.read(min(count, containers.CHUNK), dtype="float32", always_2d=True)
        except RuntimeError as error:
            damage = f"damaged: {containers.reason(error)}"
        else:
            if not len(chunk):
                break
            chunks.append(chunk)
            count -= len(chunk)
    return np.concatenate(chunks), damage


def _joined(blocks: Iterable[Waveform]) -> Waveform:
    return np.concatenate([np.zeros(0, np.float32), *blocks])


def file_name(file: BinaryIO) -> str:
    """Return the name of a file object."""
    return str(getattr(file, "name", "file object" if hasattr(file, "read") else repr(file)))


def _copy(file: BinaryIO, path: Path) -> None:
    with path.open("wb") as out:
        try:
            shutil.copyfileobj(file, out)
        except (AttributeError, TypeError) as error:
            raise AudioError("neither a path nor a file object opened in binary mode") from error


@contextmanager
def _errors(path: str) -> Iterator[None]:
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
        raise AudioError(f"{path}: damaged: {containers.reason(error)}") from error
    except Exception as error:  # of soundfile, soxr or NumPy: one recording must not stop the others
        raise AudioError(f"{path}: cannot be decoded: {type(error).__name__}: {error}") from error


def _media_parts(path: Path, track: int) -> list[Part]:
    kind = path.suffix[1:].upper()
    if not media.INSTALLED:
        unread = f"{kind} files are read with PyAV: {MEDIA_HINT}"
        raise AudioError(unread if path.suffix.lower() in MEDIA_SUFFIXES else _NOT_AUDIO)
    try:
        return media.parts(path, track, LONGEST)
    except RuntimeError as error:
        damaged = f"no readable {kind} file: truncated, damaged or of another format ({error})"
        raise AudioError(damaged if path.suffix.lower() in MEDIA_SUFFIXES else _NOT_AUDIO) from error


def _check_file(path: Path) -> None:
    if path.suffix == ".npy":
        raise AudioError('an array, not a sound file; only models with features.kind = "given" read it')
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise AudioError("a folder, not a sound file")
    if stat.S_ISFIFO(status.st_mode):
        raise AudioError("a pipe, not a file; read it as standard input: asr transcribe - < PIPE")
    if not stat.S_ISREG(status.st_mode):
        raise AudioError("not a regular file")
    if status.st_size == 0:
        raise AudioError("the file is empty (0 bytes)")


def info(file: str | Path | BinaryIO) -> AudioInfo:
    """Read the header of a sound file. Raises AudioError."""
    with AudioReader(file) as reader:
        return reader.info


def load(
    file: str | Path | BinaryIO,
    sample_rate: int = SAMPLE_RATE,
    offset: float = 0.0,
    duration: float | None = None,
    channel: int | None = None,
) -> Waveform:
    """Read a sound file as a mono waveform, float32 (samples,), as `AudioReader.read` does. Raises AudioError."""
    with AudioReader(file) as reader:
        return reader.read(sample_rate, offset, duration, channel)
