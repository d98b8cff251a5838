"""asr train --learning-curve and --grid: several runs of one recipe, and what they show."""

import shlex
import sys
from dataclasses import dataclass
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
    """Return the command that is running, which also resumes it."""
    return shlex.join(["asr", *sys.argv[1:]])


def learning_curve(recipe: "Recipe", experiment: Experiment) -> int:
    """Train on parts of the data, score each best model on the dev set, and write the report."""
    from asr.cli.outputs import facts
    from asr.corpora import manifest
    from asr.training import learning_curve as curves

    dev, display = manifest.join(experiment.dev), experiment.display
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
    from asr.corpora import manifest
    from asr.training import grid as grids

    dev, display = manifest.join(experiment.dev), experiment.display
    for number, run in enumerate(runs, 1):
        if grids.read_result(run):
            continue
        display.close()
        display.say(f"run {number} of {len(runs)}: {grids.described(run.settings)}")
        if not _train_one(run, experiment, dev):
            return _stopped()
    display.close()
    results = [(run, result) for run in runs if (result := grids.read_result(run))]
    written = grids.write(experiment.out, results)
    click.echo(f"{grids.table(results)}\nWritten: {', '.join(map(str, written))}")
    return 0


def _train_one(run: "GridRun", experiment: Experiment, dev: "list[Utterance]") -> bool:
    """Train one run and write its result; return False if it was stopped. It depends on no other run."""
    from asr import training
    from asr.training import grid as grids

    try:
        result = training.train(run.recipe, experiment.train, experiment.dev, run.folder, experiment.options)
    except training.TrainingError as error:
        raise training.TrainingError(f"{grids.described(run.settings)}: {error}") from error
    if not result.finished or result.model is None:
        return False
    score = _score(result.model, dev)
    rate = score.cer if result.metric == "cer" else score.wer
    grids.write_result(run, grids.GridResult(result.metric, rate))
    return True


def _score(model: Path, dev: "list[Utterance]") -> "Score":
    from asr import recognition
    from asr.recognition import evaluation

    return evaluation.evaluate(recognition.load(model), dev).score


def _stopped() -> int:
    click.echo(f"stopped and saved. Resume with the same command:\n  {resume_command()}")
    return 0
