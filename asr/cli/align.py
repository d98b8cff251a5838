"""asr align: recordings and their texts -> when each word was said."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from asr.cli import options
from asr.cli.progress import Display

if TYPE_CHECKING:
    from asr.corpora.manifest import Utterance
    from asr.recognition.aligning import Aligned


@click.command(short_help="Say when each word of a known text was said.")
@click.argument("audio", required=False, type=click.Path(path_type=Path))
@click.argument("text_file", required=False, type=options.TEXT, metavar="[TEXT]")
@options.model_or_default
@click.option("--text", metavar="WORDS", help="What is said in AUDIO, in place of the file TEXT.")
@click.option("--manifest", type=options.FILE, help="Many recordings and their texts, in place of AUDIO and TEXT.")
@click.option("--format", "form", type=click.Choice(["json", "ctm", "textgrid"]), help="[default: json]")
@click.option(
    "--out",
    "-o",
    type=click.Path(path_type=Path),
    help="Where it is written; for the TextGrids of a manifest, a folder.  [default: stdout]",
)
@click.option(
    "--suspects",
    type=click.IntRange(min=1),
    metavar="N",
    help="List the N rows of the manifest whose text is least likely to be what is said, instead.",
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
    """Say when each word was said in AUDIO, whose text is known: all of it, in the file TEXT or as --text.

    Times are in seconds from the beginning of the recording, or of the row of a manifest. A row that cannot be aligned
    is told on stderr, the rest goes on; exit code 1. --suspects finds wrong transcripts: those that are far less likely
    than what the model itself hears, both are shown, and the gap between them in nats a frame.
    """
    if text_file and text is not None:
        raise click.UsageError("TEXT and --text say the same; give one of them")
    given = text_file or text
    _check(audio, given, manifest)
    if suspects and (not manifest or form in ("ctm", "textgrid")):
        raise click.UsageError("--suspects needs --manifest, and goes with --format json or none")
    if manifest and form == "textgrid" and not out:
        raise click.UsageError("the TextGrids of a manifest are many files: --out says in which folder")
    from asr import recognition
    from asr.corpora import manifest as manifests
    from asr.recognition import aligning

    utterances = manifests.read(manifest) if manifest else [_utterance(audio, given)]
    recognizer = recognition.load(model, device or "cpu")
    with Display(quiet or (out is None and sys.stdout.isatty())) as display:
        rows = aligning.align(
            recognizer, utterances, lambda done, total: display.update("align", done / 60, total / 60, "minutes")
        )
        # Of a manifest, the other rows go on; a file of one recording is not written at all.
        rows = rows if manifest else map(aligning.usable, rows)
        watched = _Watched(rows, display, list_suspects=bool(suspects))
        if suspects:
            _write_suspects(watched, suspects, out, form == "json")
        else:
            _write(watched, form or "json", out, many=bool(manifest))
        watched.close()
    if watched.failed and not quiet:
        click.echo(f"asr: {watched.failed} of {len(utterances)} rows could not be aligned", err=True)
    return 1 if watched.failed else 0


def _check(audio: Path | None, text: Path | str | None, manifest: Path | None) -> None:
    if manifest:
        if audio or text is not None:
            raise click.UsageError("--manifest brings its recordings and texts; AUDIO and TEXT go without it")
    elif not audio:
        raise click.UsageError("AUDIO and TEXT are missing, or --manifest")
    elif text is None:
        raise click.UsageError(f"what is said in {audio} is missing: a file TEXT, or --text")


def _utterance(path: Path | None, text: Path | str | None) -> "Utterance":
    from asr import audio
    from asr.corpora.manifest import Utterance
    from asr.files import decode_utf8

    if path is None or text is None:
        raise click.UsageError("AUDIO and TEXT are missing, or --manifest")
    if isinstance(text, Path):
        content = sys.stdin.buffer.read() if str(text) == "-" else text.read_bytes()
        text = decode_utf8(text, content)
    return Utterance(path.stem or path.name, str(path), audio.info(path).duration, text)


@contextmanager
def _written(out: Path | None) -> "Iterator[Callable[[str], object]]":
    """Give what writes to stdout, or to a file that is there whole or not at all."""
    from asr.files import open_atomic

    if out is None:
        yield lambda text: click.echo(text, nl=False)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    with open_atomic(out) as file:
        yield lambda text: file.write(text.encode("utf-8"))


class _Watched:
    """Rows as they pass: what failed is told at once and counted, what was left out of the texts at the end."""

    def __init__(self, rows: "Iterator[Aligned]", display: Display, list_suspects: bool) -> None:
        from asr.recognition.aligning import LeftOut

        self.failed = 0
        self.display = display
        self._rows = rows
        self._left_out = LeftOut()
        self._list_suspects = list_suspects

    def __iter__(self) -> "Iterator[Aligned]":
        for row in self._rows:
            self._left_out.add(row)
            # A text that cannot be said in the time is a suspect, and no failure.
            if row.gap is None if self._list_suspects else row.hypothesis is None:
                self.failed += 1
                self.display.say(f"asr: {row.error}", always=True)
            yield row

    def close(self) -> None:
        """Tell what was left out of the texts."""
        if told := self._left_out.told():
            self.display.say(told, always=True)


def _write(rows: _Watched, form: str, out: Path | None, many: bool) -> None:
    from asr.files import write_text
    from asr.recognition import aligning

    apart = form == "textgrid" and many
    with _written(None if apart else out) as write:
        for row in rows:
            if row.hypothesis is None and form != "json":
                continue
            document = aligning.document(row, form)
            if apart and out:
                write_text(out / f"{row.utterance.id.replace('/', '_')}.TextGrid", document)
            else:
                write(document)


def _write_suspects(rows: _Watched, count: int, out: Path | None, as_json: bool) -> None:
    from asr.recognition import aligning

    with _written(out) as write:
        found = aligning.suspects(rows, count)
        for row in found:
            write(aligning.json_line(row) if as_json else _suspect(row))
    if not found:
        rows.display.say("no row has another text than the model hears", always=True)


def _suspect(row: "Aligned") -> str:
    """Return a row as people read it."""
    gap = f"{row.gap:.3f} nats a frame" if row.hypothesis else row.error
    said = row.hypothesis.text if row.hypothesis else row.utterance.text
    return f"{row.utterance.id}: {gap}\n  text   {said}\n  heard  {row.heard}\n"
