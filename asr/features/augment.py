"""Variation of training speech: speed copies, added noise, and masks and warps of its features."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct

from asr.config import check_ranges
from asr.features.settings import Features, FeatureSettings


@dataclass(frozen=True)
class AugmentSettings:
    """How training speech is varied.

    `speeds`: every utterance is used once at each (Ko et al., 2015).

    Masks (SpecAugment, Park et al., 2019): `mel_masks` bands of at most `mel_mask_width` mel bands, masked before the
    cosine transform, `coefficient_masks` of at most `coefficient_mask_width` coefficients after it (coarse or fine
    detail of the spectrum as a whole), and `time_masks` a second of at most `time_mask_duration` seconds. `mask_start`
    is the fraction of them used until the model writes something (a dev WER under 90 %); from then on it grows to 1
    over `mask_growth` epochs. `warp`: the mel axis is stretched by up to this fraction, another vocal tract length
    (Jaitly and Hinton, 2013).

    Noise: a folder of recordings; `noise_copies` noisy copies of every utterance are made, at a signal-to-noise ratio
    of `noise_snr_low` to `noise_snr_high` dB, and in each epoch a fraction `noise_share` of the utterances is heard in
    one of them.
    """

    speeds: tuple[float, ...] = (0.9, 1.0, 1.1)
    mel_masks: int = 2
    mel_mask_width: int = 12
    coefficient_masks: int = 0
    coefficient_mask_width: int = 6
    time_masks: float = 0.5
    time_mask_duration: float = 0.2
    mask_start: float = 0.1
    mask_growth: float = 5.0
    warp: float = 0.0
    noise: str = ""
    noise_copies: int = 1
    noise_share: float = 0.5
    noise_snr_low: float = 5.0
    noise_snr_high: float = 25.0

    def __post_init__(self) -> None:
        if not self.speeds:
            raise ValueError("speeds = [] leaves nothing to train on; [1.0] is the unchanged speech")
        for speed in self.speeds:
            if not 0.5 <= speed <= 2:
                raise ValueError(f"speeds: {speed} is not within 0.5 to 2")
        if len(set(self.speeds)) < len(self.speeds):
            raise ValueError(f"speeds = {list(self.speeds)} names one speed twice")
        check_ranges(
            self,
            mel_masks=(0, 100),
            mel_mask_width=(0, 256),
            coefficient_masks=(0, 100),
            coefficient_mask_width=(0, 256),
            time_masks=(0, 100),
            time_mask_duration=(0, 100),
            mask_start=(0, 1),
            mask_growth=(0, 100_000),
            warp=(0, 0.5),
            noise_copies=(1, 100),
            noise_share=(0, 1),
            noise_snr_low=(-50, 100),
            noise_snr_high=(self.noise_snr_low, 100),
        )


@dataclass(frozen=True)
class Masking:
    """How strongly features are masked: `strength` scales the recipe's masks and warp from none (0) to all (1)."""

    augment: AugmentSettings
    features: FeatureSettings
    strength: float = 1.0

    def __call__(self, frames: Features, random: np.random.Generator) -> Features:
        """Return a copy of frames (T, F), not yet normalised, warped, and with masked parts set to their mean."""
        if not len(frames) or not self.strength:
            return frames.copy()
        mean: Features = frames.sum(axis=0) / np.float32(len(frames))
        masked = frames - mean
        matrix = self._matrix(random)
        if matrix is not None:
            # Deltas are linear in the coefficients, so that the same map holds for them.
            masked = np.reshape(masked.reshape(-1, self.features.coefficients) @ matrix, frames.shape)
        for start, end in self._coefficients(random):
            masked.reshape(len(frames), -1, self.features.coefficients)[:, :, start:end] = 0
        for start, end in self._times(len(frames), random):
            masked[start:end] = 0
        return masked + mean

    def _matrix(self, random: np.random.Generator) -> Features | None:
        """Return what maps coefficients to those of a warped and masked spectrum, or None where nothing changes.

        The coefficients c hold the log mel spectrum c D, smooth where there are fewer coefficients than mel bands; D
        has orthonormal rows. What changes the spectrum by A changes the coefficients by D A D'. A stretches the mel
        axis and takes the masked bands out, which sets them to their mean over time.
        """
        settings, size = self.augment, self.features
        kept = np.ones(size.mel_bands, dtype=bool)
        longest = min(round(self.strength * settings.mel_mask_width), size.mel_bands)
        for _ in range(settings.mel_masks):
            width = int(random.integers(longest + 1))
            start = int(random.integers(size.mel_bands - width + 1))
            kept[start : start + width] = False
        if kept.all() and not settings.warp:
            return None
        transform = _transform(size.coefficients, size.mel_bands)
        spectrum = transform
        if settings.warp:
            factor = 1 + self.strength * settings.warp * random.uniform(-1, 1)
            spectrum = transform @ _stretch(size.mel_bands, factor)
        return np.asarray(spectrum[:, kept] @ transform[:, kept].T, dtype=np.float32)

    def _coefficients(self, random: np.random.Generator) -> list[tuple[int, int]]:
        size = self.features.coefficients
        longest = min(round(self.strength * self.augment.coefficient_mask_width), size)
        found = []
        for _ in range(self.augment.coefficient_masks):
            width = int(random.integers(longest + 1))
            start = int(random.integers(size - width + 1))
            found.append((start, start + width))
        return found

    def _times(self, frames: int, random: np.random.Generator) -> list[tuple[int, int]]:
        settings, hop = self.augment, self.features.hop
        longest = round(settings.time_mask_duration / hop)
        found = []
        for _ in range(int(random.poisson(self.strength * settings.time_masks * frames * hop))):
            # Never more than a fifth of an utterance, or a short word is gone.
            width = int(random.integers(min(longest, frames // 5) + 1))
            start = int(random.integers(frames - width + 1))
            found.append((start, start + width))
        return found


@lru_cache(maxsize=4)
def _transform(coefficients: int, mel_bands: int) -> Features:
    """Return D (coefficients, mel bands) of the orthonormal DCT-II."""
    return np.asarray(dct(np.eye(mel_bands), axis=0, norm="ortho")[:coefficients], dtype=np.float32)


def _stretch(bands: int, factor: float) -> Features:
    """Return A (bands, bands) so that s A is the spectrum s (bands,) stretched by `factor`, linear between bands."""
    source = np.minimum(np.arange(bands) / factor, bands - 1)
    left = np.minimum(source.astype(int), bands - 2) if bands > 1 else np.zeros(bands, int)
    matrix = np.zeros((bands, bands), np.float32)
    place = np.arange(bands)
    weight = source - left
    matrix[left, place] += 1 - weight
    matrix[np.minimum(left + 1, bands - 1), place] += weight
    return matrix


def add_noise(
    waveform: NDArray[np.float32], noise: NDArray[np.float32], snr: float, random: np.random.Generator
) -> NDArray[np.float32]:
    """Return the waveform (samples,) with the noise, from a random place on and repeated, added at `snr` dB.

    Silence on either side leaves the waveform as it is; the sum is scaled down where it would leave [-1, 1].
    """
    if not len(waveform) or not len(noise):
        return waveform
    laid = np.resize(np.roll(noise, -int(random.integers(len(noise)))), len(waveform))
    speech_power, noise_power = (float(np.mean(np.square(part, dtype=np.float64))) for part in (waveform, laid))
    if not speech_power or not noise_power:
        return waveform
    mixed = waveform + laid * np.float32(np.sqrt(speech_power / noise_power / 10 ** (snr / 10)))
    return np.asarray(mixed / max(1.0, float(np.abs(mixed).max())), dtype=np.float32)
