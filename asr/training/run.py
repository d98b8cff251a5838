"""A training run: check its folder, load the data, start from new weights, a model or a saved state, and train."""

import platform
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from asr import config, files
from asr.compute import autocast_dtype, choose_device, emulates_bfloat16
from asr.model import network
from asr.model.checkpoint import ModelFileSettings
from asr.training import batch_size, distributed, resume
from asr.training.dataset import Dataset
from asr.training.distributed import World
from asr.training.events import Note
from asr.training.inputs import (
    Data,
    Inputs,
    Manifests,
    Paths,
    Stopped,
    find_alphabet,
    find_inputs,
    load_data,
    load_datasets,
    manifest_paths,
    read_rows,
    with_corpus_statistics,
)
from asr.training.loop import EPOCHS_FOLDER, EPOCHS_PATTERN, Run, train_epochs
from asr.training.options import TrainOptions
from asr.training.recipe import Recipe
from asr.training.resume import Progress, State
from asr.training.start import build_network, fitted, with_pronunciations
from asr.training.step import Engine, TrainingError
from asr.version import __version__

OUTPUTS = ("best.safetensors", "last.safetensors", "train.jsonl", "training.html")
_NOT_STREAMING = (
    "the network can compute streams, but its features depend on the whole recording; to transcribe streams the model "
    'also needs features.normalisation = "running" (or "corpus"), features.top_db = 0 and features.deltas = 0'
)
_SLOW_BFLOAT16 = "this CPU has no bfloat16 instructions: training.precision = float32 is faster"


@dataclass(frozen=True)
class TrainResult:
    """The best model's file (None before the end of the first epoch), its epoch (0: an average) and its dev error.

    `dev_wer`: its WER, or the rate that `metric` names, "wer" or "cer", by which epochs are compared.
    `finished`: False if the run was stopped and can be resumed. `saved`: False if it was stopped before training began.
    `hours`: of training audio, each utterance counted once.
    """

    model: Path | None
    epoch: int
    dev_wer: float
    finished: bool
    saved: bool = True
    metric: str = "wer"
    hours: float = 0.0


def train(
    recipe: Recipe,
    train_manifest: Manifests,
    dev_manifest: Manifests,
    out: str | Path,
    options: TrainOptions = TrainOptions(),  # noqa: B008 - it is frozen
) -> TrainResult:
    """Train a model with the recipe, or resume the run in the folder `out`. Several manifests are joined.

    Write best.safetensors, last.safetensors, train.jsonl (a row per epoch), training.html, and `resume`, the training
    state. The feature cache is in `.features` beside each manifest. Under torchrun the processes train together.
    Raises an AsrError that names what is wrong and where; everything that was saved stays.
    """
    out = Path(out)
    inputs = find_inputs(train_manifest, dev_manifest)
    out.mkdir(parents=True, exist_ok=True)
    files.check_not_read(
        [out / name for name in OUTPUTS],
        [*chain(*inputs.manifests.values()), *([options.start] if options.start else [])],
    )
    with distributed.join_processes(choose_device(recipe.training.device)) as world:
        if not world.is_main:
            return _train(recipe, inputs, out, replace(options, on_event=lambda event: None), world)
        with files.lock_folder(out):
            for folder, pattern in _written(out):
                files.remove_partial(folder, pattern)
            return _train(recipe, inputs, out, options, world)


def _train(recipe: Recipe, inputs: Inputs, out: Path, options: TrainOptions, world: World) -> TrainResult:
    """Load the data, start or resume the run, and train its epochs."""
    state = _read_state(out, options)
    start = network.load(options.start) if options.start else None
    rows = read_rows(inputs)
    recipe, notes = fitted(recipe, start, partial(find_alphabet, inputs, rows))
    recipe, dictionary, more = with_pronunciations(recipe, options.pronunciations)
    inputs, notes = replace(inputs, pronunciations=dictionary), notes + more
    identity = _identity(recipe, inputs, options, world)
    if state:
        changes = resume.changes(state, identity, options.override)
        sharing = resume.other_processes(state, identity)
        messages = [f"{out}: {sharing}"] if sharing else []
    else:
        changes, messages = [], [f"{options.start}: {message}" for message in notes]
    for message in [*messages, *_advice(recipe, identity, world)]:
        options.on_event(Note(message))
    try:
        data = load_data(inputs, rows, recipe, world, options)
    except Stopped:
        return TrainResult(None, 0, 1.0, finished=False, saved=False)
    recipe, data = with_corpus_statistics(recipe, data)
    data = data.part(options.divisor, recipe.training.seed)
    settings = ModelFileSettings(recipe.features, recipe.text, recipe.model)
    torch.manual_seed(recipe.training.seed)
    run = Run(
        engine=Engine(recipe, build_network(start, settings), world),
        train=data.train,
        dev=data.datasets["dev"],
        settings=settings,
        progress=Progress(),
        folder=out,
        card=_card(recipe, inputs, data) | _origin(options, identity),
        identity=identity,
        on_event=options.on_event,
        should_stop=options.should_stop,
    )
    if state:
        _resume(run, state, changes)
    elif world.is_main:
        for folder, pattern in _written(out):
            files.remove_files(folder, pattern)
    if not run.progress.batch_seconds:
        run.progress.batch_seconds = batch_size.batch_seconds(run.engine, run.train)
    return _result(run, train_epochs(run))


def _read_state(out: Path, options: TrainOptions) -> State | None:
    """Return the state of the run to resume, if the folder has one."""
    if options.overwrite:
        return None
    state, damaged = resume.read(out)
    for message in damaged:
        options.on_event(Note(message))
    if state is None and damaged:
        raise TrainingError(f"{out}: none of its training states can be read; --overwrite starts a new run")
    if state is None and (out / "best.safetensors").exists():
        raise TrainingError(
            f"{out} has a model, but no training state to resume; choose another --out, or replace it with --overwrite"
        )
    if state is None and options.resume:
        raise TrainingError(f"{out}: there is no run to resume")
    return state


def _identity(recipe: Recipe, inputs: Inputs, options: TrainOptions, world: World) -> dict[str, Any]:
    """Return what a run depends on; a run resumes only with the same."""
    identity: dict[str, Any] = {"recipe": config.to_dict(recipe)} | {
        name: _digest(several) for name, several in inputs.manifests.items()
    }
    # A step has as many batches, however many processes share them.
    identity[resume.STEP] = world.size * recipe.training.accumulate
    identity["processes"] = world.size
    if options.divisor > 1:
        identity["part"] = options.divisor
    if inputs.shards:
        identity |= {"train": inputs.shards.digest, "processes that share the shards": world.size}
    if options.pronunciations:
        identity["pronunciations"] = files.sha256(options.pronunciations)[:16]
    if options.start:
        identity["from"] = files.sha256(options.start)[:16]
    return identity


def _digest(paths: Paths) -> str:
    digests = [files.sha256(path)[:16] for path in paths]
    return "+".join(digests)


def _advice(recipe: Recipe, identity: dict[str, Any], world: World) -> list[str]:
    """Return what is unusual about a run before it starts."""
    messages = []
    if identity["train"] == identity["dev"]:
        messages.append("dev is the training set: the dev WER says nothing about other speech")
    audio = recipe.features.kind == "mfcc"
    if audio and recipe.model.streams and not recipe.features.streams:
        messages.append(_NOT_STREAMING)
    if emulates_bfloat16(world.device, autocast_dtype(world.device, recipe.training.precision)):
        messages.append(_SLOW_BFLOAT16)
    return messages


def _card(recipe: Recipe, inputs: Inputs, data: Data) -> dict[str, Any]:
    """Return what the model file says about the run."""
    index = inputs.shards
    train = {"shards": index.path, "utterances": index.utterances, "hours": round(index.hours, 3)} if index else {}
    packages = ("torch", "librosa", "numpy", "soundfile", "soxr")
    return {
        "recipe": config.to_dict(recipe),
        "data": {
            name: {
                "manifest": "+".join(path.name for path in inputs.manifests[name]),
                "utterances": len(part) // part.passes,
                "hours": round(part.seconds / part.passes / 3600, 3),
                "unalignable": len(part.unalignable),
                "unknown_characters": len(part.unknown),
            }
            for name, part in data.datasets.items()
        }
        | ({"train": train} if index else {}),
        "versions": {"asr": __version__, "python": platform.python_version()}
        | {package: version(package) for package in packages},
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _origin(options: TrainOptions, identity: dict[str, Any]) -> dict[str, Any]:
    """Return what the model file says about the model that the run started from, if there is one."""
    return {"from": {"file": options.start.name, "sha256": identity["from"]}} if options.start else {}


def _resume(run: Run, state: State, changes: list[str]) -> None:
    """Restore the saved state; if settings or data changed, restart the epoch."""
    resume.restore(state, run.engine)
    run.progress = progress = state.progress
    if changes:
        progress.finished = progress.finished and progress.epoch > run.engine.recipe.training.epochs
        progress.begin_epoch(progress.epoch)
        progress.batch_seconds = 0.0
        run.note("resumed with changes: " + "; ".join(changes))
    position = torch.tensor([float(progress.epoch), float(progress.position)])
    if not torch.equal(run.engine.world.sum(position.clone()), position * run.engine.world.size):
        raise TrainingError(f"{run.folder}: the processes read different training states; they must share one disk")
    if not progress.finished:
        where = f"in epoch {progress.epoch} after {progress.position} batches"
        run.on_event(Note(f"{run.folder}: resumed {where}"))


def _written(out: Path) -> list[tuple[Path, str]]:
    """Return the folders and name patterns of all files that a run writes."""
    folders = [(out / resume.FOLDER, resume.PATTERN), (out / EPOCHS_FOLDER, EPOCHS_PATTERN)]
    return [*((out, name) for name in OUTPUTS), *folders]


def _result(run: Run, finished: bool) -> TrainResult:
    best, averaged = run.progress.best, run.progress.averaged
    if best is None:
        return TrainResult(None, 0, 1.0, finished)
    epoch = 0 if averaged and averaged == run.progress.lowest else best.epoch
    model, hours = run.folder / "best.safetensors", run.train.distinct_seconds / 3600
    return TrainResult(model, epoch, run.progress.lowest[0], finished, metric=run.metric, hours=hours)


def prepare_features(
    recipe: Recipe,
    train_manifest: Manifests,
    dev_manifest: Manifests,
    options: TrainOptions = TrainOptions(),  # noqa: B008 - it is frozen
) -> dict[str, Dataset]:
    """Compute the features that `train` would compute before its first epoch; return the data of `train` and `dev`.

    Raises an AsrError that names what is wrong and where.
    """
    paths = {"train": manifest_paths(train_manifest), "dev": manifest_paths(dev_manifest)}
    inputs = Inputs(paths, None)
    rows = read_rows(inputs)
    start = network.load(options.start) if options.start else None
    recipe, _ = fitted(recipe, start, partial(find_alphabet, inputs, rows))
    return load_datasets(inputs, rows, recipe, World(), options)
