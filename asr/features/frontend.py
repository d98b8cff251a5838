"""Waveforms -> MFCC frames with torch: the same values as `asr.features.reference`, on any device."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from asr.features.normalisation import loudest, normalisation, peak_bands, relative
from asr.features.settings import FeatureSettings, Matrices

# The frames over which librosa.feature.delta fits its slopes.
_DELTA_WIDTH = 9
# The frames on either side of a frame that its deltas depend on.
DELTA_CONTEXT = _DELTA_WIDTH // 2


class Frontend:
    """Computes features with the matrices of a model."""

    def __init__(self, settings: FeatureSettings, matrices: Matrices, device: torch.device) -> None:
        self.settings = settings
        self.device = device
        self._mel = torch.from_numpy(matrices.mel).to(device)
        self._dct = torch.from_numpy(matrices.dct).to(device)
        self._window = torch.hann_window(settings.window_length, device=device)
        self._slopes = [_slopes(order, device) for order in range(1, settings.deltas + 1)]

    def __call__(self, waveform: NDArray[np.float32]) -> Tensor:
        """Return the normalised features (T, F) of a waveform (samples,) at the settings' sample rate."""
        return self.normalised(self.coefficients(self.energies(waveform)))

    def energies(self, waveform: NDArray[np.float32]) -> Tensor:
        """Return the energies (mel_bands, T) in dB, before the level is set and `top_db` is applied."""
        samples = torch.from_numpy(np.ascontiguousarray(waveform)).to(self.device)
        if not len(samples):
            return samples.new_zeros(self.settings.mel_bands, 0)
        return self.decibels(functional.pad(samples, (self.settings.fft_length // 2,) * 2))

    def decibels(self, samples: Tensor) -> Tensor:
        """Return the energies (mel_bands, T) in dB of each complete window in samples."""
        size, hop, window = self.settings.fft_length, self.settings.hop_length, self.settings.window_length
        spectrum = torch.stft(samples, size, hop, window, self._window, center=False, return_complex=True)
        power = spectrum.real.square() + spectrum.imag.square()
        return 10.0 * torch.log10((self._mel @ power).clamp(min=self.settings.power_floor))

    def peaks(self, decibels: Tensor) -> NDArray[np.float32]:
        """Return the highest energy (T,) of each frame of energies (mel_bands, T), in the bands that set the level."""
        peaks: NDArray[np.float32] = decibels[peak_bands(self.settings)].amax(dim=0).cpu().numpy()
        return peaks

    def level(self, decibels: Tensor) -> float:
        """Return the level that energies (mel_bands, T) are relative to, T > 0."""
        return loudest(self.peaks(decibels), self.settings)

    def coefficients(self, decibels: Tensor, level: float | None = None) -> Tensor:
        """Return the features (T, F), not normalised, of energies (mel_bands, T).

        level: that of the whole recording; the default is that of these energies.
        """
        if not decibels.shape[1]:
            return decibels.new_zeros(0, self.settings.dimension)
        decibels = relative(decibels, self.settings, self.level(decibels) if level is None else level)
        rows = [self._dct @ decibels]
        for slopes in self._slopes:
            padded = functional.pad(rows[0][:, None], (DELTA_CONTEXT,) * 2, mode="replicate")
            rows.append(functional.conv1d(padded, slopes)[:, 0])
        return torch.cat(rows).T

    def normalised(self, frames: Tensor) -> Tensor:
        """Normalise frames (T, F) as `settings.normalisation` says."""
        mean, scale = normalisation(frames.cpu().numpy(), self.settings)
        return (frames - torch.from_numpy(mean).to(self.device)) / torch.from_numpy(scale).to(self.device)


def _slopes(order: int, device: torch.device) -> Tensor:
    """Return the filter (1, 1, width) of the polynomial's derivative (Savitzky and Golay, 1964)."""
    positions = np.arange(_DELTA_WIDTH) - DELTA_CONTEXT
    fitted = np.linalg.pinv(np.vander(positions, order + 1, increasing=True).astype(np.float64))[order]
    return torch.tensor(fitted * order, dtype=torch.float32, device=device)[None, None]
