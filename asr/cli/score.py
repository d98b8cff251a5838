"""asr score: hypotheses of any system against references."""

from pathlib import Path

import click

from asr.cli import options
from asr.cli.outputs import Outputs, equivalents, facts, normaliser, outputs

# asr.transcripts.INPUT_FORMATS, repeated so that --help need not import them.
FORMATS = ("auto", "text", "kaldi", "trn", "ctm", "stm", "jsonl", "csv", "tsv", "report")
_FORMAT = click.Choice(FORMATS)

reference_format: options.Decorator = click.option(
    "--reference-format", type=_FORMAT, default="auto", show_default=True, help="Format of REFERENCES."
)
hypothesis_format: options.Decorator = click.option(
    "--hypothesis-format", type=_FORMAT, default="auto", show_default=True, help="Format of the hypotheses."
)
reference_column: options.Decorator = click.option(
    "--reference-column", default="", metavar="NAME", help="Column or key of the text of REFERENCES.  [default: found]"
)
hypothesis_column: options.Decorator = click.option(
    "--hypothesis-column", default="", metavar="NAME", help="Column or key of the hypotheses.  [default: found]"
)
allow_missing: options.Decorator = click.option(
    "--allow-missing",
    is_flag=True,
    help="Count missing hypotheses as deletions, and ignore hypotheses without a reference.",
)


@click.command(cls=options.Command, short_help="Score any system's output against references: WER, CER and SER.")
@click.argument("references", type=options.FILE)
@click.argument("hypotheses", type=options.FILE)
@normaliser("none")
@equivalents
@reference_format
@hypothesis_format
@reference_column
@hypothesis_column
@allow_missing
@outputs
def score(
    references: Path,
    hypotheses: Path,
    normaliser: str,
    equivalents: Path | None,
    reference_format: str,
    hypothesis_format: str,
    reference_column: str,
    hypothesis_column: str,
    allow_missing: bool,
    outputs: Outputs,
) -> int:
    """Score HYPOTHESES against REFERENCES: word, character and sentence error rate with 95 % intervals.

    Both are files of transcripts with ids: Kaldi's text (lines 'ID WORDS'), trn, CTM, STM, JSON lines (a manifest or
    the output of asr transcribe --format json), CSV, TSV, or a JSON report of asr evaluate or asr score. The ids may
    be in any order.
    """
    from asr import transcripts
    from asr.corpora import manifest
    from asr.reports.document import score_pairs
    from asr.transcripts.matching import list_ids, match

    try:
        utterances = manifest.read(references) if outputs.audio else []
    except manifest.CorpusError as error:
        raise click.UsageError(f"--audio needs a manifest as REFERENCES, which lists the audio; {error}") from error
    outputs.check(utterance.audio for utterance in utterances)
    given = transcripts.read(references, transcripts.Choice(reference_format, reference_column))
    choice = transcripts.Choice(hypothesis_format, hypothesis_column)
    recognised, outside = transcripts.read_hypotheses(hypotheses, given.rows, choice)
    matched = match(given.rows, recognised.rows, str(hypotheses), allow_missing)
    missing, extra = matched.missing, matched.extra
    result = score_pairs(matched.pairs, normaliser, equivalents)
    notes = {"reference format": given.described, "hypothesis format": recognised.described}
    if missing:
        notes["missing"] = f"{len(missing)}, counted as deletions: {list_ids(missing)}"
    if extra:
        notes["extra"] = f"{len(extra)} without a reference, ignored: {list_ids(extra)}"
    if outside:
        notes["outside"] = (
            f"{outside} {'word' if outside == 1 else 'words'} outside the segments, counted as insertions"
        )
    settings = facts(references=references, hypotheses=hypotheses, equivalents=equivalents)
    outputs.print_report(result, settings, notes)
    return outputs.write(result, settings | notes, hypotheses.name, audio=outputs.encode_audio(utterances))
