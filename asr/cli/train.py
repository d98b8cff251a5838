"""asr train: a recipe and manifests -> a model file."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asr.cli import options
from asr.cli.progress import Display
from asr.cli.stopping import stopping

if TYPE_CHECKING:
    from asr.training.events import Event


@click.command(short_help="Train a model by a recipe, or go on with a run.")
@click.argument("recipe", type=options.FILE)
@click.option("--train", "train_manifest", type=options.FILE, required=True, help="The manifest to learn from.")
@click.option(
    "--dev", "dev_manifest", type=options.FILE, required=True, help="The manifest that chooses the best epoch."
)
@click.option("--out", "-o", type=options.FOLDER, required=True, help="The run's folder: models, log, training.html.")
@click.option("--epochs", type=int, help="The same as --set training.epochs=…")
@click.option("--seed", type=int, help="The same as --set training.seed=…")
@options.device
@click.option("--set", "settings", multiple=True, metavar="SECTION.KEY=VALUE", help="Change a setting of the recipe.")
@click.option("--resume", is_flag=True, help="Fail if there is no run in OUT to go on with.")
@click.option("--override", is_flag=True, help="Go on with the run in OUT although settings or data have changed.")
@click.option("--overwrite", is_flag=True, help="Replace the run that is in OUT.")
@click.option("--from", "start", type=options.MODEL, help="Begin with the weights of this model, and as it hears.")
@options.quiet
def train(
    recipe: Path,
    train_manifest: Path,
    dev_manifest: Path,
    out: Path,
    epochs: int | None,
    seed: int | None,
    device: str | None,
    settings: tuple[str, ...],
    resume: bool,
    override: bool,
    overwrite: bool,
    start: Path | None,
    quiet: bool,
) -> int:
    """Train a model by RECIPE, a TOML file; write best.safetensors, last.safetensors, train.jsonl and training.html
    into OUT.

    A run that was stopped, by Ctrl-C, SIGTERM or a crash, goes on when the same command is given again, and ends as
    if it had never been stopped. With --from FILE the run begins with a trained model: its weights, alphabet, features
    and shape, whatever the recipe says of these. Under torchrun, the processes train one model together.
    """
    if overwrite and (resume or override):
        raise click.UsageError("--overwrite begins anew; --resume and --override go on")
    given = {"epochs": epochs, "seed": seed, "device": device}
    shortcuts = [f"training.{name}={value}" for name, value in given.items() if value is not None]
    begin = {"overwrite": overwrite, "resume": resume, "override": override, "start": start}
    return _run(recipe, [*settings, *shortcuts], (train_manifest, dev_manifest, out), begin, quiet)


def _run(recipe: Path, settings: list[str], paths: tuple[Path, Path, Path], begin: dict[str, Any], quiet: bool) -> int:
    # The network's shapes are many, and oneDNN keeps what it prepares for each; a thousand of them are gigabytes.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
    from asr import config
    from asr.training.recipe import Recipe

    plan = config.read(recipe, Recipe, settings)
    from asr import compute as device
    from asr import training
    from asr.training import TrainOptions

    device.keep_freed_memory()

    # Of several processes, one speaks.
    leads = os.environ.get("RANK", "0") == "0"
    with Display(quiet or not leads) as display, stopping() as stop, _scalars(paths[2], leads) as write:

        def report(event: "Event") -> None:
            _show(display, event)
            write(event)

        result = training.train(plan, *paths, TrainOptions(report, stop, **begin))
    if not leads:
        return 0
    if not result.finished:
        best = f"the best model so far is {result.model}" if result.model else "no epoch was finished"
        click.echo(f"stopped and saved; {best}. The same command goes on:\n  {_command()}")
        return 0
    which = f"epoch {result.epoch}" if result.epoch else "the average of several epochs"
    click.echo(f"best model: {result.model} ({which}, dev WER {100 * result.dev_wer:.2f} %)")
    return 0


def _command() -> str:
    import shlex

    return shlex.join(["asr", *sys.argv[1:]])


@contextmanager
def _scalars(out: Path, leads: bool) -> "Iterator[Callable[[Event], None]]":
    """Write each epoch's figures for TensorBoard, where that is installed."""
    from importlib.util import find_spec

    from asr.training import events

    if not leads or find_spec("tensorboard") is None:
        yield lambda event: None
        return
    from torch.utils.tensorboard import SummaryWriter

    names = {
        "loss": "train_loss",
        "dev loss": "dev_loss",
        "dev WER": "dev_wer",
        "learning rate": "learning_rate",
        "gradient norm": "gradient_norm",
        "blank share": "blank_share",
    }

    def write(event: "Event") -> None:
        if isinstance(event, events.Epoch):
            for name, field in names.items():
                writer.add_scalar(name, getattr(event, field), event.epoch)
            writer.flush()

    with SummaryWriter(str(out / "tensorboard")) as writer:
        yield write


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
                f"dev WER {100 * event.dev_wer:.2f} %{' (best)' if event.best else ''}, {event.seconds:.1f} s"
            )
        case events.Note(message):
            display.say(message, always=True)
