"""The size of batches: the recipe's, or the largest that fits in GPU memory."""

import numpy as np
import torch

from asr.training.dataset import Dataset
from asr.training.recipe import AUTO
from asr.training.shards import Corpus
from asr.training.step import Engine

# The batch size for two CPU cores, and the first that is tried on a GPU.
_SECONDS = 60.0
# An epoch of fewer steps trains worse, however fast the steps are.
_MIN_STEPS = 100
# Fractions of GPU memory: where the trials end, and what batches may use.
_TRIED, _USED = 0.3, 0.8


def batch_seconds(engine: Engine, data: Dataset | Corpus) -> float:
    """Return the seconds of audio per batch: the recipe's; for "auto" what fits on CUDA, elsewhere 60 s."""
    seconds = engine.recipe.training.batch_seconds
    if seconds != AUTO:
        return float(seconds)
    if engine.device.type != "cuda":
        return _SECONDS
    batches = engine.world.size * engine.recipe.training.accumulate
    total = data.seconds(engine.recipe.augment.speeds) if isinstance(data, Corpus) else data.seconds
    limit = max(total / _MIN_STEPS / batches, _SECONDS)
    fitting = min(_largest_fitting(engine, data.sample if isinstance(data, Corpus) else data, limit), limit)
    return float(engine.world.minimum(torch.tensor([fitting]))[0])


def _largest_fitting(engine: Engine, data: Dataset, limit: float) -> float:
    """Double a batch of the longest utterances until it uses a good part of the memory; then extrapolate."""
    order = np.argsort(data.frames)[::-1]
    memory = torch.cuda.get_device_properties(engine.device).total_memory
    before = torch.cuda.memory_allocated(engine.device)
    seconds, fitting = _SECONDS, _SECONDS / 2
    while True:
        count = max(int(seconds / data.durations[order[0]]), 1)
        torch.cuda.reset_peak_memory_stats(engine.device)
        try:
            losses = engine.losses(data.batch(order[:count]))
            losses.total.sum().backward()  # type: ignore[no-untyped-call]
        except torch.cuda.OutOfMemoryError:
            return fitting * _USED
        finally:
            engine.optimiser.zero_grad(set_to_none=True)
        used = torch.cuda.max_memory_allocated(engine.device) - before
        fitting = seconds
        if used > _TRIED * memory or seconds >= limit or count >= len(order):
            # Gradients and the two moments of AdamW need as much memory again as the model, each.
            return seconds * (_USED * memory - 3 * before) / max(used, 1)
        seconds *= 2
