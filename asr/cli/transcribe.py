"""asr transcribe: sound files -> text, in many forms."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asr.cli import options
from asr.cli.decoding import DecodingOptions, decoding
from asr.cli.progress import Display, libraries_silent
from asr.cli.stream import Streaming, streaming
from asr.cli.transcribing import Run, Wishes

if TYPE_CHECKING:
    from asr.recognition.inputs import Found, Recording

# Those of asr.output, which --help does not wait for.
FORMATS = ("txt", "json", "srt", "vtt", "ctm", "tsv", "textgrid")
_GPU_JOBS = 8


class _Formats(click.ParamType[tuple[str, ...]]):
    name = "formats"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        names = [name.strip().lower() for name in value.split(",")]
        for name in names:
            if name not in FORMATS:
                self.fail(f"{name!r} is not one of {', '.join(FORMATS)}", param, ctx)
        return tuple(dict.fromkeys(names))


@click.command(short_help="Write the text of sound files.")
@click.argument("files", nargs=-1, type=click.Path(), metavar="FILE...")
@click.option("--list", "listing", type=options.TEXT, help="A file with a path on each line; - is standard input.")
@options.model_or_default
@click.option(
    "--format",
    "formats",
    type=_Formats(),
    default="txt",
    show_default=True,
    metavar="NAME[,NAME...]",
    help=f"Any of {', '.join(FORMATS)}; with --out several.",
)
@click.option("--out", "-o", type=options.FOLDER, help="A folder for a file of each recording and format.")
@click.option("--force", is_flag=True, help="Transcribe again what is in --out already.")
@click.option("--nbest", type=click.IntRange(min=1), default=1, metavar="N", help="So many texts of each file (json).")
@click.option(
    "--jobs",
    "-j",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"Batches to work on at a time.  [default: all cores; on a GPU at most {_GPU_JOBS}]",
)
@click.option("--vad", is_flag=True, help="Leave out what is no speech by its energy; nothing is written of it.")
@click.option(
    "--channels",
    type=click.Choice(["mix", "split"]),
    default="mix",
    show_default=True,
    help="One text of all channels, or one of each.",
)
@decoding
@streaming
@options.batch_seconds
@options.device
@options.quiet
def transcribe(
    files: tuple[str, ...],
    listing: Path | None,
    model: Path,
    formats: tuple[str, ...],
    out: Path | None,
    force: bool,
    nbest: int,
    jobs: int | None,
    vad: bool,
    channels: str,
    decoding: DecodingOptions,
    streaming: Streaming,
    batch_seconds: int | None,
    device: str | None,
    quiet: bool,
) -> int:
    """Write the text of each FILE: a sound file, a folder, a pattern such as 'talks/**/*.flac', or - (standard input).

    Without --out the texts go to stdout in the order of the files, one line a file: the text (txt) or an object with
    the words, their times and confidences (json), and with --nbest other texts that were found. With --out there is a
    file for each recording and format, in folders as the recordings are; what is there already and has not changed is
    not made again. A file that cannot be used is told on stderr and leaves an empty line (txt) or its error (json);
    the others are transcribed, and the exit code is 1. With --channels split each channel has a text: lines FILE,
    CHANNEL, TEXT with tabs between, objects with "channel", or in --out files that end in .1.txt, .2.txt. With
    --stream the one FILE is heard chunk by chunk, by a model that was trained for it.
    """
    if streaming.stream:
        return streaming.run(Path(files[0]), model, decoding, device, quiet)
    found = _gathered(files, listing)
    # Each job holds a batch in the device's memory, of which a GPU has less; more readers than these it does not need.
    most = sys.maxsize if device in (None, "cpu") else _GPU_JOBS
    jobs = jobs or min(os.cpu_count() or 1, most)
    wishes = Wishes(formats, out, force, nbest, jobs, model, vad, channels == "split", batch_seconds)
    _check(wishes, found.recordings)
    # Where the text goes to the terminal, it is progress enough.
    with libraries_silent(), Display(quiet or (out is None and sys.stdout.isatty())) as display:
        return Run(wishes, found, [listing] if listing else [], display).start(decoding, device or "cpu")


def _gathered(files: tuple[str, ...], listing: Path | None) -> "Found":
    from asr.recognition import inputs

    if not files and listing is None:
        raise click.UsageError("Missing argument 'FILE...': sound files, folders, patterns, - or --list")
    if listing is None:
        return inputs.gather(files)
    if str(listing) == inputs.STDIN and inputs.STDIN in files:
        raise click.UsageError("- and --list - are both standard input, which can be read only once")
    with click.open_file(str(listing), "rb") as file:
        listed = inputs.read_list(file.read())
    found = inputs.gather(files, listed)
    if not listed:
        found.problems.append(f"{listing}: no path in it")
    return found


def _check(wishes: Wishes, recordings: "list[Recording]") -> None:
    from asr.transcripts import MULTI_RECORDING_FORMATS

    if wishes.nbest > 1 and "json" not in wishes.formats:
        raise click.UsageError("--nbest needs --format json: a line of text has room for one")
    if wishes.out is not None:
        return
    if wishes.force:
        raise click.UsageError("--force needs --out FOLDER: on stdout nothing is there already")
    if len(wishes.formats) > 1:
        raise click.UsageError(f"--format {','.join(wishes.formats)}: several formats need --out FOLDER")
    if wishes.formats[0] not in MULTI_RECORDING_FORMATS and len(recordings) > 1:
        form = wishes.formats[0]
        raise click.UsageError(f"--format {form} of {len(recordings)} recordings needs --out FOLDER, a file for each")
    if wishes.split and wishes.formats[0] not in (*MULTI_RECORDING_FORMATS, "textgrid"):
        form = wishes.formats[0]
        raise click.UsageError(f"--format {form} with --channels split needs --out FOLDER, a file for each channel")
