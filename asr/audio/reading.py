"""Sound files and arrays -> mono float32 waveforms at the model's sample rate."""

import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from asr.audio import containers
from asr.errors import AsrError

SAMPLE_RATE = 16_000
SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".sph"}
LOWEST_RATE, HIGHEST_RATE = 2_000, 768_000
LONGEST = 24 * 3600.0
# libsndfile's limit; more "channels" are samples.
_MOST_CHANNELS = 1024
_ROUNDING = 0.010
# Far above integers written as floats, far below where the power of a spectrum overflows float32.
_LOUDEST = 1e10
_NOT_AUDIO = "not a sound file that can be read; WAV, FLAC, OGG, Opus, MP3, AIFF and NIST SPHERE can"
_SILENCE = "digital silence: all {} samples are 0; was the right channel or device recorded?"
_TOO_SHORT = "too short: {} samples at {} Hz are less than one at {} Hz"
_BLOCK, _PIECE = 1 << 16, 1 << 17
Waveform = NDArray[np.float32]


class AudioError(AsrError):
    """A recording that cannot be used; the message names the file and what is wrong with it."""


class SilenceError(AudioError):
    """A recording of which all samples are 0."""


@dataclass(frozen=True)
class AudioInfo:
    """What the header of a sound file says; `duration` in seconds."""

    sample_rate: int
    channels: int
    frames: int

    @property
    def duration(self) -> float:
        """Return the length in seconds."""
        return self.frames / self.sample_rate


@contextmanager
def _open(path: Path) -> Iterator[soundfile.SoundFile]:
    try:
        _check_file(path)
        sound = containers.opened(path)
        mended = _mended(path, sound)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise AudioError(f"{path}: no such file") from error
    except PermissionError as error:
        raise AudioError(f"{path}: no permission to read it") from error
    except OSError as error:
        raise AudioError(f"{path}: {error.strerror or error}") from error
    except (RuntimeError, TypeError, UnicodeError) as error:
        raise AudioError(f"{path}: {_NOT_AUDIO}") from error
    with mended:
        _check_header(path, mended)
        yield mended


def _mended(path: Path, sound: soundfile.SoundFile) -> soundfile.SoundFile:
    """Return the sound file, opened anew with its length in the header where its writer could not know it."""
    try:
        whole = containers.with_length(path, sound)
    except RuntimeError as error:
        raise AudioError(f"{path}: damaged: {str(error).rstrip('.')}") from error
    if whole is None:
        return sound
    sound.close()
    return soundfile.SoundFile(whole)


def _check_file(path: Path) -> None:
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise AudioError(f"{path}: a folder, not a sound file")
    if not stat.S_ISREG(status.st_mode):
        raise AudioError(f"{path}: not a regular file")
    if status.st_size == 0:
        raise AudioError(f"{path}: the file is empty (0 bytes)")
    if containers.is_cut_off(path):
        raise AudioError(f"{path}: truncated: its last Ogg page is cut off")


def _check_header(path: Path, sound: soundfile.SoundFile) -> None:
    if not LOWEST_RATE <= sound.samplerate <= HIGHEST_RATE:
        raise AudioError(f"{path}: {sound.samplerate} Hz; speech needs {LOWEST_RATE} to {HIGHEST_RATE} Hz")
    if sound.frames <= 0:
        raise AudioError(f"{path}: 0 samples")
    if sound.frames > LONGEST * sound.samplerate:
        hours = sound.frames / sound.samplerate / 3600
        raise AudioError(f"{path}: {hours:.0f} hours long; at most {LONGEST / 3600:.0f} can be read at once")
    # libsndfile notes in its log, as "data : 32000 (should be 15956)", that fewer bytes follow than the header claims.
    sizes = re.findall(r"^\s*(?:data|SSND|Data Size)\s*:\s*(\d+)\s*\(should be (\d+)", sound.extra_info, re.M)
    for declared, actual in sizes:
        if int(declared) > int(actual) and not _is_unknown(int(declared)):
            raise AudioError(f"{path}: truncated: the header announces {declared} bytes of samples, {actual} are there")
    if sound.format == "NIST":
        with path.open("rb") as file:
            count = re.search(rb"^sample_count -i (\d+)", file.read(1024), re.M)
        if count and int(count[1]) > sound.frames:
            found = f"{int(count[1])} samples, {sound.frames} are there"
            raise AudioError(f"{path}: truncated: the header announces {found}")


def _is_unknown(size: int) -> bool:
    """Tell the sizes that streaming writers leave: just under 2 or 4 GiB (whole blocks, less the header)."""
    return 2**31 - _BLOCK <= size <= 2**31 or size >= 2**32 - _BLOCK


def info(path: str | Path) -> AudioInfo:
    """Read the header of a sound file. Raises AudioError."""
    with _open(Path(path)) as sound:
        return AudioInfo(sound.samplerate, sound.channels, sound.frames)


def load(
    path: str | Path,
    sample_rate: int = SAMPLE_RATE,
    offset: float = 0.0,
    duration: float | None = None,
    channel: int | None = None,
) -> Waveform:
    """Read a sound file as a mono waveform, float32 (samples,), at `sample_rate` Hz.

    Channels are averaged, or one `channel` (from 0 on) is taken. `offset` and `duration` (seconds) choose a part; a
    duration that differs from what is left of the file by no more than 10 ms, as rounding makes it, means all of it.
    Raises AudioError for a file that is missing, empty, truncated, silent, too long or not audio.
    """
    path = Path(path)
    with _open(path) as sound:
        wanted = _seek(path, sound, offset, duration)
        samples = np.concatenate([np.zeros(0, np.float32), *_pieces(path, sound, wanted, channel)])
        try:
            return from_array(samples, sound.samplerate, sample_rate)
        except AudioError as error:
            raise type(error)(f"{path}: {error}") from None


def blocks(
    path: str | Path,
    sample_rate: int = SAMPLE_RATE,
    offset: float = 0.0,
    duration: float | None = None,
    channel: int | None = None,
) -> Iterator[Waveform]:
    """Yield the waveform that `load` returns, in blocks of seconds. Raises AudioError as `load` does."""
    path = Path(path)
    with _open(path) as sound:
        wanted = _seek(path, sound, offset, duration)
        change = _changer(sound.samplerate, sample_rate)
        done, heard, made = 0, False, 0
        for mono in _pieces(path, sound, wanted, channel):
            done += len(mono)
            heard = heard or bool(mono.any())
            block = change(mono, done == wanted)
            made += len(block)
            yield block
        if not heard:
            raise SilenceError(f"{path}: {_SILENCE.format(wanted)}")
        if not made:
            raise AudioError(f"{path}: {_TOO_SHORT.format(wanted, sound.samplerate, sample_rate)}")


def _seek(path: Path, sound: soundfile.SoundFile, offset: float, duration: float | None) -> int:
    """Go to the offset; return the samples that the duration has."""
    start = round(offset * sound.samplerate)
    if start >= sound.frames:
        seconds = sound.frames / sound.samplerate
        raise AudioError(f"{path}: offset {offset:g} s lies behind its end ({seconds:.3f} s)")
    left = int(sound.frames) - start
    wanted: int = left if duration is None else round(duration * sound.samplerate)
    if abs(wanted - left) <= _ROUNDING * sound.samplerate:
        wanted = left
    if wanted > left:
        raise AudioError(
            f"{path}: {duration:g} s from {offset:g} s on are wanted, {left / sound.samplerate:.3f} s are there"
        )
    try:
        if start:
            sound.seek(start)
    except RuntimeError as error:
        raise _damaged(path, error) from error
    return wanted


def _pieces(path: Path, sound: soundfile.SoundFile, wanted: int, channel: int | None) -> Iterator[Waveform]:
    """Yield so many samples, mono, in pieces: a header may claim any number of samples and channels."""
    start, done = sound.tell(), 0
    # soundfile would seek after each piece, after which MP3 and Opus sound otherwise than read on.
    sound.seekable = lambda: False
    while done < wanted:
        count = min(max(1, _PIECE // sound.channels), wanted - done)
        samples = _channel(path, _read(path, sound, count, start + done), channel)
        try:
            mono = _mono(samples)
            _check_samples(mono, done)
        except AudioError as error:
            raise AudioError(f"{path}: {error}") from None
        done += count
        yield mono


def _read(path: Path, sound: soundfile.SoundFile, wanted: int, start: int) -> Waveform:
    """Read so many samples (samples, channels); the file stands at sample `start`."""
    try:
        samples: Waveform = sound.read(wanted, dtype="float32", always_2d=True)
    except RuntimeError as error:
        raise _damaged(path, error) from error
    if len(samples) < wanted:
        raise AudioError(f"{path}: truncated: {start + len(samples)} of {sound.frames} samples are there")
    return samples


def _damaged(path: Path, error: RuntimeError) -> AudioError:
    return AudioError(f"{path}: damaged: {str(error).rstrip('.')}")


def _channel(path: Path, samples: Waveform, channel: int | None) -> Waveform:
    if channel is None:
        return samples
    if not 0 <= channel < samples.shape[1]:
        raise AudioError(f"{path}: no channel {channel + 1}; it has {samples.shape[1]}")
    return samples[:, channel]


def from_array(samples: NDArray[np.generic], rate: int, sample_rate: int = SAMPLE_RATE) -> Waveform:
    """Turn an array (samples,) or (samples, channels) at `rate` Hz into a mono float32 waveform at `sample_rate` Hz.

    Integers are scaled by their type's range to [-1, 1]. Raises AudioError for an array that is empty, transposed,
    digital silence, or has samples that are NaN, infinite or absurdly large, and for an absurd rate.
    """
    array = np.asarray(samples)
    if array.ndim not in (1, 2):
        raise AudioError(f"an array of {array.ndim} dimensions; (samples,) or (samples, channels) is meant")
    if array.size == 0:
        raise AudioError("0 samples")
    if array.ndim == 2 and array.shape[1] > _MOST_CHANNELS:
        raise AudioError(f"{array.shape[1]} channels; (samples, channels) is meant, is the array transposed?")
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise AudioError(f"{rate} Hz; speech needs {LOWEST_RATE} to {HIGHEST_RATE} Hz")
    mono = _mono(array)
    _check_samples(mono)
    if not mono.any():
        raise SilenceError(_SILENCE.format(len(mono)))
    waveform = resample(np.ascontiguousarray(mono), rate, sample_rate)
    if len(waveform) == 0:
        raise AudioError(_TOO_SHORT.format(len(mono), rate, sample_rate))
    return waveform


def _mono(samples: NDArray[np.generic]) -> Waveform:
    array = np.asarray(samples)
    if array.dtype.kind == "i":
        array = array.astype(np.float32) / np.float32(-float(np.iinfo(array.dtype).min))
    elif array.dtype.kind != "f":
        raise AudioError(f"samples of type {array.dtype}; floating point or signed integers are meant")
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is infinite, and refused later
        mono = array.astype(np.float32, copy=False)
        if array.ndim == 2:
            mono = mono[:, 0] if array.shape[1] == 1 else mono.mean(axis=1, dtype=np.float32)
    return mono


def _check_samples(mono: Waveform, before: int = 0) -> None:
    usable = np.abs(mono) <= _LOUDEST
    if not usable.all():
        index = int(np.argmin(usable))
        why = f"{mono[index]:g}, far outside [-1, 1]" if np.isfinite(mono[index]) else "not a number (NaN or infinite)"
        raise AudioError(f"sample {before + index} is {why}")


def _changer(rate: int, sample_rate: int) -> Callable[[Waveform, bool], Waveform]:
    """Return what changes the sample rate block by block; with True, of the last block."""
    if rate == sample_rate:
        return lambda block, last: np.ascontiguousarray(block)
    stream = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32")
    return lambda block, last: np.asarray(stream.resample_chunk(np.ascontiguousarray(block), last=last), np.float32)


def resample(waveform: Waveform, rate: float, sample_rate: float) -> Waveform:
    """Change the sample rate of a waveform (samples,) from `rate` to `sample_rate` Hz (soxr, high quality)."""
    if rate == sample_rate:
        return waveform
    return np.asarray(soxr.resample(waveform, rate, sample_rate), dtype=np.float32)
