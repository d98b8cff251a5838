"""The learning rate of a run: up, along, and down to nothing."""

import math
from dataclasses import fields
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.recipe import Recipe, TrainingSettings

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
def test_it_rises_holds_and_falls_as_a_cosine(progress: float, share: float) -> None:
    assert recipe().learning_rate(progress) == pytest.approx(share * PEAK, abs=1e-12)


def test_it_rises_then_is_level_then_falls() -> None:
    assert all(earlier < later for earlier, later in pairwise(rates(recipe(), 0.1, 2)))
    assert set(rates(recipe(), 2, 10)) == {PEAK}
    assert all(earlier > later for earlier, later in pairwise(rates(recipe(), 10.1, 20)))


def test_it_has_no_jumps() -> None:
    assert max(abs(later - earlier) for earlier, later in pairwise(rates(recipe(), 0, 20, 20_001))) < PEAK / 1000


def test_without_warm_up_it_begins_at_its_peak() -> None:
    assert recipe(warmup_epochs=0.0).learning_rate(0) == PEAK


def test_without_hold_it_falls_from_the_end_of_the_warm_up() -> None:
    run = recipe(hold=0.0)
    assert run.learning_rate(2) == PEAK
    assert run.learning_rate(2.1) < PEAK
    assert run.learning_rate(11) == pytest.approx(PEAK / 2)
    assert run.learning_rate(20) == pytest.approx(0, abs=1e-12)


def test_a_hold_of_1_never_falls() -> None:
    assert set(rates(recipe(hold=1.0), 2, 20)) == {PEAK}


def test_a_warm_up_longer_than_the_run_only_rises() -> None:
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
def test_it_is_never_above_its_peak_nor_below_nothing(run: Recipe, share: float) -> None:
    assert 0 <= run.learning_rate(share * run.training.epochs) <= run.training.learning_rate


@given(runs)
@settings(deadline=None)
def test_once_it_falls_it_never_rises(run: Recipe) -> None:
    found = rates(run, 0, run.training.epochs, 201)
    top = found.index(max(found))
    assert all(earlier <= later for earlier, later in pairwise(found[: top + 1]))
    assert all(earlier >= later for earlier, later in pairwise(found[top:]))


def test_a_recipe_has_the_sections_of_its_file() -> None:
    assert [field.name for field in fields(Recipe)] == ["name", "features", "text", "augment", "model", "training"]
