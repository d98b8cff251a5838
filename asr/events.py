"""What a training run tells while it goes on."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Preparing:
    """Told while features are computed: seconds of audio done and in all."""

    done: float
    total: float


@dataclass(frozen=True)
class Step:
    """Told after each batch: seconds of audio done and in all in this epoch; `loss` in nats a character."""

    epoch: int
    epochs: int
    done: float
    total: float
    loss: float


@dataclass(frozen=True)
class Epoch:
    """Told after each epoch; one line of train.jsonl. Losses in nats a character, WER as a fraction."""

    epoch: int
    epochs: int
    train_loss: float
    dev_loss: float
    dev_wer: float
    best: bool
    learning_rate: float
    gradient_norm: float
    seconds: float
    data_wait: float
    audio_hours: float


@dataclass(frozen=True)
class Note:
    """Told when something happened that the user should know."""

    message: str


Event = Preparing | Step | Epoch | Note
Report = Callable[[Event], None]
