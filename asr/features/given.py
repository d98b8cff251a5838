"""Given features: arrays (T, F) that a manifest names in place of recordings, such as pen strokes or EEG.

They are NumPy's .npy files, mapped into memory and never unpickled.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from asr.audio import AudioError, AudioReader
from asr.corpora.manifest import Utterance
from asr.features.settings import Features, FeatureSettings

# Seconds, and frames, by which a duration may miss the end of the array and still mean all of it.
_ROUNDING_SECONDS, _ROUNDING_FRAMES = 0.001, 1
# Frames that `blocks` yields together.
_BLOCK = 1 << 12


class FeatureArrayError(AudioError):
    """A feature array that cannot be used. It is an AudioError, as an array is read where a recording would be."""


@dataclass(frozen=True)
class ArrayInfo:
    """The length of an array in seconds; it has one channel."""

    duration: float
    channels: int = 1


class ArrayReader:
    """A feature array, read as AudioReader reads a recording; frames take the place of samples.

    Raises FeatureArrayError for a file that is not an array (T, F) of floating point numbers with the settings' F.
    """

    notes: Sequence[str] = ()

    def __init__(self, file: str | Path | BinaryIO, settings: FeatureSettings) -> None:
        if not isinstance(file, str | Path):
            raise FeatureArrayError('features.kind = "given" needs the path of a .npy file')
        self._path, self._hop = Path(file), settings.hop
        try:
            self._array: NDArray[np.floating] = np.lib.format.open_memmap(self._path, mode="r")
        except OSError as error:
            raise FeatureArrayError(f"{file}: {error.strerror or error}") from error
        except Exception as error:  # whatever NumPy raises for damaged headers, and for pickled objects
            raise FeatureArrayError(f"{file}: not a .npy file of numbers: {error}") from error
        check_shape(self._array, settings, f"{file}: ")
        self.info = ArrayInfo(len(self._array) * settings.hop)

    def __enter__(self) -> "ArrayReader":
        """Return the reader."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the file."""

    def close(self) -> None:
        """Close the file, which NumPy has done after mapping it."""

    def read(
        self, rate: float = 0.0, offset: float = 0.0, duration: float | None = None, channel: int | None = None
    ) -> Features:
        """Return the frames (T, F) of a segment; `rate` and `channel` are those of recordings and have no effect.

        Raises FeatureArrayError for a segment that exceeds the array, and values that are not finite.
        """
        return np.concatenate(list(self.blocks(rate, offset, duration, channel)))

    def blocks(
        self, rate: float = 0.0, offset: float = 0.0, duration: float | None = None, channel: int | None = None
    ) -> Iterator[Features]:
        """Yield the frames that `read` returns in blocks (n, F)."""
        first, end = self._range(offset, duration)
        for start in range(first, end, _BLOCK):
            yield finite(self._array[start : min(start + _BLOCK, end)], start, f"{self._path}: ")

    def _range(self, offset: float, duration: float | None) -> tuple[int, int]:
        frames = len(self._array)
        first = round(offset / self._hop)
        end = frames if duration is None else first + round(duration / self._hop)
        if abs(end - frames) <= max(_ROUNDING_FRAMES, _ROUNDING_SECONDS / self._hop):
            end = frames
        if first >= end or end > frames:
            segment = f"{offset:g}–{offset + (duration or 0):g} s"
            raise FeatureArrayError(
                f"{self._path}: segment {segment} exceeds the array: {frames} frames are {self.info.duration:.3f} s, "
                f"with features.hop = {self._hop:g}"
            )
        return first, end


def check_shape(array: NDArray[np.generic], settings: FeatureSettings, name: str = "") -> None:
    """Raise FeatureArrayError for an array that is not (T, F) floating point numbers; `name` begins the message."""
    if array.dtype.kind != "f" or array.dtype.itemsize > np.dtype(np.float64).itemsize:
        raise FeatureArrayError(f"{name}numbers of type {array.dtype}; expected float32, or float16 or float64")
    if array.ndim != 2 or not len(array):
        raise FeatureArrayError(f"{name}shape {array.shape}; expected (frames, {settings.coefficients})")
    if array.shape[1] != settings.coefficients:
        raise FeatureArrayError(
            f"{name}{array.shape[1]} features per frame; expected {settings.coefficients} (features.coefficients)"
        )


def finite(frames: NDArray[np.generic], first: int = 0, name: str = "") -> Features:
    """Return frames (n, F) as float32. Raises FeatureArrayError for values that are not finite.

    first: the index of the first frame; `name` begins the message.
    """
    with np.errstate(over="ignore"):
        values = frames.astype(np.float32)
    good = np.isfinite(values)
    if not good.all():
        frame, feature = np.argwhere(~good)[0].tolist()
        raise FeatureArrayError(f"{name}{frames[frame, feature]} in frame {first + frame}, feature {feature}")
    return values


def open_reader(
    file: str | Path | BinaryIO, settings: FeatureSettings, strict: bool = True, track: int = 1
) -> AudioReader | ArrayReader:
    """Open what the features are computed of: a recording, or an array of given features. Raises AudioError."""
    if settings.kind == "given":
        return ArrayReader(file, settings)
    return AudioReader(file, strict=strict, track=track)


class GivenFeatures:
    """The given features of utterances, indexed as their list; the form of `cache.FeatureCache`.

    They are read from the arrays themselves: float16, as caches have it, is too coarse for values of any scale.
    """

    def __init__(self, utterances: Sequence[Utterance], settings: FeatureSettings, lengths: Sequence[int]) -> None:
        self.lengths: NDArray[np.int64] = np.array(lengths, np.int64)
        self._settings = settings
        self._segments = [(row.audio, row.offset, row.duration) for row in utterances]

    def __getitem__(self, index: int) -> Features:
        """Return the features (T, F), float32, before normalisation."""
        path, offset, duration = self._segments[index]
        return ArrayReader(path, self._settings).read(0.0, offset, duration)


def open_given(
    utterances: Sequence[Utterance], settings: FeatureSettings, on_progress: Callable[[float], None]
) -> GivenFeatures:
    """Read and check all given features. Raises FeatureArrayError naming the utterance and the file.

    `on_progress` is called with the seconds done.
    """
    done, lengths = 0.0, []
    for row in utterances:
        try:
            lengths.append(sum(map(len, ArrayReader(row.audio, settings).blocks(0.0, row.offset, row.duration))))
        except FeatureArrayError as error:
            raise FeatureArrayError(f"utterance {row.id}: {error}") from error
        done += row.duration
        on_progress(done)
    return GivenFeatures(utterances, settings, lengths)
