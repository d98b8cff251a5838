"""Batches: everything once, nothing too long, little padding, and the same for the same seed."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from asr.features.batching import plan
from asr.training.batch import pad

lengths_of = st.lists(st.integers(1, 3000), max_size=200)
seeds = st.none() | st.integers(0, 2**31)


def planned(lengths: list[int], longest: int, seed: int | None = None) -> list[list[int]]:
    batches = plan(lengths, longest, None if seed is None else np.random.default_rng(seed))
    assert all(batch.dtype == np.int64 for batch in batches)
    return [batch.tolist() for batch in batches]


def speech(count: int = 3000, seed: int = 0) -> list[int]:
    """Return lengths in frames as read speech has them: most of 10 to 16 s, a tail of shorter ones."""
    random = np.random.default_rng(seed)
    seconds = np.where(random.random(count) < 0.6, random.uniform(11, 16.5, count), random.gamma(3, 2, count) + 1.5)
    return [int(length) for length in np.minimum(seconds, 20) * 100]


def librispeech(count: int = 5000, seed: int = 0) -> list[int]:
    """Return lengths in frames as LibriSpeech has them: half of 14 to 16.5 s, the others of 2 to 17 s."""
    random = np.random.default_rng(seed)
    peak = 14 + 2.5 * random.beta(2, 2, count)
    seconds = np.where(random.random(count) < 0.5, peak, random.uniform(2, 17, count))
    return [int(length) for length in seconds * 100]


def area(lengths: list[int], batch: list[int]) -> int:
    return len(batch) * max(lengths[index] for index in batch)


def padding(lengths: list[int], batches: list[list[int]]) -> float:
    padded = sum(len(batch) * max(lengths[index] for index in batch) for batch in batches)
    return 1 - sum(lengths) / padded


@given(lengths_of, st.integers(1, 10_000), seeds)
@settings(deadline=None)
def test_each_utterance_is_in_one_batch(lengths: list[int], longest: int, seed: int | None) -> None:
    batches = planned(lengths, longest, seed)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(batches)


@given(lengths_of, st.integers(1, 10_000), seeds)
@settings(deadline=None)
def test_batches_are_at_most_the_longest(lengths: list[int], longest: int, seed: int | None) -> None:
    for batch in planned(lengths, longest, seed):
        assert len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= longest


@given(lengths_of, st.integers(1, 10_000), seeds)
@settings(deadline=None)
def test_plan_depends_on_the_seed(lengths: list[int], longest: int, seed: int | None) -> None:
    assert planned(lengths, longest, seed) == planned(lengths, longest, seed)


@given(lengths_of, st.integers(1, 10_000))
@settings(deadline=None)
def test_plan_without_generator_is_ordered_by_length(lengths: list[int], longest: int) -> None:
    ordered = [index for batch in planned(lengths, longest) for index in batch]
    assert ordered == sorted(range(len(lengths)), key=lambda index: (lengths[index], index))


@given(lengths_of.filter(bool), st.integers(1, 10_000))
@settings(deadline=None)
def test_plan_without_generator_fills_batches(lengths: list[int], longest: int) -> None:
    batches = planned(lengths, longest)
    for batch, following in pairwise(batches):
        assert (len(batch) + 1) * lengths[following[0]] > longest


def test_plan_example() -> None:
    assert planned([5, 1, 4, 2, 9, 3], 8) == [[1, 3], [5, 2], [0], [4]]
    assert planned([3, 3, 3], 6) == [[0, 1], [2]]
    assert planned([], 6) == []
    assert planned([10], 6) == [[0]]


def test_plan_of_an_array() -> None:
    lengths = np.array(speech(200), np.int32)
    assert [batch.tolist() for batch in plan(lengths, 6000)] == planned(lengths.tolist(), 6000)


@given(lengths_of.filter(bool), st.integers(1, 10_000), st.integers(0, 2**31))
@settings(deadline=None)
def test_largest_batch_comes_first(lengths: list[int], longest: int, seed: int) -> None:
    first, *rest = planned(lengths, longest, seed)
    assert all(area(lengths, first) >= area(lengths, batch) for batch in rest)


@given(st.lists(st.integers(0, 3), max_size=50), st.integers(0, 8), seeds)
@settings(deadline=None)
def test_plan_with_empty_utterances(lengths: list[int], longest: int, seed: int | None) -> None:
    batches = planned(lengths, longest, seed)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))


def test_plans_differ_between_epochs() -> None:
    lengths = speech(300)
    epochs = [planned(lengths, 6000, seed) for seed in range(5)]
    assert len({str(batches) for batches in epochs}) == 5
    # Not only the order of the batches, but who is in one with whom.
    assert len({str(sorted(map(sorted, batches))) for batches in epochs}) == 5


def test_batches_are_shuffled() -> None:
    lengths = speech(1000)
    means = [np.mean([lengths[index] for index in batch]) for batch in planned(lengths, 6000, 1)[1:]]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.2


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
@pytest.mark.parametrize("longest", [3000, 6000, 12_000, 30_000])
def test_padding_is_small(longest: int, seed: int | None) -> None:
    lengths = speech()
    assert padding(lengths, planned(lengths, longest, seed)) <= 0.05


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_padding_is_small_for_librispeech_lengths(seed: int | None) -> None:
    lengths = librispeech()
    assert padding(lengths, planned(lengths, 60_000, seed)) <= 0.05


# Padding


def frames(count: int, dimension: int = 3) -> NDArray[np.float32]:
    return np.random.default_rng(count).normal(size=(count, dimension)).astype(np.float32)


def test_pad_with_zeros() -> None:
    batch = pad([frames(4), frames(6), frames(1)], [[1, 2], [3], [4, 5, 6]])
    assert batch.features.shape == (3, 6, 3)
    assert batch.feature_lengths.tolist() == [4, 6, 1]
    assert batch.targets.tolist() == [[1, 2, 0], [3, 0, 0], [4, 5, 6]]
    assert batch.target_lengths.tolist() == [2, 1, 3]
    for row, count in enumerate((4, 6, 1)):
        np.testing.assert_array_equal(batch.features[row, :count].numpy(), frames(count))
        assert not batch.features[row, count:].any()


def test_batch_dtypes() -> None:
    batch = pad([frames(2)], [(1,)])
    kinds = (batch.features.dtype, batch.feature_lengths.dtype, batch.targets.dtype, batch.target_lengths.dtype)
    assert [str(kind) for kind in kinds] == ["torch.float32", "torch.int64", "torch.int64", "torch.int64"]


def test_pad_empty_targets() -> None:
    batch = pad([frames(2), frames(3)], [(), ()])
    assert batch.targets.shape == (2, 0)
    assert batch.target_lengths.tolist() == [0, 0]


def test_pad_with_missing_target_raises_value_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        pad([frames(2), frames(3)], [(1,)])


def test_to_cpu_returns_the_batch() -> None:
    batch = pad([frames(2)], [(1,)])
    assert batch.to(torch.device("cpu")) is batch


def test_to_device_moves_only_features() -> None:
    # The meta device stands for any other.
    batch = pad([frames(2), frames(3)], [(1,), (2, 3)])
    moved = batch.to(torch.device("meta"))
    assert (moved.features.device.type, moved.feature_lengths.device.type) == ("meta", "meta")
    assert moved.features.shape == batch.features.shape
    assert moved.targets is batch.targets
    assert moved.target_lengths is batch.target_lengths
