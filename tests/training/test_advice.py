"""The advice on a run, and that each message is reported once."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.features.augment import AugmentSettings
from asr.model import ModelSettings
from asr.training.advice import advice
from asr.training.events import Epoch
from asr.training.recipe import TrainingSettings

HEALTHY = Epoch(
    epoch=1,
    epochs=30,
    train_loss=1.0,
    dev_loss=1.0,
    dev_wer=0.5,
    best=True,
    learning_rate=1e-3,
    gradient_norm=5.0,
    largest_norm=9.0,
    blank_share=0.8,
    infinite=0,
    mask_strength=1.0,
    seconds=60.0,
    data_wait=0.02,
    audio_hours=1.0,
)
SETTINGS = {"training": TrainingSettings, "model": ModelSettings, "augment": AugmentSettings}


def run(**columns: Sequence[float]) -> list[Epoch]:
    """Return a run whose losses and WER fall unless they are given, all columns of one length."""
    count = len(next(iter(columns.values())))
    rows = []
    for index in range(count):
        falling = 0.9**index
        healthy = replace(HEALTHY, epoch=index + 1, train_loss=falling, dev_loss=falling, dev_wer=falling)
        given_here: Mapping[str, float] = {name: values[index] for name, values in columns.items()}
        rows.append(replace(healthy, **given_here))  # type: ignore[arg-type]
    return rows


def messages_of(rows: Sequence[Epoch]) -> list[tuple[int, str]]:
    """Return every message with its epoch, as a run calls for them: after each epoch."""
    return [(count, message) for count in range(1, len(rows) + 1) for message in advice(rows[:count])]


def epochs_of(rows: Sequence[Epoch]) -> list[int]:
    return [epoch for epoch, _ in messages_of(rows)]


def test_healthy_run_has_no_advice() -> None:
    assert messages_of(run(gradient_norm=[80, 56, 31, 25, 18, 19, 17, 14, 9, 8, 6, 6], largest_norm=[120.0] * 12)) == []
    assert advice([]) == []
    assert advice([HEALTHY]) == []


def test_blank_plateau_is_reported_after_3_and_10_epochs() -> None:
    messages = dict(messages_of(run(blank_share=[0.995] * 14)))
    assert list(messages) == [3, 10]
    assert "normal" in messages[3]
    assert "training.learning_rate" not in messages[3]
    for hint in ("10 epochs", "training.learning_rate", "training.warmup_epochs", "asr doctor", "shorter utterances"):
        assert hint in messages[10]


@pytest.mark.parametrize(
    ("shares", "epochs"),
    [
        ([0.999, 0.999, 0.8, 0.999, 0.999], []),
        ([0.99] * 5, []),
        ([0.999] * 4 + [0.9] + [0.999] * 3, [3, 8]),
        ([0.5] * 4 + [1.0] * 10, [7, 14]),
        ([math.nan] * 5, []),
    ],
    ids=["interrupted", "at the border", "again", "later", "not a number"],
)
def test_only_consecutive_blank_epochs_count(shares: list[float], epochs: list[int]) -> None:
    assert epochs_of(run(blank_share=shares)) == epochs


def test_infinite_losses_are_reported_when_they_begin() -> None:
    messages = messages_of(run(infinite=[0, 12, 12, 0, 1]))
    assert [epoch for epoch, _ in messages] == [2, 5]
    assert messages[0][1].startswith("12 training utterances were left out")
    assert messages[1][1].startswith("1 training utterance was left out")
    assert all("`asr doctor MANIFEST --recipe RECIPE`" in message for _, message in messages)


def test_infinite_losses_in_the_first_epoch() -> None:
    assert epochs_of(run(infinite=[3, 3])) == [1]


def test_gradient_spike_is_reported() -> None:
    messages = messages_of(run(largest_norm=[9.0, 9.0, 101.0, 9.0]))
    assert [epoch for epoch, _ in messages] == [3]
    assert "101" in messages[0][1]
    assert "training.learning_rate or training.clip" in messages[0][1]
    assert messages_of(run(largest_norm=[9.0, 9.0, 100.0, 9.0])) == []


def test_gradient_spike_is_relative_to_five_earlier_epochs() -> None:
    medians = [100.0, 100.0, 5.0, 5.0, 5.0, 5.0, 5.0]
    assert epochs_of(run(gradient_norm=medians, largest_norm=[150.0] * 7)) == [6]
    assert messages_of(run(gradient_norm=[5.0], largest_norm=[1e6])) == []


def test_tenfold_growth_within_three_epochs_is_reported() -> None:
    largest = [60.0] * 5
    messages = messages_of(run(gradient_norm=[5, 6, 20, 51, 52], largest_norm=largest))
    assert [epoch for epoch, _ in messages] == [4]
    assert "from 5 to 51" in messages[0][1]
    assert "training.clip" in messages[0][1]
    assert messages_of(run(gradient_norm=[5, 6, 20, 50, 52], largest_norm=largest)) == []
    assert messages_of(run(gradient_norm=[5, 15, 20, 40, 51], largest_norm=largest)) == []


def test_infinite_norms_are_ignored() -> None:
    # In float16 steps that overflow are skipped, and their norms are infinite.
    assert messages_of(run(largest_norm=[math.inf] * 6)) == []
    assert messages_of(run(largest_norm=[math.nan] * 6)) == []
    assert messages_of(run(gradient_norm=[math.inf] * 5 + [5.0])) == []
    assert epochs_of(run(gradient_norm=[5.0, math.inf, 5.0], largest_norm=[9.0, 9.0, 150.0])) == [3]


def overfitting(**columns: Sequence[float]) -> list[Epoch]:
    usual: dict[str, Sequence[float]] = {
        "train_loss": [1.0, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05],
        "dev_loss": [1.0, 0.9, 0.8, 0.82, 0.84, 0.86, 0.87, 0.885, 0.9],
        "dev_wer": [0.9, 0.8, 0.6, 0.61, 0.62, 0.61, 0.6, 0.61, 0.62],
    }
    return run(**usual | columns)


def test_overfitting_is_reported_once() -> None:
    messages = messages_of(overfitting())
    assert [epoch for epoch, _ in messages] == [8]
    for fact in ("0.885", "0.8 in epoch 3", "WER was in epoch 3"):
        assert fact in messages[0][1]
    for key in ("model.dropout", "augment.time_masks", "data", "training.patience"):
        assert key in messages[0][1]


@pytest.mark.parametrize(
    "columns",
    [
        {"train_loss": [1.0, 0.8, 0.6] + [0.6] * 6},
        {"dev_loss": [1.0, 0.9, 0.8] + [0.87] * 6},
        {"dev_loss": [1.0, 0.9, 0.9, 0.9, 0.8] + [0.95] * 4},
        {"dev_wer": [0.9, 0.8, 0.6, 0.61, 0.59, 0.61, 0.6, 0.61, 0.62]},
    ],
    ids=["train loss stands still", "dev loss barely worse", "lowest loss is fresh", "best WER is fresh"],
)
def test_no_overfitting(columns: dict[str, list[float]]) -> None:
    assert messages_of(overfitting(**columns)) == []


def test_overfitting_with_lowest_loss_and_best_wer_in_different_epochs() -> None:
    wers = [0.9, 0.8, 0.6, 0.59, 0.62, 0.61, 0.6, 0.61, 0.62]
    messages = messages_of(overfitting(dev_wer=wers))
    assert [epoch for epoch, _ in messages] == [9]
    assert "in epoch 3 to 0.9, and the best dev WER was in epoch 4" in messages[0][1]


def test_overfitting_ignores_nan() -> None:
    losses = [math.nan, 0.9, 0.8, 0.82, 0.84, 0.86, 0.87, 0.885, 0.9]
    assert epochs_of(overfitting(dev_loss=losses)) == [8]
    assert messages_of(overfitting(dev_loss=[math.nan] * 9)) == []


def test_waiting_for_data_is_reported_when_it_begins() -> None:
    messages = messages_of(run(data_wait=[0.2, 0.31, 0.4, 0.1, 0.25, math.nan]))
    assert [epoch for epoch, _ in messages] == [2, 5]
    assert messages[0][1].startswith("31%")
    assert "faster disk" in messages[0][1]
    assert "training.batch_seconds" in messages[0][1]


def test_several_messages_in_one_epoch() -> None:
    rows = run(infinite=[0, 0, 2], data_wait=[0.0, 0.0, 0.5], blank_share=[1.0] * 3)
    before = list(rows)
    assert len(advice(rows)) == 3
    assert rows == before
    assert advice(tuple(rows)) == advice(rows)


def test_settings_in_messages_exist() -> None:
    rows = overfitting(
        blank_share=[0.5] + [1.0] * 8,
        infinite=[1] * 9,
        largest_norm=[9.0] * 8 + [500.0],
        data_wait=[0.5] * 9,
    )
    texts = [
        message for _, message in messages_of([*rows, *(replace(rows[-1], epoch=index) for index in (10, 11, 12))])
    ]
    assert len(texts) == 6
    words = [word.strip(".,;:()") for text in texts for word in text.split()]
    keys = {word for word in words if word.split(".")[0] in SETTINGS and "." in word}
    assert len(keys) >= 6
    for section, key in (name.split(".") for name in keys):
        assert key in {field.name for field in fields(SETTINGS[section])}


def some_epoch(random: Random) -> Epoch:
    """Return an epoch in which anything may be wrong."""
    values = (0.0, 0.1, 0.5, 1.0, 1.2, 5.0, 60.0, 3000.0, math.inf, math.nan)
    names = ("train_loss", "dev_loss", "dev_wer", "gradient_norm", "largest_norm", "blank_share", "data_wait")
    return run(infinite=[random.randint(0, 2)], **{name: [random.choice(values)] for name in names})[0]


EPOCHS = [some_epoch(Random(seed)) for seed in range(300)]


@settings(deadline=None)
@given(st.lists(st.sampled_from(EPOCHS), max_size=14))
def test_message_is_never_repeated_in_the_next_epoch(rows: list[Epoch]) -> None:
    def kinds(messages: Sequence[str]) -> set[str]:
        starts = ("the model outputs", "the model has output", "the largest", "the median", "the model over")
        result = {start for start in starts for message in messages if message.startswith(start)}
        result |= {part for part in ("left out", "waiting for") for message in messages if part in message}
        assert len(result) == len(messages)
        return {"exploding" if kind in ("the largest", "the median") else kind for kind in result}

    each = [kinds(advice(rows[:count])) for count in range(len(rows) + 1)]
    assert not any(earlier & later for earlier, later in pairwise(each))
