"""asr compare: hypotheses of several systems against the same references."""

from pathlib import Path

import click

from asr.cli import options
from asr.cli.outputs import equivalents, facts, json_file, normaliser, report_file, terminal_width, worst
from asr.cli.score import allow_missing, hypothesis_column, hypothesis_format, reference_column, reference_format


@click.command(cls=options.Command, short_help="Compare systems and test whether one is better.")
@click.argument("references", type=options.FILE)
@click.argument("systems", type=options.FILE, nargs=-1, required=True, metavar="A B [C]...")
@normaliser("none")
@equivalents
@reference_format
@hypothesis_format
@reference_column
@hypothesis_column
@allow_missing
@json_file
@report_file
@worst()
def compare(
    references: Path,
    systems: tuple[Path, ...],
    normaliser: str,
    equivalents: Path | None,
    reference_format: str,
    hypothesis_format: str,
    reference_column: str,
    hypothesis_column: str,
    allow_missing: bool,
    json_file: Path | None,
    report_file: Path | None,
    worst: int,
) -> int:
    """Compare the hypotheses of several systems (the files A, B, …) against the same REFERENCES.

    The tests are the paired bootstrap (Bisani and Ney 2004) and the matched-pairs sentence-segment word error test
    (MAPSSWE, Gillick and Cox 1989), with Holm's correction for multiple comparisons. A difference is
    significant if both p-values are below 5 %.
    """
    from asr import transcripts
    from asr.files import write_text
    from asr.reports import document, page, text
    from asr.reports.document import score_pairs
    from asr.transcripts.matching import match

    if len(systems) < 2:
        raise click.UsageError("a comparison needs REFERENCES and the hypotheses of two or more systems")
    names = _names(systems)
    options.check_outputs(json_file, report_file)
    for path in (json_file, report_file):
        if path and not options.is_stdout(path):
            path.parent.mkdir(parents=True, exist_ok=True)
    given = transcripts.read(references, transcripts.Choice(reference_format, reference_column))
    choice = transcripts.Choice(hypothesis_format, hypothesis_column)
    results, sources = {}, {}
    formats: list[str] = []
    for name, path in zip(names, systems, strict=True):
        recognised, outside = transcripts.read_hypotheses(path, given.rows, choice)
        matched = match(given.rows, recognised.rows, str(path), allow_missing)
        results[name] = score_pairs(matched.pairs, normaliser, equivalents)
        formats.append(f"{name}: {recognised.described}")
        counts = {"missing": len(matched.missing), "extra": len(matched.extra), "outside": outside}
        sources[name] = {"hypotheses": str(path), **counts}
    settings = facts(references=references, equivalents=equivalents) | {
        "reference format": given.described,
        "hypothesis format": "; ".join(formats),
    }
    to_stdout = any(map(options.is_stdout, (json_file, report_file)))
    body = document.comparison(results, settings, sources)
    click.echo(text.comparison(body, text.TextOptions(worst=worst, width=terminal_width())), err=to_stdout)
    if json_file:
        document.write(json_file, body)
    if report_file:
        write_text(report_file, page.comparison(body))
    return 0


def _names(paths: tuple[Path, ...]) -> list[str]:
    """Return the shortest names that are all different: stems, file names or paths."""
    for names in ([path.stem for path in paths], [path.name for path in paths], [str(path) for path in paths]):
        if len(set(names)) == len(names):
            return names
    twice = next(path for index, path in enumerate(paths) if path in paths[:index])
    raise click.UsageError(f"{twice} is given twice; a system cannot be compared with itself")
