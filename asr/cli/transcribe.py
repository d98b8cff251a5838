"""asr transcribe: sound files -> text."""

import sys
from pathlib import Path

import click

from asr.cli import options
from asr.cli.decoding import Decoding, decoding
from asr.cli.progress import Display
from asr.cli.stream import Streaming, streaming


@click.command(short_help="Write the text of sound files.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@options.model
@click.option("--format", "form", type=click.Choice(["txt", "json"]), default="txt", show_default=True)
@click.option("--nbest", type=click.IntRange(min=1), default=1, metavar="N", help="So many texts of each file (json).")
@decoding
@streaming
@options.device
@options.quiet
def transcribe(
    files: tuple[Path, ...],
    model: Path,
    form: str,
    nbest: int,
    decoding: Decoding,
    streaming: Streaming,
    device: str | None,
    quiet: bool,
) -> int:
    """Write the text of each sound FILE, one line a file, to stdout.

    With --format json each line also has the words with their times and confidences, and with --nbest other texts
    that were found. A file that cannot be used is told on stderr and leaves an empty line (txt) or its error (json);
    exit code 1. With --stream the one FILE is heard chunk by chunk, by a model that was trained for it.
    """
    if streaming.stream:
        return streaming.run(files[0], model, decoding, device, quiet)
    from asr import output, recognition
    from asr.audio import AudioError

    if nbest > 1 and form != "json":
        raise click.UsageError("--nbest needs --format json: a line of text has room for one")
    recognizer = recognition.load(model, device or "cpu")
    failed = 0
    # Where the text goes to the terminal, it is progress enough.
    with Display(quiet or sys.stdout.isatty()) as display:
        recognizer, _ = decoding.equip(recognizer, display, nbest)
        for number, path in enumerate(files, 1):
            try:
                best, *others = recognizer.alternatives(path, nbest, words=form == "json")
                transcript = output.Transcript(str(path), best, alternatives=tuple(others))
            except AudioError as error:
                failed += 1
                transcript = output.Transcript(str(path), None, str(error))
                display.say(f"asr: {error}", always=True)
            click.echo(output.line(transcript, form))
            display.update("transcribe", number, len(files), "files")
    if failed and len(files) > 1 and not quiet:
        click.echo(f"asr: {failed} of {len(files)} files could not be transcribed", err=True)
    return 1 if failed else 0
