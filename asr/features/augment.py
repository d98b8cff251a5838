"""Augmentation of training speech: settings, masks and warps of features, and added noise."""

import json
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.fft import dct

from asr.config import check_ranges
from asr.features.settings import Features, FeatureSettings

# Amounts and fractions of what can only be done to audio or mel bands, beside speeds and recorded noise.
_OF_AUDIO = (
    *("mel_masks", "warp", "babble", "synthetic_noise", "reverberation", "telephone", "codec", "silence", "gain"),
    *("level_changes", "clicks"),
)


@dataclass(frozen=True)
class AugmentSettings:
    """Settings of augmentation.

    `speeds`: every utterance is used once at each speed (Ko et al., 2015).

    Masks (SpecAugment, Park et al., 2019): `mel_masks` bands of up to `mel_mask_width` mel bands, masked before the
    cosine transform; `coefficient_masks` bands of up to `coefficient_mask_width` coefficients, masked after it; and
    `time_masks` masks per second of up to `time_mask_duration` seconds. The fraction `mask_start` of the masks is used
    until the dev WER is below 90 %; then it grows to 1 over `mask_growth` epochs. `warp`: the mel axis is stretched by
    up to this fraction, which simulates another vocal tract length (Jaitly and Hinton, 2013). `tempo`: so is the time
    axis, which simulates faster and slower speech.

    Distortion of the waveform: `noise_copies` distorted copies of every utterance are computed, and each epoch uses one
    of them for the fraction `noise_share` of the utterances. `noise`: a folder of noise recordings. `babble` and
    `synthetic_noise`: the fraction of copies with several other utterances of the training speech, or with generated
    noise, instead. Noise is added at a signal-to-noise ratio of `noise_snr_low` to `noise_snr_high` dB.
    `reverberation`, `telephone` (300 to 3400 Hz, mu-law) and `codec` (MP3, Opus, Vorbis): the fraction of copies that
    they are applied to. `silence`: up to so many seconds of silence before and after half of the copies. `gain`: copies
    are up to so many dB quieter, and have the quantisation noise of 16 bits. `level_changes`: the fraction of copies
    that become up to 25 dB quieter before or after a random time. `clicks`: the fraction with a click.
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
    tempo: float = 0.0
    noise: str = ""
    noise_copies: int = 1
    noise_share: float = 0.5
    noise_snr_low: float = 5.0
    noise_snr_high: float = 25.0
    babble: float = 0.0
    synthetic_noise: float = 0.0
    reverberation: float = 0.0
    telephone: float = 0.0
    codec: float = 0.0
    silence: float = 0.0
    gain: float = 0.0
    level_changes: float = 0.0
    clicks: float = 0.0

    def __post_init__(self) -> None:
        if not self.speeds:
            raise ValueError("speeds = [] leaves no training data; [1.0] is the unchanged speech")
        for speed in self.speeds:
            if not 0.5 <= speed <= 2:
                raise ValueError(f"speeds: {speed} is not between 0.5 and 2")
        if len(set(self.speeds)) < len(self.speeds):
            raise ValueError(f"speeds = {list(self.speeds)} has a speed twice")
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
            tempo=(0, 0.5),
            noise_copies=(1, 100),
            noise_share=(0, 1),
            noise_snr_low=(-50, 100),
            noise_snr_high=(self.noise_snr_low, 100),
            babble=(0, 1),
            synthetic_noise=(0, 1),
            reverberation=(0, 1),
            telephone=(0, 1),
            codec=(0, 1),
            silence=(0, 60),
            gain=(0, 100),
            level_changes=(0, 1),
            clicks=(0, 1),
        )
        if self.babble + self.synthetic_noise > 1:
            raise ValueError(
                f"babble = {self.babble} and synthetic_noise = {self.synthetic_noise}: their sum is more than 1"
            )

    @property
    def of_audio(self) -> list[str]:
        """Return the settings in use that change audio or mel bands, as `key = value` with the value that does not."""
        unchanged = {"speeds": (1.0,), "noise": ""} | dict.fromkeys(_OF_AUDIO, 0)
        changed = [(name, value) for name, value in unchanged.items() if getattr(self, name) != value]
        return [f"{name} = {json.dumps(value)}" for name, value in changed]

    @property
    def distorts(self) -> bool:
        """Return whether distorted copies are used."""
        shares = (self.babble, self.synthetic_noise, self.reverberation, self.telephone, self.codec)
        return bool(self.noise) or any((*shares, self.silence, self.gain, self.level_changes, self.clicks))


@dataclass(frozen=True)
class Masking:
    """Masks and warps features, and changes their tempo. `strength` scales the settings from none (0) to all (1)."""

    augment: AugmentSettings
    features: FeatureSettings
    strength: float = 1.0

    def __call__(self, frames: Features, random: np.random.Generator) -> Features:
        """Return a copy of frames (T, F), not yet normalised, warped and with masked parts set to their mean."""
        if not len(frames) or not self.strength:
            return frames.copy()
        settings, coefficients = self.augment, self.features.coefficients
        mean: Features = frames.sum(axis=0) / np.float32(len(frames))
        masked = frames - mean
        matrix = self._matrix(random)
        if matrix is not None:
            # Deltas are linear in the coefficients, so the same matrix applies to them.
            masked = np.reshape(masked.reshape(-1, coefficients) @ matrix, frames.shape)
        longest = min(round(self.strength * settings.coefficient_mask_width), coefficients)
        for _ in range(settings.coefficient_masks):
            masked.reshape(len(frames), -1, coefficients)[:, :, _random_range(longest, coefficients, random)] = 0
        # At most a fifth of an utterance: a longer mask would remove a short word entirely.
        longest = min(round(settings.time_mask_duration / self.features.hop), len(frames) // 5)
        expected = self.strength * settings.time_masks * len(frames) * self.features.hop
        for _ in range(int(random.poisson(expected))):
            masked[_random_range(longest, len(frames), random)] = 0
        return masked + mean

    def change_tempo(self, frames: Features, shortest: int, random: np.random.Generator) -> Features:
        """Return frames (T, F) at a random tempo, linearly interpolated, and at least `shortest` of them if T is."""
        if not self.augment.tempo or len(frames) < 2:
            return frames
        factor = 1 + self.strength * self.augment.tempo * random.uniform(-1, 1)
        length = max(round(len(frames) / factor), min(shortest, len(frames)), 1)
        source = np.linspace(0, len(frames) - 1, length)
        left = np.minimum(source.astype(int), len(frames) - 2)
        weight = (source - left).astype(frames.dtype)[:, None]
        changed: Features = frames[left] * (1 - weight) + frames[left + 1] * weight
        return changed

    def _matrix(self, random: np.random.Generator) -> Features | None:
        """Return the matrix that maps coefficients to those of a warped and masked spectrum, or None for the identity.

        The coefficients c represent the smoothed log mel spectrum c D, where D has orthonormal rows. A change of the
        spectrum by the matrix A changes the coefficients by D A D'. Here A stretches the mel axis and removes the
        masked bands, which sets them to their mean over time.
        """
        settings, size = self.augment, self.features
        kept = np.ones(size.mel_bands, dtype=bool)
        longest = min(round(self.strength * settings.mel_mask_width), size.mel_bands)
        for _ in range(settings.mel_masks):
            kept[_random_range(longest, size.mel_bands, random)] = False
        if kept.all() and not settings.warp:
            return None
        transform = _transform(size.coefficients, size.mel_bands)
        spectrum = transform
        if settings.warp:
            factor = 1 + self.strength * settings.warp * random.uniform(-1, 1)
            spectrum = transform @ _stretch(size.mel_bands, factor)
        return np.asarray(spectrum[:, kept] @ transform[:, kept].T, dtype=np.float32)


def _random_range(longest: int, size: int, random: np.random.Generator) -> slice:
    """Return a random range of 0 to `longest` of `size` indices."""
    width = int(random.integers(longest + 1))
    start = int(random.integers(size - width + 1))
    return slice(start, start + width)


@lru_cache(maxsize=4)
def _transform(coefficients: int, mel_bands: int) -> Features:
    """Return D (coefficients, mel_bands) of the orthonormal DCT-II."""
    return np.asarray(dct(np.eye(mel_bands), axis=0, norm="ortho")[:coefficients], dtype=np.float32)


def _stretch(bands: int, factor: float) -> Features:
    """Return A (bands, bands) so that s A is the spectrum s (bands,) stretched by `factor`, linearly interpolated."""
    source = np.minimum(np.arange(bands) / factor, bands - 1)
    left = np.minimum(source.astype(int), bands - 2) if bands > 1 else np.zeros(bands, int)
    matrix = np.zeros((bands, bands), np.float32)
    column = np.arange(bands)
    weight = source - left
    matrix[left, column] += 1 - weight
    matrix[np.minimum(left + 1, bands - 1), column] += weight
    return matrix
