"""asr train: a recipe and manifests -> a model file."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from asr.cli import experiments, options
from asr.cli.experiments import resume_command
from asr.cli.progress import Display, stop_signals

if TYPE_CHECKING:
    from asr.training import TrainResult
    from asr.training.events import Event, OnEvent
    from asr.training.grid import GridRun


@click.command(cls=options.Command, short_help="Train a model from a recipe, or resume a run.")
@click.argument("recipe", type=options.FILE)
@click.option(
    "--train",
    "train_manifests",
    type=options.CORPUS,
    required=True,
    multiple=True,
    help="The manifest to train on, or the folder or URL of shards. May be repeated.",
)
@options.dev_manifests
@click.option(
    "--out", "-o", type=options.FOLDER, required=True, help="The folder of the run: models, log and training page."
)
@click.option("--epochs", type=int, metavar="N", help="Short for --set training.epochs=N.")
@click.option("--seed", type=int, metavar="N", help="Short for --set training.seed=N.")
@click.option(
    "--metric",
    type=click.Choice(["auto", "wer", "cer"]),
    help="Short for --set training.metric=…, by which epochs are compared.",
)
@options.device
@options.settings
@click.option("--resume", is_flag=True, help="Resume the run in OUT; fail if there is none.")
@click.option("--override", is_flag=True, help="Resume the run in OUT even if settings or data have changed.")
@click.option("--overwrite", is_flag=True, help="Replace the run in OUT.")
@options.start
@click.option(
    "--pronunciations",
    type=options.FILE,
    help="A pronouncing dictionary in the format of CMUdict: the network outputs phonemes, too.",
)
@options.cache
@click.option("--skip-bad", is_flag=True, help="Leave out recordings that cannot be read, and list them.")
@click.option(
    "--learning-curve",
    is_flag=True,
    help="Train on 1/8, 1/4, 1/2 and all of the data, and estimate the gain from more.",
)
@click.option(
    "--grid", type=options.FILE, help="A TOML file of settings with lists of values: train every combination."
)
@options.cluster
@options.quiet
def train(
    recipe: Path,
    train_manifests: tuple[Path | str, ...],
    dev_manifests: tuple[Path, ...],
    out: Path,
    epochs: int | None,
    seed: int | None,
    metric: str | None,
    device: str | None,
    settings: tuple[str, ...],
    resume: bool,
    override: bool,
    overwrite: bool,
    start: Path | None,
    pronunciations: Path | None,
    cache: Path | None,
    skip_bad: bool,
    learning_curve: bool,
    grid: Path | None,
    cluster: str | None,
    quiet: bool,
) -> int:
    """Train a model from RECIPE, a TOML file. Write best.safetensors, last.safetensors, train.jsonl and training.html
    to OUT.

    To resume a run that was stopped by Ctrl-C, SIGTERM or a crash, run the same command again; the result is the same
    as without the interruption. With --from MODEL, a new run starts from a trained model and takes its weights,
    alphabet, feature settings and architecture. Under torchrun, the processes train one model together.

    With --learning-curve, OUT gets four runs, part-8 to part-1, and the report learning-curve.html. With --grid, it
    gets the runs, their results in grid.json, and the best recipe, best.toml; with --cluster, each run is a task on a
    Ray cluster, whose nodes need OUT, the manifests and the recordings under the same paths.
    """
    if overwrite and (resume or override):
        raise click.UsageError("--overwrite starts a new run; --resume and --override resume one")
    # oneDNN caches a kernel for each of the network's many input shapes; a thousand of them take gigabytes.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
    from asr import compute, config
    from asr.training.recipe import Recipe

    shortcuts = {"epochs": epochs, "seed": seed, "metric": metric, "device": device}
    changes = [*settings, *(f"training.{name}={value}" for name, value in shortcuts.items() if value is not None)]
    _refuse_repeated(changes)
    chosen = config.read(recipe, Recipe, changes)
    from asr import training

    compute.keep_freed_memory()
    # Only the main process of several writes to the terminal.
    is_main = os.environ.get("RANK", "0") == "0"
    _check_several(learning_curve, grid, cluster)
    if grid and (resume or override or overwrite):
        raise click.UsageError("--grid resumes runs by itself; leave out --resume, --override and --overwrite")
    inputs = [Path(path) for path in (*train_manifests, *dev_manifests, start, pronunciations) if path]
    runs = _plan(grid, recipe, changes, inputs, out) if grid else []
    if cluster:
        sent = training.TrainOptions(start=start, cache=cache, skip_bad=skip_bad, pronunciations=pronunciations)
        # Ctrl-C ends the tasks at once; they continue from their checkpoints.
        with Display(quiet) as display:
            experiment = experiments.Experiment(train_manifests, dev_manifests, out, sent, display)
            return experiments.grid_on_cluster(runs, experiment, cluster)
    with (
        Display(quiet or not is_main) as display,
        stop_signals() as should_stop,
        _reporting(display, out, is_main) as on_event,
    ):
        run = training.TrainOptions(
            on_event, should_stop, overwrite, resume, override, start, cache, skip_bad, pronunciations=pronunciations
        )
        experiment = experiments.Experiment(train_manifests, dev_manifests, out, run, display)
        if learning_curve:
            return experiments.learning_curve(chosen, experiment)
        if runs:
            return experiments.grid(runs, experiment)
        result = training.train(chosen, train_manifests, dev_manifests, out, run)
    if is_main:
        click.echo(_summary(result))
    return 0


def _check_several(learning_curve: bool, grid: Path | None, cluster: str | None) -> None:
    """Refuse options for several runs that cannot be used together."""
    if learning_curve and grid:
        raise click.UsageError("--learning-curve and --grid cannot be used together; give one of them")
    if (learning_curve or grid) and os.environ.get("WORLD_SIZE", "1") != "1":
        option = "--grid" if grid else "--learning-curve"
        raise click.UsageError(f"{option} runs in one process, without torchrun")
    if cluster and not grid:
        raise click.UsageError("--cluster trains the runs of --grid; for one run on several machines, use torchrun")


def _refuse_repeated(settings: list[str]) -> None:
    names = [setting.partition("=")[0].strip() for setting in settings]
    for name in names:
        if names.count(name) > 1:
            raise click.UsageError(f"{name} is set {names.count(name)} times; set it once")


def _plan(grid: Path, recipe: Path, changes: "Sequence[str]", inputs: list[Path], out: Path) -> "list[GridRun]":
    """Return the runs of a grid."""
    from asr.training.grid import plan

    if not all(path.is_file() for path in inputs):
        raise click.UsageError("--grid needs manifests, or the index of shards on this disk; give FOLDER/shards.jsonl")
    return plan(grid, recipe, changes, inputs, out)


def _summary(result: "TrainResult") -> str:
    """Return the best model of a run, and how to resume it if it was stopped."""
    if result.finished:
        which = f"epoch {result.epoch}" if result.epoch else "the average of several epochs"
        return f"best model: {result.model} ({which}, dev {result.metric.upper()} {100 * result.dev_wer:.2f} %)"
    if not result.saved:
        return "stopped before training began; nothing is saved"
    best = f"the best model so far is {result.model}" if result.model else "no epoch is finished"
    return f"stopped and saved; {best}. Resume the run with the same command:\n  {resume_command()}"


@contextmanager
def _reporting(display: Display, out: Path, is_main: bool) -> "Iterator[OnEvent]":
    """Yield a function that shows events, and writes the values of each epoch for TensorBoard if that is installed."""
    from importlib.util import find_spec

    from asr.training.events import Epoch

    if not is_main or find_spec("tensorboard") is None:
        yield partial(_show, display)
        return
    from torch.utils.tensorboard import SummaryWriter

    def report(event: "Event") -> None:
        _show(display, event)
        if isinstance(event, Epoch):
            for name in ("train_loss", "dev_loss", "dev_wer", "learning_rate", "gradient_norm", "blank_share"):
                label = name.removeprefix("train_").replace("_", " ").replace("wer", "WER")
                writer.add_scalar(label, getattr(event, name), event.epoch)
            writer.flush()

    with SummaryWriter(str(out / "tensorboard")) as writer:
        yield report


def _show(display: Display, event: "Event") -> None:
    from asr.training import events

    match event:
        case events.Preparing(done, total, size):
            display.update(f"features ({size / 1e6:.0f} MB)", done / 3600, total / 3600, "hours of audio")
        case events.Step(epoch, epochs, done, total, loss, waiting):
            note = f"loss {loss:.3f}, {waiting:.0%} of the time waiting for data"
            display.update(f"epoch {epoch}/{epochs}", done / 3600, total / 3600, "hours of audio", note)
        case events.Epoch():
            display.close()
            display.say(
                f"epoch {event.epoch}/{event.epochs}: loss {event.train_loss:.3f}, dev loss {event.dev_loss:.3f}, "
                f"dev {event.metric.upper()} {100 * event.error:.2f} %{' (best)' if event.best else ''}, "
                f"{event.seconds:.1f} s"
            )
        case events.Note(message):
            display.say(message, always=True)
