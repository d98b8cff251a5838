"""The training state of a run as a file: a resumed run gives the same result as one that was never stopped.

`RUN/resume/<epoch>-<batch>.safetensors` holds the model's parameters (`model.NAME`), the optimiser's state
(`optimiser.INDEX.NAME`) and, as JSON in the metadata, `progress`, `identity` (the recipe and the digests of the data)
and `scaler`. No random state is needed: order, masks and dropout depend only on the seed, the epoch and the batch.
"""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise

from asr import config
from asr.files import open_atomic
from asr.training.events import Epoch, Sample
from asr.training.recipe import Recipe
from asr.training.step import Engine, TrainingError

FORMAT = "asr-training-state"
FOLDER = "resume"
PATTERN = f"{6 * '[0-9]'}-{8 * '[0-9]'}.safetensors"
# The batches of all processes in a step of the optimiser.
STEP = "batches per step"
# Settings that may change when a run is resumed, because they do not affect the model.
_FREE = (
    *("recipe.name:", "recipe.training.device:"),
    *("recipe.training.checkpoint_minutes:", "recipe.training.checkpoints:"),
    # The batches per step are compared.
    *("recipe.training.accumulate:", "processes:"),
    # States of an earlier version do not have it, and may have compared epochs by another one.
    "recipe.training.metric:",
)


@dataclass
class Progress:
    """The finished epochs of a run, and `position`: the finished batches of the current epoch.

    Sums over the steps of this epoch: `loss` (nats), `characters`, `done` (s of audio), `waiting` and `seconds` (s of
    wall-clock time), `infinite`; `norms`: their gradient norms. `minutes`: wall-clock time of the run. `averaged`: dev
    WER and loss of the average of several epochs, if it is the best model. On shards, `places`: where the current
    buffer of each process begins; `before`: the batches before these buffers; `dropped`: utterances left out.
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
    places: list[list[int]] = field(default_factory=list)
    before: int = 0
    dropped: int = 0
    norms: list[float] = field(default_factory=list)
    rows: list[Epoch] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def best(self) -> Epoch | None:
        """Return the epoch with the lowest dev WER or CER; of several, the one with the lowest dev loss."""
        return min(self.rows, key=lambda row: (row.error, row.dev_loss), default=None)

    @property
    def lowest(self) -> tuple[float, float]:
        """Return the dev WER or CER and the loss of the best model, whether of an epoch or an average."""
        scores = [(row.error, row.dev_loss) for row in self.rows] + ([self.averaged] if self.averaged else [])
        return min(scores, default=(math.inf, math.inf))

    def begin_epoch(self, epoch: int) -> None:
        """Reset the sums and start an epoch."""
        self.epoch, self.position = epoch, 0
        self.loss = self.done = self.waiting = self.seconds = 0.0
        self.characters = self.infinite = self.before = self.dropped = 0
        self.places = []
        self.norms = []


@dataclass(frozen=True)
class State:
    """The content of a state file."""

    path: Path
    progress: Progress
    identity: dict[str, Any]
    scaler: dict[str, Any]
    tensors: dict[str, torch.Tensor]


def state_files(run: Path) -> list[Path]:
    """Return the state files of a run, newest first."""
    return sorted((run / FOLDER).glob(PATTERN), reverse=True)


def save(run: Path, engine: Engine, progress: Progress, identity: dict[str, Any]) -> None:
    """Save the state of a run and delete the oldest ones. Raises TrainingError and keeps them if writing fails."""
    folder = run / FOLDER
    path = folder / f"{progress.epoch:06d}-{progress.position:08d}.safetensors"
    tensors = {f"model.{name}": tensor for name, tensor in engine.model.state_dict().items()}
    for index, values in engine.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": value for name, value in values.items()}
    content = {"progress": asdict(progress), "identity": identity, "scaler": engine.scaler.state_dict()}
    metadata = {"format": FORMAT} | {name: json.dumps(value) for name, value in content.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open_atomic(path) as out:
            out.write(serialise({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, metadata))
    except OSError as error:
        before = state_files(run)
        kept = f"{before[0]} is complete" if before else "there is no earlier one"
        raise TrainingError(
            f"{path}: cannot be written: {error.strerror or error}; {kept}: free some space, and resume with the same "
            "command"
        ) from error
    # States of later batches are those of a run that was resumed with --override, which began the epoch anew.
    states = state_files(run)
    newest = states.index(path)
    for old in (*states[:newest], *states[newest + engine.recipe.training.checkpoints :]):
        old.unlink(missing_ok=True)


def read(run: Path) -> tuple[State | None, list[str]]:
    """Return the newest complete state of a run, and a message for each newer one that is damaged."""
    damaged: list[str] = []
    for path in state_files(run):
        try:
            return _read(path), damaged
        except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
            damaged.append(f"{path}: damaged ({error}); an older one is used")
    return None, damaged


def _read(path: Path) -> State:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a dict
    if metadata.get("format") != FORMAT:
        raise ValueError("not a training state")
    values = json.loads(metadata["progress"])
    for row in values["rows"]:
        row["samples"] = tuple(Sample(**sample) for sample in row["samples"])
    values["rows"] = [Epoch(**row) for row in values["rows"]]
    values["averaged"] = tuple(values["averaged"]) if values["averaged"] else None
    identity, scaler = json.loads(metadata["identity"]), json.loads(metadata["scaler"])
    return State(path, Progress(**values), identity, scaler, tensors)


def changes(state: State, identity: dict[str, Any], override: bool) -> list[str]:
    """Return what differs between the run that was saved and this one. Raises TrainingError unless `override`."""
    before = _completed(state.identity, identity)
    differing = [line for line in config.differences(before, identity) if not line.startswith(_FREE)]
    changed = [
        _step_change(before, identity) if line.startswith(STEP) else line.removeprefix("recipe.") for line in differing
    ]
    if changed and not override:
        raise TrainingError(
            f"{state.path.parent.parent}: the run was started with other settings or data ({'; '.join(changed)}); "
            "resume it with the same ones, accept the changes with --override, or replace it with --overwrite"
        )
    return changed


def other_processes(state: State, identity: dict[str, Any]) -> str:
    """Say that other processes share steps that stay the same; empty if neither or both have changed."""
    before, now = _completed(state.identity, identity), identity["processes"]
    if before["processes"] == now or before[STEP] != identity[STEP]:
        return ""
    steps = f"each step has {identity[STEP]} batches as before"
    return f"resumed with {now} instead of {before['processes']} processes; {steps}"


def _completed(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Return an identity with what that of an earlier version lacks: a setting's default is what that version did."""
    recipe = {
        name: value | before["recipe"].get(name, {}) if isinstance(value, dict) else before["recipe"].get(name, value)
        for name, value in config.to_dict(Recipe()).items()
    }
    steps = now["processes"] * recipe["training"]["accumulate"]
    return {"processes": now["processes"], STEP: steps} | before | {"recipe": recipe}


def _step_change(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Say how the steps change with the number of processes and `training.accumulate`, and how they stay the same."""
    old, new, processes = before[STEP], now[STEP], now["processes"]
    if old % processes:
        mend = f"with {processes} processes the steps cannot stay the same"
    else:
        mend = f"training.accumulate={old // processes} keeps the steps the same"
    return (
        f"{STEP}: {old} -> {new}, so that each step processes {new / old:g} times as much audio at the same learning "
        f"rate; {mend}"
    )


def restore(state: State, engine: Engine) -> None:
    """Load the parameters and the optimiser's state. Raises TrainingError if they do not fit the model."""
    model = {name.removeprefix("model."): value for name, value in state.tensors.items() if name.startswith("model.")}
    try:
        engine.model.load_state_dict(model)
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in state.tensors.items():
            if name.startswith("optimiser."):
                _, index, key = name.split(".")
                moments.setdefault(int(index), {})[key] = value
        engine.optimiser.load_state_dict({**engine.optimiser.state_dict(), "state": moments})
        if state.scaler and engine.scaler.is_enabled():
            engine.scaler.load_state_dict(state.scaler)
    except (RuntimeError, ValueError, KeyError) as error:
        raise TrainingError(
            f"{state.path}: its weights do not fit a model of other settings of [model], [features] or the alphabet; "
            "take these changes back, or start a new run with --overwrite"
        ) from error
