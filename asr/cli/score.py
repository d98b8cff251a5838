"""asr score: references and any system's hypotheses -> a WER report."""

from pathlib import Path

import click

from asr.cli import options
from asr.cli.outputs import Outputs, equivalents, facts, normaliser, outputs

# Those of asr.transcripts, which --help does not wait for.
FORMATS = ("auto", "text", "kaldi", "trn", "ctm", "stm", "jsonl", "csv", "tsv", "report")
_FORMAT = click.Choice(FORMATS)

reference_format: options.Decorator = click.option(
    "--reference-format", type=_FORMAT, default="auto", show_default=True, help="How REFERENCES is written."
)
hypothesis_format: options.Decorator = click.option(
    "--hypothesis-format", type=_FORMAT, default="auto", show_default=True, help="How HYPOTHESES is written."
)
allow_missing: options.Decorator = click.option(
    "--allow-missing", is_flag=True, help="Count missing hypotheses as deleted, and leave out those of no reference."
)


@click.command(short_help="Score any system's output against references: WER, CER and SER.")
@click.argument("references", type=options.FILE)
@click.argument("hypotheses", type=options.FILE)
@normaliser("none")
@equivalents
@reference_format
@hypothesis_format
@allow_missing
@outputs
def score(
    references: Path,
    hypotheses: Path,
    normaliser: str,
    equivalents: Path | None,
    reference_format: str,
    hypothesis_format: str,
    allow_missing: bool,
    outputs: Outputs,
) -> int:
    """Score HYPOTHESES against REFERENCES: word, character and sentence error rate with 95 % intervals.

    Both are files of transcripts with ids: lines 'ID WORDS' (Kaldi's text), trn, CTM, STM, JSON lines (a manifest, or
    what asr transcribe --format json writes), CSV, TSV, or a report of --json. Ids are matched, whatever their order.
    """
    from asr import transcripts
    from asr.corpora import manifest
    from asr.reports.score import score_pairs
    from asr.transcripts.matching import list_ids, match

    try:
        spoken = manifest.read(references) if outputs.audio else []
    except manifest.CorpusError as error:
        raise click.UsageError(
            f"--audio needs a manifest as REFERENCES, which says where the audio is; {error}"
        ) from error
    said = transcripts.read(references, reference_format)
    made, outside = transcripts.read_hypotheses(hypotheses, said, hypothesis_format)
    matched = match(said, made, str(hypotheses), allow_missing)
    missing, extra = matched.missing, matched.extra
    result = score_pairs(matched.pairs, normaliser, equivalents)
    given = facts(references=references, hypotheses=hypotheses, equivalents=equivalents)
    counted = {
        "missing": f"{len(missing)}, counted as deleted: {list_ids(missing)}" if missing else "",
        "extra": f"{len(extra)} without reference, left out: {list_ids(extra)}" if extra else "",
        "outside": f"{outside} words outside the segments, left out" if outside else "",
    }
    notes = {name: note for name, note in counted.items() if note}
    outputs.print_report(result, given, notes)
    return outputs.write(result, given | notes, hypotheses.name, sounds=outputs.sounds(spoken))
