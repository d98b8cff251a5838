"""The batch size from the recipe or from GPU memory."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from asr.training import batch_size
from asr.training.distributed import World
from tests.training.test_step import RECIPE, engine

ALONE = World()


@dataclass
class Corpus:
    """A thousand utterances of 10 s that cost memory by the frame."""

    frames: np.ndarray[Any, Any]
    durations: np.ndarray[Any, Any]
    seconds: float
    asked: list[int]

    def batch(self, indices: np.ndarray[Any, Any]) -> int:
        self.asked.append(len(indices))
        return len(indices)


class Loss:
    """Stands for the losses of a batch, whose backward pass fills the memory."""

    def __init__(self, gpu: "Gpu", count: int) -> None:
        gpu.used = gpu.model + 1e8 * count
        if gpu.used > gpu.total:
            raise torch.cuda.OutOfMemoryError
        self.total = self

    def sum(self) -> "Loss":
        return self

    def backward(self) -> None:
        pass


@dataclass
class Gpu:
    """As much memory as is said, of which the model takes a part and each utterance 100 MB."""

    total: float
    model: float = 1e8
    used: float = 0


class Two(World):
    """Two processes without communication."""

    def minimum(self, values: torch.Tensor) -> torch.Tensor:
        return values


def corpus(utterances: int = 100_000) -> Corpus:
    return Corpus(np.full(utterances, 1000), np.full(utterances, 10.0), 10.0 * utterances, [])


def result(gpu: Gpu, data: Corpus, monkeypatch: pytest.MonkeyPatch, world: World = ALONE) -> float:
    tried: Any = engine(replace(RECIPE, training=replace(RECIPE.training, batch_seconds="auto")))
    tried.world = replace(world, device=torch.device("cuda"))
    tried.losses = lambda count: Loss(gpu, count)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: type("", (), {"total_memory": gpu.total}))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: gpu.model)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: gpu.used)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    return batch_size.batch_seconds(tried, data)  # type: ignore[arg-type]


def test_number_is_returned_unchanged() -> None:
    assert batch_size.batch_seconds(engine(), corpus()) == 60.0  # type: ignore[arg-type]


def test_auto_without_gpu_is_60_seconds() -> None:
    tried = engine(replace(RECIPE, training=replace(RECIPE.training, batch_seconds="auto")))
    assert batch_size.batch_seconds(tried, corpus()) == 60.0  # type: ignore[arg-type]


@pytest.mark.parametrize("total", [20e9, 80e9])
def test_auto_uses_four_fifths_of_the_memory(total: float, monkeypatch: pytest.MonkeyPatch) -> None:
    data = corpus()
    seconds = result(Gpu(total), data, monkeypatch)
    assert 0.7 * total < 1e8 * seconds / 10 < 0.85 * total
    # It began small and doubled.
    assert data.asked[:3] == [6, 12, 24]


def test_auto_with_small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    # Six utterances fit, twelve do not.
    seconds = result(Gpu(1e9, model=2e8), corpus(), monkeypatch)
    assert 10 <= seconds <= 60


def test_auto_keeps_enough_steps_per_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    assert result(Gpu(80e9), corpus(2000), monkeypatch) == pytest.approx(20_000 / 100)
    assert result(Gpu(80e9), corpus(2000), monkeypatch, Two(size=2)) == pytest.approx(20_000 / 100 / 2)
