"""A run that goes on: what it works with, where it stands, and where it writes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from asr.features import Matrices
from asr.features import reference as mfcc
from asr.model.checkpoint import ModelFileSettings
from asr.training import resume
from asr.training.dataset import Dataset
from asr.training.events import Event, Note, OnEvent
from asr.training.resume import Progress
from asr.training.step import Engine


def ignore_event(event: Event) -> None:
    """Take no notice."""


@dataclass(frozen=True)
class TrainOptions:
    """How a run is begun and followed.

    `report` is told what goes on; `stop` is asked after each step whether the run should be saved and stopped.
    `overwrite`: a run that is in the folder is replaced, not continued. `resume`: it is an error if there is none.
    `override`: a run is continued although settings or data differ. `start`: a model file whose weights, features,
    alphabet and shape a new run takes on.
    """

    on_event: OnEvent = ignore_event
    should_stop: Callable[[], bool] = bool
    overwrite: bool = False
    resume: bool = False
    override: bool = False
    start: Path | None = None


@dataclass
class Run:
    """A run that goes on. `card` and `identity` tell what it was started with."""

    engine: Engine
    train: Dataset
    dev: Dataset
    settings: ModelFileSettings
    progress: Progress
    out: Path
    card: dict[str, Any]
    identity: dict[str, Any]
    options: TrainOptions

    @cached_property
    def matrices(self) -> Matrices:
        """Return what the features are computed with; the model file carries it."""
        return mfcc.matrices(self.settings.features)

    @property
    def longest(self) -> int:
        """Return the padded frames of the largest batch."""
        return round(self.progress.batch_seconds / self.settings.features.hop)

    def save(self) -> None:
        """Save where the run stands; one process does it for all."""
        if self.engine.world.leads:
            resume.save(self.out, self.engine, self.progress, self.identity)

    def tell(self, message: str) -> None:
        """Report a note and keep it."""
        self.progress.notes.append(message)
        self.options.on_event(Note(message))

    def card_now(self) -> dict[str, Any]:
        """Return the card for a model saved now."""
        last = self.progress.rows[-1]
        return self.card | {
            "epoch": last.epoch,
            "dev_wer": last.dev_wer,
            "minutes": round(self.progress.minutes, 1),
            "device": self.engine.place.type,
            "processes": self.engine.world.size,
        }
