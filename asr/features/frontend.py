"""Waveforms -> MFCC frames, by torch alone: the numbers of `asr.mfcc` without librosa, on any device."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from asr.features.settings import FeatureSettings, Matrices, statistics

# What librosa.power_to_db takes for nothing, and the frames over which librosa.feature.delta fits its slopes.
_LEAST = 1e-10
_WIDTH = 9
# How far a delta sees.
EDGE = _WIDTH // 2


class Frontend:
    """Computes features with a model's own matrices."""

    def __init__(self, settings: FeatureSettings, matrices: Matrices, device: torch.device) -> None:
        self.settings = settings
        self.device = device
        self._mel = torch.from_numpy(matrices.mel).to(device)
        self._dct = torch.from_numpy(matrices.dct).to(device)
        self._window = torch.hann_window(settings.window_length, device=device)
        self._slopes = [_slopes(order, device) for order in range(1, settings.deltas + 1)]

    def __call__(self, waveform: np.typing.NDArray[np.float32]) -> Tensor:
        """Return the features (T, F) of a waveform (samples,) at the settings' sample rate, normalised."""
        return self.normalised(self.coefficients(self.energies(waveform)))

    def energies(self, waveform: np.typing.NDArray[np.float32]) -> Tensor:
        """Return the energies (mel_bands, T) in decibels, not yet bounded below by the loudest."""
        samples = torch.from_numpy(np.ascontiguousarray(waveform)).to(self.device)
        if not len(samples):
            return samples.new_zeros(self.settings.mel_bands, 0)
        return self.decibels(functional.pad(samples, (self.settings.fft_length // 2,) * 2))

    def decibels(self, samples: Tensor) -> Tensor:
        """Return the energies (mel_bands, T) of the whole windows in samples, one each hop, in decibels."""
        size, hop, window = self.settings.fft_length, self.settings.hop_length, self.settings.window_length
        spectrum = torch.stft(samples, size, hop, window, self._window, center=False, return_complex=True)
        power = spectrum.real.square() + spectrum.imag.square()
        return 10.0 * torch.log10((self._mel @ power).clamp(min=_LEAST))

    def coefficients(self, decibels: Tensor, loudest: float | None = None) -> Tensor:
        """Return the features (T, F), not normalised, of energies (mel_bands, T); `loudest`: else that of these."""
        if not decibels.shape[1]:
            return decibels.new_zeros(0, self.settings.dimension)
        if self.settings.top_db:
            loudest = float(decibels.max()) if loudest is None else loudest
            decibels = decibels.clamp(min=loudest - self.settings.top_db)
        rows = [self._dct @ decibels]
        for slopes in self._slopes:
            edges = functional.pad(rows[0][:, None], (EDGE,) * 2, mode="replicate")
            rows.append(functional.conv1d(edges, slopes)[:, 0])
        return torch.cat(rows).T

    def normalised(self, frames: Tensor) -> Tensor:
        """Return frames (T, F) as `settings.normalisation` says."""
        mean, scale = statistics(frames.cpu().numpy(), self.settings)
        return (frames - torch.from_numpy(mean).to(self.device)) / torch.from_numpy(scale).to(self.device)


def _slopes(order: int, device: torch.device) -> Tensor:
    """Return the filter (1, 1, width) that is a derivative of the polynomial fitted (Savitzky and Golay, 1964)."""
    places = np.arange(_WIDTH) - _WIDTH // 2
    fitted = np.linalg.pinv(np.vander(places, order + 1, increasing=True).astype(np.float64))[order]
    return torch.tensor(fitted * order, dtype=torch.float32, device=device)[None, None]
