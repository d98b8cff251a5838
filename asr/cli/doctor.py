"""asr doctor: check manifests before training."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from asr.cli import options
from asr.cli.progress import Display, first_lines

if TYPE_CHECKING:
    from asr.training.doctor import Check

# The rows shown of each kind without --all.
_SHOWN = 5


@click.command(cls=options.Command, short_help="Check manifests for problems that would harm training.")
@click.argument("manifests", nargs=-1, required=True, type=options.FILE, metavar="MANIFEST...")
@click.option("--model", "-m", type=options.MODEL, help="Check against this model's settings.")
@click.option("--recipe", "-r", type=options.FILE, help="Check against this recipe's settings.")
@click.option("--all", "show_all", is_flag=True, help=f"Show all rows, not only {_SHOWN} for each kind of problem.")
@options.quiet
def doctor(manifests: tuple[Path, ...], model: Path | None, recipe: Path | None, show_all: bool, quiet: bool) -> int:
    """Check each MANIFEST for problems that would harm training, and compare the manifests if there are several.

    Show whether this installation has the compiled beam search, too. The exit code is 1 if training would fail.
    """
    if model and recipe:
        raise click.UsageError("--model and --recipe cannot be used together; give one of them")
    if len({path.resolve() for path in manifests}) < len(manifests):
        raise click.UsageError("a manifest is given twice; give each once")
    from asr.corpora import manifest
    from asr.training.doctor import diagnose, without_cache

    rows = {str(path): manifest.read(path) for path in manifests}
    with Display(quiet) as display:
        check = _check(model, recipe)
        diagnosis = diagnose(rows, check, lambda done, total: display.update("check", done, total, "rows"))
    cached = manifests if check.features.kind == "mfcc" else ()
    caches = [finding for path in cached for finding in without_cache(path)]
    diagnosis = replace(diagnosis, findings=(*diagnosis.findings, *caches))
    for name, count in diagnosis.rows.items():
        click.echo(f"{name}: {count} utterances, {diagnosis.hours[name]:.2f} hours")
    for kind, count in diagnosis.counts.items():
        click.echo(f"\n{kind[0]}: {kind[1]}, {count} {'row' if count == 1 else 'rows'}")
        findings = [finding for finding in diagnosis.findings if (finding.severity, finding.kind) == kind]
        lines = [f"{one.manifest}{f', {one.id}' if one.id else ''}: {one.message}" for one in findings]
        for line in lines if show_all else first_lines(lines, "--all shows them", _SHOWN):
            click.echo(f"  {line}")
    click.echo(f"\nbeam search: {_search()}")
    click.echo("training would fail" if diagnosis.fatal else "\nno problem prevents training")
    return 1 if diagnosis.fatal else 0


def _search() -> str:
    """Return in words whether this installation has the compiled beam search."""
    from asr.decoding import beam

    if beam.search_is_native():
        return "the compiled extension"
    return (
        "compiled by numba at its first long use, as asr was installed without a C++ compiler; "
        "install one and reinstall asr for a faster start"
    )


def _check(model: Path | None, recipe: Path | None) -> "Check":
    from asr import config
    from asr.model import checkpoint
    from asr.training.doctor import Check
    from asr.training.recipe import Recipe

    if model:
        settings = checkpoint.inspect(model).settings
        return Check(settings.features, settings.text, settings.model.time_reduction)
    chosen = config.read(recipe, Recipe) if recipe else Recipe()
    return Check(chosen.features, chosen.text, chosen.model.time_reduction, max(chosen.augment.speeds))
