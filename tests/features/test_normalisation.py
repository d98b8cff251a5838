"""`speech` and `running` normalisation: features do not depend on gain, silence around the speech, or clicks."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from asr.features import FeatureSettings, normalise
from asr.features.frontend import Frontend
from asr.features.normalisation import (
    CausalNormalisation,
    RunningStatistics,
    StreamNormalisation,
    loudest,
    normalisation,
    peak_bands,
    relative,
    speech_frames,
)
from asr.features.reference import matrices, mfcc, unnormalised
from asr.features.streaming import BlockFeatures

RATE = 16_000
SPEECH = FeatureSettings(normalisation="speech", top_db=75.0)


def bursts(seconds: float = 4.0, seed: int = 0) -> NDArray[np.float32]:
    """Noise in bursts of a quarter of a second with a changing spectrum, over a floor 60 dB below."""
    random = np.random.default_rng(seed)
    waveform = random.normal(0, 1e-4, int(seconds * RATE))
    for start in range(0, len(waveform) - 4000, 6000):
        tone = np.sin(2 * np.pi * random.uniform(300, 3000) * np.arange(4000) / RATE)
        waveform[start : start + 4000] += 0.1 * tone * np.hanning(4000) + random.normal(0, 0.005, 4000)
    return waveform.astype(np.float32)


def zeros(seconds: float) -> NDArray[np.float32]:
    return np.zeros(round(seconds * RATE), np.float32)


@pytest.mark.parametrize("gain", [0.0, -20.0, -60.0, -90.0])
def test_gain_does_not_change_the_features(gain: float) -> None:
    waveform = bursts()
    quiet = mfcc((waveform * 10 ** (gain / 20)).astype(np.float32), SPEECH)
    np.testing.assert_allclose(quiet, mfcc(waveform, SPEECH), atol=2e-3)


@pytest.mark.parametrize("kind", ["zeros", "room"])
@pytest.mark.parametrize("seconds", [1.0, 30.0])
def test_silence_around_speech_does_not_change_its_features(kind: str, seconds: float) -> None:
    waveform, before = bursts(), zeros(seconds)
    if kind == "room":
        before = np.random.default_rng(1).normal(0, 1e-4, len(before)).astype(np.float32)
    frames = mfcc(np.concatenate([before, waveform, before]), SPEECH)
    first = round(seconds / SPEECH.hop)
    # The window of the first frames of the speech also covers samples before it.
    np.testing.assert_allclose(frames[first + 3 : first + 390], mfcc(waveform, SPEECH)[3:390], atol=1e-2)


@pytest.mark.parametrize("place", [0.0, 1.5, 3.9])
def test_a_click_does_not_change_the_level(place: float) -> None:
    waveform = bursts() * np.float32(0.05)
    clicked = waveform.copy()
    first = round(place * RATE)
    clicked[first : first + 400] = np.where(np.arange(400) % 20 < 10, 1, -1)
    plain, other = mfcc(waveform, SPEECH), mfcc(clicked, SPEECH)
    apart = np.abs(np.arange(len(plain)) * SPEECH.hop - place - 0.0125) > 0.05
    assert np.abs(other - plain)[apart].mean() < 0.2
    # With the maximum as level, most of the speech is below the range.
    utterance = FeatureSettings(normalisation="utterance")
    assert np.abs(mfcc(clicked, utterance) - mfcc(waveform, utterance))[apart].mean() > 0.2


def test_a_distant_speaker_after_a_close_one_gets_statistics_of_its_own() -> None:
    near, far = bursts(40, 1), bursts(40, 2)
    alone = mfcc(far, SPEECH)
    after = mfcc(np.concatenate([near, far * np.float32(0.1)]), SPEECH)[4000:]
    # The last 20 seconds are more than a window away from the near speaker.
    assert np.abs(after[2200:4000] - alone[2200:4000]).mean() < 0.3


def test_level_is_the_loudest_that_lasts() -> None:
    peaks = np.full(1000, -50.0, np.float32)
    peaks[300:400] = -20.0
    peaks[700:712] = 0.0
    assert loudest(peaks, SPEECH) == -20.0
    assert loudest(peaks, FeatureSettings(normalisation="utterance")) == 0.0
    assert loudest(np.array([-7.0], np.float32), SPEECH) == -7.0
    assert loudest(np.array([-9.0, -7.0], np.float32), SPEECH) == -7.0


def test_level_of_a_long_recording_is_that_of_its_parts() -> None:
    peaks = np.random.default_rng(3).normal(-40, 10, 40_000).astype(np.float32)
    expected = max(float(np.median(peaks[n : n + 31])) for n in range(len(peaks) - 30))
    assert loudest(peaks, SPEECH) == expected


def test_energies_are_relative_to_the_level_and_limited() -> None:
    energies = np.array([[-10.0, -30.0, -200.0]], np.float32)
    assert relative(energies, SPEECH, -20.0).tolist() == [[10.0, -10.0, -75.0]]
    assert relative(energies, FeatureSettings(normalisation="utterance", top_db=50.0), -10.0).tolist() == [
        [-10.0, -30.0, -60.0]
    ]
    assert relative(energies, FeatureSettings(normalisation="none", top_db=0.0), -10.0) is energies


def test_level_ignores_hum_and_frequencies_above_the_telephone_band() -> None:
    bands = peak_bands(SPEECH)
    mel = matrices(SPEECH).mel
    centres = (mel @ np.arange(mel.shape[1])) / mel.sum(axis=1) * RATE / SPEECH.fft_length
    inside = np.flatnonzero((centres > 205) & (centres < 3950))
    assert abs(bands.start - inside[0]) <= 1
    assert abs(bands.stop - 1 - inside[-1]) <= 1
    assert peak_bands(FeatureSettings(normalisation="utterance")) == slice(0, 80)
    assert peak_bands(FeatureSettings(normalisation="speech", low_frequency=5000)) == slice(0, 80)


def test_speech_frames_are_those_near_the_level() -> None:
    waveform = np.concatenate([zeros(1), bursts(), zeros(1)])
    speech = speech_frames(unnormalised(waveform, SPEECH), SPEECH)
    assert not speech[:95].any()
    assert not speech[510:].any()
    assert 0.5 < speech[100:490].mean() < 1


def test_statistics_of_few_frames_are_those_of_all_speech() -> None:
    frames = unnormalised(bursts(), SPEECH)
    speech = frames[speech_frames(frames, SPEECH)].astype(np.float64)
    mean, scale = normalisation(frames, SPEECH)
    np.testing.assert_allclose(mean, np.broadcast_to(speech.mean(axis=0), mean.shape), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(scale, np.broadcast_to(speech.std(axis=0), scale.shape), rtol=1e-4)


def test_running_window_is_measured_in_speech() -> None:
    frames = unnormalised(bursts(30), SPEECH)
    speech = np.flatnonzero(speech_frames(frames, SPEECH))
    assert len(speech) > 1800
    mean, _ = normalisation(frames, SPEECH)
    for place in (0, 630, 1000):
        block = place // 50
        first = max(0, block - 12) * 50
        rows = frames[speech[first : first + 1250]].astype(np.float64)
        np.testing.assert_allclose(mean[speech[place]], rows.mean(axis=0), rtol=1e-4, atol=1e-4)


@given(cuts=st.lists(st.integers(0, 900), max_size=8), seed=st.integers(0, 5))
@settings(deadline=None, max_examples=30)
def test_statistics_do_not_depend_on_the_blocks(cuts: list[int], seed: int) -> None:
    frames = unnormalised(bursts(9, seed), SPEECH)
    mean, scale = normalisation(frames, SPEECH)
    running = RunningStatistics(SPEECH)
    for first, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(frames)], strict=True):
        running.add(frames[first:end])
    finished = running.finish()
    parts = [finished.of(0, 400), finished.of(400, len(frames))]
    np.testing.assert_allclose(np.concatenate([part[0] for part in parts]), mean, rtol=1e-6)
    np.testing.assert_allclose(np.concatenate([part[1] for part in parts]), scale, rtol=1e-5)


@pytest.mark.parametrize("deltas", [0, 2])
def test_frontend_and_blocks_compute_the_same_features(deltas: int) -> None:
    chosen = FeatureSettings(normalisation="speech", top_db=75.0, deltas=deltas)
    frontend = Frontend(chosen, matrices(chosen))
    waveform = np.concatenate([zeros(2), bursts(20), zeros(3)])
    whole = frontend(waveform)
    np.testing.assert_allclose(whole, mfcc(waveform, chosen), atol=2e-3)
    features = BlockFeatures(frontend, lambda: [waveform[n : n + 7001] for n in range(0, len(waveform), 7001)])
    blocks = np.concatenate(list(features.frames(features.measure().level)))
    np.testing.assert_allclose(blocks, whole, atol=2e-3)


@pytest.mark.parametrize("samples", [0, 1, 200, 5000])
def test_short_and_silent_waveforms_have_finite_features(samples: int) -> None:
    for waveform in (np.zeros(samples, np.float32), np.full(samples, 0.1, np.float32)):
        frames = mfcc(waveform, SPEECH)
        assert np.isfinite(frames).all()
        assert frames.shape == ((0 if samples == 0 else 1 + samples // 160), 40)


def test_features_of_earlier_models_are_unchanged() -> None:
    plain = FeatureSettings(normalisation="utterance")
    frames = unnormalised(bursts(), plain)
    expected = (frames - frames.mean(axis=0, dtype=np.float64)) / frames.std(axis=0, dtype=np.float64)
    np.testing.assert_allclose(normalise(frames, plain), expected, atol=1e-4)


# --- running ------------------------------------------------------------------------------------------------------


def running_settings() -> FeatureSettings:
    """Return settings with the statistics of `bursts`, as training sets them."""
    settings = FeatureSettings(normalisation="running", top_db=0.0)
    speech = CausalNormalisation(settings).speech(unnormalised(bursts(8.0, 9), settings))
    return replace(settings, mean=tuple(speech.mean(axis=0).tolist()), scale=tuple(speech.std(axis=0).tolist()))


RUNNING = running_settings()


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.lists(st.integers(0, 500), max_size=10))
def test_running_normalisation_of_parts_is_that_of_the_whole(cuts: list[int]) -> None:
    frames = unnormalised(bursts(5.0), RUNNING)
    normalise_part = StreamNormalisation(RUNNING)
    parts = [normalise_part(part) for part in np.split(frames, sorted(cuts))]
    np.testing.assert_array_equal(np.concatenate(parts), normalise(frames, RUNNING))


def test_running_normalisation_does_not_use_later_frames() -> None:
    frames = unnormalised(bursts(5.0), RUNNING)
    np.testing.assert_array_equal(normalise(frames[:300], RUNNING), normalise(frames, RUNNING)[:300])


@pytest.mark.parametrize("gain", [-30.0, 20.0])
def test_running_normalisation_forgets_the_gain(gain: float) -> None:
    waveform = bursts(20.0)
    changed = mfcc((waveform * 10 ** (gain / 20)).astype(np.float32), RUNNING)
    # The level before the first frame is that of speech: a quiet recording needs seconds to be told from noise. Between
    # the bursts, the least power that is told apart does not change with the gain.
    later = speech_frames(unnormalised(waveform, RUNNING), RUNNING) & (np.arange(2001) > 1000)
    assert np.abs(changed[later] - mfcc(waveform, RUNNING)[later]).mean() < 0.1
    plain = replace(RUNNING, normalisation="corpus")
    shifted = mfcc((waveform * 10 ** (gain / 20)).astype(np.float32), plain) - mfcc(waveform, plain)
    assert np.abs(shifted[later]).mean() > 0.1


def test_running_normalisation_has_the_scale_of_speech() -> None:
    frames = unnormalised(bursts(20.0), RUNNING)
    speech = normalise(frames, RUNNING)[speech_frames(frames, RUNNING)]
    assert len(speech) > 500
    np.testing.assert_allclose(speech.mean(axis=0), 0, atol=0.4)
    np.testing.assert_allclose(speech.std(axis=0), 1, atol=0.5)


def test_silence_does_not_change_running_statistics() -> None:
    waveform = bursts(10.0)
    with_pause = np.concatenate([waveform[: 5 * RATE], zeros(20.0), waveform[5 * RATE :]])
    frames, other = mfcc(waveform, RUNNING), mfcc(with_pause, RUNNING)
    assert np.abs(other[-480:] - frames[-480:]).mean() < 0.2
