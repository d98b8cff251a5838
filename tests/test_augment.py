"""Masks over features: what they hide, how much, and that they hide nothing else."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from asr.augment import AugmentSettings, mask
from asr.features import Features

HOP = 0.01
NONE: dict[str, Any] = {"coefficient_masks": 0, "time_masks": 0.0}
MANY = AugmentSettings(coefficient_masks=4, time_masks=5.0)


def features(frames: int = 200, dimension: int = 40, seed: int = 0) -> Features:
    return np.random.default_rng(seed).normal(3, 2, (frames, dimension)).astype(np.float32)


def changes(original: Features, settings: AugmentSettings, random: int | np.random.Generator) -> NDArray[np.bool_]:
    """Mask, check that what changed became the mean, and return where it changed."""
    masked = mask(original, HOP, settings, np.random.default_rng(random))
    assert masked.shape == original.shape
    assert masked.dtype == np.float32
    where: NDArray[np.bool_] = np.asarray(masked != original)
    if len(original):
        mean = np.broadcast_to(original.mean(axis=0), original.shape)
        np.testing.assert_array_equal(masked[where], mean[where])
    return where


def longest_run(flags: NDArray[np.bool_]) -> int:
    """Return the length of the longest stretch of true values."""
    return max((len(run) for run in "".join("x" if flag else " " for flag in flags).split()), default=0)


@given(st.integers(0, 300), st.integers(1, 60), st.integers(0, 2**31))
@settings(deadline=None)
def test_what_is_masked_is_the_mean_and_the_rest_is_untouched(frames: int, dimension: int, seed: int) -> None:
    where = changes(features(frames, dimension), MANY, seed)
    # What is masked is whole rows and whole columns.
    rows, columns = np.all(where, axis=1, keepdims=True), np.all(where, axis=0, keepdims=True)
    np.testing.assert_array_equal(where, rows | columns)


def test_the_features_given_are_not_written_to() -> None:
    original = features()
    mask(original, HOP, MANY, np.random.default_rng(0))
    np.testing.assert_array_equal(original, features())


def test_without_masks_nothing_changes() -> None:
    assert not any(changes(features(), AugmentSettings(**NONE), seed).any() for seed in range(20))
    nothing_wide = AugmentSettings(coefficient_mask_width=0, time_mask_duration=0.0, time_masks=50.0)
    assert not any(changes(features(), nothing_wide, seed).any() for seed in range(20))


@pytest.mark.parametrize("width", [1, 5, 40, 100])
def test_a_band_is_at_most_as_wide_as_it_may_be(width: int) -> None:
    settings = AugmentSettings(**(NONE | {"coefficient_masks": 1, "coefficient_mask_width": width}))
    found = [changes(features(), settings, seed)[0] for seed in range(400)]
    assert all(flags.sum() == longest_run(flags) for flags in found)
    widest = max(int(flags.sum()) for flags in found)
    assert widest <= min(width, 40)
    assert widest >= min(width, 40) - 2
    assert min(int(flags.sum()) for flags in found) <= 1
    # Every coefficient has its turn.
    assert np.any(found, axis=0).mean() > 0.95


def test_as_many_bands_are_masked_as_there_should_be() -> None:
    settings = AugmentSettings(**(NONE | {"coefficient_masks": 3, "coefficient_mask_width": 2}))
    found = [int(changes(features(), settings, seed)[0].sum()) for seed in range(300)]
    assert max(found) == 6
    assert 2.5 < np.mean(found) < 3.0  # three of 1 on average, less what overlaps


class OneMask(np.random.Generator):
    """A generator whose every count of masks is 1."""

    def poisson(self, *_: Any, **__: Any) -> Any:
        return 1


@pytest.mark.parametrize(("frames", "longest"), [(1000, 20), (100, 20), (50, 10), (9, 1), (4, 0)])
def test_a_stretch_is_at_most_a_fifth_of_the_utterance(frames: int, longest: int) -> None:
    settings = AugmentSettings(coefficient_masks=0, time_mask_duration=0.2)
    lengths = set()
    for seed in range(300):
        rows = changes(features(frames, 2), settings, OneMask(np.random.PCG64(seed)))[:, 0]
        assert rows.sum() == longest_run(rows)
        lengths.add(int(rows.sum()))
    assert lengths == set(range(longest + 1))


def test_as_much_time_is_masked_as_there_should_be() -> None:
    # 10 s with half a mask a second of 0.1 s on average: 5 % of the frames, less a little that overlaps.
    settings = AugmentSettings(coefficient_masks=0, time_masks=0.5, time_mask_duration=0.2)
    shares = [changes(features(1000, 2), settings, seed)[:, 0].mean() for seed in range(400)]
    assert np.mean(shares) == pytest.approx(0.0485, abs=0.004)


def test_time_is_in_seconds_whatever_the_hop() -> None:
    settings = AugmentSettings(coefficient_masks=0, time_masks=0.5, time_mask_duration=0.2)
    original = features(500, 2)
    shares = [
        np.not_equal(mask(original, 2 * HOP, settings, np.random.default_rng(seed)), original)[:, 0].mean()
        for seed in range(400)
    ]
    assert np.mean(shares) == pytest.approx(0.0485, abs=0.004)


def test_a_seed_repeats_its_masks_and_another_does_not() -> None:
    first, again, other = (mask(features(), HOP, MANY, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"speeds": ()}, "speeds = [] leaves nothing to train on; [1.0] is the unchanged speech"),
        ({"speeds": (1.0, 0.4)}, "speeds: 0.4 is not within 0.5 to 2"),
        ({"speeds": (2.1,)}, "speeds: 2.1 is not within 0.5 to 2"),
        ({"speeds": (float("nan"),)}, "speeds: nan is not within 0.5 to 2"),
        ({"speeds": (1.0, 0.9, 1.0)}, "speeds = [1.0, 0.9, 1.0] names one speed twice"),
        ({"coefficient_masks": -1}, "coefficient_masks = -1 is not within 0 to 100"),
        ({"coefficient_mask_width": 101}, "coefficient_mask_width = 101 is not within 0 to 100"),
        ({"time_masks": -0.1}, "time_masks = -0.1 is not within 0 to 100"),
        ({"time_mask_duration": float("inf")}, "time_mask_duration = inf is not within 0 to 100"),
    ],
)
def test_settings_that_make_no_sense_are_refused(chosen: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError) as caught:
        AugmentSettings(**chosen)
    assert str(caught.value) == said
