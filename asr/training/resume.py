"""Where a run stands, as a file: a run that is continued from it is the run that was never stopped.

`RUN/resume/<epoch>-<batch>.safetensors` holds the model's parameters (`model.NAME`), the optimiser's
(`optimiser.NUMBER.NAME`) and, as JSON in the metadata, `progress` and what the run was started with, `identity`. No
random state needs to be kept: order, masks and dropout depend on the seed, the epoch and the batch alone.
"""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise

from asr.files import open_atomic
from asr.training.events import Epoch, Sample
from asr.training.step import Engine, TrainingError

FORMAT = "asr-training-state"
FOLDER = "resume"
PATTERN = f"{6 * '[0-9]'}-{8 * '[0-9]'}.safetensors"


@dataclass
class Progress:
    """What has been done: finished epochs, and of the epoch that goes on `position` batches.

    `loss` (nats), `characters`, `done` (seconds of audio), `waiting` and `seconds` (of the clock) and `infinite` are
    sums over the steps of this epoch, `norms` their gradient norms. `minutes`: of the clock, the run's.
    `averaged`: the dev WER and loss of the mean of several epochs, if that became the best model.
    """

    epoch: int = 1
    position: int = 0
    loss: float = 0.0
    characters: int = 0
    done: float = 0.0
    waiting: float = 0.0
    seconds: float = 0.0
    infinite: int = 0
    learning_rate: float = 0.0
    minutes: float = 0.0
    batch_seconds: float = 0.0
    finished: bool = False
    averaged: tuple[float, float] | None = None
    norms: list[float] = field(default_factory=list)
    rows: list[Epoch] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def best(self) -> Epoch | None:
        """Return the epoch with the lowest dev WER; of equal ones, 100 % above all, the one with the lower loss."""
        return min(self.rows, key=lambda row: (row.dev_wer, row.dev_loss), default=None)

    @property
    def lowest(self) -> tuple[float, float]:
        """Return the dev WER and loss of the best model, be it an epoch's or an average."""
        found = [(row.dev_wer, row.dev_loss) for row in self.rows]
        return min([*found, self.averaged] if self.averaged else found, default=(math.inf, math.inf))

    def begin_epoch(self) -> None:
        """Go on to the next epoch."""
        self.epoch, self.position = self.epoch + 1, 0
        self.loss = self.done = self.waiting = self.seconds = 0.0
        self.characters = self.infinite = 0
        self.norms = []


def files(run: Path) -> list[Path]:
    """Return the run's saved states, newest first."""
    return sorted((run / FOLDER).glob(PATTERN), reverse=True)


def save(run: Path, engine: Engine, progress: Progress, identity: dict[str, Any]) -> None:
    """Save where the run stands and take away the oldest states. Raises TrainingError; the older ones are kept then."""
    folder = run / FOLDER
    path = folder / f"{progress.epoch:06d}-{progress.position:08d}.safetensors"
    tensors = {f"model.{name}": tensor for name, tensor in engine.model.state_dict().items()}
    for number, values in engine.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{number}.{name}": value for name, value in values.items()}
    content = {"progress": asdict(progress), "identity": identity, "scaler": engine.scaler.state_dict()}
    metadata = {"format": FORMAT} | {name: json.dumps(value) for name, value in content.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open_atomic(path) as out:
            out.write(serialise({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, metadata))
    except OSError as error:
        before = files(run)
        kept = f"{before[0]} is whole" if before else "none was saved before"
        raise TrainingError(
            f"{path}: cannot be written: {error.strerror or error}; {kept}: make room, and the same command goes on"
        ) from error
    for old in files(run)[engine.recipe.training.checkpoints :]:
        old.unlink(missing_ok=True)


@dataclass(frozen=True)
class Saved:
    """What a state file says of its run."""

    path: Path
    progress: Progress
    identity: dict[str, Any]
    scaler: dict[str, Any]
    tensors: dict[str, torch.Tensor]


def read(run: Path) -> tuple[Saved | None, list[str]]:
    """Read the newest state of a run that is whole, and name those that are not."""
    damaged: list[str] = []
    for path in files(run):
        try:
            return _read(path), damaged
        except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
            damaged.append(f"{path}: damaged ({error}); an older one is used")
    return None, damaged


def _read(path: Path) -> Saved:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a dict
    if metadata.get("format") != FORMAT:
        raise ValueError("not a state of training")
    values = json.loads(metadata["progress"])
    rows = [
        Epoch(**{**row, "samples": tuple(Sample(**sample) for sample in row["samples"])}) for row in values.pop("rows")
    ]
    averaged = values.pop("averaged")
    values["averaged"] = tuple(averaged) if averaged else None
    identity, scaler = json.loads(metadata["identity"]), json.loads(metadata["scaler"])
    return Saved(path, Progress(**values, rows=rows), identity, scaler, tensors)


def restore(saved: Saved, engine: Engine) -> None:
    """Put the parameters and the optimiser to where they were. Raises TrainingError if the model is another one."""
    model = {name.removeprefix("model."): value for name, value in saved.tensors.items() if name.startswith("model.")}
    try:
        engine.model.load_state_dict(model)
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in saved.tensors.items():
            if name.startswith("optimiser."):
                _, number, key = name.split(".")
                state.setdefault(int(number), {})[key] = value
        engine.optimiser.load_state_dict({**engine.optimiser.state_dict(), "state": state})
        if saved.scaler and engine.scaler.is_enabled():
            engine.scaler.load_state_dict(saved.scaler)
    except (RuntimeError, ValueError, KeyError) as error:
        raise TrainingError(f"{saved.path}: the state of another model: {str(error).splitlines()[0]}") from error
