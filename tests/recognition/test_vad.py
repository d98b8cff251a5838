"""Voice activity detection: speech is found, whatever its level and what surrounds it, and noise is not speech."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import load_file

from asr import audio
from asr.recognition import vad
from asr.recognition.vad import SampleRange, Speech
from asr.transcripts.records import Word

ROOT = Path(__file__).resolve().parents[2]
RATE = 16_000
Wave = NDArray[np.float32]
# A frame of 320 samples is 20 ms.
HOP = 320


def coloured(exponent: float, seconds: float, seed: int = 1) -> Wave:
    """Return noise of amplitude 0.1, whose power falls with this power of the frequency."""
    count = round(seconds * RATE)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(count))
    spectrum *= np.maximum(np.fft.rfftfreq(count, 1 / RATE), 10) ** (-exponent / 2)
    noise = np.fft.irfft(spectrum, count)
    result: Wave = (0.1 * noise / noise.std()).astype(np.float32)
    return result


def hum(base: float, seconds: float) -> Wave:
    now = np.arange(round(seconds * RATE)) / RATE
    harmonics = np.arange(1, 20)[:, None]
    tones = (np.sin(2 * np.pi * base * harmonics * now) / harmonics).sum(axis=0)
    result: Wave = (0.1 * tones).astype(np.float32) + 0.01 * coloured(0, seconds)
    return result


def one_pop(seconds: float) -> Wave:
    result = 1e-3 * coloured(0, seconds)
    result[8000:8400] = 1.0
    return result


def beeps(seconds: float) -> Wave:
    now = np.arange(round(seconds * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * 440 * now) * (now % 1 < 0.5)).astype(np.float32) + 0.01 * coloured(0, seconds)


NOISES: dict[str, Callable[[float], Wave]] = {
    "white": lambda seconds: coloured(0, seconds),
    "pink": lambda seconds: coloured(1, seconds),
    "brown": lambda seconds: coloured(2, seconds),
    "hum of 50 Hz": lambda seconds: hum(50, seconds),
    "hum of 60 Hz": lambda seconds: hum(60, seconds),
    "pop": one_pop,
    "beeps": beeps,
    "digital silence": lambda seconds: np.zeros(round(seconds * RATE), np.float32),
}


@pytest.fixture(scope="module")
def spoken() -> list[Wave]:
    """Sentences, without the silence before and after them."""
    waveforms = [audio.load(path, RATE) for path in sorted((ROOT / "data/samples").glob("*.opus"))[:4]]
    loud = [np.flatnonzero(np.abs(waveform) > 0.03) for waveform in waveforms]
    return [waveform[found[0] : found[-1]] for waveform, found in zip(waveforms, loud, strict=True)]


def seconds(waveform: Wave, rate: int = RATE) -> list[tuple[float, float]]:
    """Return the times in seconds at which speech begins and ends."""
    return [(part.first / rate, part.end / rate) for part in vad.detect([waveform], rate).ranges]


@pytest.mark.parametrize("gain", [0, -30, -60])
@pytest.mark.parametrize("name", NOISES)
def test_noise_is_not_speech(name: str, gain: float) -> None:
    assert seconds(NOISES[name](20) * np.float32(10 ** (gain / 20))) == []


def test_noise_is_not_speech_at_other_sample_rates() -> None:
    for rate in (8_000, 11_025, 44_100):
        assert seconds(audio.resample(coloured(1, 10), RATE, rate), rate) == []


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050])
@pytest.mark.parametrize("gain", [0, -30, -60])
def test_speech_after_noise_is_found_at_any_gain_and_rate(spoken: list[Wave], gain: float, rate: int) -> None:
    for waveform in spoken:
        length = len(waveform) / RATE
        room = 0.003 * coloured(0, 30)
        whole = np.concatenate([room, waveform, room[: 5 * RATE]]) * np.float32(10 ** (gain / 20))
        found = seconds(audio.resample(whole, RATE, rate), rate)
        # At least 0.2 s before and after it are kept, and at most one second.
        assert 29 <= found[0][0] <= 29.8
        assert 30.2 <= found[-1][1] - length <= 31


def test_speech_after_digital_silence_is_found(spoken: list[Wave]) -> None:
    silence = np.zeros(30 * RATE, np.float32)
    for waveform in spoken:
        found = seconds(np.concatenate([silence, waveform, silence]))
        assert 29 <= found[0][0] <= 29.8
        assert 30.2 <= found[-1][1] - len(waveform) / RATE <= 31


def test_quiet_speech_after_loud_speech_is_found(spoken: list[Wave]) -> None:
    far = np.concatenate([spoken[0], np.zeros(3 * RATE, np.float32), 0.1 * spoken[1]])
    start = len(far) - len(spoken[1])
    found = seconds(far + 1e-4 * coloured(0, len(far) / RATE)[: len(far)])
    assert any(first < start / RATE + 0.05 and len(far) / RATE - 0.1 <= end for first, end in found)


def test_quiet_speech_after_a_pop_is_found(spoken: list[Wave]) -> None:
    for waveform in spoken:
        pop = np.zeros(RATE, np.float32)
        pop[:400] = np.where(np.arange(400) % 20 < 10, 1, -1)
        far = (
            np.concatenate([pop, 0.03 * waveform])
            + 1e-5 * coloured(0, len(waveform) / RATE + 1)[: RATE + len(waveform)]
        )
        found = seconds(far)
        assert sum(end - max(first, 1.0) for first, end in found) > 0.9 * len(waveform) / RATE


def test_speech_in_noise_is_found(spoken: list[Wave]) -> None:
    for waveform in spoken:
        noise = coloured(1, 15)
        start = 6 * RATE
        level = np.sqrt(np.square(waveform).mean() / np.square(noise).mean())
        noise[start : start + len(waveform)] += waveform / level * np.float32(10**0.5)
        found = seconds(noise)
        assert found[0][0] <= 5.9
        assert found[-1][1] >= 6.1 + len(waveform) / RATE


def test_gain_has_no_effect(spoken: list[Wave]) -> None:
    waveform = np.concatenate([0.01 * coloured(0, 1), spoken[0], 0.01 * coloured(0, 1)])
    expected = vad.probabilities([waveform], RATE)
    for gain in (1e-6, 1e-3, 1e3):
        assert np.allclose(vad.probabilities([waveform * np.float32(gain)], RATE), expected, atol=1e-3)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000])
@pytest.mark.parametrize("size", [1, 100, 1000, 7777])
def test_the_size_of_blocks_has_no_effect(spoken: list[Wave], size: int, rate: int) -> None:
    waveform = audio.resample(spoken[0][: RATE if size > 1 else 2000], RATE, rate)
    expected = vad.probabilities([waveform], rate)
    assert len(expected) == -(-len(waveform) // round(vad.HOP * rate))
    found = vad.probabilities([waveform[first : first + size] for first in range(0, len(waveform), size)], rate)
    assert np.allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("count", [0, 1, 319, 320, 321, 640])
def test_there_is_a_frame_for_each_hop(count: int) -> None:
    assert len(vad.probabilities([np.ones(count, np.float32)], RATE)) == -(-count // HOP)


def test_probabilities_are_those_of_torch(spoken: list[Wave]) -> None:
    weights = load_file(vad.WEIGHTS)
    convolution, recurrence, output = (
        torch.nn.Conv1d(26, 40, 5),
        torch.nn.GRU(40, 48, batch_first=True),
        torch.nn.Linear(48, 1),
    )
    network = torch.nn.ModuleDict({"convolution": convolution, "recurrence": recurrence, "output": output})
    network.load_state_dict(weights)
    features = vad.Features(RATE)
    rows = [vad.silence(4), features.add(spoken[0]), features.finish(), vad.silence(vad.LOOK_AHEAD)]
    with torch.inference_mode():
        hidden, _ = recurrence(convolution(torch.from_numpy(np.concatenate(rows)).T[None]).relu().mT)
        expected = output(hidden).sigmoid()[0, vad.LOOK_AHEAD :, 0].numpy()
    assert np.allclose(vad.probabilities([spoken[0]], RATE), expected, atol=1e-4)


def frames(*parts: tuple[float, float]) -> NDArray[np.float32]:
    """Return probabilities: (probability, seconds) after each other."""
    return np.concatenate([np.full(round(length / vad.HOP), value, np.float32) for value, length in parts])


def ranges(*parts: tuple[float, float]) -> list[tuple[float, float]]:
    found = frames(*parts)
    return [(part.first / RATE, part.end / RATE) for part in vad.speech(found, HOP, len(found) * HOP)]


def test_speech_is_padded() -> None:
    assert ranges((0, 5), (1, 2), (0, 5)) == [(4.5, 7.5)]
    assert ranges((0, 5), (1, 2), (0, 3), (1, 2), (0, 5)) == [(4.5, 7.5), (9.5, 12.5)]


def test_less_than_a_second_is_not_left_out() -> None:
    assert ranges((1, 2)) == [(0, 2)]
    assert ranges((0, 1.4), (1, 2), (0, 1.4)) == [(0, 4.8)]
    assert ranges((0, 1.6), (1, 2), (0, 1.6)) == [(1.1, 4.1)]
    assert ranges((0, 5), (1, 2), (0, 1.9), (1, 2), (0, 5)) == [(4.5, 11.4)]


def test_a_click_is_not_speech() -> None:
    assert ranges((0, 5), (1, 0.12), (0, 5)) == []
    assert ranges((0, 5), (1, 0.2), (0, 5)) == [(4.5, 5.7)]


def test_speech_begins_at_a_higher_probability_than_it_ends() -> None:
    assert ranges((0, 5), (0.5, 2), (0, 5)) == []
    assert ranges((0, 5), (0.5, 2), (1, 1), (0.5, 2), (0, 5)) == [(4.5, 10.5)]


@given(st.lists(st.floats(0, 1, width=32), max_size=700), st.integers(0, HOP - 1))
@settings(deadline=None)
def test_ranges_are_ordered_and_do_not_overlap(values: list[float], missing: int) -> None:
    samples = max(0, len(values) * HOP - missing)
    found = vad.speech(np.array(values, np.float32), HOP, samples)
    assert all(0 <= part.first < part.end <= samples for part in found)
    assert all(part.end < following.first for part, following in pairwise(found))


@given(st.lists(st.integers(1, 60), min_size=1, max_size=9), st.integers(1, 70))
def test_cut_samples_are_those_of_the_ranges(lengths: list[int], size: int) -> None:
    edges = np.cumsum(lengths).tolist()
    found = [SampleRange(first, end) for first, end in zip(edges[::2], edges[1::2], strict=False)]
    waveform = np.arange(edges[-1] + 5, dtype=np.float32)
    blocks = [waveform[first : first + size] for first in range(0, len(waveform), size)]
    expected = [value for part in found for value in range(part.first, part.end)]
    assert [value for block in Speech(found, RATE).cut(blocks) for value in block.tolist()] == expected


def test_words_get_the_times_of_the_whole_recording() -> None:
    found = Speech([SampleRange(100, 200), SampleRange(500, 700)], 100)

    def times(start: float, end: float) -> tuple[float, float]:
        word = found.original(Word("A", start, end, 1.0))
        return word.start, word.end

    assert times(0.0, 0.5) == (1.0, 1.5)
    assert times(0.5, 1.0) == (1.5, 2.0)
    assert times(1.0, 1.5) == (5.0, 5.5)
    assert times(2.5, 3.1) == (6.5, 7.0)
    # A word is in the part in which its middle is.
    assert times(0.8, 1.1) == (1.8, 2.0)
    assert times(0.9, 1.4) == (5.0, 5.4)


def test_runs() -> None:
    assert vad.runs(np.array([True, False, True, True])) == [(0, 1), (2, 4)]
    assert vad.runs(np.zeros(3, bool)) == []
