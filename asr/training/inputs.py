"""What a run trains on: the manifests of train and dev, or shards in place of train; their rows and datasets."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from asr.audio import AudioError
from asr.corpora import manifest
from asr.corpora.manifest import Utterance
from asr.corpora.shards import Index
from asr.features.cache import Copy
from asr.text import Alphabet, TextError, TextSettings
from asr.text.pronunciations import Pronunciations
from asr.training import dataset, shards
from asr.training.dataset import Dataset, DatasetSource
from asr.training.distributed import World
from asr.training.doctor import unreadable
from asr.training.events import Note, OnEvent, Preparing
from asr.training.options import TrainOptions
from asr.training.recipe import Recipe
from asr.training.shards import Corpus
from asr.training.step import TrainingError

Paths = tuple[Path, ...]
Manifests = str | Path | Sequence[str | Path]

log = logging.getLogger(__name__)
# Without a handler Python prints warnings to stderr.
log.addHandler(logging.NullHandler())


@dataclass(frozen=True)
class Inputs:
    """The manifests of train and dev, or of dev if the index of shards is to train on.

    `pronunciations`: of the training words, for a network that outputs phonemes.
    """

    manifests: dict[str, Paths]
    shards: Index | None
    pronunciations: Pronunciations | None = None


@dataclass(frozen=True)
class Data:
    """The datasets of the manifests, by `train` and `dev`, and the shards to train on if there are any."""

    datasets: dict[str, Dataset]
    corpus: Corpus | None = None

    @property
    def train(self) -> Dataset | Corpus:
        """Return what the run trains on."""
        return self.corpus or self.datasets["train"]

    def part(self, divisor: int, seed: int) -> "Data":
        """Return the data with one n-th of the utterances to train on."""
        if divisor == 1:
            return self
        return replace(self, datasets=self.datasets | {"train": dataset.part(self.datasets["train"], divisor, seed)})


class Stopped(Exception):  # noqa: N818 - not an error
    """The run was stopped while features were computed."""


def find_inputs(train_manifest: Manifests, dev_manifest: Manifests) -> Inputs:
    """Return the manifests, or the index of shards that `train_manifest` names. Raises TrainingError and ShardError."""
    index = shards.find(_sequence(train_manifest))
    return Inputs(
        ({} if index else {"train": manifest_paths(train_manifest)}) | {"dev": manifest_paths(dev_manifest)}, index
    )


def _sequence(manifests: Manifests) -> Sequence[str | Path]:
    return (manifests,) if isinstance(manifests, str | Path) else tuple(manifests)


def manifest_paths(manifests: Manifests) -> tuple[Path, ...]:
    """Return the paths of manifests. Raises TrainingError if one is given twice."""
    paths = _sequence(manifests)
    resolved = [Path(path).resolve() for path in paths]
    for path, target in zip(paths, resolved, strict=True):
        if resolved.count(target) > 1:
            raise TrainingError(f"{path} is given twice; give each manifest once")
    return tuple(map(Path, paths))


def read_rows(inputs: Inputs) -> dict[str, list[Utterance]]:
    """Return the rows of the manifests."""
    return {name: manifest.join(several) for name, several in inputs.manifests.items()}


def find_alphabet(inputs: Inputs, rows: Mapping[str, Sequence[Utterance]], text: TextSettings) -> Alphabet:
    """Return the alphabet of the text settings; that of the training texts if it is `auto`."""
    if inputs.shards and text.alphabet == "auto":
        return Alphabet(inputs.shards.characters(text.normaliser))
    return dataset.alphabet_of(rows.get("train", ()), text)


def load_data(
    inputs: Inputs, rows: dict[str, list[Utterance]], recipe: Recipe, world: World, options: TrainOptions
) -> Data:
    """Load the datasets, and open the shards if there are any. Raises Stopped."""
    return Data(load_datasets(inputs, rows, recipe, world, options), _corpus(inputs, recipe, world, options))


def load_datasets(
    inputs: Inputs, rows: dict[str, list[Utterance]], recipe: Recipe, world: World, options: TrainOptions
) -> dict[str, Dataset]:
    """Load the rows of manifests, which are removed from `rows`; compute the features that are not cached."""
    copies: dict[str, tuple[tuple[Copy, ...], ...]] = {"dev": ((Copy(),),)}
    if "train" in rows:
        copies["train"] = dataset.copies_of(recipe.augment, rows["train"])
    # One process per machine computes the missing features; then all read them.
    if world.local_rank:
        world.barrier()
    data = {}
    for name, several in inputs.manifests.items():
        path = several[0].with_name("+".join(path.stem for path in several) + several[0].suffix)
        # pop: the rows of a large corpus are freed once they are columns.
        dev = name == "dev"
        source = DatasetSource(
            rows.pop(name),
            path,
            copies[name],
            keep_all=dev,
            cache=options.cache,
            compute=options.compute,
            pronunciations=None if dev else inputs.pronunciations,
        )
        data[name] = _load(source, recipe, options)
    if not world.local_rank:
        world.barrier()
    return data


def _load(source: DatasetSource, recipe: Recipe, options: TrainOptions) -> Dataset:
    def on_progress(done: float, total: float, size: int) -> None:
        options.on_event(Preparing(done, total, size))
        if options.should_stop():
            raise Stopped

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
    _report_dropped(data, source, options.on_event)
    return data


def _report_dropped(data: Dataset, source: DatasetSource, on_event: OnEvent) -> None:
    """Report how many utterances have no loss, and why."""
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
            on_event(Note(message))
    if silent := data.without_pronunciation:
        shown = ", ".join(silent[:3]) + (", …" if len(silent) > 3 else "")
        reason = f"a word of each is not in the dictionary ({shown})"
        on_event(Note(f"{source.manifest}: {len(silent)} of {count} utterances have no loss of phonemes: {reason}"))


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
    kept = [row for row in source.utterances if row.id not in problems]
    # The voices of babble are among the utterances.
    copies = source.copies if source.keep_all else dataset.copies_of(recipe.augment, kept)
    return replace(source, utterances=kept, copies=copies)


def _corpus(inputs: Inputs, recipe: Recipe, world: World, options: TrainOptions) -> Corpus | None:
    """Return the shards to train on, if there are any."""
    if not inputs.shards:
        return None
    if options.divisor > 1:
        raise TrainingError(f"{inputs.shards.path}: a learning curve needs a manifest, not shards")
    return Corpus(inputs.shards, recipe, world, options.skip_bad, inputs.pronunciations)


def with_corpus_statistics(recipe: Recipe, data: Data) -> tuple[Recipe, Data]:
    """Return the recipe and the data with the mean and scale of the training speech, if their features need them."""
    if recipe.features.normalisation not in ("corpus", "running") or recipe.features.mean:
        return recipe, data
    sample = data.corpus.sample if data.corpus else data.datasets["train"]
    recipe = replace(recipe, features=dataset.with_corpus_statistics(sample))
    datasets = {name: replace(part, features=recipe.features) for name, part in data.datasets.items()}
    return recipe, Data(datasets, replace(data.corpus, recipe=recipe) if data.corpus else None)
