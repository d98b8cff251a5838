"""What a training run tells while it goes on."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Preparing:
    """Told while features are computed: seconds of audio done and in all, and the bytes that will be written."""

    done: float
    total: float
    size: int


@dataclass(frozen=True)
class Step:
    """Told after each step of the optimiser: seconds of audio done and in all in this epoch.

    `loss` in nats a character, the mean of the epoch so far; `waiting`: the share of the time spent waiting for data.
    """

    epoch: int
    epochs: int
    done: float
    total: float
    loss: float
    waiting: float


@dataclass(frozen=True)
class Sample:
    """One dev utterance as the model hears it at the end of an epoch."""

    id: str
    reference: str
    hypothesis: str


@dataclass(frozen=True)
class Epoch:
    """Told after each epoch; one line of train.jsonl. Losses in nats a character, WER as a fraction.

    `gradient_norm`: the median before clipping, `largest_norm` the largest. `blank_share`: the fraction of dev frames
    whose likeliest token is the blank. `infinite`: training utterances left out because their loss was infinite.
    `mask_strength`: the fraction of the recipe's masks in use.
    """

    epoch: int
    epochs: int
    train_loss: float
    dev_loss: float
    dev_wer: float
    best: bool
    learning_rate: float
    gradient_norm: float
    largest_norm: float
    blank_share: float
    infinite: int
    mask_strength: float
    seconds: float
    data_wait: float
    audio_hours: float
    samples: tuple[Sample, ...] = ()


@dataclass(frozen=True)
class Note:
    """Told when something happened that the user should know."""

    message: str


Event = Preparing | Step | Epoch | Note
OnEvent = Callable[[Event], None]
