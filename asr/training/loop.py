"""From the first batch to the last: epochs, their order, what is written after each, and when a run ends."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict

import numpy as np
import torch
from numpy.typing import NDArray

from asr.features import batching
from asr.features.augment import Masking
from asr.files import open_atomic
from asr.model import checkpoint
from asr.parallel import prefetch
from asr.training import advice as watchdog
from asr.training import averaging
from asr.training import page as curves
from asr.training.dataset import Variation
from asr.training.events import Epoch, Step
from asr.training.run import Run
from asr.training.step import MEND, Share, TrainingError
from asr.training.validation import validate


def go_on(run: Run) -> bool:
    """Train from where the run stands to its end; return False if it was stopped before."""
    progress, settings = run.progress, run.engine.recipe.training
    while not progress.finished:
        begin = time.perf_counter()
        stopped = _train_epoch(run)
        progress.minutes += (time.perf_counter() - begin) / 60
        if stopped:
            run.save()
            return False
        begin = time.perf_counter()
        _end_epoch(run, begin)
        best = progress.best
        since = progress.epoch - best.epoch if best else 0
        impatient = 0 < settings.patience <= since
        if impatient:
            run.tell(f"stopped: no better dev WER for {since} epochs")
        if impatient or progress.epoch >= settings.epochs:
            progress.finished = True
            averaging.finish(run)
        progress.minutes += (time.perf_counter() - begin) / 60
        progress.begin_epoch()
        _write_page(run)
        run.save()
        if not progress.finished and run.engine.world.total(torch.tensor([float(run.options.should_stop())])).item():
            return False
    return True


def _items(run: Run) -> tuple[NDArray[np.int64], Variation]:
    """Return the items of this epoch and how they are varied."""
    recipe, progress = run.engine.recipe, run.progress
    clean = progress.epoch > recipe.training.epochs - recipe.training.clean_epochs
    items = np.arange(len(run.train))
    if clean and 1.0 in run.train.speeds:
        items = np.flatnonzero(run.train.speed_numbers == run.train.speeds.index(1.0))
    strength = 0.0 if clean else recipe.mask_strength([row.dev_wer for row in progress.rows], progress.epoch - 1)
    masking = Masking(recipe.augment, recipe.features, strength)
    share = 0.0 if clean else recipe.augment.noise_share
    return items, Variation(masking, share, (recipe.training.seed, progress.epoch))


def _shares(
    run: Run, plan: list[NDArray[np.int64]], variation: Variation
) -> Iterator[tuple[Share, list[NDArray[np.int64]]]]:
    """Yield this process's share of each step that is still to do, with the indices of the whole step."""
    world = run.engine.world
    width = world.size * run.engine.recipe.training.accumulate
    steps = [plan[start : start + width] for start in range(run.progress.position, len(plan), width)]

    def build(step: list[NDArray[np.int64]]) -> tuple[Share, list[NDArray[np.int64]]]:
        own = step[world.rank :: world.size]
        batches = [run.train.batch(indices, variation) for indices in own or [step[0][:1]]]
        return Share(batches, sum(map(len, step)), idle=not own), step

    return prefetch(build, steps)


def _train_epoch(run: Run) -> bool:
    """Train on every batch of the epoch that is left; return whether the run was stopped in between."""
    engine, progress = run.engine, run.progress
    settings = engine.recipe.training
    items, variation = _items(run)
    random = np.random.default_rng((settings.seed, progress.epoch))
    plan = [items[batch] for batch in batching.plan(run.train.frames[items], run.longest, random)]
    durations, lengths = run.train.durations, run.train.token_counts
    total = float(durations[items].sum())
    engine.model.train()
    asked = saved = time.perf_counter()
    for share, step in _shares(run, plan, variation):
        ready = time.perf_counter()
        seed = (settings.seed, progress.epoch, progress.position, engine.world.rank)
        # Dropout, too, then depends on nothing but the place in the run.
        torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]))
        progress.learning_rate = engine.recipe.learning_rate(progress.epoch - 1 + progress.done / total)
        try:
            outcome = engine.step(share, progress.learning_rate, run.options.should_stop())
        except TrainingError as error:
            ids = ", ".join(run.train[int(index)].id for indices in step for index in indices)
            raise TrainingError(f"{error} in the batch of {ids}; {MEND}") from error
        indices = np.concatenate(step)
        progress.position += len(step)
        progress.loss += outcome.loss
        progress.infinite += outcome.infinite
        progress.norms.append(outcome.norm)
        progress.characters += int(lengths[indices].sum())
        progress.done += float(durations[indices].sum())
        now = time.perf_counter()
        progress.waiting += ready - asked
        progress.seconds += now - asked
        asked = now
        mean = progress.loss / max(progress.characters, 1)
        waiting = progress.waiting / max(progress.seconds, 1e-9)
        run.options.on_event(Step(progress.epoch, settings.epochs, progress.done, total, mean, waiting))
        if outcome.stop and progress.position < len(plan):
            return True
        if now - saved > 60 * settings.checkpoint_minutes and progress.position < len(plan):
            run.save()
            asked = saved = time.perf_counter()
    return False


def _end_epoch(run: Run, begin: float) -> None:
    """Validate, write the models and the log of the epoch that was trained, and tell."""
    engine, progress = run.engine, run.progress
    try:
        found = validate(engine, run.dev, run.settings.alphabet, run.longest)
    except TrainingError as error:
        raise TrainingError(f"{error} after epoch {progress.epoch}; {MEND}") from error
    wer = found.score.wer.value
    row = Epoch(
        epoch=progress.epoch,
        epochs=engine.recipe.training.epochs,
        train_loss=progress.loss / max(progress.characters, 1),
        dev_loss=found.loss,
        dev_wer=wer,
        best=(wer, found.loss) < progress.lowest,
        learning_rate=progress.learning_rate,
        gradient_norm=float(np.median(progress.norms)),
        largest_norm=max(progress.norms),
        blank_share=found.blank_share,
        infinite=progress.infinite,
        mask_strength=_items(run)[1].masking.strength,
        seconds=progress.seconds + time.perf_counter() - begin,
        data_wait=progress.waiting / max(progress.seconds, 1e-9),
        audio_hours=progress.done / 3600,
        samples=found.samples,
    )
    progress.rows.append(row)
    if engine.world.leads:
        averaging.keep(run)
        checkpoint.save(run.out / "last.safetensors", engine.model, run.settings, run.card_now(), run.matrices)
        if row.best:
            checkpoint.save(run.out / "best.safetensors", engine.model, run.settings, run.card_now(), run.matrices)
        with open_atomic(run.out / "train.jsonl") as out:
            out.writelines(json.dumps(asdict(one), ensure_ascii=False).encode() + b"\n" for one in progress.rows)
    run.options.on_event(row)
    for message in watchdog.advice(progress.rows):
        run.tell(f"epoch {row.epoch}: {message}")


def _write_page(run: Run) -> None:
    progress = run.progress
    if run.engine.world.leads:
        page = curves.render(run.engine.recipe.name or run.out.name, progress.rows, progress.notes, progress.finished)
        with open_atomic(run.out / "training.html") as out:
            out.write(page.encode())
