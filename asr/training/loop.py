"""The training loop: epochs, their batches, and what is written after each."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asr.features import Matrices, batching
from asr.features import reference as mfcc
from asr.features.augment import Masking
from asr.files import open_atomic
from asr.model import checkpoint, network
from asr.model.checkpoint import ModelFileSettings
from asr.parallel.threads import prefetch
from asr.training import resume
from asr.training.advice import advice
from asr.training.batch import pad
from asr.training.dataset import Dataset, Variation
from asr.training.events import Epoch, Note, OnEvent, Step
from asr.training.page import render
from asr.training.recipe import AUTO, TrainingSettings
from asr.training.resume import Progress
from asr.training.shards import START, Buffer, Corpus, Pass
from asr.training.step import Engine, StepBatches, TrainingError
from asr.training.validation import validate

# The models of the epochs that may be averaged.
EPOCHS_FOLDER = "epochs"
EPOCHS_PATTERN = f"{6 * '[0-9]'}.safetensors"
# Characters of a word on average, above which words are not separated, as in Chinese, Japanese and Thai.
_LONGEST_WORDS = 15
_DIVERGED = "the last good model is kept; a lower training.learning_rate or training.clip may help"


@dataclass
class Run:
    """A run with everything it works on. `card`: what the model file says of it; `identity`: see `resume`."""

    engine: Engine
    train: Dataset | Corpus
    dev: Dataset
    settings: ModelFileSettings
    progress: Progress
    folder: Path
    card: dict[str, Any]
    identity: dict[str, Any]
    on_event: OnEvent
    should_stop: Callable[[], bool]

    @cached_property
    def matrices(self) -> Matrices:
        """Return the matrices of the features, which the model file contains."""
        return mfcc.matrices(self.settings.features)

    @cached_property
    def metric(self) -> str:
        """Return the rate by which epochs are compared: "wer", or "cer" if words are not separated."""
        chosen = self.engine.recipe.training.metric
        if chosen != AUTO:
            return chosen
        texts = [self.dev[index].text for index in range(len(self.dev))]
        characters, words = sum(map(len, texts)), sum(len(text.split()) for text in texts)
        return "cer" if characters > _LONGEST_WORDS * max(words, 1) else "wer"

    @property
    def longest(self) -> int:
        """Return the maximum number of frames in a batch, padding included."""
        return round(self.progress.batch_seconds / self.settings.features.hop)

    def save_state(self) -> None:
        """Save the training state, in the main process only."""
        if self.engine.world.is_main:
            resume.save(self.folder, self.engine, self.progress, self.identity)

    def save_model(self, path: Path, **card: Any) -> None:
        """Save the model in the main process, with additions to its card."""
        if not self.engine.world.is_main:
            return
        last = self.progress.rows[-1]
        now = {
            "epoch": last.epoch,
            "dev_wer": last.dev_wer,
            "minutes": round(self.progress.minutes, 1),
            "device": self.engine.device.type,
            "processes": self.engine.world.size,
        }
        checkpoint.save(path, self.engine.model, self.settings, self.card | now | card, self.matrices)

    def note(self, message: str) -> None:
        """Report a message and keep it for the page."""
        self.progress.notes.append(message)
        self.on_event(Note(message))


def train_epochs(run: Run) -> bool:
    """Train from the current position to the end of the run; return False if it was stopped before."""
    progress, settings = run.progress, run.engine.recipe.training
    while not progress.finished:
        start = time.perf_counter()
        stopped = _train_epoch(run)
        progress.minutes += (time.perf_counter() - start) / 60
        if stopped:
            run.save_state()
            return False
        start = time.perf_counter()
        _finish_epoch(run, start)
        best = progress.best
        since = progress.epoch - best.epoch if best else 0
        out_of_patience = 0 < settings.patience <= since
        if out_of_patience:
            run.note(f"stopped: no better dev {run.metric.upper()} for {since} epochs")
        if out_of_patience or progress.epoch >= settings.epochs:
            progress.finished = True
            _average(run)
        progress.minutes += (time.perf_counter() - start) / 60
        progress.begin_epoch(progress.epoch + 1)
        if run.engine.world.is_main:
            name = run.engine.recipe.name or run.folder.name
            with open_atomic(run.folder / "training.html") as out:
                out.write(render(name, progress.rows, progress.notes, progress.finished).encode())
        run.save_state()
        if not progress.finished and run.engine.world.sum(torch.tensor([float(run.should_stop())])).item():
            return False
    return True


@dataclass(frozen=True)
class _Step:
    """The batches of a step: this process's `own`, and those that are `named` if it fails, as indices of `data`.

    Of all processes together: the number of batches and of utterances, seconds of audio and characters. `final`: it is
    known to be the last step of the epoch.
    """

    data: Dataset | None
    own: list[NDArray[np.int64]]
    named: list[NDArray[np.int64]]
    batches: int
    utterances: int
    seconds: float
    characters: int
    final: bool = False


def _augmentation(run: Run) -> tuple[tuple[float, ...], Variation]:
    """Return the speeds of this epoch and its augmentation."""
    recipe, progress = run.engine.recipe, run.progress
    clean = progress.epoch > recipe.training.epochs - recipe.training.clean_epochs
    speeds = (1.0,) if clean and 1.0 in recipe.augment.speeds else recipe.augment.speeds
    strength = 0.0 if clean else recipe.mask_strength([row.error for row in progress.rows], progress.epoch - 1)
    masking = Masking(recipe.augment, recipe.features, strength)
    noise_share = 0.0 if clean else recipe.augment.noise_share
    return speeds, Variation(masking, noise_share, (recipe.training.seed, progress.epoch))


def _items(data: Dataset, speeds: tuple[float, ...]) -> NDArray[np.int64]:
    """Return the items at these speeds."""
    return np.flatnonzero(np.isin(data.speed_indices, [data.speeds.index(speed) for speed in speeds]))


def _plan(run: Run, data: Dataset, items: NDArray[np.int64], seed: tuple[int, ...]) -> list[NDArray[np.int64]]:
    random = np.random.default_rng(seed)
    return [
        part[batch]
        for part in np.array_split(items, data.passes)
        for batch in batching.plan(data.frames[part], run.longest, random)
    ]


def _steps(run: Run) -> Iterator[tuple[_Step, StepBatches]]:
    """Yield the remaining steps of the epoch, with this process's batches."""
    speeds, variation = _augmentation(run)
    if isinstance(run.train, Dataset):
        yield from _computed(run, _steps_of_manifest(run, run.train, speeds, variation.seed), variation)
        return
    corpus, world = run.train, run.engine.world
    place = run.progress.places[world.rank] if run.progress.places else START
    buffers = corpus.buffers(Pass(run.progress.epoch, speeds, variation.noise_share), (place[0], place[1], place[2]))
    with closing(buffers):
        while True:
            buffer = next(buffers, None)
            # Plans and masks differ between buffers and processes.
            seed = (*variation.seed, world.rank, *(buffer.place if buffer else START))
            steps = _steps_of_buffer(run, corpus, buffer, seed)
            if steps is None:
                return
            yield from _computed(run, steps, replace(variation, seed=seed))


def _computed(run: Run, steps: Iterable[_Step], variation: Variation) -> Iterator[tuple[_Step, StepBatches]]:
    """Yield the steps with their batches."""
    # For a process that has no batch of its own in a step.
    idle = pad([np.zeros((32, run.settings.features.dimension), np.float32)], [[1]])

    def build(step: _Step) -> tuple[_Step, StepBatches]:
        batches = [step.data.batch(indices, variation) for indices in step.own] if step.data else []
        return step, StepBatches(batches or [idle], step.utterances, idle=not batches)

    return prefetch(build, steps)


def _steps_of_manifest(run: Run, data: Dataset, speeds: tuple[float, ...], seed: tuple[int, ...]) -> Iterator[_Step]:
    """Yield the remaining steps of an epoch: all processes plan the same batches and share those of each step."""
    world = run.engine.world
    width = world.size * run.engine.recipe.training.accumulate
    plan = _plan(run, data, _items(data, speeds), seed)
    for start in range(run.progress.position, len(plan), width):
        step = plan[start : start + width]
        seconds, characters = _size(data, step)
        final = start + width >= len(plan)
        own = step[world.rank :: world.size]
        yield _Step(data, own, step, len(step), sum(map(len, step)), seconds, characters, final)


def _size(data: Dataset, batches: list[NDArray[np.int64]]) -> tuple[float, int]:
    """Return the seconds of audio and the characters of batches."""
    indices = np.concatenate(batches)
    return float(data.durations[indices].sum()), int(data.token_counts[indices].sum())


def _steps_of_buffer(run: Run, corpus: Corpus, buffer: Buffer | None, seed: tuple[int, ...]) -> list[_Step] | None:
    """Return the remaining steps of a buffer, of which each process plans its own batches; None after the last one.

    All processes must call it at the same time; one that has no buffer left is idle.
    """
    world, progress, width = run.engine.world, run.progress, run.engine.recipe.training.accumulate
    data = buffer.data if buffer else None
    plan = _plan(run, data, np.arange(len(data)), seed) if data else []
    own = [plan[start : start + width] for start in range(0, len(plan), width)]
    # Each process fills its row, so that the sum has those of all.
    table = torch.zeros(world.size, 6, dtype=torch.float64)
    place = buffer.place if buffer else (len(corpus.index.shards), 0, 0)
    table[world.rank] = torch.tensor([*place, len(own), buffer is not None, buffer.dropped if buffer else 0])
    table = world.sum(table)
    if not bool(table[:, 4].any()):
        return None
    sums = torch.zeros(int(table[:, 3].max()), 4, dtype=torch.float64)
    for number, batches in enumerate(own):
        assert data  # noqa: S101 - the batches are of it
        sums[number] = torch.tensor([len(batches), sum(map(len, batches)), *_size(data, batches)], dtype=torch.float64)
    sums = world.sum(sums)
    places = [[int(value) for value in row] for row in table[:, :3].tolist()]
    if places != progress.places:  # else a run is resumed in this buffer
        progress.places, progress.before = places, progress.position
        progress.dropped += int(table[:, 5].sum())
        for message in buffer.skipped if buffer and progress.epoch == 1 else ():
            run.on_event(Note(f"left out: {message}"))
    steps, position = [], progress.before
    for number, (count, utterances, seconds, characters) in enumerate(sums.tolist()):
        if position >= progress.position:
            chosen = own[number] if number < len(own) else []
            steps.append(_Step(data, chosen, chosen, int(count), int(utterances), seconds, int(characters)))
        position += int(count)
    return steps


def _train_epoch(run: Run) -> bool:
    """Train on the remaining batches of the epoch; return whether the run was stopped."""
    engine, progress = run.engine, run.progress
    settings = engine.recipe.training
    total = _seconds(run)
    engine.model.train()
    before = saved = time.perf_counter()
    for step, batches in _steps(run):
        ready = time.perf_counter()
        # Dropout depends only on the position in the run, so that a resumed run repeats it.
        seed = (settings.seed, progress.epoch, progress.position, engine.world.rank)
        torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]))
        progress.learning_rate = engine.recipe.learning_rate(progress.epoch - 1 + progress.done / total)
        try:
            result = engine.step(batches, progress.learning_rate, run.should_stop())
        except TrainingError as error:
            ids = [step.data[int(index)].id for indices in step.named for index in indices] if step.data else []
            raise TrainingError(
                f"{error} in the batch of {', '.join(ids) or 'another process'}; {_DIVERGED}"
            ) from error
        progress.position += step.batches
        progress.loss += result.loss
        progress.infinite += result.infinite
        progress.norms.append(result.norm)
        progress.characters += step.characters
        progress.done += step.seconds
        now = time.perf_counter()
        progress.waiting += ready - before
        progress.seconds += now - before
        before = now
        mean = progress.loss / max(progress.characters, 1)
        waiting = progress.waiting / max(progress.seconds, 1e-9)
        run.on_event(Step(progress.epoch, settings.epochs, progress.done, total, mean, waiting))
        if result.stop and not step.final:
            return True
        if now - saved > 60 * settings.checkpoint_minutes and not step.final:
            run.save_state()
            before = saved = time.perf_counter()
    if not progress.norms:
        raise TrainingError("no usable utterance is left; the texts are too long for the recordings, or unknown")
    if progress.dropped and progress.epoch == 1:
        why = "unreadable, too few output frames for the transcript, or characters outside the alphabet"
        run.note(f"dropped {progress.dropped} copies of utterances: {why}")
    return False


def _seconds(run: Run) -> float:
    """Return the duration of this epoch in s."""
    speeds, _ = _augmentation(run)
    if isinstance(run.train, Dataset):
        return float(run.train.durations[_items(run.train, speeds)].sum())
    return run.train.seconds(speeds)


def _finish_epoch(run: Run, start: float) -> None:
    """Validate, write the models and train.jsonl, and report the epoch."""
    engine, progress = run.engine, run.progress
    settings = engine.recipe.training
    try:
        result = validate(engine, run.dev, run.settings.alphabet, run.longest)
    except TrainingError as error:
        raise TrainingError(f"{error} after epoch {progress.epoch}; {_DIVERGED}") from error
    wer, cer = result.score.wer.value, result.score.cer.value
    row = Epoch(
        epoch=progress.epoch,
        epochs=settings.epochs,
        train_loss=progress.loss / max(progress.characters, 1),
        dev_loss=result.loss,
        dev_wer=wer,
        best=(cer if run.metric == "cer" else wer, result.loss) < progress.lowest,
        learning_rate=progress.learning_rate,
        gradient_norm=float(np.median(progress.norms)),
        largest_norm=max(progress.norms),
        blank_share=result.blank_share,
        infinite=progress.infinite,
        mask_strength=_augmentation(run)[1].masking.strength,
        seconds=progress.seconds + time.perf_counter() - start,
        data_wait=progress.waiting / max(progress.seconds, 1e-9),
        audio_hours=progress.done / 3600,
        samples=result.samples,
        dev_cer=cer,
        metric=run.metric,
    )
    progress.rows.append(row)
    if engine.world.is_main:
        averaged = epochs_to_average(progress.rows, settings)
        if row.epoch in averaged:
            _epoch_file(run.folder, row.epoch).parent.mkdir(exist_ok=True)
            run.save_model(_epoch_file(run.folder, row.epoch))
        for path in (run.folder / EPOCHS_FOLDER).glob(EPOCHS_PATTERN):
            if int(path.stem) not in averaged:
                path.unlink(missing_ok=True)
        run.save_model(run.folder / "last.safetensors")
        if row.best:
            run.save_model(run.folder / "best.safetensors")
        with open_atomic(run.folder / "train.jsonl") as out:
            out.writelines(json.dumps(asdict(line), ensure_ascii=False).encode() + b"\n" for line in progress.rows)
    run.on_event(row)
    for message in advice(progress.rows):
        run.note(f"epoch {row.epoch}: {message}")


def _average(run: Run) -> None:
    """Average the weights of several epochs, and make the average the best model if its dev WER is lower."""
    engine, progress = run.engine, run.progress
    best, epochs = progress.best, epochs_to_average(progress.rows, engine.recipe.training)
    # A run that was resumed with a larger `average` has not kept the models of all of them.
    epochs = [epoch for epoch in epochs if _epoch_file(run.folder, epoch).exists()]
    if len(epochs) < 2 or best is None:
        return
    own = {name: value.clone() for name, value in engine.model.state_dict().items()}
    engine.model.load_state_dict(_average_weights(run.folder, epochs, engine))
    result = validate(engine, run.dev, run.settings.alphabet, run.longest)
    wer = result.score.wer.value
    error = result.score.cer.value if run.metric == "cer" else wer
    better = (error, result.loss) < progress.lowest
    if better:
        progress.averaged = (error, result.loss)
        run.save_model(run.folder / "best.safetensors", averaged=epochs, dev_wer=wer)
    engine.model.load_state_dict(own)
    run.note(
        f"the average of epochs {', '.join(map(str, epochs))}: dev loss {result.loss:.3f}, "
        f"dev {run.metric.upper()} {100 * error:.2f} %, "
        + ("now the best model" if better else f"not better than epoch {best.epoch}, which stays the best model")
    )


def epochs_to_average(rows: list[Epoch], settings: TrainingSettings) -> list[int]:
    """Return the epochs whose weights are averaged (Polyak and Juditsky, 1992), in order.

    They are the last ones or those with the lowest dev WER or CER.
    """
    if settings.average_of == "last":
        ranked = rows[::-1]
    else:
        ranked = sorted(rows, key=lambda row: (row.error, row.dev_loss, row.epoch))
    return sorted(row.epoch for row in ranked[: settings.average])


def _epoch_file(run: Path, epoch: int) -> Path:
    """Return the model file of an epoch."""
    return run / EPOCHS_FOLDER / f"{epoch:06d}.safetensors"


def _average_weights(run: Path, epochs: list[int], engine: Engine) -> dict[str, Tensor]:
    """Return the mean of the weights of the epochs' model files, which only the main process reads."""
    mean = {name: torch.zeros_like(value) for name, value in engine.model.state_dict().items()}
    if engine.world.is_main:
        for epoch in epochs:
            model, _ = network.load(_epoch_file(run, epoch))
            for name, value in model.state_dict().items():
                mean[name] += value.to(engine.device) / len(epochs)
    return {name: engine.world.sum(value) for name, value in mean.items()}
