"""A training run: check its folder, load the data, start from new weights, a model or a saved state, and train."""

import logging
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from asr import config, files
from asr.audio import AudioError
from asr.compute import autocast_dtype, choose_device, emulates_bfloat16
from asr.corpora import manifest
from asr.corpora.manifest import Utterance
from asr.corpora.shards import Index
from asr.features.cache import Compute, Copy
from asr.model import network
from asr.model.checkpoint import Contents, ModelFileSettings
from asr.model.network import Model
from asr.text import Alphabet, TextError, TextSettings
from asr.training import batch_size, dataset, distributed, resume, shards
from asr.training.dataset import Dataset, DatasetSource
from asr.training.distributed import World
from asr.training.doctor import unreadable
from asr.training.events import Note, OnEvent, Preparing
from asr.training.loop import EPOCHS_FOLDER, EPOCHS_PATTERN, Run, train_epochs
from asr.training.recipe import Recipe
from asr.training.resume import Progress, State
from asr.training.shards import Corpus
from asr.training.step import Engine, TrainingError
from asr.version import __version__

Paths = tuple[Path, ...]
Manifests = str | Path | Sequence[str | Path]

log = logging.getLogger(__name__)
# Without a handler Python prints warnings to stderr.
log.addHandler(logging.NullHandler())

OUTPUTS = ("best.safetensors", "last.safetensors", "train.jsonl", "training.html")
_NOT_STREAMING = (
    "the network can compute streams, but its features depend on the whole recording; to transcribe streams the model "
    'also needs features.normalisation = "running" (or "corpus"), features.top_db = 0 and features.deltas = 0'
)
_SLOW_BFLOAT16 = "this CPU has no bfloat16 instructions: training.precision = float32 is faster"


@dataclass(frozen=True)
class TrainOptions:
    """How a run is started and observed.

    `on_event`: called with each event; `should_stop`: called after each step, True saves and stops the run.
    `overwrite`: replace a run in the folder. `resume`: raise an error if there is none. `override`: resume although
    settings or data differ. `start`: a model file; a new run takes its weights, features, alphabet and shape; the
    output layer is new if `text.alphabet` is auto and the texts have other characters. `cache`: the folder of the
    features, in place of one beside each manifest. `skip_bad`: leave out recordings that cannot be read, with a note
    for each. `divisor`: train on one n-th of the utterances, n times in an epoch. `compute`: maps a function over
    tuples of arguments to compute features, such as `Cluster.map_each`; by default the processes of this machine do.
    """

    on_event: OnEvent = lambda event: None
    should_stop: Callable[[], bool] = bool
    overwrite: bool = False
    resume: bool = False
    override: bool = False
    start: Path | None = None
    cache: Path | None = None
    skip_bad: bool = False
    divisor: int = 1
    compute: Compute | None = None


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


@dataclass(frozen=True)
class _Inputs:
    """The manifests of train and dev, or of dev if the index of shards is to train on."""

    manifests: dict[str, Paths]
    shards: Index | None


class _Stopped(Exception):  # noqa: N818 - not an error
    """The run was stopped while features were computed."""


def train(
    recipe: Recipe,
    train_manifest: Manifests,
    dev_manifest: Manifests,
    out: str | Path,
    options: TrainOptions = TrainOptions(),
) -> TrainResult:
    """Train a model with the recipe, or resume the run in the folder `out`. Several manifests are joined.

    Write best.safetensors, last.safetensors, train.jsonl (a row per epoch), training.html, and `resume`, the training
    state. The feature cache is in `.features` beside each manifest. Under torchrun the processes train together.
    Raises an AsrError that names what is wrong and where; everything that was saved stays.
    """
    out = Path(out)
    index = shards.find(_sequence(train_manifest))
    inputs = _Inputs(({} if index else {"train": _paths(train_manifest)}) | {"dev": _paths(dev_manifest)}, index)
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


def _sequence(manifests: Manifests) -> Sequence[str | Path]:
    return (manifests,) if isinstance(manifests, str | Path) else tuple(manifests)


def prepare_features(
    recipe: Recipe, train_manifest: Manifests, dev_manifest: Manifests, options: TrainOptions = TrainOptions()
) -> dict[str, Dataset]:
    """Compute the features that `train` would compute before its first epoch; return the data of `train` and `dev`.

    Raises an AsrError that names what is wrong and where.
    """
    paths = {"train": _paths(train_manifest), "dev": _paths(dev_manifest)}
    rows = {name: manifest.join(several) for name, several in paths.items()}
    start = network.load(options.start) if options.start else None
    recipe, _ = _fitted(recipe, start, lambda text: dataset.alphabet_of(rows["train"], text))
    return _load_all(paths, rows, recipe, World(), options)


def _paths(manifests: Manifests) -> tuple[Path, ...]:
    """Return the paths of manifests. Raises TrainingError if one is given twice."""
    paths = _sequence(manifests)
    resolved = [Path(path).resolve() for path in paths]
    for path, target in zip(paths, resolved, strict=True):
        if resolved.count(target) > 1:
            raise TrainingError(f"{path} is given twice; give each manifest once")
    return tuple(map(Path, paths))


def _digest(paths: Paths) -> str:
    digests = [files.sha256(path)[:16] for path in paths]
    return "+".join(digests)


def _train(recipe: Recipe, inputs: _Inputs, out: Path, options: TrainOptions, world: World) -> TrainResult:
    state = _read_state(out, options)
    start = network.load(options.start) if options.start else None
    rows = {name: manifest.join(several) for name, several in inputs.manifests.items()}

    def alphabet_of(text: TextSettings) -> Alphabet:
        if inputs.shards and text.alphabet == "auto":
            return Alphabet(inputs.shards.characters(text.normaliser))
        return dataset.alphabet_of(rows.get("train", ()), text)

    recipe, notes = _fitted(recipe, start, alphabet_of)
    for message in notes if state is None else ():
        options.on_event(Note(f"{options.start}: {message}"))
    identity = _identity(recipe, inputs, options, world)
    changes = resume.changes(state, identity, options.override) if state else []
    if state and (sharing := resume.other_processes(state, identity)):
        options.on_event(Note(f"{out}: {sharing}"))
    for message in _advice(recipe, identity, world):
        options.on_event(Note(message))
    try:
        data = _load_all(inputs.manifests, rows, recipe, world, options)
    except _Stopped:
        return TrainResult(None, 0, 1.0, finished=False, saved=False)
    corpus = _corpus(inputs, recipe, world, options)
    if recipe.features.normalisation in ("corpus", "running") and not recipe.features.mean:
        sample = corpus.sample if corpus else data["train"]
        recipe = replace(recipe, features=dataset.with_corpus_statistics(sample))
        data = {name: replace(part, features=recipe.features) for name, part in data.items()}
        corpus = _corpus(inputs, recipe, world, options)
    if options.divisor > 1:
        data["train"] = dataset.part(data["train"], options.divisor, recipe.training.seed)
    settings = ModelFileSettings(recipe.features, recipe.text, recipe.model)
    torch.manual_seed(recipe.training.seed)
    model = _network(start, settings)
    card = _card(recipe, inputs, data)
    if options.start:
        card["from"] = {"file": options.start.name, "sha256": identity["from"]}
    run = Run(
        engine=Engine(recipe, model, world),
        train=corpus or data["train"],
        dev=data["dev"],
        settings=settings,
        progress=Progress(),
        folder=out,
        card=card,
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


def _identity(recipe: Recipe, inputs: _Inputs, options: TrainOptions, world: World) -> dict[str, Any]:
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
    if options.start:
        identity["from"] = files.sha256(options.start)[:16]
    return identity


def _corpus(inputs: _Inputs, recipe: Recipe, world: World, options: TrainOptions) -> Corpus | None:
    """Return the shards to train on, if there are any."""
    if not inputs.shards:
        return None
    if options.divisor > 1:
        raise TrainingError(f"{inputs.shards.path}: a learning curve needs a manifest, not shards")
    return Corpus(inputs.shards, recipe, world, options.skip_bad)


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


def _result(run: Run, finished: bool) -> TrainResult:
    best, averaged = run.progress.best, run.progress.averaged
    if best is None:
        return TrainResult(None, 0, 1.0, finished)
    epoch = 0 if averaged and averaged == run.progress.lowest else best.epoch
    model, hours = run.folder / "best.safetensors", run.train.distinct_seconds / 3600
    return TrainResult(model, epoch, run.progress.lowest[0], finished, metric=run.metric, hours=hours)


def with_model_settings(recipe: Recipe, settings: ModelFileSettings) -> tuple[Recipe, list[str]]:
    """Return the recipe with the features, text settings and shape of a model, and what that changed.

    Dropout and the treatment of unknown characters stay those of the recipe, and so do chunks and normalisation where
    it makes a streaming model of a bidirectional one.
    """
    model = replace(settings.model, dropout=recipe.model.dropout)
    features = settings.features
    text = replace(settings.text, unknown=recipe.text.unknown)
    try:
        if recipe.model.chunk and model.bidirectional and not model.chunk:
            model = replace(model, chunk=recipe.model.chunk, lookahead=recipe.model.lookahead)
            normalisation, top_db = recipe.features.normalisation, recipe.features.top_db
            features = replace(features, normalisation=normalisation, top_db=top_db, mean=(), scale=())
        fitted = replace(recipe, features=features, text=text, model=model)
    except ValueError as error:  # features that the recipe's settings do not fit
        raise TrainingError(f"the recipe does not fit the model: {error}") from error
    changed = config.differences(config.to_dict(recipe), config.to_dict(fitted))
    # A recipe seldom contains these.
    implied = ("features.mean:", "features.scale:", "text.alphabet:")
    return fitted, [line for line in changed if not line.startswith(implied)]


def _fitted(
    recipe: Recipe, start: tuple[Model, Contents] | None, alphabet_of: Callable[[TextSettings], Alphabet]
) -> tuple[Recipe, list[str]]:
    """Return the recipe with its alphabet, and the settings of the model to start from; and notes for the user."""
    recipe, notes = _continued(recipe, start[1].settings, alphabet_of) if start else (recipe, [])
    return replace(recipe, text=replace(recipe.text, alphabet=alphabet_of(recipe.text).characters)), notes


def _continued(
    recipe: Recipe, settings: ModelFileSettings, alphabet_of: Callable[[TextSettings], Alphabet]
) -> tuple[Recipe, list[str]]:
    """Return the recipe of a run that starts from a model, and notes for the user.

    With an alphabet of `auto`, texts with characters that the model does not have keep the recipe's text settings.
    """
    fitted, changed = with_model_settings(recipe, settings)
    notes = [f"settings as the model was trained: {'; '.join(changed)}"] if changed else []
    if recipe.text.alphabet == "auto":
        new = settings.alphabet.unknown(alphabet_of(recipe.text).characters)
        if new:
            fitted = replace(fitted, text=recipe.text)
            notes.append(f"new output layer, as the model does not have {', '.join(map(repr, new))}")
    return fitted, notes


def _network(start: tuple[Model, Contents] | None, settings: ModelFileSettings) -> Model:
    """Return a network of these settings with the weights of the model to start from, or new ones."""
    model = network.build(settings)
    if start:
        before, contents = start
        if settings.text.alphabet != contents.settings.text.alphabet:
            before.change_alphabet(contents.settings.alphabet, settings.alphabet)
        model.load_state_dict(before.state_dict())
    return model


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


def _load_all(
    paths: dict[str, Paths], rows: dict[str, list[Utterance]], recipe: Recipe, world: World, options: TrainOptions
) -> dict[str, Dataset]:
    copies: dict[str, tuple[tuple[Copy, ...], ...]] = {"dev": ((Copy(),),)}
    if "train" in rows:
        copies["train"] = dataset.copies_of(recipe.augment, rows["train"])
    # One process per machine computes the missing features; then all read them.
    if world.local_rank:
        world.barrier()
    data = {}
    for name, several in paths.items():
        path = several[0].with_name("+".join(path.stem for path in several) + several[0].suffix)
        # pop: the rows of a large corpus are freed once they are columns.
        source = DatasetSource(
            rows.pop(name), path, copies[name], name == "dev", options.cache, compute=options.compute
        )
        data[name] = _load(source, recipe, options)
    if not world.local_rank:
        world.barrier()
    return data


def _load(source: DatasetSource, recipe: Recipe, options: TrainOptions) -> Dataset:
    def on_progress(done: float, total: float, size: int) -> None:
        options.on_event(Preparing(done, total, size))
        if options.should_stop():
            raise _Stopped

    try:
        try:
            data = dataset.load(source, recipe.text, recipe.features, recipe.model.time_reduction, on_progress)
        except AudioError as error:
            source = _without_unreadable(source, recipe, options, error)
            data = dataset.load(source, recipe.text, recipe.features, recipe.model.time_reduction, on_progress)
    except (TextError, AudioError) as error:
        raise type(error)(f"{source.manifest}: {error}") from error
    if not data.token_counts.any():
        raise TrainingError(f"{source.manifest}: no usable utterance is left; `asr doctor` lists the reasons")
    # Each copy at another speed may be too short; characters are those of all copies.
    count = len(source.utterances)
    copies = f"{count * len(source.copies)} copies" if len(source.copies) > 1 else f"{count} utterances"
    for ids, total, reason in (
        (data.unalignable, copies, "too few output frames for the transcript"),
        (data.unknown, f"{count} utterances", "characters outside the alphabet"),
    ):
        if ids:
            shown = ", ".join(ids[:3]) + (", …" if len(ids) > 3 else "")
            what = "scored without a loss:" if source.keep_all else "dropped"
            message = f"{source.manifest}: {what} {len(ids)} of {total}: {reason} ({shown})"
            log.warning(message)
            options.on_event(Note(message))
    return data


def _without_unreadable(
    source: DatasetSource, recipe: Recipe, options: TrainOptions, error: AudioError
) -> DatasetSource:
    """Return the source without the recordings that cannot be read.

    Raises BadRowsError, which lists them all, unless they may be left out.
    """
    problems = unreadable(source.utterances, recipe.features)
    messages = [f"{source.manifest}, {identity}: {problem}" for identity, problem in problems.items()]
    if not messages:
        raise error
    if not options.skip_bad:
        raise manifest.BadRowsError(messages, len(source.utterances))
    for message in messages:
        options.on_event(Note(f"left out: {message}"))
    options.on_event(Note(f"{source.manifest}: {len(messages)} recordings that cannot be read are left out"))
    if len(messages) == len(source.utterances):
        raise manifest.CorpusError(f"{source.manifest}: none of {len(messages)} utterances can be used")
    return replace(source, utterances=[row for row in source.utterances if row.id not in problems])


def _card(recipe: Recipe, inputs: _Inputs, data: dict[str, Dataset]) -> dict[str, Any]:
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
            for name, part in data.items()
        }
        | ({"train": train} if index else {}),
        "versions": {"asr": __version__, "python": platform.python_version()}
        | {package: version(package) for package in packages},
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }
