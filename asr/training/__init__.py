"""Training: from manifests and a recipe to model files; a run that was stopped goes on where it stood."""

import logging
import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from asr import compute as device
from asr import config, files
from asr.audio import AudioError
from asr.corpora import manifest
from asr.corpora.manifest import Utterance
from asr.features.cache import Copy
from asr.files import lock_folder
from asr.model.checkpoint import ModelFileSettings
from asr.text import TextError
from asr.training import averaging, batch_size, dataset, distributed, initial, loop, resume
from asr.training.dataset import Dataset, DatasetSource
from asr.training.distributed import World
from asr.training.events import Note, Preparing
from asr.training.recipe import Recipe
from asr.training.resume import Progress
from asr.training.run import Run, TrainOptions, ignore_event
from asr.training.step import Engine, TrainingError
from asr.version import __version__

log = logging.getLogger(__name__)
# Without a handler, Python itself would print warnings; who wants them sets logging up.
log.addHandler(logging.NullHandler())

CACHE = ".features"
WRITTEN = ("best.safetensors", "last.safetensors", "train.jsonl", "training.html")
# ModelFileSettings that may differ when a run goes on: they change nothing that is learnt.
_FREE = ("recipe.training.checkpoint_minutes:", "recipe.training.checkpoints:")
_NO_STREAM = (
    "the model is forward-only, yet its features need the whole recording: to hear streams it needs, besides, "
    'features.normalisation = "corpus" (or "none"), features.top_db = 0 and features.deltas = 0'
)
_NO_BFLOAT16 = "this processor has no instructions for bfloat16: training.precision = float32 is faster on it"

__all__ = ["TrainOptions", "TrainResult", "TrainingError", "train"]


@dataclass(frozen=True)
class TrainResult:
    """What a run came to: the best model's file (None before the first epoch's end), its epoch and its dev WER.

    `finished` is False where the run was stopped and can be continued. An average of epochs has epoch 0.
    """

    model: Path | None
    epoch: int
    dev_wer: float
    finished: bool


def train(
    recipe: Recipe,
    train_manifest: str | Path,
    dev_manifest: str | Path,
    out: str | Path,
    options: TrainOptions = TrainOptions(),  # noqa: B008 - frozen
) -> TrainResult:
    """Train a model by the recipe, or go on with the run in the folder `out`.

    It gets best.safetensors, last.safetensors, train.jsonl (one line an epoch), training.html, and `resume`, all that
    is needed to go on. The feature cache is kept in `.features` beside each manifest. Under torchrun the processes
    train together. Raises an AsrError that names what is wrong
    and where; what was saved stays.
    """
    out = Path(out)
    paths = {"train": Path(train_manifest), "dev": Path(dev_manifest)}
    _check_out(out, list(paths.values()))
    with distributed.joined(device.choose_device(recipe.training.device)) as world:
        if not world.leads:
            return _train(recipe, paths, out, replace(options, on_event=ignore_event), world)
        with lock_folder(out):
            for folder, pattern in _places(out):
                files.remove_partial(folder, pattern)
            return _train(recipe, paths, out, options, world)


def _train(recipe: Recipe, paths: dict[str, Path], out: Path, options: TrainOptions, world: World) -> TrainResult:
    saved = _saved(out, options)
    begin = initial.read(options.start) if options.start else None
    if begin:
        recipe = _as_begun(recipe, begin, options if saved is None else TrainOptions())
    rows = {name: manifest.read(path) for name, path in paths.items()}
    alphabet = dataset.alphabet_of(rows["train"], recipe.text)
    recipe = replace(recipe, text=replace(recipe.text, alphabet=alphabet.characters))
    identity = {"recipe": config.to_dict(recipe)} | {name: files.digest(path) for name, path in paths.items()}
    if begin:
        identity["from"] = begin.digest
    changed = _changes(saved, identity, options) if saved else []
    if not recipe.model.bidirectional and not recipe.features.streams:
        options.on_event(Note(_NO_STREAM))
    if device.emulates_bfloat16(world.place, device.autocast_dtype(world.place, recipe.training.precision)):
        options.on_event(Note(_NO_BFLOAT16))
    try:
        data = _load_all(paths, rows, recipe, world, options)
    except KeyboardInterrupt:
        if not options.should_stop():
            raise
        return TrainResult(None, 0, 1.0, finished=False)
    if recipe.features.normalisation == "corpus" and not recipe.features.mean:
        recipe = replace(recipe, features=dataset.measured(data["train"]))
        data = {name: replace(one, features=recipe.features) for name, one in data.items()}
    settings = ModelFileSettings(recipe.features, recipe.text, recipe.model)
    torch.manual_seed(recipe.training.seed)
    engine = Engine.of(recipe, begin.model if begin else settings.build(), world)
    card = _card(recipe, {name: (paths[name], data[name]) for name in paths})
    if begin:
        card["from"] = {"file": begin.path.name, "sha256": begin.digest}
    run = Run(engine, data["train"], data["dev"], settings, Progress(), out, card, identity, options)
    if saved:
        _continue(run, saved, changed)
    elif world.leads:
        _clear(out)
    if not run.progress.batch_seconds:
        run.progress.batch_seconds = batch_size.batch_seconds(engine, data["train"])
    return _result(run, loop.go_on(run))


def _as_begun(recipe: Recipe, begin: initial.Start, options: TrainOptions) -> Recipe:
    """Return the recipe with what the model to begin with fixes, and tell what that changed."""
    recipe, changed = initial.fitted(recipe, begin)
    if changed:
        options.on_event(Note(f"as {begin.path} was trained: {'; '.join(changed)}"))
    return recipe


def _result(run: Run, finished: bool) -> TrainResult:
    out = run.out
    best, averaged = run.progress.best, run.progress.averaged
    if best is None:
        return TrainResult(None, 0, 1.0, finished)
    if averaged and averaged == run.progress.lowest:
        return TrainResult(out / "best.safetensors", 0, averaged[0], finished)
    return TrainResult(out / "best.safetensors", best.epoch, best.dev_wer, finished)


def _check_out(out: Path, manifests: Sequence[Path]) -> None:
    """Make the run's folder before hours of work, and see that the run will not overwrite what it reads."""
    out.mkdir(parents=True, exist_ok=True)
    for path in manifests:
        if path.resolve() in {(out / name).resolve() for name in WRITTEN}:
            raise TrainingError(f"{out}: the run would write over its own manifest {path}; choose another folder")


def _saved(out: Path, options: TrainOptions) -> resume.Saved | None:
    """Return the state of the run to be continued, if there is one in the folder."""
    if options.overwrite:
        return None
    saved, damaged = resume.read(out)
    for message in damaged:
        options.on_event(Note(message))
    if saved is None and damaged:
        raise TrainingError(f"{out}: none of its saved states can be read; --overwrite begins anew")
    if saved is None and (out / "best.safetensors").exists():
        raise TrainingError(
            f"{out} holds a model and no state to go on from; choose another --out, or --overwrite to replace it"
        )
    if saved is None and options.resume:
        raise TrainingError(f"{out}: there is no run to resume")
    return saved


def _changes(saved: resume.Saved, identity: dict[str, Any], options: TrainOptions) -> list[str]:
    """Return what differs from how the run was begun. Raises TrainingError where that is not wished."""
    changed = [one for one in config.differences(saved.identity, identity) if not one.startswith(_FREE)]
    if changed and not options.override:
        listed = "; ".join(one.removeprefix("recipe.") for one in changed)
        raise TrainingError(
            f"{saved.path.parent.parent}: the run there was begun with other settings or data ({listed}); "
            "go on as it was begun, accept the changes with --override, or replace it with --overwrite"
        )
    return changed


def _continue(run: Run, saved: resume.Saved, changed: Sequence[str]) -> None:
    """Put the run to where it was saved; with changes, to the beginning of the epoch that it was in."""
    resume.restore(saved, run.engine)
    run.progress = progress = saved.progress
    if changed:
        progress.finished = progress.finished and progress.epoch > run.engine.recipe.training.epochs
        progress.epoch -= 1
        progress.begin_epoch()
        progress.batch_seconds = 0.0
        run.tell("went on with " + "; ".join(one.removeprefix("recipe.") for one in changed))
    place = torch.tensor([float(progress.epoch), float(progress.position)])
    if not torch.equal(run.engine.world.total(place.clone()), place * run.engine.world.size):
        raise TrainingError(f"{run.out}: the processes see different states of it; they must share one disk")
    if not progress.finished:
        run.options.on_event(Note(f"{run.out}: goes on in epoch {progress.epoch}, after {progress.position} batches"))


def _places(out: Path) -> list[tuple[Path, str]]:
    """Return where a run writes, as folders and patterns of names."""
    own = [(out / resume.FOLDER, resume.PATTERN), (out / averaging.FOLDER, averaging.PATTERN)]
    return [*((out, name) for name in WRITTEN), *own]


def _clear(out: Path) -> None:
    """Take away what a run wrote, whole or not, and nothing else that may lie in the folder."""
    for folder, pattern in _places(out):
        files.remove_files(folder, pattern)


def _load_all(
    paths: dict[str, Path], rows: dict[str, list[Utterance]], recipe: Recipe, world: World, options: TrainOptions
) -> dict[str, Dataset]:
    copies = {"train": dataset.copies_of(recipe.augment), "dev": ((Copy(),),)}
    # One process of each machine computes the features that are not there yet; then all have them.
    if world.local_rank:
        world.wait()
    data = {}
    for name, path in paths.items():
        # The rows of a large corpus are let go of once they have become columns.
        source = DatasetSource(rows.pop(name), path.parent / CACHE, copies[name], keep=name == "dev")
        data[name] = _load(str(path), source, recipe, options)
    if not world.local_rank:
        world.wait()
    return data


def _load(name: str, source: DatasetSource, recipe: Recipe, options: TrainOptions) -> Dataset:
    def progress(done: float, total: float, size: int) -> None:
        options.on_event(Preparing(done, total, size))
        if options.should_stop():
            raise KeyboardInterrupt

    try:
        data = dataset.load(source, recipe.text, recipe.features, recipe.model.time_reduction, progress)
    except (TextError, AudioError) as error:
        raise type(error)(f"{name}: {error}") from error
    if not data.token_counts.any():
        raise TrainingError(f"{name}: no utterance is left to use; `asr doctor` says what is wrong with each")
    for ids, why in (
        (data.unalignable, "too few output frames for the transcript"),
        (data.unknown, "characters outside the alphabet"),
    ):
        if ids:
            shown = ", ".join(ids[:3]) + (", …" if len(ids) > 3 else "")
            count = len(source.utterances) * len(source.copies)
            what = "without a loss, but scored," if source.keep else "dropped"
            message = f"{name}: {what} {len(ids)} of {count} utterances: {why} ({shown})"
            log.warning(message)
            options.on_event(Note(message))
    return data


def _card(recipe: Recipe, data: dict[str, tuple[Path, Dataset]]) -> dict[str, Any]:
    packages = ("torch", "librosa", "numpy", "soundfile", "soxr")
    return {
        "recipe": config.to_dict(recipe),
        "data": {
            name: {
                "manifest": path.name,
                "utterances": len(part),
                "hours": round(part.seconds / 3600, 3),
                "unalignable": len(part.unalignable),
                "unknown_characters": len(part.unknown),
            }
            for name, (path, part) in data.items()
        },
        "versions": {"asr": __version__, "python": platform.python_version()}
        | {package: version(package) for package in packages},
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }
