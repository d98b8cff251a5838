"""Waveforms -> MFCC frames with librosa.

MFCC (Davis and Mermelstein, 1980) are the cosine transform of the log energies of a mel filter bank, here with
librosa's conventions: Slaney's mel scale, power spectrum, decibels, orthonormal DCT-II.

The feature cache of training uses this module, not the torch front end: a worker process with torch needs twice the
memory, and caches and published results stay valid to the last bit.
"""

import librosa
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from asr.compiling import make_caching_optional
from asr.features.normalisation import loudest, normalise, peak_bands, relative
from asr.features.settings import NO_MATRICES, Features, FeatureSettings, Matrices

# Before the first use of librosa, which imports its modules then.
make_caching_optional()


def matrices(settings: FeatureSettings) -> Matrices:
    """Return the mel filter bank and the cosine transform, which are stored in the model file."""
    if settings.kind == "given":
        return NO_MATRICES
    mel = librosa.filters.mel(
        sr=settings.sample_rate,
        n_fft=settings.fft_length,
        n_mels=settings.mel_bands,
        fmin=settings.low_frequency,
        fmax=settings.highest_frequency,
    )
    dct = scipy.fft.dct(np.eye(settings.mel_bands), type=2, norm="ortho", axis=0)[: settings.coefficients]
    return Matrices(np.ascontiguousarray(mel, np.float32), np.ascontiguousarray(dct, np.float32))


def mfcc(waveform: NDArray[np.float32], settings: FeatureSettings) -> Features:
    """Return the normalised features (T, F) of a waveform (samples,) at the settings' sample rate."""
    return normalise(unnormalised(waveform, settings), settings)


def unnormalised(waveform: NDArray[np.float32], settings: FeatureSettings) -> Features:
    """Return the features (T, F) of a waveform (samples,) before normalisation."""
    if len(waveform) == 0:
        return np.zeros((0, settings.dimension), np.float32)
    # Zero padding centres the first frame on the first sample. librosa's own padding warns about waveforms that are
    # shorter than a window.
    padded = np.pad(waveform, settings.fft_length // 2)
    energies = librosa.feature.melspectrogram(
        y=padded,
        sr=settings.sample_rate,
        n_mels=settings.mel_bands,
        n_fft=settings.fft_length,
        win_length=settings.window_length,
        hop_length=settings.hop_length,
        fmin=settings.low_frequency,
        fmax=settings.highest_frequency,
        center=False,
    )
    decibels = librosa.power_to_db(energies, amin=settings.power_floor, top_db=None)
    decibels = relative(decibels, settings, loudest(decibels[peak_bands(settings)].max(axis=0), settings))
    coefficients = librosa.feature.mfcc(S=decibels, n_mfcc=settings.coefficients)
    rows = [coefficients] + [
        librosa.feature.delta(coefficients, order=order, mode="nearest") for order in range(1, settings.deltas + 1)
    ]
    return np.ascontiguousarray(np.concatenate(rows).T, dtype=np.float32)
