"""asr align: aligns recordings with their texts."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from asr.cli import options
from asr.cli.progress import Display

if TYPE_CHECKING:
    from asr.corpora.manifest import Utterance
    from asr.recognition.aligning import AlignedRow


# Formats of one recording.
_ONE_RECORDING = ("srt", "vtt", "textgrid")


@click.command(cls=options.Command, short_help="Align recordings with their texts.")
@click.argument("audio", required=False, type=click.Path(path_type=Path))
@click.argument("text_file", required=False, type=options.TEXT, metavar="[TEXT]")
@options.model_or_default
@click.option("--text", metavar="WORDS", help="The text of AUDIO, instead of the file TEXT.")
@click.option("--manifest", type=options.FILE, help="Recordings and their texts, instead of AUDIO and TEXT.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["json", *_ONE_RECORDING, "ctm"]),
    help="Output format.  [default: json]",
)
@click.option(
    "--out",
    "-o",
    type=options.Output(allow_dash=True, path_type=Path),
    help="Output file, or output folder with --manifest and --format srt, vtt or textgrid.  [default: stdout]",
)
@click.option(
    "--suspects",
    type=options.POSITIVE_INT,
    metavar="N",
    help="List the N rows of the manifest whose texts fit the audio worst, instead of aligning.",
)
@options.device
@options.quiet
def align(
    audio: Path | None,
    text_file: Path | None,
    model: Path,
    text: str | None,
    manifest: Path | None,
    form: str | None,
    out: Path | None,
    suspects: int | None,
    device: str | None,
    quiet: bool,
) -> int:
    """Find the times of the words of a known text in AUDIO. The text is in the file TEXT or given with --text.

    Words are written as in the text; a model of English aligns numbers as words. Times are in seconds from the start
    of the recording, or of the utterance of a manifest row. A row that cannot be aligned is reported on stderr, the
    other rows are aligned, and the exit code is 1.

    --suspects lists likely errors in transcripts: rows whose text is much less probable than the text that the model
    recognises. Both texts are printed, with the difference in nats per frame.
    """
    if text_file and text is not None:
        raise click.UsageError("TEXT and --text cannot be used together; give one of them")
    given = text_file or text
    if suspects and not manifest:
        raise click.UsageError("--suspects needs --manifest")
    if suspects and form not in (None, "json"):
        raise click.UsageError(f"--suspects prints text or --format json, not {form}")
    if manifest and form in _ONE_RECORDING and not out:
        raise click.UsageError(f"--format {form} with --manifest writes a file for each row; give a folder with --out")
    if manifest and (audio or given is not None):
        raise click.UsageError("--manifest cannot be used with AUDIO or TEXT")
    from asr import recognition
    from asr.corpora import manifest as manifests
    from asr.recognition import aligning

    utterances = manifests.read(manifest) if manifest else [_utterance(audio, given)]
    folder = out if manifest and form in _ONE_RECORDING else None
    written = _check_ids(utterances, folder, str(form)) if folder else [out]
    options.check_outputs(*written, read=[utterance.audio for utterance in utterances])
    recognizer = recognition.load(model, device or "cpu")
    with Display(quiet or (out is None and sys.stdout.isatty())) as display:
        rows = aligning.align(
            recognizer, utterances, lambda done, total: display.update("align", done / 60, total / 60, "minutes")
        )
        checked = _CheckedRows(rows, display, alone=not manifest, list_suspects=bool(suspects))
        if suspects:
            _write_suspects(checked, suspects, out, form == "json")
        else:
            _write(checked, form or "json", out, folder)
        checked.report_left_out()
    if checked.failed and not quiet:
        click.echo(f"asr: {checked.failed} of {len(utterances)} rows could not be aligned", err=True)
    return 1 if checked.failed else 0


def _utterance(path: Path | None, text: Path | str | None) -> "Utterance":
    from asr import audio, files
    from asr.corpora.manifest import Utterance

    if path is None:
        raise click.UsageError("AUDIO is missing; give AUDIO and TEXT, or --manifest")
    if text is None:
        raise click.UsageError(f"the text of {path} is missing; give a file TEXT, or --text WORDS")
    if isinstance(text, Path):
        content = options.stdin().read() if str(text) == "-" else text.read_bytes()
        text = files.decode_utf8(str(text), content)
    return Utterance(path.stem or path.name, str(path), audio.info(path).duration, text)


@contextmanager
def _output(out: Path | None) -> "Iterator[Callable[[str], object]]":
    """Yield a function that writes to stdout, or to a file that is written whole or not at all."""
    from asr.files import open_atomic

    if out is None:
        yield lambda text: click.echo(text, nl=False)
        return
    if not options.is_stdout(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    with open_atomic(out) as file:
        yield lambda text: file.write(text.encode("utf-8"))


@dataclass
class _CheckedRows:
    """Passes rows through, reports and counts those that failed, and counts the characters that were left out."""

    rows: "Iterator[AlignedRow]"
    display: Display
    alone: bool
    list_suspects: bool
    failed: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    first_left_out: str = ""

    def __iter__(self) -> "Iterator[AlignedRow]":
        from asr.decoding.alignment import AlignmentError

        for row in self.rows:
            if self.alone and row.transcript is None:
                # No file is written for a single recording.
                raise AlignmentError(row.error)
            self.left_out.update(row.left_out)
            self.first_left_out = self.first_left_out or (row.utterance.id if row.left_out else "")
            # A text that does not fit into the time is a suspect, not a failure.
            if row.gap is None if self.list_suspects else row.transcript is None:
                self.failed += 1
                self.display.say(f"asr: {row.error}", always=True)
            yield row

    def report_left_out(self) -> None:
        """Show which characters were left out of the texts."""
        if self.left_out:
            listed = ", ".join(f"{character!r}" for character, _ in self.left_out.most_common(10))
            listed += ", …" if len(self.left_out) > 10 else ""
            self.display.say(
                f"characters that are not in the model's alphabet were left out: {listed} "
                f"(first in {self.first_left_out})",
                always=True,
            )


def _file(folder: Path, utterance: "Utterance", form: str) -> Path:
    from asr.transcripts import file_suffixes

    return folder / f"{utterance.id.replace('/', '_')}{file_suffixes(form)[0]}"


def _check_ids(utterances: "Sequence[Utterance]", folder: Path, form: str) -> list[Path]:
    """Return the files to write. Raise OutputError if two utterances would be written to one."""
    from asr.recognition.output_folder import OutputError

    ids: dict[Path, str] = {}
    for utterance in utterances:
        path = _file(folder, utterance, form)
        if path in ids:
            raise OutputError(
                f"{path}: utterances {ids[path]!r} and {utterance.id!r} would both be written to it; rename one"
            )
        ids[path] = utterance.id
    return list(ids)


def _write(rows: _CheckedRows, form: str, out: Path | None, folder: Path | None) -> None:
    """Write the rows to one file or stdout, or to a file for each row in `folder`."""
    from asr.files import write_text
    from asr.recognition import aligning

    with _output(None if folder else out) as write:
        for row in rows:
            if row.transcript is None and form != "json":
                continue
            content = aligning.formatted(row, form)
            if folder:
                write_text(_file(folder, row.utterance, form), content)
            else:
                write(content)


def _write_suspects(rows: _CheckedRows, count: int, out: Path | None, as_json: bool) -> None:
    from asr.recognition import aligning

    with _output(out) as write:
        suspects = aligning.suspects(rows, count)
        for row in suspects:
            write(aligning.json_line(row) if as_json else _suspect(row))
    if not suspects:
        rows.display.say("the model recognises the text of every row", always=True)


def _suspect(row: "AlignedRow") -> str:
    """Return a row as people read it."""
    gap = f"{row.gap:.3f} nats per frame" if row.transcript else row.error
    text = row.spoken or row.utterance.text
    return f"{row.utterance.id}: {gap}\n  text        {text}\n  recognised  {row.recognised}\n"
