"""asr transcribe: sound files -> transcripts, on stdout or in a folder."""

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asr.cli import options
from asr.cli.decoding import DecodingOptions, decoding
from asr.cli.progress import Display, FileProgress, libraries_silent, one_line
from asr.version import __version__

if TYPE_CHECKING:
    from asr.recognition import Recognizer
    from asr.recognition.inputs import InputFile, Inputs
    from asr.recognition.output_folder import OutputFolder
    from asr.transcripts.records import FileResult

# Those of asr.transcripts, which --help does not wait for.
FORMATS = ("txt", "json", "srt", "vtt", "ctm", "tsv", "textgrid")
_GPU_JOBS = 8
# Bytes in a second of audio, between those of compressed files and of 16-bit samples.
_BYTES_PER_SECOND = 16_000


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


@click.command(short_help="Transcribe audio files.")
@click.argument("files", nargs=-1, type=click.Path(), metavar="FILE...")
@click.option("--list", "listing", type=options.TEXT, help="A file with one path per line; - is standard input.")
@options.model_or_default
@click.option(
    "--format",
    "formats",
    type=_Formats(),
    default="txt",
    show_default=True,
    metavar="NAME[,NAME...]",
    help=f"One of {', '.join(FORMATS)}; several are allowed with --out.",
)
@click.option("--out", "-o", type=options.FOLDER, help="Write a file for each recording and format into this folder.")
@click.option("--force", is_flag=True, help="Transcribe everything again, and overwrite files that asr did not write.")
@click.option("--nbest", type=click.IntRange(min=1), default=1, metavar="N", help="Return N hypotheses (json).")
@click.option(
    "--jobs",
    "-j",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"Batches computed at the same time.  [default: the number of cores; on a GPU at most {_GPU_JOBS}]",
)
@click.option("--vad", is_flag=True, help="Leave out silence (voice activity detection).")
@click.option(
    "--channels",
    type=click.Choice(["mix", "split"]),
    default="mix",
    show_default=True,
    help="Average the channels, or transcribe each separately.",
)
@decoding
@click.option("--stream", is_flag=True, help="Process one FILE chunk by chunk and print the text as it grows.")
@click.option(
    "--raw-rate",
    type=click.IntRange(min=1),
    metavar="HZ",
    help="With --stream and FILE -: sample rate of the raw 16-bit little-endian mono samples on stdin.",
)
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
    stream: bool,
    raw_rate: int | None,
    batch_seconds: int | None,
    device: str | None,
    quiet: bool,
) -> int:
    """Transcribe each FILE: a sound file, a folder, a quoted pattern such as 'talks/**/*.flac', or - (standard input).

    Without --out, transcripts are printed in the order of the files, one line per file: the text (txt), or an object
    with words, times and confidences (json). With --out, a file is written for each recording and format, in the
    same folder structure as the recordings; files that are up to date are skipped.

    A file that cannot be read is reported on stderr and leaves an empty line (txt) or an object with its error (json).
    The other files are transcribed, and the exit code is 1.

    With --channels split, each channel has a transcript: lines of FILE, CHANNEL and TEXT separated by tabs, objects
    with "channel", or files that end in .1.txt and .2.txt. With --stream, one FILE is processed chunk by chunk by a
    streaming model.
    """
    if stream:
        from asr.cli import stream as command

        return command.stream(files, raw_rate, model, decoding, device, quiet)
    if raw_rate:
        raise click.UsageError("--raw-rate needs --stream")
    inputs = _inputs(files, listing)
    # Each job holds a batch in the device's memory, of which a GPU has less.
    most = sys.maxsize if device in (None, "cpu") else _GPU_JOBS
    jobs = max(1, min(jobs or min(os.cpu_count() or 1, most), len(inputs.files)))
    job = _Job(formats, out, force, nbest, jobs, model, vad, channels == "split", batch_seconds, device or "cpu")
    _check(job, len(inputs.files))
    # Texts that appear on the terminal show the progress.
    with libraries_silent(), Display(quiet or (out is None and sys.stdout.isatty())) as display:
        return _Run(job, inputs, display, decoding, listing).run()


def _inputs(files: tuple[str, ...], listing: Path | None) -> "Inputs":
    from asr.recognition.inputs import STDIN, find_inputs, read_list

    if not files and listing is None:
        raise click.UsageError("Missing argument 'FILE...': sound files, folders, patterns, - or --list")
    if listing is None:
        return find_inputs(files)
    if str(listing) == STDIN and STDIN in files:
        raise click.UsageError("- and --list - are both standard input, which can be read only once")
    with click.open_file(str(listing), "rb") as file:
        listed = read_list(file.read())
    inputs = find_inputs(files, listed)
    if not listed:
        inputs.problems.append(f"{listing}: the list is empty")
    return inputs


@dataclass(frozen=True)
class _Job:
    """The options of one command."""

    formats: tuple[str, ...]
    out: Path | None
    force: bool
    nbest: int
    jobs: int
    model: Path
    vad: bool
    split: bool
    batch_seconds: int | None
    device: str


def _check(job: _Job, count: int) -> None:
    from asr.transcripts import MULTI_RECORDING_FORMATS

    if job.nbest > 1 and "json" not in job.formats:
        raise click.UsageError("--nbest needs --format json; the other formats have one text")
    if job.out is not None:
        return
    form = job.formats[0]
    if job.force:
        raise click.UsageError("--force needs --out FOLDER; it has no effect on stdout")
    if len(job.formats) > 1:
        raise click.UsageError(f"--format {','.join(job.formats)}: several formats need --out FOLDER")
    if form not in MULTI_RECORDING_FORMATS and count > 1:
        raise click.UsageError(f"--format {form} with {count} recordings needs --out FOLDER")
    if job.split and form not in (*MULTI_RECORDING_FORMATS, "textgrid"):
        raise click.UsageError(f"--format {form} with --channels split needs --out FOLDER")


class _Run:
    """One run of the command: transcribes, writes, and reports what could not be transcribed."""

    def __init__(
        self, job: _Job, inputs: "Inputs", display: Display, decoding: DecodingOptions, listing: Path | None
    ) -> None:
        self._job = job
        self._inputs = inputs
        self._display = display
        self._decoding = decoding
        self._names: dict[Path, str] = {}
        self._read = [job.model, *([listing] if listing else [])]
        self._done = 0
        self._failed = len(inputs.problems)
        self._seconds = 0.0

    def run(self) -> int:
        """Transcribe all recordings; return the exit code."""
        job, pending = self._job, self._inputs.files
        folder = None
        if "ctm" in job.formats:
            from asr.transcripts.ctm import recording_names

            paths = [file.path for file in pending]
            self._names = dict(zip(paths, recording_names(paths), strict=True))
        if job.out is not None:
            from asr.recognition.output_folder import OutputFolder

            folder = OutputFolder(job.out, job.formats, _digest(job, self._decoding), job.force, job.split)
            pending = folder.begin(pending, self._read)
        for problem in self._inputs.problems:
            self._report(problem)
        current = len(self._inputs.files) - len(pending)
        if current:
            self._display.say(f"{current} of {len(self._inputs.files)} recordings are up to date")
        if pending:
            from asr.recognition import load

            recognizer = load(job.model, job.device)
            # An estimate is enough to decide whether to compile the search; the headers would have to be read twice.
            seconds = sum(_size(file.path) for file in pending) / _BYTES_PER_SECOND
            recognizer, _ = self._decoding.apply(recognizer, self._display, job.nbest, seconds)
            try:
                with _torch_threads(job.jobs), _standard_input(pending) as paths:
                    self._transcribe(recognizer, pending, paths, folder)
            except KeyboardInterrupt:
                return self._stopped(len(pending), folder)
            finally:
                if folder:
                    folder.close()
        return self._finished(current)

    def _transcribe(
        self, recognizer: "Recognizer", pending: "list[InputFile]", paths: list[Path], folder: "OutputFolder | None"
    ) -> None:
        from asr.recognition import TranscribeOptions
        from asr.transcripts import document

        job = self._job
        settings = TranscribeOptions(
            words=job.formats != ("txt",),
            nbest=job.nbest,
            split_channels=job.split,
            vad=job.vad,
            batch_seconds=job.batch_seconds,
            threads=max(1, (os.cpu_count() or 1) // job.jobs),
        )
        progress = FileProgress(self._display, [_size(path) for path in paths])

        def save(index: int, results: "list[FileResult]") -> None:
            if folder and results[0].transcript:
                folder.save(pending[index], self._named(results, pending[index], paths[index]))

        transcribed = recognizer.transcribe_files(paths, settings, job.jobs, progress.update, save)
        try:
            for index, results in enumerate(transcribed):
                results = self._named(results, pending[index], paths[index])  # noqa: PLW2901
                if results[0].transcript is None:
                    self._failed += 1
                    self._report(results[0].error)
                else:
                    self._done += 1
                    self._seconds += results[0].transcript.duration
                if folder is None:
                    click.echo(document(results, job.formats[0], header=index == 0), nl=False)
                progress.finish(index)
        finally:
            progress.close()

    def _named(self, results: "list[FileResult]", file: "InputFile", path: Path) -> "list[FileResult]":
        """Return the results with the path that the user gave and the name in a CTM; standard input was copied."""
        audio, name = str(file.path), self._names.get(file.path, "")
        shown = str(path) if path == file.path else "standard input"
        return [
            replace(result, audio=audio, id=name, error=result.error.replace(str(path), shown)) for result in results
        ]

    def _report(self, problem: str) -> None:
        self._display.say(f"asr: {one_line(problem)}", always=True)

    def _stopped(self, total: int, folder: "OutputFolder | None") -> int:
        if folder:
            folder.close()  # before counting
        self._display.close()
        done = folder.saved if folder else self._done
        kept = f" and are kept in {self._job.out}; run the same command again to continue" if folder else ""
        click.echo(f"asr: stopped: {done} of {total} recordings were transcribed{kept}", err=True)
        return 130

    def _finished(self, current: int) -> int:
        self._display.close()
        total = len(self._inputs.files) + len(self._inputs.problems)
        if self._failed and total > 1:
            self._display.say(f"asr: {self._failed} of {total} files could not be transcribed")
        if self._job.out is not None and (self._done or current):
            up_to_date = f", {current} up to date" if current else ""
            click.echo(f"{self._job.out}: {self._done} transcribed ({self._seconds / 3600:.2f} hours){up_to_date}")
        return 1 if self._failed else 0


@contextmanager
def _standard_input(pending: "list[InputFile]") -> Iterator[list[Path]]:
    """Return the paths to read; standard input is copied to a temporary file, since headers are read back and forth."""
    from asr.recognition.inputs import STDIN

    if not any(str(file.path) == STDIN for file in pending):
        yield [file.path for file in pending]
        return
    with tempfile.TemporaryDirectory(prefix="asr-") as folder:
        copied = Path(folder) / "stdin"
        with copied.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        yield [copied if str(file.path) == STDIN else file.path for file in pending]


def _size(path: Path) -> int:
    try:
        return max(path.stat().st_size, 1)
    except OSError:
        return 1


@contextmanager
def _torch_threads(jobs: int) -> Iterator[None]:
    """Divide torch's threads by the number of jobs: small matrices gain more from a job than from a thread."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before // jobs))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _digest(job: _Job, decoding: DecodingOptions) -> str:
    """Return a digest of all that the transcripts depend on besides the recordings."""
    with job.model.open("rb") as file:
        model = hashlib.file_digest(file, "sha256").hexdigest()
    files = [path for path in (decoding.file, decoding.lm, decoding.rescorer) if path]
    if decoding.file:
        from asr.decoding.decoder import read_settings

        settings = read_settings(decoding.file)
        files += [Path(name) for name in (settings.lm, settings.rescorer) if name and Path(name).exists()]
    stamps = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    parts = [__version__, model, repr(decoding), stamps, job.nbest, job.vad, job.split]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
