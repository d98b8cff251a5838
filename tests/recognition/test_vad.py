"""Voice activity detection: ranges of speech in levels of speech, noise and silence."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.features.streaming import FrameRange
from asr.recognition import vad

HOP = 0.01


def level(decibels: float, seconds: float, seed: int = 1) -> vad.Levels:
    """Return the levels of a steady noise."""
    levels: vad.Levels = np.random.default_rng(seed).normal(decibels, 0.7, round(seconds / HOP)).astype(np.float32)
    return levels


def speech(decibels: float, seconds: float) -> vad.Levels:
    """Return levels that rise and fall four times a second, as syllables do."""
    now = np.arange(round(seconds / HOP)) * HOP
    levels: vad.Levels = (decibels - 12 + 12 * np.cos(2 * np.pi * 4 * now) + level(0, seconds)).astype(np.float32)
    return levels


def times(*parts: vad.Levels) -> list[tuple[float, float]]:
    """Return the times in seconds at which speech begins and ends."""
    return [(part.first * HOP, part.end * HOP) for part in vad.speech(np.concatenate(parts), HOP)]


def about(*expected: tuple[float, float]) -> list[tuple[object, object]]:
    return [(pytest.approx(first, abs=0.15), pytest.approx(end, abs=0.2)) for first, end in expected]


def test_silence_and_noise_are_left_out_and_speech_is_padded() -> None:
    parts = [level(-100, 5), level(-55, 10), speech(-20, 4), level(-55, 10), level(-75, 20), speech(-25, 3)]
    assert times(*parts) == about((14.7, 19.3), (48.7, 52.0))


@pytest.mark.parametrize("decibels", [-100, -60, -20])
def test_a_steady_sound_is_not_speech(decibels: float) -> None:
    assert times(level(decibels, 60)) == []


def test_a_noise_far_below_speech_is_not_speech_even_after_silence() -> None:
    assert times(level(-80, 20), level(-52, 3), level(-80, 20), speech(-15, 3)) == about((42.7, 46.0))


def test_the_floor_follows_the_noise() -> None:
    parts = [level(-70, 60), speech(-30, 3), level(-70, 60), level(-45, 60), speech(-25, 3), level(-45, 60)]
    assert times(*parts) == about((59.7, 63.3), (182.7, 186.3))


def test_speech_alone_is_speech() -> None:
    assert times(speech(-20, 60)) == about((0, 60))


def test_short_pauses_are_speech_and_clicks_are_not() -> None:
    quiet = level(-60, 10)
    assert times(quiet, speech(-20, 2), level(-60, 0.5), speech(-20, 2), quiet) == about((9.7, 14.8))
    assert len(times(quiet, speech(-20, 2), level(-60, 2), speech(-20, 2), quiet)) == 2
    assert times(quiet, level(-10, 0.03), quiet, speech(-20, 2)) == about((19.73, 22.03))


def test_speech_ends_at_a_lower_level_than_it_begins() -> None:
    fading = np.linspace(-20, -56, 200).astype(np.float32)
    ((first, end),) = times(level(-60, 10), fading, level(-60, 10))
    assert first == pytest.approx(9.7, abs=0.1)
    # It falls by 18 dB a second, to 5 dB above the floor.
    assert end == pytest.approx(10 + 35 / 18 + 0.3, abs=0.15)


@given(st.lists(st.floats(-100, 0, width=32), max_size=700), st.sampled_from([1, 2, 3, 4]))
@settings(deadline=None)
def test_ranges_are_ordered_and_do_not_overlap(levels: list[float], reduction: int) -> None:
    ranges = vad.speech(np.array(levels, np.float32), HOP, reduction)
    assert all(part.first % reduction == 0 and part.first < part.end <= len(levels) for part in ranges)
    assert all(part.end <= following.first for part, following in pairwise(ranges))


def test_speech_of_no_frames_is_empty() -> None:
    assert vad.speech(np.zeros(0, np.float32), HOP) == []
    assert vad.speech(np.zeros(1, np.float32), HOP) in ([], [FrameRange(0, 1)])


def test_runs() -> None:
    assert vad.runs(np.array([True, False, True, True])) == [(0, 1), (2, 4)]
    assert vad.runs(np.zeros(3, bool)) == []
