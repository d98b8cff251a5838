"""asr listen: live captions of the microphone."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Full, Queue
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

import click

from asr.cli import options
from asr.cli.decoding import DecodingOptions, decoding
from asr.cli.progress import Display, one_line, stop_signals
from asr.errors import AsrError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from asr.recognition.live import LiveResult

# Seconds of a chunk; chunks that may wait to be processed; seconds between two looks for Ctrl-C.
_CHUNK, _WAITING, _LOOK = 0.1, 1200, 0.2
_CLEAR = "\r\x1b[K"
# The level meter: its width, and the level in dB below full scale at which it is empty.
_METER, _QUIETEST = 10, -60.0


class MicrophoneError(AsrError):
    """A microphone that is missing or cannot be used."""


@click.command(cls=options.Command, short_help="Caption the microphone live.")
@options.model_or_default
@click.option("--devices", is_flag=True, help="List the microphones and exit.")
@click.option("--device-name", metavar="NAME", help="A microphone: its number, or a part of its name.")
@click.option(
    "--pause",
    type=options.FloatRange(0.1, 10),
    default=0.8,
    show_default=True,
    help="Seconds of silence that end a caption.",
)
@click.option(
    "--longest", type=options.FloatRange(2, 120), default=20, show_default=True, help="Longest caption, seconds."
)
@click.option(
    "--out",
    "outputs",
    type=options.OUTPUT,
    multiple=True,
    help="Save the transcript at the end; the suffix is the format: .txt, .json, .srt, .vtt, .ctm, .tsv, .TextGrid. "
    "May be repeated.",
)
@decoding
@options.device
@options.quiet
def listen(
    model: Path,
    devices: bool,
    device_name: str | None,
    pause: float,
    longest: float,
    outputs: tuple[Path, ...],
    decoding: DecodingOptions,
    device: str | None,
    quiet: bool,
) -> int:
    """Show what is said into the microphone while it is said, until Ctrl-C.

    On a terminal, the last line has the level and the text so far; otherwise, a line is printed at each pause.
    """
    sounddevice = _sounddevice()
    if devices:
        click.echo("\n".join(f"{one['index']}  {one_line(one['name'])}" for one in _microphones(sounddevice)))
        return 0
    formats = _formats(outputs)
    microphone = _choose(sounddevice, device_name)
    from asr import recognition
    from asr.files import write_text
    from asr.recognition.live import LiveOptions, joined
    from asr.transcripts import document
    from asr.transcripts.records import FileResult

    with Display(quiet) as display:
        recognizer, _ = decoding.apply(recognition.load(model, device or "cpu"), display)
    rate = round(microphone["default_samplerate"])
    live = recognizer.live(rate, LiveOptions(pause, longest))
    captions, finals = _Captions(sys.stdout.isatty()), []
    recording = _Recording(sounddevice, microphone["index"], rate)
    try:
        with stop_signals() as stopped:
            if not quiet:
                click.echo(f"asr: listening to {one_line(microphone['name'])}; Ctrl-C ends", err=True)
            for chunk in recording.chunks(stopped):
                results = live.feed(chunk, partial=captions.terminal and not recording.is_behind)
                finals += [result for result in results if result.final]
                captions.show(results, chunk)
    finally:
        # After an error, too, what was said is saved.
        results = live.finish()
        finals += results
        for path, format in formats.items() if live.seconds else ():
            write_text(path, document([FileResult("microphone", joined(finals, live.seconds))], format))
        captions.show(results)
    if recording.lost:
        click.echo(f"asr: warning: {recording.lost} times, audio was lost: the computer is too slow", err=True)
    if not stopped():
        raise MicrophoneError(f"{one_line(microphone['name'])}: the microphone has stopped")
    return 0


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ModuleNotFoundError as error:
        raise click.UsageError("sounddevice is missing; install it: pip install 'asr[live]'") from error
    except OSError as error:
        raise MicrophoneError(
            f"PortAudio cannot be used ({error}); install it, on Debian and Ubuntu: apt install libportaudio2"
        ) from error
    return sounddevice


def _formats(outputs: Sequence[Path]) -> dict[Path, str]:
    """Return the format of each output file. Raise UsageError for other suffixes and for files that exist."""
    from asr.transcripts import OUTPUT_FORMATS

    options.check_outputs(*outputs)
    formats = {path: path.suffix.removeprefix(".").lower() for path in outputs}
    for path, format in formats.items():
        if format not in OUTPUT_FORMATS:
            raise click.UsageError(f"--out {path}: the suffix is not one of .{', .'.join(OUTPUT_FORMATS)}")
        if path.is_file():
            raise click.UsageError(f"--out {path}: the file exists; choose another name")
    return formats


def _microphones(sounddevice: Any) -> list[dict[str, Any]]:
    try:
        found = [one for one in sounddevice.query_devices() if one["max_input_channels"] > 0]
    except sounddevice.PortAudioError as error:
        raise MicrophoneError(f"the microphones cannot be listed: {error}") from error
    if not found:
        raise MicrophoneError("no microphone was found; connect one, or allow this program to use it")
    return found


def _choose(sounddevice: Any, name: str | None) -> dict[str, Any]:
    """Return the microphone of a number or a part of its name, by default the system's."""
    found = _microphones(sounddevice)
    if name is None:
        default = sounddevice.default.device[0]
        return next((one for one in found if one["index"] == default), found[0])
    chosen = [one for one in found if name in (str(one["index"]), one["name"])]
    chosen = chosen or [one for one in found if name.casefold() in one["name"].casefold()]
    if len(chosen) != 1:
        problem = "fits several microphones" if chosen else "is not a microphone"
        names = ", ".join(f"{one['index']} ({one_line(one['name'])})" for one in chosen or found)
        raise click.UsageError(f"--device-name {name} {problem}: {names}")
    return chosen[0]


class _Recording:
    """The sound of a microphone. `lost`: how often audio was lost."""

    def __init__(self, sounddevice: Any, index: int, rate: int) -> None:
        self.lost = 0
        self._sounddevice, self._index, self._rate = sounddevice, index, rate
        self._waiting: Queue[NDArray[np.float32] | None] = Queue(_WAITING)

    @property
    def is_behind(self) -> bool:
        """Return whether audio waits to be processed."""
        return self._waiting.qsize() > 1

    def chunks(self, stopped: Callable[[], bool]) -> "Iterator[NDArray[np.float32]]":
        """Yield chunks (samples,) until `stopped()`, then those that wait; or until the microphone stops."""
        try:
            stream = self._sounddevice.InputStream(
                device=self._index,
                channels=1,
                samplerate=self._rate,
                blocksize=round(_CHUNK * self._rate),
                dtype="float32",
                callback=self._add,
                finished_callback=lambda: self._put(None),
            )
            with stream:
                while not stopped():
                    try:
                        chunk = self._waiting.get(timeout=_LOOK)
                    except Empty:
                        continue
                    if chunk is None:
                        return
                    yield chunk
        except self._sounddevice.PortAudioError as error:
            raise MicrophoneError(
                f"the microphone cannot be used: {error}; choose another with --device-name"
            ) from error
        while not self._waiting.empty():
            if (rest := self._waiting.get()) is not None:
                yield rest

    def _add(self, samples: "NDArray[np.float32]", frames: int, time: object, status: Any) -> None:
        # It runs in PortAudio's thread, and must not wait.
        self.lost += bool(status.input_overflow)
        self._put(samples[:, 0].copy())

    def _put(self, chunk: "NDArray[np.float32] | None") -> None:
        try:
            self._waiting.put_nowait(chunk)
        except Full:
            self.lost += 1


@dataclass
class _Captions:
    """Prints results: in place on a terminal, elsewhere only final ones."""

    terminal: bool
    partial: str = field(default="", init=False)

    def show(self, results: "Sequence[LiveResult]", chunk: "NDArray[np.float32] | None" = None) -> None:
        """Print results, and on a terminal the level of a chunk."""
        for result in results:
            self.partial = "" if result.final else result.text
            if result.final and result.text:
                click.echo(f"{_CLEAR if self.terminal else ''}{result.text}")
        if self.terminal:
            # The cursor cannot return to a previous line.
            width = max(1, get_terminal_size().columns - _METER - 4)
            click.echo(_CLEAR + (f"[{_meter(chunk)}] {self.partial[-width:]}" if chunk is not None else ""), nl=False)


def _meter(chunk: "NDArray[np.float32]") -> str:
    import numpy as np

    level = 10 * np.log10(max(float(np.mean(np.square(chunk))), 1e-12))
    return ("#" * round(_METER * min(max(1.0 - float(level) / _QUIETEST, 0.0), 1.0))).ljust(_METER)
