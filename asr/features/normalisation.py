"""Normalisation of features: a robust level, the frames of speech, and mean and variance over them.

`speech` normalisation makes features independent of the gain and of silence around the speech. Energies are relative to
the loudest level that lasts, the maximum of a running median: a click does not raise it. Mean and variance are those of
the frames above a threshold below that level, over a running window that is measured in speech, so that the length of
pauses does not matter and a distant speaker after a close one has statistics of their own.

`running` normalisation does the same for streams, from the frames so far: the level falls slowly and rises with the
frames, and older speech counts less and less.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from asr.features.settings import Features, FeatureSettings

# Seconds: the width of the running median; sounds of half its width do not raise the level.
_MEDIAN = 0.31
# Hz: the bands that the level and the frames of speech are found in, without hum, and within the telephone band.
_SPEECH_BAND = (200.0, 4000.0)
# dB below the level of the speech down to which frames are speech.
SPEECH_RANGE = 40.0
# Frames of speech that are summed together, and the blocks of them before and after a block in the running window.
BLOCK, AROUND = 50, 12
# Of `running`: the level in dB before the first frame, and by how much a frame lowers it, 2 dB a second. A frame is as
# loud as the quietest of so many, so that a click does not raise the level.
FIRST_LEVEL, FALL, SHORTEST = -10.0, 0.02, 3
# Of `running`: the statistics of the training speech count as so many frames; the weight of earlier frames after one
# frame; and the dB by which a rise of the level lowers it to a tenth: earlier frames were then hardly speech.
PRIOR, KEPT, RISE = 100.0, 1 - 1 / 400, 40.0
# The standard deviation of a constant given feature, relative to its mean.
_CONSTANT = 1e-6
# Windows whose medians are computed together.
_ROWS = 1 << 14


class Statistics:
    """Running mean and variance of frames, merged block by block (Chan et al., 1979, eq. 2.1).

    Double precision: the mean of a loud coefficient is a thousand times the smallest scale. Given features have any
    scale; those that are constant are not scaled.
    """

    def __init__(self, dimension: int, given: bool = False) -> None:
        self.count = 0
        self._given = given
        self.mean = np.zeros(dimension)
        self._squares = np.zeros(dimension)

    def add(self, frames: Features) -> None:
        """Add frames (T, F)."""
        if not len(frames):
            return
        mean = frames.sum(axis=0, dtype=np.float64) / len(frames)
        centred = frames - mean
        total, difference = self.count + len(frames), mean - self.mean
        self._squares += np.einsum("tf,tf->f", centred, centred) + difference**2 * (self.count * len(frames) / total)
        self.mean += difference * (len(frames) / total)
        self.count = total

    @property
    def scale(self) -> NDArray[np.float64]:
        """Return the standard deviation (F,), at least 0.001; of given features that are constant, 1."""
        deviation = np.sqrt(self._squares / max(self.count, 1))
        if self._given:
            return np.where(deviation > _CONSTANT * np.abs(self.mean), deviation, 1.0)
        return np.maximum(deviation, 1e-3)


class RunningStatistics:
    """Mean and variance of the frames of speech in a running window around each frame, for `speech` normalisation."""

    def __init__(self, settings: FeatureSettings) -> None:
        self._settings = settings
        self._count = 0
        self._blocks: list[NDArray[np.int32]] = []
        self._sums: list[NDArray[np.float64]] = []

    def add(self, frames: Features) -> None:
        """Add the next frames (T, F), not normalised."""
        speech = speech_frames(frames, self._settings)
        before = self._count + np.cumsum(speech) - speech
        self._blocks.append((before // BLOCK).astype(np.int32))
        rows = frames[speech].astype(np.float64)
        for first in _starts(self._count, len(rows)):
            part = rows[first : first + BLOCK - (self._count + first) % BLOCK]
            sums = np.stack([part.sum(axis=0), np.square(part).sum(axis=0)])
            if (self._count + first) % BLOCK:
                self._sums[-1] += sums
            else:
                self._sums.append(sums)
        self._count += len(rows)

    def finish(self) -> "RunningNormalisation":
        """Return the normalisation of all frames that were added."""
        count, dimension = len(self._sums), self._settings.dimension
        blocks = np.concatenate(self._blocks) if self._blocks else np.zeros(0, np.int32)
        if not count:
            return RunningNormalisation(np.zeros((1, dimension)), np.ones((1, dimension)), np.zeros_like(blocks))
        totals = np.concatenate([np.zeros((1, 2, dimension)), np.cumsum(self._sums, axis=0)])
        # At the ends the window keeps its length.
        first = np.clip(np.arange(count) - AROUND, 0, max(0, count - 2 * AROUND - 1))
        end = np.minimum(first + 2 * AROUND + 1, count)
        frames = np.minimum(end * BLOCK, self._count) - first * BLOCK
        mean, square = np.moveaxis((totals[end] - totals[first]) / frames[:, None, None], 1, 0)
        scale = np.sqrt(np.maximum(square - np.square(mean), 1e-6))
        return RunningNormalisation(mean, scale, np.minimum(blocks, count - 1))


class RunningNormalisation:
    """What `speech` normalisation subtracts from each frame and divides it by."""

    def __init__(self, mean: NDArray[np.float64], scale: NDArray[np.float64], blocks: NDArray[np.int32]) -> None:
        self._mean, self._scale, self._blocks = mean.astype(np.float32), scale.astype(np.float32), blocks

    def of(self, first: int, end: int) -> tuple[Features, Features]:
        """Return the mean and the scale of the frames from `first` to `end`, each (end - first, F)."""
        blocks = self._blocks[first:end]
        return self._mean[blocks], self._scale[blocks]


class CausalNormalisation:
    """What `running` normalisation subtracts from each frame of a stream and divides it by."""

    def __init__(self, settings: FeatureSettings) -> None:
        self._settings = settings
        self._level = FIRST_LEVEL
        self._loudness = [FIRST_LEVEL] * (SHORTEST - 1)
        self._sums = prior_sums(settings)

    def __call__(self, frames: Features) -> tuple[Features, Features]:
        """Return the mean and the scale of the next frames (T, F), each (T, F)."""
        rows, speech, kept = self._relative(frames)
        terms = np.concatenate([np.ones((len(rows), 1)), rows, np.square(rows)], axis=1)
        sums, current = np.empty_like(terms), self._sums
        for index, (term, is_speech, factor) in enumerate(zip(terms, speech.tolist(), kept.tolist(), strict=True)):
            if is_speech:
                current *= factor
                current += term
            sums[index] = current
        mean, square = np.split(sums[:, 1:] / sums[:, :1], 2, axis=1)
        scale = np.sqrt(np.maximum(square - np.square(mean), 1e-6))
        # What was subtracted from the frames to make their energies relative to the level.
        mean += frames - rows
        return mean.astype(np.float32), scale.astype(np.float32)

    def speech(self, frames: Features) -> Features:
        """Return those of the next frames (T, F) that are speech, (n, F), their energies relative to the level."""
        rows, speech, _ = self._relative(frames)
        return rows[speech].astype(np.float32)

    def _relative(self, frames: Features) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
        """Return frames (T, F) relative to the level, which are speech, and the weight of the sums before each."""
        loudness = _loudness(frames, self._settings)
        recent = np.array([*self._loudness, *loudness.tolist()])
        self._loudness = recent[len(loudness) :].tolist()
        lasting = np.lib.stride_tricks.sliding_window_view(recent, SHORTEST).min(axis=1) if len(frames) else recent[:0]
        levels, rises = np.empty(len(frames)), np.empty(len(frames))
        level = self._level
        for index, value in enumerate(lasting.tolist()):
            before, level = level, max(value, level - FALL)
            levels[index], rises[index] = level, max(0.0, level - before)
        self._level = level
        rows = frames.astype(np.float64)
        # A constant in all bands is the first coefficient alone.
        rows[:, 0] -= np.sqrt(self._settings.mel_bands) * levels
        return rows, loudness > levels - SPEECH_RANGE, KEPT * 10 ** (-rises / RISE)


def prior_sums(settings: FeatureSettings) -> NDArray[np.float64]:
    """Return the number of frames, the sums of the features and of their squares (1 + 2 F,) before the first frame."""
    mean = np.array(settings.mean or [0.0] * settings.dimension)
    scale = np.array(settings.scale or [1.0] * settings.dimension)
    return PRIOR * np.concatenate([[1.0], mean, np.square(scale) + np.square(mean)])


def _starts(before: int, count: int) -> list[int]:
    """Return where blocks begin among `count` frames that follow `before` others; the first may continue one."""
    return sorted({*([0] if count else []), *range(-before % BLOCK, count, BLOCK)})


def loudest(peaks: NDArray[np.float32], settings: FeatureSettings) -> float:
    """Return the level in dB that energies are relative to, from the highest energy of each frame (T,), T > 0."""
    if settings.normalisation != "speech":
        return float(peaks.max())
    windows = np.lib.stride_tricks.sliding_window_view(peaks, median_width(settings, len(peaks)))
    return max(float(np.median(windows[row : row + _ROWS], axis=1).max()) for row in range(0, len(windows), _ROWS))


def median_width(settings: FeatureSettings, frames: int) -> int:
    """Return the width of the running median in frames, an odd number, in a recording of so many frames."""
    width = min(round(_MEDIAN / settings.hop), frames)
    return width - (width + 1) % 2


def relative(decibels: Features, settings: FeatureSettings, level: float) -> Features:
    """Return energies in dB as the settings say: relative to the level, and raised to `top_db` below it."""
    if settings.normalisation == "speech":
        decibels, level = decibels - level, 0.0
    return decibels.clip(min=level - settings.top_db) if settings.top_db else decibels


@lru_cache(maxsize=8)
def peak_bands(settings: FeatureSettings) -> slice:
    """Return the mel bands in which `loudest` looks for the highest energy: those of speech, or all."""
    if settings.normalisation not in ("speech", "running"):
        return slice(0, settings.mel_bands)
    low, high = _mel(settings.low_frequency), _mel(settings.highest_frequency)
    centres = low + (high - low) * np.arange(1, settings.mel_bands + 1) / (settings.mel_bands + 1)
    inside = np.flatnonzero((centres >= _mel(_SPEECH_BAND[0])) & (centres <= _mel(_SPEECH_BAND[1])))
    return slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(0, settings.mel_bands)


def _mel(frequency: float) -> float:
    """Return a frequency in Hz on Slaney's mel scale."""
    return frequency * 3 / 200 if frequency < 1000 else 15 + 27 * float(np.log(frequency / 1000) / np.log(6.4))


@lru_cache(maxsize=8)
def spectrum(settings: FeatureSettings) -> NDArray[np.float64]:
    """Return the matrix (coefficients, bands) from coefficients to the smooth spectrum in the bands of speech."""
    bands = np.arange(settings.mel_bands)[peak_bands(settings)]
    orders = np.arange(settings.coefficients)[:, None]
    cosines: NDArray[np.float64] = np.sqrt(2 / settings.mel_bands) * np.cos(
        np.pi * orders * (bands + 0.5) / settings.mel_bands
    )
    cosines[0] /= np.sqrt(2)
    return cosines


def speech_frames(frames: Features, settings: FeatureSettings) -> NDArray[np.bool_]:
    """Return which of the frames (T, F), not normalised, are loud enough for speech, (T,)."""
    return _loudness(frames, settings) > -SPEECH_RANGE


def _loudness(frames: Features, settings: FeatureSettings) -> NDArray[np.float32]:
    """Return the highest energy in dB of the smooth spectrum of each frame (T, F), in the bands of speech."""
    # In double precision, then rounded: sums in single precision depend on the number of frames on some processors.
    levels = frames[:, : settings.coefficients].astype(np.float64) @ spectrum(settings)
    loudness: NDArray[np.float32] = levels.max(axis=1, initial=-np.inf).astype(np.float32)
    return loudness


def normalisation(frames: Features, settings: FeatureSettings) -> tuple[Features, Features]:
    """Return what normalisation subtracts from frames (T, F) and what it divides them by, each (F,) or (T, F)."""
    if settings.normalisation == "corpus" and settings.mean:
        return np.array(settings.mean, np.float32), np.array(settings.scale, np.float32)
    if settings.normalisation == "running":
        return CausalNormalisation(settings)(frames)
    if settings.normalisation == "speech":
        running = RunningStatistics(settings)
        running.add(frames)
        return running.finish().of(0, len(frames))
    if settings.normalisation != "utterance" or not len(frames):
        return np.zeros(settings.dimension, np.float32), np.ones(settings.dimension, np.float32)
    statistics = Statistics(settings.dimension, settings.kind == "given")
    statistics.add(frames)
    return statistics.mean.astype(np.float32), statistics.scale.astype(np.float32)


class StreamNormalisation:
    """Normalises the frames of a stream, part by part; the settings must not need later frames."""

    def __init__(self, settings: FeatureSettings) -> None:
        self._running = CausalNormalisation(settings) if settings.normalisation == "running" else None
        self._constant = normalisation(np.zeros((0, settings.dimension), np.float32), settings)

    def __call__(self, frames: Features) -> Features:
        """Normalise the next frames (T, F)."""
        mean, scale = self._running(frames) if self._running else self._constant
        return (frames - mean) / scale


def normalise(frames: Features, settings: FeatureSettings) -> Features:
    """Normalise frames (T, F) as `settings.normalisation` says."""
    mean, scale = normalisation(frames, settings)
    return (frames - mean) / scale
