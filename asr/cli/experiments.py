"""asr train --learning-curve and --grid: several runs of one recipe, and what they show."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from asr.cli.progress import Display

if TYPE_CHECKING:
    from asr.corpora.manifest import Utterance
    from asr.scoring import Score
    from asr.training import TrainOptions
    from asr.training.grid import GridRun
    from asr.training.recipe import Recipe


@dataclass(frozen=True)
class Experiment:
    """What the runs share: the manifests, the output folder, the options, and where progress is shown."""

    train: tuple[Path | str, ...]
    dev: tuple[Path, ...]
    out: Path
    options: "TrainOptions"
    display: Display


def resume_command() -> str:
    """Return the command that resumes the run: the one that is running, without --overwrite, which would delete it."""
    return shlex.join(["asr", *(word for word in sys.argv[1:] if word != "--overwrite")])


def learning_curve(recipe: "Recipe", experiment: Experiment) -> int:
    """Train on parts of the data, score each best model on the dev set, and write the report."""
    from asr.cli.outputs import facts
    from asr.training import learning_curve as curves

    dev, display = _dev_rows(experiment.dev, recipe, experiment.options), experiment.display
    parts, scores = [], []
    for part in curves.train_parts(recipe, experiment.train, experiment.dev, experiment.out, experiment.options):
        display.close()
        display.say(f"{part.name} of the data, {part.hours:.3g} hours: {part.model}")
        parts.append(part)
        scores.append(_score(part.model, dev))
    if len(parts) < len(curves.DIVISORS):
        return _stopped()
    curve = curves.learning_curve(parts, scores)
    named = {"train": "+".join(map(str, experiment.train)), "dev": "+".join(map(str, experiment.dev))}
    written = curves.write(curve, experiment.out, facts(recipe=recipe.name, **named))
    display.close()
    click.echo(f"{curve.text()}\nReport: {', '.join(map(str, written))}")
    return 0


def grid(runs: "list[GridRun]", experiment: Experiment) -> int:
    """Train the runs that are not finished, one after the other, and write the results and the best recipe."""
    from asr.training import grid as grids

    missing = [run for run in runs if not grids.read_result(run)]
    return _write_grid(runs, experiment) if _in_turn(missing, experiment) else _stopped()


def grid_on_cluster(runs: "list[GridRun]", experiment: Experiment, address: str) -> int:
    """Do the same with each run as a task on a Ray cluster."""
    from asr.training import grid as grids

    if missing := [run for run in runs if not grids.read_result(run)]:
        _on_cluster(missing, experiment, address)
    return _write_grid(runs, experiment)


def _write_grid(runs: "list[GridRun]", experiment: Experiment) -> int:
    from asr.training import grid as grids

    experiment.display.close()
    results = [(run, result) for run in runs if (result := grids.read_result(run))]
    written = grids.write(experiment.out, results)
    click.echo(f"{grids.table(results)}\nWritten: {', '.join(map(str, written))}")
    return 0


def _in_turn(runs: "list[GridRun]", experiment: Experiment) -> bool:
    """Train runs one after the other; return False if one was stopped."""
    from asr.training.grid import described

    display = experiment.display
    for number, run in enumerate(runs, 1):
        display.close()
        display.say(f"run {number} of {len(runs)}: {described(run.settings)}")
        if not _train_one(experiment.train, experiment.dev, experiment.options, run):
            return False
    return True


def _on_cluster(runs: "list[GridRun]", experiment: Experiment, address: str) -> None:
    from asr.cluster import Cluster
    from asr.training.grid import described

    given, display = experiment.options, experiment.display
    sent = replace(
        given,
        start=_absolute(given.start),
        cache=_absolute(given.cache),
        pronunciations=_absolute(given.pronunciations),
    )
    runs = [replace(run, folder=run.folder.absolute()) for run in runs]
    train = tuple(path.absolute() if isinstance(path, Path) else path for path in experiment.train)
    work = partial(_train_each, train, tuple(path.absolute() for path in experiment.dev), sent)
    gpu = any(run.recipe.training.device == "cuda" for run in runs)
    done = 0
    with Cluster(address, gpu, display.say) as nodes:

        def report(index: int, _: bool) -> None:
            nonlocal done
            done += 1
            display.say(f"{done} of {len(runs)} runs: {described(runs[index].settings)}")

        # A run that another node began continues from its last checkpoint.
        for _ in nodes.map(work, [[run] for run in runs], report):
            pass


def _absolute(path: Path | None) -> Path | None:
    return path.absolute() if path else None


def _train_each(
    train: "Sequence[Path | str]", dev: "Sequence[Path]", chosen: "TrainOptions", runs: "Sequence[GridRun]"
) -> list[bool]:
    return [_train_one(train, dev, chosen, run) for run in runs]


def _train_one(train: "Sequence[Path | str]", dev: "Sequence[Path]", chosen: "TrainOptions", run: "GridRun") -> bool:
    """Train one run and write its result; return False if it was stopped. It depends on no other run."""
    from asr import training
    from asr.training import grid as grids

    try:
        result = training.train(run.recipe, train, dev, run.folder, chosen)
    except training.TrainingError as error:
        raise training.TrainingError(f"{grids.described(run.settings)}: {error}") from error
    if not result.finished or result.model is None:
        return False
    score = _score(result.model, _dev_rows(dev, run.recipe, chosen))
    rate = score.cer if result.metric == "cer" else score.wer
    grids.write_result(run, grids.GridResult(result.metric, rate))
    return True


def _dev_rows(dev: "Sequence[Path]", recipe: "Recipe", chosen: "TrainOptions") -> "list[Utterance]":
    """Return the utterances of the dev set, without those that the training left out because of --skip-bad."""
    from asr.corpora import manifest
    from asr.training.doctor import unreadable

    rows = manifest.join(dev)
    bad = unreadable(rows, recipe.features) if chosen.skip_bad else {}
    return [row for row in rows if row.id not in bad]


def _score(model: Path, dev: "list[Utterance]") -> "Score":
    from asr import recognition
    from asr.recognition import evaluation

    return evaluation.evaluate(recognition.load(model), dev).score


def _stopped() -> int:
    click.echo(f"stopped and saved. Resume with the same command:\n  {resume_command()}")
    return 0
