"""The average of the weights of several epochs (Polyak and Juditsky, 1992)."""

from pathlib import Path

import torch
from torch import Tensor

from asr.model import checkpoint
from asr.training.events import Epoch
from asr.training.recipe import TrainingSettings
from asr.training.step import Engine

FOLDER = "epochs"
PATTERN = f"{6 * '[0-9]'}.safetensors"


def epochs_to_average(rows: list[Epoch], settings: TrainingSettings) -> list[int]:
    """Return the epochs whose weights are averaged, in order: the last ones or those with the lowest dev WER."""
    if settings.average_of == "last":
        ranked = rows[::-1]
    else:
        ranked = sorted(rows, key=lambda row: (row.dev_wer, row.dev_loss, row.epoch))
    return sorted(row.epoch for row in ranked[: settings.average])


def epoch_file(run: Path, epoch: int) -> Path:
    """Return the model file of an epoch."""
    return run / FOLDER / f"{epoch:06d}.safetensors"


def average_weights(run: Path, epochs: list[int], engine: Engine) -> dict[str, Tensor]:
    """Return the mean of the weights of the epochs' model files, which only the main process reads."""
    mean = {name: torch.zeros_like(value) for name, value in engine.model.state_dict().items()}
    if engine.world.is_main:
        for epoch in epochs:
            model, _ = checkpoint.load(epoch_file(run, epoch))
            for name, value in model.state_dict().items():
                mean[name] += value.to(engine.device) / len(epochs)
    return {name: engine.world.sum(value) for name, value in mean.items()}
