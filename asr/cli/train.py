"""asr train: a recipe and manifests -> a model file."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from asr.cli import options
from asr.cli.progress import Display

if TYPE_CHECKING:
    from asr.events import Event


@click.command(short_help="Train a model by a recipe.")
@click.argument("recipe", type=options.FILE)
@click.option("--train", "train_manifest", type=options.FILE, required=True, help="The manifest to learn from.")
@click.option(
    "--dev", "dev_manifest", type=options.FILE, required=True, help="The manifest that chooses the best epoch."
)
@click.option("--out", "-o", type=options.FOLDER, required=True, help="The run's folder: models and train.jsonl.")
@click.option("--epochs", type=int, help="The same as --set training.epochs=…")
@click.option("--seed", type=int, help="The same as --set training.seed=…")
@options.device
@click.option("--set", "settings", multiple=True, metavar="SECTION.KEY=VALUE", help="Change a setting of the recipe.")
@click.option("--overwrite", is_flag=True, help="Replace the run that is in OUT.")
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
    overwrite: bool,
    quiet: bool,
) -> int:
    """Train a model by RECIPE, a TOML file; write OUT/best.safetensors, last.safetensors and train.jsonl."""
    if (out / "best.safetensors").exists() and not overwrite:
        raise click.UsageError(f"{out} holds a run already; choose another --out, or --overwrite to replace it")
    from asr import config
    from asr.recipe import Recipe

    given = {"epochs": epochs, "seed": seed, "device": device}
    shortcuts = [f"training.{name}={value}" for name, value in given.items() if value is not None]
    plan = config.read(recipe, Recipe, [*settings, *shortcuts])
    from asr import training

    with Display(quiet) as display:
        try:
            result = training.train(plan, train_manifest, dev_manifest, out, lambda event: _show(display, event))
        except KeyboardInterrupt:
            best = out / "best.safetensors"
            display.say(f"the best model so far is {best}" if best.exists() else "no epoch was finished")
            raise
    click.echo(f"best model: {result.model} (epoch {result.epoch}, dev WER {100 * result.dev_wer:.2f} %)")
    return 0


def _show(display: Display, event: "Event") -> None:
    from asr import events

    match event:
        case events.Preparing(done, total):
            display.update("features", done / 60, total / 60, "minutes of audio")
        case events.Step(epoch, epochs, done, total, loss):
            display.update(f"epoch {epoch}/{epochs}", done / 60, total / 60, "minutes of audio", f"loss {loss:.3f}")
        case events.Epoch():
            display.close()
            display.say(
                f"epoch {event.epoch}/{event.epochs}: loss {event.train_loss:.3f}, dev loss {event.dev_loss:.3f}, "
                f"dev WER {100 * event.dev_wer:.2f} %{' (best)' if event.best else ''}, {event.seconds:.1f} s"
            )
        case events.Note(message):
            display.say(message, always=True)
