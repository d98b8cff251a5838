"""Waveforms -> MFCC frames in NumPy: the same values as `asr.features.reference`, with the matrices of a model file."""

import numpy as np
from numpy.typing import NDArray

from asr.features.normalisation import loudest, normalise, peak_bands, relative
from asr.features.settings import Features, FeatureSettings, Matrices

# The frames over which librosa.feature.delta fits its slopes.
_DELTA_WIDTH = 9
# The frames on either side of a frame that its deltas depend on.
DELTA_CONTEXT = _DELTA_WIDTH // 2
# Frames whose spectra are computed together, which fit into the cache of a core.
_TOGETHER = 256


class Frontend:
    """Computes features with the matrices of a model."""

    def __init__(self, settings: FeatureSettings, matrices: Matrices) -> None:
        self.settings = settings
        self._mel = np.ascontiguousarray(matrices.mel.T)
        self._dct = np.ascontiguousarray(matrices.dct.T, np.float64)
        # The periodic form, as librosa and torch have it.
        self._window = np.hanning(settings.window_length + 1)[:-1]
        self._slopes = [slopes(order) for order in range(1, settings.deltas + 1)]

    def __call__(self, waveform: NDArray[np.float32]) -> Features:
        """Return the normalised features (T, F) of a waveform (samples,) at the settings' sample rate.

        Given features take the place of a waveform: (T, F).
        """
        if self.settings.kind == "given":
            return normalise(waveform, self.settings)
        return normalise(self.coefficients(self.energies(waveform)), self.settings)

    def energies(self, waveform: NDArray[np.float32]) -> Features:
        """Return the energies (T, mel_bands) in dB, before the level is set and `top_db` is applied."""
        if not len(waveform):
            return np.zeros((0, self.settings.mel_bands), np.float32)
        return self.decibels(np.pad(waveform, self.settings.fft_length // 2))

    def decibels(self, samples: NDArray[np.float32]) -> Features:
        """Return the energies (T, mel_bands) in dB of each complete window in samples."""
        settings, length = self.settings, self.settings.window_length
        windows = np.lib.stride_tricks.sliding_window_view(samples, settings.fft_length)[:: settings.hop_length]
        # The window is in the middle of the samples of the transform; its position changes no power.
        first = (settings.fft_length - length) // 2
        windows = windows[:, first : first + length]
        energies = np.empty((len(windows), settings.mel_bands), np.float32)
        for start in range(0, len(windows), _TOGETHER):
            rows = slice(start, start + _TOGETHER)
            # In double precision, which costs little: NumPy before 2.0 has no other, and results should not differ.
            spectrum = np.fft.rfft(windows[rows] * self._window, settings.fft_length)
            power = np.square(spectrum.real) + np.square(spectrum.imag)
            np.matmul(power.astype(np.float32), self._mel, out=energies[rows])
        np.maximum(energies, np.float32(settings.power_floor), out=energies)
        np.log10(energies, out=energies)
        energies *= 10
        return energies

    def peaks(self, decibels: Features) -> NDArray[np.float32]:
        """Return the highest energy (T,) of each frame of energies (T, mel_bands), in the bands that set the level."""
        peaks: NDArray[np.float32] = decibels[:, peak_bands(self.settings)].max(axis=1)
        return peaks

    def coefficients(self, decibels: Features, level: float | None = None) -> Features:
        """Return the features (T, F), not normalised, of energies (T, mel_bands).

        level: that of the whole recording; the default is that of these energies.
        """
        if not len(decibels):
            return np.zeros((0, self.settings.dimension), np.float32)
        if level is None:
            level = loudest(self.peaks(decibels), self.settings)
        # In double precision: the sums are small next to their terms, and the network is sensitive to their rounding.
        coefficients: Features = (relative(decibels, self.settings, level) @ self._dct).astype(np.float32)
        if not self._slopes:
            return coefficients
        padded = np.pad(coefficients, ((DELTA_CONTEXT, DELTA_CONTEXT), (0, 0)), "edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, _DELTA_WIDTH, axis=0)
        return np.concatenate([coefficients, *(windows @ slopes for slopes in self._slopes)], axis=1)


def slopes(order: int) -> NDArray[np.float32]:
    """Return the filter (width,) of the derivative of a fitted polynomial (Savitzky and Golay, 1964)."""
    positions = np.arange(_DELTA_WIDTH) - DELTA_CONTEXT
    fitted = np.linalg.pinv(np.vander(positions, order + 1, increasing=True).astype(np.float64))[order]
    return np.asarray(fitted * order, np.float32)
