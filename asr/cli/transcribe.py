"""asr transcribe: sound files -> transcripts, on stdout or in a folder."""

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

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

# Takes paths, options, and the callbacks of progress and results; yields the results of each file in order.
_Transcriber = Callable[..., "Iterator[list[FileResult]]"]
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


@click.command(cls=options.Command, short_help="Transcribe audio files.")
@click.argument("files", nargs=-1, type=click.Path(readable=False), metavar="FILE...")
@click.option("--list", "listing", type=options.TEXT, help="A file with one path per line; - is standard input.")
@options.model_or_stream
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
@click.option("--force", is_flag=True, help="Transcribe everything again, and overwrite any file.")
@click.option("--nbest", type=options.POSITIVE_INT, default=1, metavar="N", help="Return N hypotheses (json).")
@click.option(
    "--jobs",
    "-j",
    type=options.POSITIVE_INT,
    metavar="N",
    help=f"Number of batches to compute in parallel.  [default: number of cores, at most {_GPU_JOBS} on a GPU]",
)
@click.option(
    "--vad/--no-vad",
    default=True,
    show_default=True,
    help="Leave out silence and noise, using voice activity detection.",
)
@click.option(
    "--channels",
    type=click.Choice(["mix", "split"]),
    default="mix",
    show_default=True,
    help="Average the channels, or transcribe each separately.",
)
@click.option(
    "--audio-track",
    type=options.POSITIVE_INT,
    default=1,
    show_default=True,
    metavar="N",
    help="Audio track of a media file, such as a film with several languages.",
)
@click.option("--strict", is_flag=True, help="Refuse a truncated or damaged recording; otherwise the rest is read.")
@decoding
@options.cluster
@click.option("--stream", is_flag=True, help="Process one FILE chunk by chunk and print partial transcripts.")
@click.option(
    "--raw-rate",
    type=options.POSITIVE_INT,
    metavar="HZ",
    help="With --stream and FILE -: sample rate of the raw 16-bit little-endian mono samples on stdin.",
)
@options.batch_seconds
@options.device
@options.quiet
def transcribe(
    files: tuple[str, ...],
    listing: Path | None,
    decoding: DecodingOptions,
    stream: bool,
    raw_rate: int | None,
    strict: bool,
    quiet: bool,
    **values: Any,
) -> int:
    """Transcribe each FILE: a sound file, a folder, a quoted pattern such as 'talks/**/*.flac', or - (standard input).

    Without --out, transcripts are printed in the order of the files, one line per file: the text (txt), or an object
    with words, times and confidences (json). With --out, a file is written for each recording and format, in the
    same folder structure as the recordings; files that are up to date are skipped.

    A file that cannot be read is reported on stderr, and its output is an empty line (txt) or an object with the error
    (json). The other files are transcribed, and the exit code is 1. What can be read of a truncated or damaged file is
    transcribed, with a warning on stderr that says what is missing; --strict refuses the file.

    With --channels split, each channel has its own transcript: tab-separated lines FILE, CHANNEL, TEXT (txt), objects
    with "channel" (json), or with --out files that end in .1.txt and .2.txt.

    With --stream, one FILE is processed chunk by chunk by a streaming model.

    With --cluster, the files are divided among the nodes of a Ray cluster, which need the files and the model under the
    same paths; outputs are written here.
    """
    if values["cluster"] and (stream or values["jobs"]):
        raise click.UsageError(f"--cluster cannot be used with {'--stream' if stream else '--jobs'}")
    if stream:
        from asr.cli import stream as command

        return command.stream(files, raw_rate, values["model"], decoding, values["device"], strict, quiet)
    if raw_rate:
        raise click.UsageError("--raw-rate needs --stream")
    inputs = _inputs(files, listing)
    # Each job holds a batch in the device's memory, of which a GPU has less.
    most = sys.maxsize if values["device"] in (None, "cpu") else _GPU_JOBS
    values["jobs"] = values["jobs"] or min(os.cpu_count() or 1, most)
    # Texts that appear on the terminal show the progress.
    with libraries_silent(), Display(quiet or (values["out"] is None and sys.stdout.isatty())) as display:
        job = _Job(inputs, listing, display, decoding, strict=strict, **values)
        job.check()
        return job.run()


def _inputs(files: tuple[str, ...], listing: Path | None) -> "Inputs":
    from asr.recognition.inputs import STDIN, ListError, find_inputs, read_list

    if not files and listing is None:
        raise click.UsageError("Missing argument 'FILE...': sound files, folders, patterns, - or --list")
    if listing is None:
        return find_inputs(files)
    if str(listing) == STDIN and STDIN in files:
        raise click.UsageError("- and --list - are both standard input, which can be read only once")
    content = options.stdin().read() if str(listing) == STDIN else listing.read_bytes()
    try:
        listed = read_list(content)
    except ListError as error:
        raise ListError(f"{listing}: {error}") from None
    inputs = find_inputs(files, listed)
    if not listed:
        inputs.problems.append(f"{listing}: the list is empty")
    return inputs


@dataclass
class _Job:
    """The options of one command, and what is done."""

    inputs: "Inputs"
    listing: Path | None
    display: Display
    decoding: DecodingOptions
    formats: tuple[str, ...]
    out: Path | None
    force: bool
    nbest: int
    jobs: int
    model: Path
    vad: bool
    channels: str
    strict: bool
    audio_track: int
    batch_seconds: int | None
    device: str | None
    cluster: str | None
    where: Callable[[], str] = str
    stdout: TextIO = field(default_factory=lambda: sys.stdout)
    names: dict[Path, str] = field(default_factory=dict)
    done: int = 0
    failed: int = 0
    seconds: float = 0.0

    def check(self) -> None:
        """Raise UsageError for options that exclude each other."""
        from asr.recognition.inputs import STDIN, is_open_pipe
        from asr.transcripts import MULTI_RECORDING_FORMATS

        count, form = len(self.inputs.files), self.formats[0]
        for file in self.inputs.files if self.cluster else ():
            if str(file.path) == STDIN or is_open_pipe(file.path):
                raise click.UsageError(f"--cluster reads files that every node can open; {file.path} is none")
        if self.nbest > 1 and "json" not in self.formats:
            raise click.UsageError("--nbest needs --format json; the other formats have one text")
        if self.out is not None:
            return
        if self.force:
            raise click.UsageError("--force needs --out FOLDER; it has no effect on stdout")
        if len(self.formats) > 1:
            raise click.UsageError(f"--format {','.join(self.formats)}: several formats need --out FOLDER")
        if form not in MULTI_RECORDING_FORMATS and count > 1:
            raise click.UsageError(f"--format {form} with {count} recordings needs --out FOLDER")
        if self.channels == "split" and form not in (*MULTI_RECORDING_FORMATS, "textgrid"):
            raise click.UsageError(f"--format {form} with --channels split needs --out FOLDER")

    def run(self) -> int:
        """Transcribe all recordings; return the exit code."""
        pending = self.inputs.files
        folder = None
        if "ctm" in self.formats:
            from asr.transcripts.nist import recording_names

            paths = [file.path for file in pending]
            self.names = dict(zip(paths, recording_names(paths), strict=True))
        if self.out is not None:
            from asr.recognition.output_folder import OutputFolder

            folder = OutputFolder(self.out, self.formats, self._digest(), self.force, self.channels == "split")
            pending = folder.begin(pending, options.input_files())
        self.failed = len(self.inputs.problems)
        for problem in self.inputs.problems:
            self._report(problem)
        for note in self.inputs.notes:
            self.display.say(one_line(note))
        current = len(self.inputs.files) - len(pending)
        if current:
            self.display.say(f"{current} of {len(self.inputs.files)} recordings are up to date")
        if pending:
            from asr.recognition import load

            # Cores and threads are divided among the recordings that are left, not among those that are up to date.
            self.jobs = min(self.jobs, len(pending))
            recognizer = load(self.model, "cpu" if self.cluster else self.device or "cpu")
            # An estimate is enough to decide whether to compile the search; the headers would have to be read twice.
            seconds = sum(_size(file.path) for file in pending) / _BYTES_PER_SECOND
            here = 0.0 if self.cluster else seconds
            recognizer, _ = self.decoding.apply(recognizer, self.display, self.nbest, here)
            try:
                with _readable(pending) as paths, self._transcriber(recognizer, seconds) as transcriber:
                    self._transcribe(transcriber, pending, paths, folder)
            except KeyboardInterrupt:
                return self._stopped(len(pending), folder)
            finally:
                if folder:
                    folder.close()
        return self._finished(current)

    @contextmanager
    def _transcriber(self, recognizer: "Recognizer", seconds: float) -> Iterator[_Transcriber]:
        """Yield what transcribes files, here or on the cluster."""
        if self.cluster is None:
            yield lambda paths, settings, *report: recognizer.transcribe_files(paths, settings, self.jobs, *report)
            return
        from asr.cluster import Cluster

        spec = self.decoding.model_spec(recognizer, self.model, self.device or "cpu", self.nbest, seconds)
        with Cluster(self.cluster, self.device == "cuda", lambda note: self.display.say(one_line(note))) as cluster:
            self.where = cluster.progress
            yield partial(cluster.transcribe_files, spec)
            self.display.say(f"files of each node: {cluster.summary()}")

    def _transcribe(
        self, transcriber: _Transcriber, pending: "list[InputFile]", paths: list[Path], folder: "OutputFolder | None"
    ) -> None:
        from asr.recognition import TranscribeOptions
        from asr.transcripts import document

        settings = TranscribeOptions(
            words=self.formats != ("txt",),
            nbest=self.nbest,
            split_channels=self.channels == "split",
            vad=self.vad,
            strict=self.strict,
            audio_track=self.audio_track,
            batch_seconds=self.batch_seconds,
            threads=max(1, (os.cpu_count() or 1) // self.jobs),
        )
        progress = FileProgress(self.display, [_size(path) for path in paths], self.where)

        def save(index: int, results: "list[FileResult]") -> None:
            if folder and results[0].transcript:
                folder.save(pending[index], self._named(results, pending[index], paths[index]))

        transcribed = transcriber(paths, settings, progress.update, save)
        try:
            for index, results in enumerate(transcribed):
                results = self._named(results, pending[index], paths[index])  # noqa: PLW2901
                if results[0].transcript is None:
                    self.failed += 1
                    self._report(results[0].error)
                else:
                    self.done += 1
                    self.seconds += results[0].transcript.duration
                    self._warn(results)
                if folder is None:
                    # sys.stdout is not ours while a cluster is connected.
                    click.echo(document(results, self.formats[0], header=index == 0), self.stdout, nl=False)
                progress.finish(index)
        finally:
            progress.close()

    def _named(self, results: "list[FileResult]", file: "InputFile", path: Path) -> "list[FileResult]":
        """Return the results with the path that the user gave and the name in a CTM; standard input was copied."""
        audio, name = str(file.path), self.names.get(file.path, "")
        shown = audio if audio != "-" else "standard input"
        return [
            replace(result, audio=audio, id=name, error=result.error.replace(str(path), shown)) for result in results
        ]

    def _report(self, problem: str) -> None:
        self.display.say(f"asr: {one_line(problem)}", always=True)

    def _warn(self, results: "list[FileResult]") -> None:
        """Print the notes of a recording, which may differ between its channels."""
        notes = [note for result in results if result.transcript for note in result.transcript.notes]
        for note in dict.fromkeys(notes):
            self._report(f"warning: {results[0].audio}: {note}")

    def _stopped(self, total: int, folder: "OutputFolder | None") -> int:
        if folder:
            folder.close()  # before counting
        self.display.close()
        done = folder.saved if folder else self.done
        kept = f" and are kept in {self.out}; run the same command again to continue" if folder else ""
        click.echo(f"asr: stopped: {done} of {total} recordings were transcribed{kept}", err=True)
        return 130

    def _finished(self, current: int) -> int:
        self.display.close()
        total = len(self.inputs.files) + len(self.inputs.problems)
        if self.failed and total > 1:
            self.display.say(f"asr: {self.failed} of {total} files could not be transcribed")
        if self.out is not None and (self.done or current):
            up_to_date = f", {current} up to date" if current else ""
            click.echo(f"{self.out}: {self.done} transcribed ({self.seconds / 3600:.2f} hours){up_to_date}")
        return 1 if self.failed else 0

    def _digest(self) -> str:
        """Return a digest of all that the transcripts depend on besides the recordings."""
        from asr.files import sha256

        decoding = self.decoding
        files = [path for path in (decoding.file, decoding.lm, decoding.rescorer, decoding.pronunciations) if path]
        if decoding.file:
            from asr.decoding.decoder import read_settings

            settings = read_settings(decoding.file)
            named = (settings.lm, settings.rescorer, settings.pronunciations)
            files += [Path(name) for name in named if name and Path(name).exists()]
        stamps = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
        model, split = sha256(self.model), self.channels == "split"
        parts = [__version__, model, repr(decoding), stamps, self.nbest, self.vad, split, self.strict, self.audio_track]
        if decoding.hotwords:
            from asr.lm import espeak

            parts.append(espeak.is_installed())
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@contextmanager
def _readable(pending: "list[InputFile]") -> Iterator[list[Path]]:
    """Return the paths to read; pipes are copied to temporary files, since headers are read back and forth."""
    from asr.recognition.inputs import STDIN, is_open_pipe

    with ExitStack() as stack:
        paths: list[Path] = []
        for file in pending:
            if str(file.path) != STDIN and not is_open_pipe(file.path):
                paths.append(file.path)
                continue
            copied = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="asr-")), "file")
            source = options.stdin() if str(file.path) == STDIN else stack.enter_context(file.path.open("rb"))
            with copied.open("wb") as out:
                shutil.copyfileobj(source, out)
            paths.append(copied)
        yield paths


def _size(path: Path) -> int:
    try:
        return max(path.stat().st_size, 1)
    except OSError:
        return 1
