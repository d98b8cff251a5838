"""The events of a training run, which `on_event` receives."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Preparing:
    """Features are being computed: seconds of audio done and in total, and the bytes that will be written."""

    done: float
    total: float
    size: int


@dataclass(frozen=True)
class Step:
    """An optimiser step is done: seconds of audio done and in total in this epoch.

    `loss`: nats per character, mean of the epoch so far; `waiting`: the fraction of the time spent waiting for data.
    """

    epoch: int
    epochs: int
    done: float
    total: float
    loss: float
    waiting: float


@dataclass(frozen=True)
class Sample:
    """The greedy transcript of a dev utterance at the end of an epoch."""

    id: str
    reference: str
    hypothesis: str


@dataclass(frozen=True)
class Epoch:
    """An epoch is done; a row of train.jsonl. Losses in nats per character, WER and CER as fractions.

    `gradient_norm`: the median before clipping; `largest_norm`: the maximum. `blank_share`: the fraction of dev frames
    whose likeliest token is the blank. `infinite`: training utterances left out because their loss was infinite.
    `mask_strength`: the fraction of the recipe's masks in use. `data_wait`: as `Step.waiting`.
    `metric`: "wer" or "cer", by which epochs are compared.
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
    dev_cer: float = 1.0
    metric: str = "wer"

    @property
    def error(self) -> float:
        """Return the rate by which epochs are compared."""
        return self.dev_cer if self.metric == "cer" else self.dev_wer


@dataclass(frozen=True)
class Note:
    """A message for the user."""

    message: str


Event = Preparing | Step | Epoch | Note
OnEvent = Callable[[Event], None]
