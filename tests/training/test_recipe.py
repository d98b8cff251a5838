"""The schedules of a run, for the learning rate and the masks, and the checks of its settings."""

import math
from dataclasses import fields
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.features.augment import AugmentSettings
from asr.training.recipe import Recipe, TrainingSettings

PEAK = 2e-3


def recipe(**changed: Any) -> Recipe:
    chosen: dict[str, Any] = {"epochs": 20, "learning_rate": PEAK, "warmup_epochs": 2.0, "hold": 0.5}
    return Recipe(training=TrainingSettings(**(chosen | changed)))


def rates(run: Recipe, first: float, last: float, points: int = 101) -> list[float]:
    return [run.learning_rate(float(progress)) for progress in np.linspace(first, last, points)]


@pytest.mark.parametrize(
    ("progress", "share"),
    [
        (0, 0.001),
        (0.001, 0.001),
        (0.5, 0.25),
        (1, 0.5),
        (1.5, 0.75),
        (2, 1),
        (7.3, 1),
        (10, 1),
        (12.5, (1 + math.sqrt(0.5)) / 2),
        (15, 0.5),
        (17.5, (1 - math.sqrt(0.5)) / 2),
        (20, 0),
    ],
)
def test_learning_rate_warms_up_holds_and_decays(progress: float, share: float) -> None:
    assert recipe().learning_rate(progress) == pytest.approx(share * PEAK, abs=1e-12)


def test_learning_rate_is_monotonic_in_each_phase() -> None:
    assert all(earlier < later for earlier, later in pairwise(rates(recipe(), 0.1, 2)))
    assert set(rates(recipe(), 2, 10)) == {PEAK}
    assert all(earlier > later for earlier, later in pairwise(rates(recipe(), 10.1, 20)))


def test_learning_rate_is_continuous() -> None:
    assert max(abs(later - earlier) for earlier, later in pairwise(rates(recipe(), 0, 20, 20_001))) < PEAK / 1000


def test_learning_rate_without_warmup() -> None:
    assert recipe(warmup_epochs=0.0).learning_rate(0) == PEAK


def test_learning_rate_without_hold() -> None:
    run = recipe(hold=0.0)
    assert run.learning_rate(2) == PEAK
    assert run.learning_rate(2.1) < PEAK
    assert run.learning_rate(11) == pytest.approx(PEAK / 2)
    assert run.learning_rate(20) == pytest.approx(0, abs=1e-12)


def test_learning_rate_with_hold_1_is_constant() -> None:
    assert set(rates(recipe(hold=1.0), 2, 20)) == {PEAK}


def test_learning_rate_after_the_last_epoch() -> None:
    # A run may be resumed with fewer epochs, or end in the middle of a step.
    assert recipe(hold=1.0).learning_rate(20.001) == pytest.approx(0)
    assert recipe(hold=1.0).learning_rate(20) == PEAK
    for hold in (0.0, 0.5, 1.0):
        assert recipe(hold=hold).learning_rate(25.5) == pytest.approx(0, abs=1e-12)
    assert recipe(warmup_epochs=20.0).learning_rate(20.5) == pytest.approx(0)


def test_learning_rate_with_warmup_longer_than_the_run() -> None:
    run = recipe(warmup_epochs=40.0)
    assert run.learning_rate(20) == pytest.approx(PEAK / 2)
    assert all(earlier < later for earlier, later in pairwise(rates(run, 0.1, 20)))


runs = st.builds(
    recipe,
    epochs=st.integers(1, 1000),
    learning_rate=st.floats(1e-6, 1),
    warmup_epochs=st.floats(0, 100),
    hold=st.floats(0, 1),
)


@given(runs, st.floats(0, 1))
@settings(deadline=None)
def test_learning_rate_is_between_0_and_the_peak(run: Recipe, share: float) -> None:
    assert 0 <= run.learning_rate(share * run.training.epochs) <= run.training.learning_rate


@given(runs)
@settings(deadline=None)
def test_learning_rate_never_rises_after_its_peak(run: Recipe) -> None:
    result = rates(run, 0, run.training.epochs, 201)
    top = result.index(max(result))
    assert all(earlier <= later for earlier, later in pairwise(result[: top + 1]))
    assert all(earlier >= later for earlier, later in pairwise(result[top:]))


def test_recipe_sections() -> None:
    assert [field.name for field in fields(Recipe)] == ["name", "features", "text", "augment", "model", "training"]


# Settings


@pytest.mark.parametrize("value", ["auto", 1.0, 600.0])
def test_batch_seconds_is_a_number_or_auto(value: float | str) -> None:
    assert TrainingSettings(batch_seconds=value).batch_seconds == value


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"batch_seconds": "Auto"}, "batch_seconds = 'Auto' is neither a number nor \"auto\""),
        ({"batch_seconds": ""}, "batch_seconds = '' is neither a number nor \"auto\""),
        ({"batch_seconds": 0.0}, "batch_seconds = 0.0 is not more than 0"),
        ({"batch_seconds": math.inf}, "batch_seconds = inf is not more than 0"),
        ({"batch_seconds": math.nan}, "batch_seconds = nan is not more than 0"),
        ({"accumulate": 0}, "accumulate = 0 is not between 1 and 10000"),
        ({"intermediate_weight": 0.91}, "intermediate_weight = 0.91 is not between 0 and 0.9"),
        ({"epochs": 3, "clean_epochs": 4}, "clean_epochs = 4 is not between 0 and 3"),
        ({"average": -1}, "average = -1 is not between 0 and 1000"),
        ({"average_of": "all"}, "average_of = 'all' is not one of best, last"),
        ({"checkpoints": 0}, "checkpoints = 0 is not between 1 and 1000"),
        ({"checkpoint_minutes": -1.0}, "checkpoint_minutes = -1.0 is not 0 or more"),
        ({"precision": "int8"}, "precision = 'int8' is not one of float32, bfloat16, float16"),
    ],
)
def test_invalid_settings_raise_value_error(chosen: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        TrainingSettings(**chosen)
    assert str(caught.value) == message


# Masks


def masks(start: float = 0.5, growth: float = 5.0) -> Recipe:
    return Recipe(augment=AugmentSettings(mask_start=start, mask_growth=growth))


@pytest.mark.parametrize(
    ("dev_wers", "progress", "strength"),
    [
        ([], 0.0, 0.5),
        ([], 0.7, 0.5),
        ([1.0, 0.95, 0.9], 3.9, 0.5),  # not under 90 % yet
        ([1.0, 0.95, 0.89], 3.0, 0.5),
        ([1.0, 0.95, 0.89], 4.0, 0.6),
        ([1.0, 0.95, 0.89], 4.5, 0.65),
        ([1.0, 0.95, 0.89], 8.0, 1.0),
        ([1.0, 0.95, 0.89], 100.0, 1.0),
        ([0.5], 1.0, 0.5),
        ([0.5, 1.0, 1.0], 3.0, 0.7),  # the first time counts, though it gets worse again
    ],
)
def test_mask_strength_grows_below_90_percent_wer(dev_wers: list[float], progress: float, strength: float) -> None:
    assert masks().mask_strength(dev_wers, progress) == pytest.approx(strength)


def test_mask_strength_without_growth() -> None:
    assert masks(growth=0.0).mask_strength([1.0, 0.8], 2.0) == 1
    assert masks(growth=0.0).mask_strength([1.0, 0.95], 2.0) == 0.5
    assert masks(start=1.0).mask_strength([], 0.0) == 1
    assert masks(start=1.0).mask_strength([0.1], 3.0) == 1
    assert masks(start=0.0).mask_strength([], 9.0) == 0


@given(st.floats(0, 1), st.floats(0, 20), st.lists(st.floats(0, 2), max_size=20), st.floats(0, 1))
@settings(deadline=None)
def test_mask_strength_is_monotonic(start: float, growth: float, dev_wers: list[float], within: float) -> None:
    run = masks(start, growth)
    result = [run.mask_strength(dev_wers[:epoch], epoch + within) for epoch in range(len(dev_wers) + 1)]
    assert all(start <= strength <= 1 + 1e-9 for strength in result)
    assert all(later >= earlier - 1e-9 for earlier, later in pairwise(result))
