"""Arrays of samples -> mono float32 waveforms at the model's sample rate."""

from collections.abc import Callable

import numpy as np
import soxr
from numpy.typing import NDArray

from asr.errors import AsrError

SAMPLE_RATE = 16_000
LOWEST_RATE, HIGHEST_RATE = 2_000, 768_000
# libsndfile's limit. An array with more columns is probably transposed.
_MOST_CHANNELS = 1024
# Far above integers written as floats, far below where the power of a spectrum overflows float32.
_LOUDEST = 1e10
# The power of the mean of channels, relative to that of unrelated channels, below which they cancel each other:
# two equally loud channels do if their correlation is below -0.8.
_CANCELLED = 0.2
Waveform = NDArray[np.float32]


class AudioError(AsrError):
    """A recording that cannot be used; the message names the file and the problem."""


class SilenceError(AudioError):
    """A recording of which all samples are 0."""


def from_array(samples: NDArray[np.generic], rate: int, sample_rate: int = SAMPLE_RATE) -> Waveform:
    """Convert an array (samples,) or (samples, channels) at `rate` Hz to a mono float32 waveform at `sample_rate` Hz.

    Channels are averaged; of channels that cancel each other, the loudest is taken. Integers are scaled by their type's
    range to [-1, 1]. Raises AudioError for an array that is empty, transposed, digital silence, or has samples that are
    NaN, infinite or far outside [-1, 1], and for a rate out of range.
    """
    array = np.asarray(samples)
    if array.ndim not in (1, 2):
        raise AudioError(f"an array of {array.ndim} dimensions; expected (samples,) or (samples, channels)")
    if array.size == 0:
        raise AudioError("0 samples")
    if array.ndim == 2 and array.shape[1] > _MOST_CHANNELS:
        raise AudioError(f"{array.shape[1]} channels; expected (samples, channels), is the array transposed?")
    check_rate(rate)
    scaled = _scaled(array)
    mono = to_mono(scaled)
    check_samples(mono)
    if scaled.ndim == 2:
        mix = ChannelMix()
        mix.add(scaled, mono)
        mono = mono if mix.loudest is None else scaled[:, mix.loudest]
    check_length(len(mono), bool(mono.any()), rate, sample_rate)
    return resample(np.ascontiguousarray(mono), rate, sample_rate)


def check_rate(rate: int) -> None:
    """Raise AudioError for a sample rate that speech is not recorded at."""
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise AudioError(f"{rate} Hz; speech needs {LOWEST_RATE} to {HIGHEST_RATE} Hz")


def _scaled(array: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return an array as float32, integers scaled to [-1, 1]."""
    if array.dtype.kind == "i":
        return array.astype(np.float32) * np.float32(2.0 ** (1 - 8 * array.dtype.itemsize))
    if array.dtype.kind != "f":
        raise AudioError(f"samples of type {array.dtype}; expected floating point or signed integers")
    with np.errstate(over="ignore", invalid="ignore"):  # an overflow becomes infinite, which check_samples refuses
        return array.astype(np.float32, copy=False)


def to_mono(samples: NDArray[np.float32]) -> Waveform:
    """Return the mean of the channels of an array (samples,) or (samples, channels)."""
    if samples.ndim == 1:
        return samples
    with np.errstate(over="ignore", invalid="ignore"):
        return samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1, dtype=np.float32)


class ChannelMix:
    """Notices channels that cancel each other when they are averaged, as those of opposite polarity do."""

    def __init__(self) -> None:
        self._mean: float = 0.0
        self._channels: NDArray[np.float64] = np.zeros(1)

    def add(self, samples: NDArray[np.float32], mono: Waveform) -> None:
        """Add a block (samples, channels) and the mean of its channels (samples,)."""
        self._mean += float(np.square(mono, dtype=np.float64).sum())
        self._channels = self._channels + np.square(samples, dtype=np.float64).sum(axis=0)

    @property
    def loudest(self) -> int | None:
        """Return the index of the loudest channel if the channels cancel each other, else None."""
        count, power = len(self._channels), float(self._channels.sum())
        # The mean of channels that have nothing in common has 1 / count² of the sum of their powers.
        cancelled = count > 1 and count**2 * self._mean < _CANCELLED * power
        return int(self._channels.argmax()) if cancelled else None


def check_integers(samples: NDArray[np.generic]) -> None:
    """Raise AudioError for integers of 32 or 64 bits that all fit into a narrower type of samples.

    Scaled by the range of their own type, they would be next to silence.
    """
    array = np.asarray(samples)
    if array.dtype.kind != "i" or not array.any():
        return
    lowest, highest = int(array.min()), int(array.max())
    for narrow in (np.int16, np.int32):
        limits = np.iinfo(narrow)
        if array.dtype.itemsize > limits.bits // 8 and limits.min <= lowest and highest <= limits.max:
            raise AudioError(
                f"samples of type {array.dtype} from {lowest} to {highest} are {limits.dtype} values; integers are "
                f"scaled by the range of their type, so convert them: samples.astype(numpy.{limits.dtype})"
            )


def check_samples(mono: Waveform, start: int = 0) -> None:
    """Raise AudioError for the first sample that is not finite or far outside [-1, 1]; `start` is the first's index."""
    usable = np.abs(mono) <= _LOUDEST
    if not usable.all():
        index = int(np.argmin(usable))
        why = f"{mono[index]:g}, far outside [-1, 1]" if np.isfinite(mono[index]) else "not a number (NaN or infinite)"
        raise AudioError(f"sample {start + index} is {why}")


def check_length(count: int, audible: bool, rate: int, sample_rate: int) -> None:
    """Raise SilenceError for `count` samples that are all 0, AudioError if they make less than one at `sample_rate`."""
    if not audible:
        raise SilenceError(f"digital silence: all {count} samples are 0; was the right channel or device recorded?")
    if 2 * count * sample_rate < rate:
        raise AudioError(f"too short: {count} samples at {rate} Hz are less than one at {sample_rate} Hz")


def resample(waveform: Waveform, rate: float, sample_rate: float) -> Waveform:
    """Change the sample rate of a waveform (samples,) from `rate` to `sample_rate` Hz (soxr, high quality)."""
    if rate == sample_rate:
        return waveform
    return np.asarray(soxr.resample(waveform, rate, sample_rate), dtype=np.float32)


def block_resampler(rate: int, sample_rate: int) -> Callable[[Waveform, bool], Waveform]:
    """Return a function of (block, is_last) that resamples a waveform block by block."""
    if rate == sample_rate:
        return lambda block, is_last: np.ascontiguousarray(block)
    stream = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32")
    return lambda block, is_last: np.asarray(
        stream.resample_chunk(np.ascontiguousarray(block), last=is_last), np.float32
    )
