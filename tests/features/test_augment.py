"""Masks, warps and noise: what they change, how much, and that they change nothing else."""

from typing import Any

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.fft import dct, idct

from asr.features import Features, FeatureSettings, normalise
from asr.features.augment import AugmentSettings, Masking
from asr.features.reference import unnormalised

# As many coefficients as mel bands: the cosine transform can be undone.
ALL = FeatureSettings(coefficients=80, mel_bands=80, normalisation="utterance")
SOME = FeatureSettings(coefficients=13, mel_bands=40)
NONE: dict[str, Any] = {"mel_masks": 0, "time_masks": 0.0}
MANY = AugmentSettings(mel_masks=4, time_masks=5.0, warp=0.1)


def speech(seconds: float = 1.0) -> NDArray[np.float32]:
    """Return noise with a tone that rises, so that every band varies."""
    times = np.arange(round(seconds * 16_000)) / 16_000
    noise = np.random.default_rng(3).normal(0, 0.05, len(times))
    return (0.3 * np.sin(2 * np.pi * (200 + 2500 * times) * times) + noise).astype(np.float32)


def features(frames: int = 200, dimension: int = 40, seed: int = 0) -> Features:
    return np.random.default_rng(seed).normal(3, 2, (frames, dimension)).astype(np.float32)


def masked(
    original: Features, augment: AugmentSettings, size: FeatureSettings, seed: int = 0, strength: float = 1.0
) -> Features:
    """Mask, and check what holds whatever the masks are."""
    before = original.copy()
    result = Masking(augment, size, strength)(original, np.random.default_rng(seed))
    np.testing.assert_array_equal(original, before)
    assert not np.shares_memory(result, original)
    assert result.shape == original.shape
    assert result.dtype == np.float32
    return result


class Scripted(np.random.Generator):
    """A generator whose whole numbers are those given, each within its bound."""

    def __init__(self, *numbers: int, masks: int = 1) -> None:
        super().__init__(np.random.PCG64(0))
        self.numbers, self.masks = list(numbers), masks

    def integers(self, low: Any, *_: Any, **__: Any) -> Any:
        number = self.numbers.pop(0)
        assert 0 <= number < low
        return number

    def poisson(self, *_: Any, **__: Any) -> Any:
        return self.masks


def spectrum(waveform: NDArray[np.float32], size: FeatureSettings) -> NDArray[np.float64]:
    """Return librosa's own mel spectrum (mel bands, T) in dB, nothing of it by the package."""
    power = librosa.feature.melspectrogram(
        y=np.pad(waveform, 256),
        sr=16_000,
        n_fft=512,
        win_length=400,
        hop_length=160,
        n_mels=size.mel_bands,
        fmin=20,
        fmax=8000,
        center=False,
    )
    return np.asarray(librosa.power_to_db(power), dtype=np.float64)


def longest_run(flags: NDArray[np.bool_]) -> int:
    """Return the length of the longest stretch of true values."""
    return max((len(run) for run in "".join("x" if flag else " " for flag in flags).split()), default=0)


# Bands of the mel spectrum


@pytest.mark.parametrize("seed", range(8))
def test_mel_mask_sets_the_band_to_its_mean(seed: int) -> None:
    augment = AugmentSettings(mel_masks=2, mel_mask_width=12, time_masks=0.0)
    result = masked(unnormalised(speech(), ALL), augment, ALL, seed)
    expected = spectrum(speech(), ALL)
    hidden = np.asarray(idct(result, axis=1, norm="ortho").std(axis=0) < 1e-3)
    assert 0 < hidden.sum() <= 24
    assert not (expected.std(axis=1) < 1).any()  # hidden by the masks alone
    expected[hidden] = expected[hidden].mean(axis=1, keepdims=True)
    np.testing.assert_allclose(result, librosa.feature.mfcc(S=expected, n_mfcc=80).T, atol=1e-3)


def test_mel_masks_have_random_position_and_width() -> None:
    result = Masking(AugmentSettings(mel_masks=3, mel_mask_width=7, time_masks=0.0), ALL)(
        unnormalised(speech(), ALL), Scripted(7, 0, 0, 30, 5, 75, masks=0)
    )
    hidden = idct(result, axis=1, norm="ortho").std(axis=0) < 1e-3
    assert np.flatnonzero(hidden).tolist() == [*range(7), *range(75, 80)]


@pytest.mark.parametrize("deltas", [0, 1, 2])
def test_mel_mask_with_fewer_coefficients(deltas: int) -> None:
    size = FeatureSettings(coefficients=13, mel_bands=40, deltas=deltas)
    original = unnormalised(speech(), size)
    result = Masking(AugmentSettings(mel_masks=2, mel_mask_width=9, time_masks=0.0), size)(
        original, Scripted(9, 3, 4, 30, masks=0)
    )
    for start in range(0, 13 * (1 + deltas), 13):
        smooth = idct(np.pad(original[:, start : start + 13], ((0, 0), (0, 27))), axis=1, norm="ortho")
        hidden = np.r_[3:12, 30:34]
        smooth[:, hidden] = smooth[:, hidden].mean(axis=0)
        expected = dct(smooth, axis=1, norm="ortho")[:, :13]
        np.testing.assert_allclose(result[:, start : start + 13], expected, atol=1e-3)
        assert np.abs(expected - original[:, start : start + 13]).max() > 1


@pytest.mark.parametrize("order", [1, 2])
def test_mel_mask_of_deltas(order: int) -> None:
    size = FeatureSettings(coefficients=13, mel_bands=40, deltas=2)
    result = masked(unnormalised(speech(), size), AugmentSettings(mel_masks=3, time_masks=0.0, warp=0.2), size, 5)
    deltas = result[:, 13 * order : 13 * (order + 1)]
    expected = librosa.feature.delta(result[:, :13].T, order=order, mode="nearest").T
    # Up to their means, which are those of the speech, as the coefficients' are.
    np.testing.assert_allclose(deltas - deltas.mean(axis=0), expected - expected.mean(axis=0), atol=2e-3)


@pytest.mark.parametrize(("strength", "widest"), [(1.0, 12), (0.5, 6), (0.25, 3)])
def test_strength_scales_mel_mask_width(strength: float, widest: int) -> None:
    augment = AugmentSettings(mel_masks=1, mel_mask_width=12, time_masks=0.0)
    original = unnormalised(speech(0.3), ALL)
    widths = set()
    for seed in range(150):
        hidden = np.asarray(
            idct(masked(original, augment, ALL, seed, strength), axis=1, norm="ortho").std(axis=0) < 1e-3
        )
        assert hidden.sum() == longest_run(hidden)
        widths.add(int(hidden.sum()))
    assert widths == set(range(widest + 1))


def test_mel_mask_wider_than_the_spectrum() -> None:
    augment = AugmentSettings(mel_masks=1, mel_mask_width=256, time_masks=0.0)
    original = unnormalised(speech(0.3), SOME)
    result = Masking(augment, SOME)(original, Scripted(40, 0, masks=0))
    np.testing.assert_allclose(result, np.broadcast_to(original.mean(axis=0), result.shape), atol=1e-4)


# Stretches of time


@given(st.integers(0, 300), st.integers(0, 2**31))
@settings(deadline=None)
def test_time_mask_sets_frames_to_the_mean(frames: int, seed: int) -> None:
    original = features(frames, 13)
    result = masked(original, AugmentSettings(mel_masks=0, time_masks=5.0), SOME, seed)
    hidden = np.abs(result - original).max(axis=1) > 1e-5
    if frames:
        assert np.abs(result[hidden] - original.mean(axis=0)).max(initial=0.0) <= 1e-5


@pytest.mark.parametrize(("frames", "longest"), [(1000, 20), (100, 20), (50, 10), (9, 1), (4, 0)])
def test_time_mask_is_at_most_a_fifth_of_the_utterance(frames: int, longest: int) -> None:
    augment = AugmentSettings(mel_masks=0, time_mask_duration=0.2)
    mask = Masking(augment, SOME)
    original = features(frames, 13)
    for width in range(longest + 1):
        for start in (0, frames - width):
            changed = np.abs(mask(original, Scripted(width, start)) - original).max(axis=1) > 1e-5
            assert np.flatnonzero(changed).tolist() == list(range(start, start + width))
    with pytest.raises(AssertionError):
        mask(original, Scripted(longest + 1, 0))


@pytest.mark.parametrize(("strength", "hop"), [(1.0, 0.01), (1.0, 0.02), (0.5, 0.01)])
def test_time_masks_have_the_expected_rate(strength: float, hop: float) -> None:
    # 10 s with half a mask a second of 0.1 s on average: 5 % of the frames, less a little that overlaps.
    augment = AugmentSettings(mel_masks=0, time_masks=0.5, time_mask_duration=0.2)
    size = FeatureSettings(coefficients=2, mel_bands=4, hop=hop)
    original = features(round(10 / hop), 2)
    shares = [
        (np.abs(masked(original, augment, size, seed, strength) - original).max(axis=1) > 1e-5).mean()
        for seed in range(300)
    ]
    assert np.mean(shares) == pytest.approx(0.0485 * strength, abs=0.005)


# The warp


def peak(frames: Features, row: int) -> float:
    """Return the mel band, fractions included, about which the spectrum of one frame lies above its mean over time."""
    result = np.maximum(idct(frames - frames.mean(axis=0), axis=1, norm="ortho")[row], 0)
    return float((result * np.arange(len(result))).sum() / result.sum())


class Factor(np.random.Generator):
    """A generator that asks for the largest stretch, or the largest shrinking."""

    def __init__(self, largest: bool) -> None:
        super().__init__(np.random.PCG64(0))
        self.largest = largest

    def uniform(self, low: Any = 0.0, high: Any = 1.0, *_: Any, **__: Any) -> Any:
        return high if self.largest else low


@pytest.mark.parametrize("strength", [1.0, 0.5])
@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("band", [20, 40, 60])
def test_warp_moves_a_peak_by_its_factor(band: int, largest: bool, strength: float) -> None:
    shape = np.exp(-((np.arange(80) - band) ** 2) / 8)
    frames = np.asarray(dct(np.outer([0, 10, 0, 0], shape), axis=1, norm="ortho"), np.float32)
    assert peak(frames, 1) == pytest.approx(band, abs=0.1)
    result = Masking(AugmentSettings(**NONE, warp=0.2), ALL, strength)(frames, Factor(largest))
    factor = 1 + strength * (0.2 if largest else -0.2)
    assert peak(result, 1) == pytest.approx(band * factor, abs=0.4)
    spread = np.asarray(idct(result - result.mean(axis=0), axis=1, norm="ortho")[1])
    assert spread.max() == pytest.approx(7.5, abs=0.5)  # it is moved, not scaled


def test_warp_covers_its_range_in_both_directions() -> None:
    shape = np.exp(-((np.arange(80) - 50) ** 2) / 8)
    frames = np.asarray(dct(np.outer([0, 10, 0, 0], shape), axis=1, norm="ortho"), np.float32)
    result = [peak(masked(frames, AugmentSettings(**NONE, warp=0.1), ALL, seed), 1) for seed in range(200)]
    assert min(result) == pytest.approx(45, abs=0.4)
    assert max(result) == pytest.approx(55, abs=0.4)
    assert np.mean(result) == pytest.approx(50, abs=0.6)


def test_warp_of_a_single_mel_band() -> None:
    size = FeatureSettings(coefficients=1, mel_bands=1)
    original = features(20, 1)
    np.testing.assert_allclose(masked(original, AugmentSettings(**NONE, warp=0.5), size), original, atol=1e-5)


# All of it


@pytest.mark.parametrize(("strength", "largest", "frames"), [(1.0, True, 83), (1.0, False, 125), (0.5, True, 91)])
def test_tempo_stretches_and_shortens(strength: float, largest: bool, frames: int) -> None:
    time = np.linspace(0, 1, 100, dtype=np.float32)
    original = np.stack([time, time**2], axis=1)
    changed = Masking(AugmentSettings(**NONE, tempo=0.2), ALL, strength).change_tempo(original, 1, Factor(largest))
    assert changed.dtype == np.float32
    time = np.linspace(0, 1, frames, dtype=np.float32)
    np.testing.assert_allclose(changed, np.stack([time, time**2], axis=1), atol=1e-4)


@given(st.integers(0, 60), st.integers(1, 60), st.integers(0, 1000))
def test_tempo_keeps_enough_frames(frames: int, shortest: int, seed: int) -> None:
    original = np.arange(frames, dtype=np.float32)[:, None]
    masking = Masking(AugmentSettings(**NONE, tempo=0.5), ALL)
    changed = masking.change_tempo(original, shortest, np.random.default_rng(seed))
    assert min(shortest, frames) <= len(changed) <= max(2 * frames, 1)
    if frames > 1:
        assert (changed[0, 0], changed[-1, 0]) == (0, frames - 1) or len(changed) == 1


def test_no_masks_change_nothing() -> None:
    original = unnormalised(speech(), SOME)
    for chosen in (
        AugmentSettings(**NONE),
        AugmentSettings(mel_mask_width=0, time_mask_duration=0.0, time_masks=50.0),
    ):
        for seed in range(10):
            np.testing.assert_allclose(masked(original, chosen, SOME, seed), original, atol=1e-4)


def test_strength_0_changes_nothing() -> None:
    original = unnormalised(speech(), SOME)
    for seed in range(10):
        np.testing.assert_array_equal(masked(original, MANY, SOME, seed, strength=0.0), original)


def test_masks_of_size_0_are_the_identity() -> None:
    # A strength so small that no band is a whole mel wide, and the factor 1 to float32's last digit.
    original = unnormalised(speech(), ALL)
    result = masked(original, AugmentSettings(mel_masks=5, time_masks=0.0, warp=0.5), ALL, 1, strength=1e-9)
    np.testing.assert_allclose(result, original, atol=1e-3)


def test_no_frames() -> None:
    assert masked(features(0, 13), MANY, SOME).shape == (0, 13)
    assert np.isfinite(masked(features(1, 13), MANY, SOME)).all()


def test_masks_keep_the_mean() -> None:
    original = unnormalised(speech(), SOME)
    bands = AugmentSettings(mel_masks=4, time_masks=0.0, warp=0.2)
    result = masked(original, bands, SOME, 3)
    np.testing.assert_allclose(result.mean(axis=0), original.mean(axis=0), atol=1e-3)
    # So what is hidden lies at 0 once it is normalised, as if the speaker were never heard there.
    hidden = normalise(masked(original, AugmentSettings(mel_masks=0, time_masks=20.0), SOME, 3), SOME)
    assert np.abs(hidden).min(axis=0).max() < 0.2


def test_masks_depend_on_the_seed() -> None:
    original = unnormalised(speech(), SOME)
    first, again, other = (masked(original, MANY, SOME, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1


# Settings


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"speeds": ()}, "speeds = [] leaves no training data; [1.0] is the unchanged speech"),
        ({"speeds": (1.0, 0.4)}, "speeds: 0.4 is not between 0.5 and 2"),
        ({"speeds": (2.1,)}, "speeds: 2.1 is not between 0.5 and 2"),
        ({"speeds": (float("nan"),)}, "speeds: nan is not between 0.5 and 2"),
        ({"speeds": (1.0, 0.9, 1.0)}, "speeds = [1.0, 0.9, 1.0] has a speed twice"),
        ({"mel_masks": -1}, "mel_masks = -1 is not between 0 and 100"),
        ({"mel_mask_width": 257}, "mel_mask_width = 257 is not between 0 and 256"),
        ({"time_masks": -0.1}, "time_masks = -0.1 is not between 0 and 100"),
        ({"time_mask_duration": float("inf")}, "time_mask_duration = inf is not between 0 and 100"),
        ({"mask_start": 1.1}, "mask_start = 1.1 is not between 0 and 1"),
        ({"mask_growth": -1.0}, "mask_growth = -1.0 is not between 0 and 100000"),
        ({"warp": 0.6}, "warp = 0.6 is not between 0 and 0.5"),
        ({"tempo": -0.1}, "tempo = -0.1 is not between 0 and 0.5"),
        ({"noise_copies": 0}, "noise_copies = 0 is not between 1 and 100"),
        ({"noise_share": 1.01}, "noise_share = 1.01 is not between 0 and 1"),
        ({"noise_snr_low": -51.0}, "noise_snr_low = -51.0 is not between -50 and 100"),
        ({"noise_snr_low": float("nan")}, "noise_snr_low = nan is not between -50 and 100"),
        ({"noise_snr_low": 10.0, "noise_snr_high": 9.0}, "noise_snr_high = 9.0 is not between 10.0 and 100"),
    ],
)
def test_invalid_settings_raise_value_error(chosen: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        AugmentSettings(**chosen)
    assert str(caught.value) == message


# Masks over coefficients


@pytest.mark.parametrize("deltas", [0, 2])
def test_coefficient_mask_covers_deltas(deltas: int) -> None:
    shape = FeatureSettings(coefficients=12, mel_bands=24, deltas=deltas)
    frames = np.random.default_rng(0).normal(3, 2, (50, shape.dimension)).astype(np.float32)
    plain = {"mel_masks": 0, "time_masks": 0.0, "coefficient_masks": 2, "coefficient_mask_width": 4}
    masking = Masking(AugmentSettings(**plain), shape)  # type: ignore[arg-type]
    widths = []
    for seed in range(100):
        masked = masking(frames, np.random.default_rng(seed))
        hidden = np.isclose(masked.std(axis=0), 0, atol=1e-5).reshape(-1, 12)
        assert (hidden == hidden[0]).all()
        np.testing.assert_allclose(masked.mean(axis=0), frames.mean(axis=0), atol=1e-5)
        np.testing.assert_allclose(masked[:, ~hidden.ravel()], frames[:, ~hidden.ravel()], atol=1e-5)
        widths.append(int(hidden[0].sum()))
    assert max(widths) == 8
    assert min(widths) == 0
    half = Masking(masking.augment, shape, strength=0.5)
    assert max(
        int((half(frames, np.random.default_rng(seed)).std(axis=0) < 1e-5).sum()) for seed in range(100)
    ) <= 4 * (1 + deltas)
