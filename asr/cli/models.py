"""asr models: the models by name, their cards, and how one is made."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asr.cli import options

if TYPE_CHECKING:
    from asr.recognition.pretrained import Bundle


class _Models(click.Group):
    """A group of commands in which any other word is the name of a model."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command to run, and what is left for it."""
        if args[0] in self.commands or args[0].startswith("-"):
            return super().resolve_command(ctx, args)
        return _card.name, _card, args


@click.group(
    cls=_Models,
    invoke_without_command=True,
    short_help="List the models there are by name.",
    subcommand_metavar="[NAME | pack …]",
)
@click.pass_context
def models(context: click.Context) -> int:
    """List the models there are by name: those that come with asr, and those in the cache (ASR_MODELS, or
    ~/.cache/asr/models). With a NAME, print that model's card."""
    if context.invoked_subcommand is None:
        _list()
    return 0


def _list() -> None:
    from asr.recognition import pretrained

    found = pretrained.bundles()
    if not found:
        click.echo(f"none: no model comes with this asr, and none is in {pretrained.cache()}", err=True)
        return
    rows = [("name", "MB", "language", "hours", "WER", "where"), *map(_row, found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def _row(bundle: "Bundle") -> tuple[str, ...]:
    """Return what the card says, or else what the model file says of its training."""
    facts = bundle.facts
    told = {key: facts.get(key, "") for key in ("language", "hours", "wer")}
    if not all(told.values()):
        told = {key: value or other for (key, value), other in zip(told.items(), _seen(bundle), strict=True)}
    return bundle.name, f"{bundle.size / 1e6:.1f}", *told.values(), str(bundle.folder)


def _seen(bundle: "Bundle") -> tuple[str, str, str]:
    from asr.model import checkpoint

    try:
        contents = checkpoint.inspect(bundle.model)
    except checkpoint.ModelFileError:
        return "cannot be read", "?", "?"
    card: Any = contents.card
    try:
        hours, wer = f"{card['data']['train']['hours']:.1f}", f"dev {100 * card['dev_wer']:.2f} %"
    except (KeyError, TypeError, ValueError):
        hours, wer = "?", "?"
    return repr(contents.settings.text.alphabet), hours, wer


@click.command("card", hidden=True)
@click.argument("name")
def _card(name: str) -> int:
    """Print the card of the model NAME."""
    from asr.recognition import pretrained

    bundle = pretrained.named(name)
    if bundle is None:
        raise click.UsageError(f"{name!r} is no name of a model; of a file, asr inspect tells what is in it")
    click.echo(bundle.card.rstrip() or f"{bundle.name}: no card; asr inspect {bundle.name} tells what is in it")
    return 0


@models.command(short_help="Make a bundle of a trained model.")
@click.argument("model", type=options.FILE)
@click.option("--lm", type=options.FILE, help="A language model.  [default: the one that the settings name]")
@click.option("--decoder", type=options.FILE, required=True, help="Settings that asr tune wrote.")
@click.option("--card", type=options.FILE, required=True, help="A text (.md) that says what the model is.")
@click.option("--bits", type=click.Choice(["8", "16"]), default="8", show_default=True, help="Of each weight.")
@click.option("--name", required=True, help="What the model will be called: letters, digits, - and _.")
@click.option("--out", "-o", type=options.FOLDER, required=True, help="The folder to write to.")
def pack(model: Path, lm: Path | None, decoder: Path, card: Path, bits: str, name: str, out: Path) -> int:
    """Write the bundle of MODEL into OUT: weights rounded, the language models as small as they go, settings, card.

    In ASR_MODELS or ~/.cache/asr/models it is found by its name.
    """
    from asr.recognition.pretrained.packing import Parts
    from asr.recognition.pretrained.packing import pack as make

    made = make(Parts(model, decoder, card, lm, int(bits)), name, out)
    for path in made.files:
        click.echo(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
    click.echo(f"{name}: {made.size / 1e6:.2f} MB in all")
    return 0
