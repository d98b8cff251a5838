"""MFCCs against two other implementations of them, and the frames, deltas and settings around them."""

import dataclasses
import itertools
from typing import Any

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from asr.features import FeatureSettings, Statistics, frame_count, normalise
from asr.features.normalisation import normalisation
from asr.features.reference import mfcc, unnormalised

RATE = 16_000
# The values themselves, to compare with other programs.
PLAIN = FeatureSettings(high_frequency=8000.0, normalisation="none")
CHEAP = FeatureSettings(coefficients=2, mel_bands=4, normalisation="none")


def noise(samples: int = RATE, seed: int = 0, level: float = 0.1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, level, samples).astype(np.float32)


def chirp(samples: int = RATE) -> NDArray[np.float32]:
    """Return a sine that rises from 50 Hz to 7500 Hz."""
    times = np.arange(samples) / RATE
    rise = (7500 - 50) / (samples / RATE)
    return (0.5 * np.sin(2 * np.pi * (50 * times + rise * times**2 / 2))).astype(np.float32)


WAVEFORMS = {
    "noise": noise(),
    "quiet noise": noise(level=1e-3),
    "chirp": chirp(),
    "chirp in noise": chirp() + noise(level=0.01),
    "shorter than a window": noise(300),
    "with a silent half": np.concatenate([noise(8000), np.zeros(8000, np.float32)]),
}
SETTINGS = {
    "default": PLAIN,
    "13 of 40": dataclasses.replace(PLAIN, coefficients=13, mel_bands=40),
    "all of 80": dataclasses.replace(PLAIN, coefficients=80),
    "long window": dataclasses.replace(PLAIN, window=0.032, hop=0.016),
    "narrow band": dataclasses.replace(PLAIN, low_frequency=300.0, high_frequency=3400.0, mel_bands=40),
    "8 kHz": dataclasses.replace(PLAIN, sample_rate=8000, high_frequency=4000.0, mel_bands=40),
    "fine hop": dataclasses.replace(PLAIN, hop=0.005),
}
CASES = list(itertools.product(WAVEFORMS, SETTINGS))


@pytest.mark.parametrize(("waveform", "chosen"), CASES)
def test_mfcc_equals_torchaudio(waveform: str, chosen: str) -> None:
    import torch
    import torchaudio

    shape = SETTINGS[chosen]
    theirs = torchaudio.transforms.MFCC(
        sample_rate=shape.sample_rate,
        n_mfcc=shape.coefficients,
        melkwargs={
            "n_fft": {400: 512, 512: 512, 200: 256}[shape.window_length],
            "win_length": shape.window_length,
            "hop_length": shape.hop_length,
            "n_mels": shape.mel_bands,
            "f_min": shape.low_frequency,
            "f_max": shape.high_frequency,
            "norm": "slaney",
            "mel_scale": "slaney",
            "pad_mode": "constant",
        },
    )
    expected = theirs(torch.from_numpy(WAVEFORMS[waveform])).numpy().T
    assert np.ptp(expected) > 10
    # Where bands lie on the floor, 80 dB down, the rounding of torchaudio's DCT shows.
    tolerance = 2e-3 if waveform == "with a silent half" else 1e-3
    np.testing.assert_allclose(mfcc(WAVEFORMS[waveform], shape), expected, rtol=1e-5, atol=tolerance)


@pytest.mark.parametrize(("waveform", "chosen"), [case for case in CASES if case[0] != "shorter than a window"])
def test_mfcc_equals_librosa_with_centring(waveform: str, chosen: str) -> None:
    shape = SETTINGS[chosen]
    expected = librosa.feature.mfcc(
        y=WAVEFORMS[waveform],
        sr=shape.sample_rate,
        n_mfcc=shape.coefficients,
        n_mels=shape.mel_bands,
        n_fft=shape.fft_length,
        win_length=shape.window_length,
        hop_length=shape.hop_length,
        fmin=shape.low_frequency,
        fmax=shape.high_frequency,
        center=True,
        pad_mode="constant",
    ).T
    np.testing.assert_allclose(mfcc(WAVEFORMS[waveform], shape), expected, rtol=1e-5, atol=1e-4)


def test_high_frequency_0_is_half_the_sample_rate() -> None:
    assert FeatureSettings(high_frequency=0.0).highest_frequency == 8000
    open_end = dataclasses.replace(PLAIN, high_frequency=0.0)
    np.testing.assert_array_equal(mfcc(noise(), open_end), mfcc(noise(), PLAIN))


def test_lengths_in_samples() -> None:
    assert (PLAIN.window_length, PLAIN.hop_length, PLAIN.fft_length) == (400, 160, 512)
    high = FeatureSettings(sample_rate=44_100)
    assert (high.window_length, high.hop_length, high.fft_length) == (1102, 441, 2048)
    exact = FeatureSettings(window=0.032)
    assert (exact.window_length, exact.fft_length) == (512, 512)


def test_level_changes_only_the_first_coefficient() -> None:
    # A factor of 10 in amplitude is 20 dB in each of the 80 bands, which the orthonormal DCT sums to 20 · √80.
    quiet, loud = mfcc(noise(), PLAIN), mfcc(10 * noise(), PLAIN)
    np.testing.assert_allclose(loud[:, 0] - quiet[:, 0], 20 * np.sqrt(80), atol=1e-2)
    np.testing.assert_allclose(loud[:, 1:], quiet[:, 1:], atol=1e-2)


# Frames


@pytest.mark.parametrize("first", range(0, 2000, 400))
def test_one_frame_per_hop(first: int) -> None:
    waveform = noise(2000)
    for samples in range(first, first + 401):
        assert len(mfcc(waveform[:samples], CHEAP)) == frame_count(samples, CHEAP)


@pytest.mark.parametrize(("samples", "frames"), [(0, 0), (1, 1), (159, 1), (160, 2), (16_000, 101), (16_159, 101)])
def test_frame_count_examples(samples: int, frames: int) -> None:
    assert frame_count(samples, PLAIN) == frames


@given(st.integers(0, 3000), st.sampled_from([0.004, 0.01, 0.0125, 0.016]), st.sampled_from([8000, 11_025, 16_000]))
@settings(max_examples=50, deadline=None)
def test_frame_count_for_any_hop_and_rate(samples: int, hop: float, rate: int) -> None:
    chosen = dataclasses.replace(CHEAP, hop=hop, sample_rate=rate)
    assert len(mfcc(noise(3000)[:samples], chosen)) == frame_count(samples, chosen)


@pytest.mark.parametrize("deltas", [0, 1, 2])
def test_empty_waveform_has_no_frames(deltas: int) -> None:
    features = mfcc(noise(0), FeatureSettings(deltas=deltas))
    assert features.shape == (0, 40 * (1 + deltas))
    assert features.dtype == np.float32


@pytest.mark.parametrize("chosen", [FeatureSettings(), PLAIN, FeatureSettings(deltas=2), CHEAP])
@pytest.mark.parametrize("samples", [1, 100, 161, 5000])
def test_features_are_contiguous_float32(chosen: FeatureSettings, samples: int) -> None:
    features = mfcc(noise(samples), chosen)
    assert features.shape == (frame_count(samples, chosen), chosen.dimension)
    assert features.dtype == np.float32
    assert features.flags["C_CONTIGUOUS"]
    assert np.isfinite(features).all()


def test_waveform_is_not_modified() -> None:
    waveform = noise()
    mfcc(waveform, FeatureSettings(deltas=2))
    np.testing.assert_array_equal(waveform, noise())


# Normalisation

UTTERANCE = FeatureSettings(normalisation="utterance")


@pytest.mark.parametrize("deltas", [0, 1, 2])
def test_utterance_normalisation(deltas: int) -> None:
    features = mfcc(chirp() + noise(level=0.01), FeatureSettings(deltas=deltas, normalisation="utterance"))
    np.testing.assert_allclose(features.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(features.std(axis=0), 1, atol=1e-3)


def test_normalisation_is_affine() -> None:
    plain = mfcc(chirp(), PLAIN)
    expected = (plain - plain.mean(axis=0)) / plain.std(axis=0)
    np.testing.assert_allclose(mfcc(chirp(), UTTERANCE), expected, atol=1e-4)


@pytest.mark.parametrize("deltas", [0, 2])
@pytest.mark.parametrize("kind", ["utterance", "none"])
@pytest.mark.parametrize("samples", [0, 100, 8000])
def test_mfcc_is_normalise_of_unnormalised(samples: int, kind: str, deltas: int) -> None:
    settings = FeatureSettings(deltas=deltas, normalisation=kind)
    plain = unnormalised(chirp()[:samples], settings)
    np.testing.assert_array_equal(plain, mfcc(chirp()[:samples], FeatureSettings(deltas=deltas, normalisation="none")))
    np.testing.assert_array_equal(normalise(plain, settings), mfcc(chirp()[:samples], settings))
    mean, scale = normalisation(plain, settings)
    assert (mean.shape, scale.shape) == ((settings.dimension,), (settings.dimension,))
    np.testing.assert_array_equal(normalise(plain, settings), (plain - mean) / scale)
    assert normalise(plain, settings).dtype == np.float32


def test_normalisation_is_mean_and_deviation_or_identity() -> None:
    plain = unnormalised(chirp(), PLAIN)
    mean, scale = normalisation(plain, UTTERANCE)
    np.testing.assert_allclose(mean, plain.astype(np.float64).mean(axis=0), atol=1e-2)
    np.testing.assert_allclose(scale, plain.astype(np.float64).std(axis=0), rtol=1e-4)
    mean, scale = normalisation(plain, PLAIN)
    assert not mean.any()
    assert (scale == 1).all()
    _, scale = normalisation(np.ones((5, 40), np.float32), UTTERANCE)
    assert (scale == np.float32(1e-3)).all()


def test_statistics_of_blocks_equal_those_of_the_whole() -> None:
    frames = np.random.default_rng(0).normal(-500, 3, (1000, 4)).astype(np.float32)
    statistics = Statistics(4)
    for block in np.split(frames, [1, 1, 10, 600]):
        statistics.add(block)
    assert statistics.count == 1000
    np.testing.assert_allclose(statistics.mean, frames.mean(axis=0, dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(statistics.scale, frames.std(axis=0, dtype=np.float64), rtol=1e-10)


@pytest.mark.parametrize("level", [1e-30, 1e-6, 0.5, 1e10])
@pytest.mark.parametrize("chosen", [FeatureSettings(), FeatureSettings(deltas=2), PLAIN])
def test_constant_waveform_has_finite_features(level: float, chosen: FeatureSettings) -> None:
    features = mfcc(np.full(8000, level, np.float32), chosen)
    assert np.isfinite(features).all()


def test_constant_coefficients_are_normalised_to_zero() -> None:
    assert np.abs(mfcc(np.zeros(8000, np.float32), FeatureSettings())).max() < 0.1
    assert not mfcc(noise(100), FeatureSettings(deltas=2)).any()


# Deltas


def regression(coefficients: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the slope of a line through nine frames, the ends repeated (Young et al., The HTK Book, 5.9)."""
    padded = np.pad(coefficients.astype(np.float64), ((4, 4), (0, 0)), mode="edge")
    frames = len(coefficients)
    slope = np.zeros(coefficients.shape)
    for n in range(1, 5):
        slope += n * (padded[4 + n : 4 + n + frames] - padded[4 - n : 4 - n + frames])
    return slope / (2 * (1 + 4 + 9 + 16))


@pytest.mark.parametrize("samples", [100, 1000, RATE])
def test_deltas_are_slopes(samples: int) -> None:
    plain = mfcc(chirp()[:samples], PLAIN)
    both = mfcc(chirp()[:samples], dataclasses.replace(PLAIN, deltas=1))
    assert both.shape == (len(plain), 80)
    np.testing.assert_array_equal(both[:, :40], plain)
    np.testing.assert_allclose(both[:, 40:], regression(plain), atol=1e-3)


def test_deltas_equal_librosa() -> None:
    plain = mfcc(chirp(), PLAIN)
    all_three = mfcc(chirp(), dataclasses.replace(PLAIN, deltas=2))
    assert all_three.shape == (len(plain), 120)
    for order in (1, 2):
        expected = librosa.feature.delta(plain.T, order=order, mode="nearest").T
        np.testing.assert_allclose(all_three[:, 40 * order : 40 * (order + 1)], expected, atol=1e-4)


# Settings


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"sample_rate": 3999}, "sample_rate = 3999 is not between 4000 and 96000"),
        ({"sample_rate": 96_001}, "sample_rate = 96001 is not between 4000 and 96000"),
        ({"coefficients": 0}, "coefficients = 0 is not between 1 and mel_bands (80)"),
        ({"coefficients": 81}, "coefficients = 81 is not between 1 and mel_bands (80)"),
        ({"mel_bands": 257}, "mel_bands = 257 is not between 1 and 256"),
        ({"hop": 0.0009}, "hop = 0.0009 and window = 0.025 must satisfy 0.001 <= hop <= window <= 0.2 s"),
        ({"hop": 0.026}, "hop = 0.026 and window = 0.025 must satisfy 0.001 <= hop <= window <= 0.2 s"),
        ({"window": 0.201}, "hop = 0.01 and window = 0.201 must satisfy 0.001 <= hop <= window <= 0.2 s"),
        ({"window": float("nan")}, "hop = 0.01 and window = nan must satisfy 0.001 <= hop <= window <= 0.2 s"),
        (
            {"low_frequency": -1.0},
            "low_frequency = -1.0 and high_frequency = 0.0 must satisfy 0 <= low < high <= 8000 Hz",
        ),
        (
            {"low_frequency": 500.0, "high_frequency": 500.0},
            "low_frequency = 500.0 and high_frequency = 500.0 must satisfy 0 <= low < high <= 8000 Hz",
        ),
        (
            {"high_frequency": 8001.0},
            "low_frequency = 20.0 and high_frequency = 8001.0 must satisfy 0 <= low < high <= 8000 Hz",
        ),
        (
            {"sample_rate": 11_025, "high_frequency": 6000.0},
            "low_frequency = 20.0 and high_frequency = 6000.0 must satisfy 0 <= low < high <= 5512.5 Hz",
        ),
        ({"deltas": 3}, "deltas = 3 is not one of 0, 1, 2"),
        ({"deltas": -1}, "deltas = -1 is not one of 0, 1, 2"),
        (
            {"normalisation": "global"},
            "normalisation = 'global' is not one of speech, running, utterance, corpus, none",
        ),
    ],
)
def test_invalid_settings_raise_value_error(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        FeatureSettings(**changed)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "changed",
    [
        {"sample_rate": 4000},
        {"sample_rate": 96_000, "mel_bands": 256, "coefficients": 256},
        {"hop": 0.001, "window": 0.001, "coefficients": 1, "mel_bands": 1},
        {"hop": 0.2, "window": 0.2},
        {"low_frequency": 0.0, "high_frequency": 8000.0},
    ],
)
def test_settings_at_their_limits(changed: dict[str, Any]) -> None:
    chosen = FeatureSettings(**changed)
    features = mfcc(noise(2000), chosen)
    assert features.shape == (frame_count(2000, chosen), chosen.coefficients)
    assert np.isfinite(features).all()
