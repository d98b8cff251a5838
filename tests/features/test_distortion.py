"""Distorted copies of training speech."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from asr.features.distortion import (
    Distortion,
    Excerpt,
    babble,
    coded,
    reverberated,
    synthetic_noise,
    telephone,
    with_click,
    with_level_change,
    with_noise,
)

RATE = 16_000


def sine(samples: int, level: float = 0.01, frequency: float = 440.0) -> NDArray[np.float32]:
    return (level * np.sin(2 * np.pi * frequency * np.arange(samples) / RATE)).astype(np.float32)


def white(samples: int, level: float = 0.1) -> NDArray[np.float32]:
    return np.random.default_rng(samples).normal(0, level, samples).astype(np.float32)


def power(waveform: NDArray[Any]) -> float:
    return float(np.mean(np.square(waveform, dtype=np.float64)))


def seeded(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("snr", [-5.0, 0.0, 5.5, 20.0, 40.0])
def test_noise_has_the_signal_to_noise_ratio(snr: float) -> None:
    speech, noise = sine(5000), white(5000)
    mixed = with_noise(speech, noise, power(speech), snr)
    assert mixed.dtype == np.float32
    assert 10 * np.log10(power(speech) / power(mixed.astype(np.float64) - speech)) == pytest.approx(snr, abs=0.01)


@pytest.mark.parametrize(("speech", "noise"), [(sine(100), np.zeros(100)), (np.zeros(100), white(100))])
def test_silence_leaves_the_waveform_unchanged(speech: NDArray[np.float32], noise: NDArray[np.float32]) -> None:
    np.testing.assert_array_equal(with_noise(speech, noise, power(speech), 5.0), speech)


def test_recorded_noise_has_a_random_offset_and_is_repeated(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "noise.wav", white(100), RATE, subtype="FLOAT")
    distortion = Distortion(noise=(str(tmp_path / "noise.wav"),), low=0, high=0)
    speech, starts = sine(250), set()
    for seed in range(60):
        added = distortion(speech, RATE, seeded(seed)) - speech
        np.testing.assert_allclose(added[100:200], added[:100], atol=1e-6)
        starts.add(int(np.argmax([np.dot(added[:100], np.roll(white(100), -shift)) for shift in range(100)])))
    assert len(starts) > 30


def test_babble_is_the_sum_of_voices_of_equal_power(tmp_path: Path) -> None:
    voices = [sine(RATE, 0.01, 300), sine(RATE, 0.5, 700)]
    spectrum = np.abs(np.fft.rfft(babble(voices, RATE, seeded())))
    assert set(np.argsort(spectrum)[-2:].tolist()) == {300, 700}
    assert spectrum[300] == pytest.approx(spectrum[700], rel=1e-3)
    for number, frequency in enumerate((300, 500, 700, 900)):
        soundfile.write(tmp_path / f"{number}.wav", sine(2 * RATE, 0.1, frequency), RATE, subtype="FLOAT")
    excerpts = tuple(Excerpt(str(tmp_path / f"{number}.wav"), 0.5, 1.0) for number in range(4))
    speech = sine(RATE, 0.01, 100)
    added = Distortion(voices=excerpts, babble=1.0, low=10, high=10)(speech, RATE, seeded()) - speech
    loud = np.flatnonzero(np.abs(np.fft.rfft(added)) > 1)
    assert 3 <= len(loud) <= 4
    assert set(loud.tolist()) <= {300, 500, 700, 900}
    assert 10 * np.log10(power(speech) / power(added)) == pytest.approx(10, abs=0.1)


@given(st.integers(0, 10_000), st.integers(1, 20_000))
@settings(deadline=None, max_examples=50)
def test_synthetic_noise_is_finite_and_not_silent(seed: int, samples: int) -> None:
    noise = synthetic_noise(samples, RATE, seeded(seed))
    assert noise.shape == (samples,)
    assert noise.dtype == np.float32
    assert np.isfinite(noise).all()
    assert samples < 100 or power(noise) > 0


def test_reverberation_follows_the_direct_sound() -> None:
    click = np.zeros(RATE, np.float32)
    click[1000] = 1.0
    rooms = [reverberated(click, RATE, seeded(seed)) for seed in range(5)]
    for room in rooms:
        assert room.shape == click.shape
        assert np.abs(room[:1000]).max() < 1e-6
        assert room[1000] == pytest.approx(1, abs=1e-5)
        assert 10 ** (-12.1 / 10) < np.square(room[1001:]).sum() < 10 ** (3.1 / 10)
        assert np.square(room[-2000:]).sum() < 1e-2 * np.square(room[1001:]).sum()
    assert len({room.tobytes() for room in rooms}) == 5


def test_telephone_passes_its_band_only() -> None:
    for frequency, low, high in ((60, 0, 0.1), (1000, 0.9, 1.1), (3000, 0.7, 1.1), (5000, 0, 0.02)):
        heard = telephone(sine(8001, 0.3, frequency), RATE)
        assert heard.shape == (8001,)
        assert heard.dtype == np.float32
        assert low <= np.sqrt(power(heard[2000:6000])) / (0.3 / np.sqrt(2)) <= high


def test_codecs_keep_the_speech() -> None:
    speech = sine(RATE, 0.3) + sine(RATE, 0.1, 1200)
    results = [coded(speech, RATE, seeded(seed)) for seed in range(12)]
    assert len({result.tobytes() for result in results}) > 3
    for result in results:
        assert len(result) == pytest.approx(len(speech), abs=3000)
        spectrum = np.abs(np.fft.rfft(result[4000:12_000]))
        assert int(np.argmax(spectrum)) == 220
    np.testing.assert_array_equal(coded(speech, 12_345, seeded(1))[:100], speech[:100])


def test_silence_surrounds_half_of_the_copies() -> None:
    speech = sine(5000)
    lengths = [len(Distortion(silence=1.0)(speech, RATE, seeded(seed))) for seed in range(200)]
    longer = [length for length in lengths if length > 5000]
    assert 70 < len(longer) < 130
    assert max(longer) < 5000 + 2 * RATE
    assert np.mean(longer) == pytest.approx(5000 + RATE, rel=0.1)


@pytest.mark.parametrize("seed", range(5))
def test_level_changes_once(seed: int) -> None:
    speech = sine(5000, 0.5) + 1
    ratio = with_level_change(speech, seeded(seed)) / speech
    assert np.count_nonzero(np.abs(np.diff(ratio)) > 1e-3) == 1
    assert {float(ratio.max()), float(ratio[0]), float(ratio[-1])} >= {1.0}
    assert 10 ** (-25 / 20) <= ratio.min() < 1


@pytest.mark.parametrize("seed", range(5))
def test_click_is_short_and_within_full_scale(seed: int) -> None:
    speech = sine(RATE, 0.5)
    clicked = with_click(speech, RATE, 0.01, seeded(seed))
    changed = np.flatnonzero(clicked != speech)
    assert 0 < len(changed) <= changed[-1] - changed[0] + 1 <= 0.03 * RATE
    assert np.abs(clicked * 0.01).max() <= 1


def test_click_in_a_waveform_shorter_than_the_click() -> None:
    assert with_click(sine(5), RATE, 1.0, seeded()).shape == (5,)


def test_gain_lowers_the_level_to_whole_numbers() -> None:
    levels = []
    for seed in range(50):
        quiet = Distortion(gain=60.0)(sine(5000, 0.5), RATE, seeded(seed))
        np.testing.assert_allclose(quiet * 32767, np.round(quiet * 32767), atol=1e-2)
        levels.append(20 * np.log10(np.abs(quiet).max() / 0.5))
    assert -61 < min(levels) < -50
    assert -10 < max(levels) <= 0.1


FULL = Distortion(
    synthetic=1.0,
    low=0,
    high=20,
    reverberation=0.5,
    telephone=0.5,
    codec=0.3,
    silence=1.0,
    gain=40.0,
    level_changes=0.5,
    clicks=0.5,
    number=1,
)


@given(st.integers(0, 2000), st.integers(1, 20_000), st.floats(0.0001, 1))
@settings(deadline=None, max_examples=40)
def test_distorted_waveforms_stay_within_their_range(seed: int, samples: int, level: float) -> None:
    distorted = FULL(white(samples, level).clip(-1, 1), RATE, seeded(seed))
    assert distorted.dtype == np.float32
    assert np.isfinite(distorted).all()
    assert np.abs(distorted).max() <= 1.0001


def test_distortion_depends_on_the_seed_alone() -> None:
    speech = sine(8000, 0.3)
    first, again, other = (FULL(speech, RATE, seeded(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert first.tobytes() != other.tobytes()
    np.testing.assert_array_equal(speech, sine(8000, 0.3))


@pytest.mark.parametrize("waveform", [np.zeros(0, np.float32), np.zeros(100, np.float32)])
def test_a_silent_waveform_is_unchanged(waveform: NDArray[np.float32]) -> None:
    np.testing.assert_array_equal(replace(FULL, silence=0)(waveform, RATE, seeded()), waveform)
