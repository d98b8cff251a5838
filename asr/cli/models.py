"""asr models: lists the named models, prints their cards, packs new ones, and makes models from trained ones."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asr.cli import options

if TYPE_CHECKING:
    from asr.recognition.named_models import Bundle


class _Models(options.Group):
    """A group in which any word that is not a command is the name of a model."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command to run and its arguments."""
        if args[0] in self.commands or args[0].startswith("-"):
            return super().resolve_command(ctx, args)
        return _card.name, _card, args


@click.group(
    cls=_Models,
    invoke_without_command=True,
    short_help="List the available models.",
    subcommand_metavar="[NAME | pack … | average … | rechunk …]",
)
@click.pass_context
def models(context: click.Context) -> int:
    """List the available models: those that come with asr, and those in the folder of the environment variable
    ASR_MODELS, by default asr/models in your cache folder. With a NAME, print the card of that model."""
    if context.invoked_subcommand is None:
        _list()
    return 0


def _list() -> None:
    from asr.recognition import named_models

    bundles = named_models.bundles()
    if not bundles:
        click.echo(f"no named models: none are bundled, and {named_models.user_folder()} has none", err=True)
        return
    rows = [("name", "MB", "language", "hours", "WER", "folder"), *map(_row, bundles)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def _row(bundle: "Bundle") -> tuple[str, ...]:
    """Return the facts of the card; the model file has those that are missing."""
    facts = {key: bundle.facts.get(key, "") for key in ("language", "hours", "wer")}
    if not all(facts.values()):
        facts = {key: value or other for (key, value), other in zip(facts.items(), _from_file(bundle), strict=True)}
    return bundle.name, f"{bundle.size / 1e6:.1f}", *facts.values(), str(bundle.folder)


def _from_file(bundle: "Bundle") -> tuple[str, str, str]:
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


@click.command("card", cls=options.Command, hidden=True)
@click.argument("name")
def _card(name: str) -> int:
    """Print the card of the model NAME."""
    from asr.recognition import named_models

    bundle = named_models.find(name)
    if bundle is None:
        raise click.UsageError(f"{name!r} is not the name of a model; for a model file, use asr inspect")
    click.echo(bundle.card.rstrip() or f"{bundle.name} has no card; use asr inspect {bundle.name}")
    return 0


@models.command(short_help="Pack a trained model into a bundle.")
@click.argument("model", type=options.FILE)
@click.option("--lm", type=options.FILE, help="A language model.  [default: that of the decoder settings]")
@click.option("--decoder", type=options.FILE, required=True, help="Decoder settings written by asr tune.")
@click.option("--card", type=options.FILE, required=True, help="A Markdown file that describes the model.")
@click.option("--bits", type=click.Choice(["8", "16"]), default="8", show_default=True, help="Bits of each weight.")
@click.option("--name", required=True, help="The name of the model: letters, digits, - and _.")
@click.option("--out", "-o", type=options.FOLDER, required=True, help="The folder to write to.")
def pack(model: Path, lm: Path | None, decoder: Path, card: Path, bits: str, name: str, out: Path) -> int:
    """Pack MODEL, its decoder settings, language models and card into a bundle in OUT: files that begin with NAME.

    Weights are quantised, and n-grams are stored in a compact form. Commands load a bundle by its name if it is in the
    folder of the environment variable ASR_MODELS, by default asr/models in your cache folder.
    """
    from asr.recognition import packing

    bundle = packing.pack(packing.Parts(model, decoder, card, lm, int(bits)), name, out)
    for path in bundle.files:
        click.echo(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
    click.echo(f"{name}: {bundle.size / 1e6:.2f} MB in all")
    return 0


@models.command(short_help="Average the weights of models.")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...", type=options.MODEL)
@click.option("--weights", metavar="W,W,…", help="The weight of each model; they are divided by their sum.")
@click.option("--out", "-o", type=options.OUTPUT, required=True, help="Model file to write.")
def average(models: tuple[Path, ...], weights: str | None, out: Path) -> int:
    """Write the mean of the weights of several MODELs that were trained from the same model.

    Often it makes fewer errors than each of them. Tune its decoder anew.
    """
    from asr.model import editing

    _check_out(out)
    shares = options.shares("--weights", weights or ",".join("1" * len(models)), len(models))
    editing.average(models, shares, out)
    click.echo(f"{out}: {', '.join(f'{share:.4g} {path}' for share, path in zip(shares, models, strict=True))}")
    return 0


@models.command(short_help="Change the chunks of a streaming model.")
@click.argument("model", type=options.MODEL)
@click.option("--chunk", type=options.POSITIVE_INT, required=True, help="Output frames computed at a time.")
@click.option("--lookahead", type=click.IntRange(min=0), required=True, help="Output frames seen after a chunk.")
@click.option("--out", "-o", type=options.OUTPUT, required=True, help="Model file to write.")
def rechunk(model: Path, chunk: int, lookahead: int, out: Path) -> int:
    """Write MODEL, a streaming model, with other chunks than it was trained with.

    A longer lookahead makes fewer errors and adds to the latency. Tune the decoder anew.
    """
    from asr.model import editing

    _check_out(out)
    editing.rechunk(model, chunk, lookahead, out)
    click.echo(f"{out}: chunks of {chunk} output frames with a lookahead of {lookahead}")
    return 0


def _check_out(out: Path) -> None:
    if out.suffix != ".safetensors":
        raise click.UsageError(f"--out {out}: the name must end with .safetensors")
    options.check_outputs(out)
