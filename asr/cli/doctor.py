"""asr doctor: what would go wrong, before training."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from asr.cli import options
from asr.cli.progress import Display

if TYPE_CHECKING:
    from asr.training.doctor import Check

# Rows shown of each kind; --all shows every one.
_SHOWN = 5


@click.command(short_help="Tell what would go wrong in training.")
@click.argument("manifests", nargs=-1, required=True, type=options.FILE, metavar="MANIFEST...")
@click.option("--model", "-m", type=options.MODEL, help="Check against this model's settings.")
@click.option("--recipe", "-r", type=options.FILE, help="Check against this recipe's settings.")
@click.option("--all", "everything", is_flag=True, help=f"Show every row found, not {_SHOWN} of each kind.")
@options.quiet
def doctor(manifests: tuple[Path, ...], model: Path | None, recipe: Path | None, everything: bool, quiet: bool) -> int:
    """Tell what would go wrong in training on MANIFEST, and between several of them. Exit code 1 if it would fail."""
    if model and recipe:
        raise click.UsageError("--model and --recipe: one of them is enough")
    if len({path.resolve() for path in manifests}) < len(manifests):
        raise click.UsageError("one manifest is given twice")
    from asr.corpora import manifest
    from asr.training import doctor as room

    loaded = {str(path): manifest.read(path) for path in manifests}
    with Display(quiet) as display:
        check = _check(model, recipe)
        diagnosis = room.examine(loaded, check, lambda done, total: display.update("listen", done, total, "rows"))
    for name, rows in diagnosis.rows.items():
        click.echo(f"{name}: {rows} utterances, {diagnosis.hours[name]:.2f} hours")
    for (severity, kind), count in room.summary(diagnosis).items():
        rows_word = "row" if count == 1 else "rows"
        click.echo(f"\n{severity}: {kind}, {count} {rows_word}")
        chosen = [one for one in diagnosis.findings if (one.severity, one.kind) == (severity, kind)]
        for finding in chosen if everything else chosen[:_SHOWN]:
            click.echo(f"  {finding.manifest}{f', {finding.id}' if finding.id else ''}: {finding.message}")
        if not everything and count > _SHOWN:
            click.echo(f"  … and {count - _SHOWN} more (--all shows them)")
    verdict = "training would fail" if diagnosis.fatal else "nothing stands in the way of training"
    click.echo(f"\n{verdict}")
    return 1 if diagnosis.fatal else 0


def _check(model: Path | None, recipe: Path | None) -> "Check":
    from asr import config
    from asr.model import checkpoint
    from asr.training.doctor import Check
    from asr.training.recipe import Recipe

    if model:
        settings = checkpoint.inspect(model).settings
        return Check(settings.features, settings.text, settings.model.time_reduction)
    plan = config.read(recipe, Recipe) if recipe else Recipe()
    return Check(plan.features, plan.text, plan.model.time_reduction, max(plan.augment.speeds))
