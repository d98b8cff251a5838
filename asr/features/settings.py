"""What the model hears: the settings of MFCC frames, how many there are, and how they are normalised.

`asr.mfcc` computes them by librosa, `asr.frontend` by torch alone, to the same numbers.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Matrices:
    """What features are computed with: mel filters (mel_bands, bins) and cosine transform (coefficients, mel_bands)."""

    mel: NDArray[np.float32]
    dct: NDArray[np.float32]


@dataclass(frozen=True)
class FeatureSettings:
    """What the model hears. `window` and `hop` in seconds, frequencies in Hz (`high_frequency` 0: half the rate).

    `deltas`: 0, 1 (and their first difference) or 2 (and the second). `top_db`: energies lie at most so many decibels
    under the loudest of the utterance; 0: at least 100 dB under that of a full-scale sample, whatever else is heard.

    `normalisation`: `utterance` (each coefficient to mean 0 and variance 1 over the utterance), `corpus` (over the
    training speech, whose `mean` and `scale` the model then has) or `none`. A model that is to hear a stream needs
    `corpus` or `none`, and `top_db` = 0.
    """

    sample_rate: int = 16_000
    coefficients: int = 40
    mel_bands: int = 80
    window: float = 0.025
    hop: float = 0.010
    low_frequency: float = 20.0
    high_frequency: float = 0.0
    deltas: int = 0
    top_db: float = 80.0
    normalisation: str = "utterance"
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not 4_000 <= self.sample_rate <= 96_000:
            raise ValueError(f"sample_rate = {self.sample_rate} is not within 4000 to 96000 Hz")
        if not 1 <= self.coefficients <= self.mel_bands:
            raise ValueError(f"coefficients = {self.coefficients} is not within 1 to mel_bands ({self.mel_bands})")
        if not 1 <= self.mel_bands <= 256:
            raise ValueError(f"mel_bands = {self.mel_bands} is not within 1 to 256")
        if not 0.001 <= self.hop <= self.window <= 0.2:
            raise ValueError(f"hop = {self.hop} and window = {self.window} must keep 0.001 <= hop <= window <= 0.2 s")
        if not 0 <= self.low_frequency < self.highest_frequency <= self.sample_rate / 2:
            raise ValueError(
                f"low_frequency = {self.low_frequency} and high_frequency = {self.high_frequency} must keep "
                f"0 <= low < high <= {self.sample_rate / 2:g} Hz"
            )
        if self.deltas not in (0, 1, 2):
            raise ValueError(f"deltas = {self.deltas} is not one of 0, 1, 2")
        if not 0 <= self.top_db <= 1000:
            raise ValueError(f"top_db = {self.top_db} is not within 0 to 1000")
        if self.normalisation not in ("utterance", "corpus", "none"):
            raise ValueError(f"normalisation = {self.normalisation!r} is not one of utterance, corpus, none")
        for name in ("mean", "scale"):
            if getattr(self, name) and len(getattr(self, name)) != self.dimension:
                raise ValueError(
                    f"{name} has {len(getattr(self, name))} numbers, and there are {self.dimension} features"
                )
        if not all(map(math.isfinite, self.mean)):
            raise ValueError("mean has what is no number")
        if not all(0 < value < math.inf for value in self.scale):
            raise ValueError("scale has a number that is not more than 0")

    @property
    def highest_frequency(self) -> float:
        """Return the upper edge of the mel filter bank in Hz."""
        return self.high_frequency or self.sample_rate / 2

    @property
    def window_length(self) -> int:
        """Return the window in samples."""
        return round(self.window * self.sample_rate)

    @property
    def hop_length(self) -> int:
        """Return the hop in samples."""
        return round(self.hop * self.sample_rate)

    @property
    def fft_length(self) -> int:
        """Return the smallest power of two that holds the window."""
        return int(1 << (self.window_length - 1).bit_length())

    @property
    def streams(self) -> bool:
        """Say whether a frame's features depend on no later ones, deltas apart."""
        return self.normalisation != "utterance" and not self.top_db and not self.deltas

    @property
    def dimension(self) -> int:
        """Return F, the features of a frame."""
        return self.coefficients * (1 + self.deltas)


def frame_count(samples: int, settings: FeatureSettings) -> int:
    """Return T, the frames of a waveform of that many samples: one centred on every hop, none for an empty one."""
    return 0 if samples == 0 else 1 + samples // settings.hop_length


class Statistics:
    """Running mean and variance of frames, merged block by block (Chan et al., 1979, eq. 2.1).

    Double precision: the mean of a loud coefficient is a thousand times the smallest scale.
    """

    def __init__(self, dimension: int) -> None:
        self.count = 0
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
        """Return the standard deviation (F,), at least 0.001."""
        return np.maximum(np.sqrt(self._squares / max(self.count, 1)), 1e-3)


def normalisation(frames: Features, settings: FeatureSettings) -> tuple[Features, Features]:
    """Return what normalisation subtracts from frames (T, F) and what it divides them by, each (F,)."""
    if settings.normalisation == "corpus" and settings.mean:
        return np.array(settings.mean, np.float32), np.array(settings.scale, np.float32)
    if settings.normalisation != "utterance" or not len(frames):
        return np.zeros(settings.dimension, np.float32), np.ones(settings.dimension, np.float32)
    statistics = Statistics(settings.dimension)
    statistics.add(frames)
    return statistics.mean.astype(np.float32), statistics.scale.astype(np.float32)


def normalise(frames: Features, settings: FeatureSettings) -> Features:
    """Normalise frames (T, F) as `settings.normalisation` says."""
    mean, scale = normalisation(frames, settings)
    return (frames - mean) / scale
