"""How much audio a batch can hold on a GPU, found by trying."""

import numpy as np
import torch

from asr.training.dataset import Dataset
from asr.training.recipe import AUTO
from asr.training.step import Engine

# Without a GPU, what suits two CPU cores; and where a trial begins.
_SECONDS = 60.0
# Fewer steps an epoch than this train worse, however fast they are.
_STEPS = 100
# Fractions of the memory: where trials end, and what batches may then fill.
_TRIED, _FILLED = 0.3, 0.8


def batch_seconds(engine: Engine, data: Dataset) -> float:
    """Return the recipe's seconds of audio in a batch; for "auto", on CUDA, what fits, and elsewhere a minute."""
    wanted = engine.recipe.training.batch_seconds
    if wanted != AUTO:
        return float(wanted)
    if engine.place.type != "cuda":
        return _SECONDS
    processes = engine.world.size * engine.recipe.training.accumulate
    most = max(data.seconds / _STEPS / processes, _SECONDS)
    fits = min(_fitting(engine, data, most), most)
    return float(engine.world.least(torch.tensor([fits]))[0])


def _fitting(engine: Engine, data: Dataset, most: float) -> float:
    """Double the batch, the longest utterances first, until a good part of the memory is used; then extrapolate."""
    order = np.argsort(data.frames)[::-1]
    memory = torch.cuda.get_device_properties(engine.place).total_memory
    before = torch.cuda.memory_allocated(engine.place)
    seconds, fitting = _SECONDS, _SECONDS / 2
    while True:
        count = max(int(seconds / data.durations[order[0]]), 1)
        torch.cuda.reset_peak_memory_stats(engine.place)
        try:
            losses = engine.losses(data.batch(order[:count]))
            losses.total.sum().backward()  # type: ignore[no-untyped-call]
        except torch.cuda.OutOfMemoryError:
            return fitting * _FILLED
        finally:
            engine.optimiser.zero_grad(set_to_none=True)
        used = torch.cuda.max_memory_allocated(engine.place) - before
        fitting = seconds
        if used > _TRIED * memory or seconds >= most or count >= len(order):
            # AdamW's two moments are still to come.
            return seconds * (_FILLED * memory - 3 * before) / max(used, 1)
        seconds *= 2
