"""asr transcribe --stream: a recording, or raw samples as they come on stdin, chunk by chunk."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

import click

from asr.cli.decoding import DecodingOptions
from asr.cli.progress import Display

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from asr.recognition.streaming import Stream
    from asr.transcripts.records import Hypothesis

# Seconds of sound in a chunk.
CHUNK = 0.1
_STDIN = "-"
_CLEAR = "\r\x1b[K"
_KNOWN = {
    *("files", "model", "device", "quiet", "stream", "raw_rate", "greedy", "decoder", "beam_width", "lm", "lm_weight"),
    *("word_bonus", "hotwords", "rescorer", "rescorer_weight", "known_words"),
}


@dataclass(frozen=True)
class Streaming:
    """What was asked for; `raw_rate` in Hz."""

    stream: bool
    raw_rate: int | None

    def check(self, files: tuple[str, ...]) -> None:
        """Raise click.UsageError for options that do not go together."""
        if self.raw_rate and not self.stream:
            raise click.UsageError("--raw-rate is of --stream")
        if not self.stream:
            return
        context = click.get_current_context()
        for parameter in context.command.params:
            name = parameter.name or ""
            if name not in _KNOWN and context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
                raise click.UsageError(f"{parameter.opts[0]} does not go with --stream, which writes the text alone")
        if len(files) != 1:
            raise click.UsageError(f"--stream takes one FILE, not {len(files)}")
        if (files[0] == _STDIN) != bool(self.raw_rate):
            raise click.UsageError(
                "--stream and --raw-rate HZ go with the FILE -, raw 16-bit little-endian mono samples on stdin; "
                "of a sound file the rate is known"
            )

    def run(self, path: Path, model: Path, decoding: DecodingOptions, device: str | None, quiet: bool) -> int:
        """Write the text of one file while it is heard; return the exit code."""
        from asr import audio, recognition

        _prepare_for_small_steps()
        recognizer = recognition.load(model, device or "cpu")
        with Display(quiet or sys.stdout.isatty()) as display:
            recognizer, how = decoding.apply(recognizer, display)
        rate = self.raw_rate or audio.info(path).sample_rate
        stream = recognizer.stream(rate)
        source = _Raw(rate) if self.raw_rate else _recorded(path, rate)
        times = _follow(stream, source, _Writer(sys.stdout.isatty(), grows=how == "greedy"))
        if not quiet:
            click.echo(_told(stream, times), err=True)
        if not stream.seconds:
            raise audio.AudioError(f"{path}: 0 samples")
        if isinstance(source, _Raw) and source.rest:
            raise audio.AudioError(f"{path}: ended in the middle of a sample, which is two bytes")
        return 0


def streaming(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of Streaming, and the parameter `streaming` in their place."""

    @click.option("--stream", is_flag=True, help="Hear one FILE chunk by chunk and write the text as it grows.")
    @click.option(
        "--raw-rate",
        type=click.IntRange(min=1),
        metavar="HZ",
        help="With --stream and the FILE -: raw 16-bit little-endian mono samples on stdin.",
    )
    @wraps(command)
    def gathered(**given: Any) -> Any:
        chosen = Streaming(given.pop("stream"), given.pop("raw_rate"))
        chosen.check(given["files"])
        return command(**given, streaming=chosen)

    return gathered


def _prepare_for_small_steps() -> None:
    """Set torch up for a few frames at a time, which is not what it is made for.

    Threads would wait for one another longer than they compute, and oneDNN would sort all weights anew for each chunk:
    a chunk takes a tenth of the time without the first, and with large models a fifth without the second.
    """
    import torch

    torch.set_num_threads(1)
    torch.backends.mkldnn.set_flags(False)  # type: ignore[no-untyped-call]


def _recorded(path: Path, rate: int) -> "Iterator[NDArray[np.float32]]":
    from asr import audio

    waveform = audio.load(path, rate)
    size = round(CHUNK * rate)
    return (waveform[start : start + size] for start in range(0, len(waveform), size))


@dataclass
class _Raw:
    """The samples that come on stdin, as soon as they are there; `rest`: bytes that are no whole sample yet."""

    rate: int
    rest: bytes = b""

    def __iter__(self) -> "Iterator[NDArray[np.int16]]":
        import numpy as np

        # Read what is there; a plain read would wait for the whole of a chunk.
        stdin: Any = sys.stdin.buffer
        while data := stdin.read1(2 * round(CHUNK * self.rate)):
            data = self.rest + data
            whole = len(data) - len(data) % 2
            self.rest = data[whole:]
            yield np.frombuffer(data[:whole], "<i2").astype(np.int16)


def _follow(stream: "Stream", chunks: "Iterable[NDArray[Any]]", writer: "_Writer") -> list[float]:
    """Feed a stream and write its text; return the seconds that each chunk took."""
    times: list[float] = []
    try:
        for chunk in chunks:
            begin = time.perf_counter()
            text = stream.feed(chunk)
            times.append(time.perf_counter() - begin)
            writer.partial(text)
    finally:
        # What was heard until Ctrl-C is not lost.
        writer.final(stream.finish())
    return times


@dataclass
class _Writer:
    """Writes text that grows to stdout: in place on a terminal, and elsewhere each word on its line.

    Where the final text need not be the partial one (`grows` is False), only a terminal gets both.
    """

    terminal: bool
    grows: bool
    shown: str = field(default="", init=False)

    def partial(self, text: str) -> None:
        """Show the text so far."""
        if text == self.shown:
            return
        if self.terminal:
            # The cursor cannot go back over the end of a line.
            width = get_terminal_size().columns - 1
            click.echo(_CLEAR + text[-width:], nl=False)
            self.shown = text
        elif self.grows and (words := text[len(self.shown) :].rpartition(" ")[0]):
            click.echo(words.lstrip())
            self.shown = text[: len(self.shown) + len(words)]

    def final(self, hypothesis: "Hypothesis") -> None:
        """Write what is left, or on a terminal the whole text."""
        if self.terminal:
            click.echo(_CLEAR + hypothesis.text)
        elif rest := hypothesis.text[len(self.shown) :].strip():
            click.echo(rest)


def _told(stream: "Stream", times: list[float]) -> str:
    if not times:
        return "nothing was heard"
    ordered = sorted(times)
    speed = stream.seconds / max(sum(times), 1e-9)
    milliseconds = [1000 * value for value in (stream.latency, stream.seconds / len(times))]
    computing = [1000 * value for value in (ordered[len(ordered) // 2], ordered[-1])]
    return (
        f"latency: a sound waits up to {milliseconds[0]:.0f} ms for the sound after it (the model's frames and "
        f"windows), up to {milliseconds[1]:.0f} ms for the end of its chunk, and for the computing of a chunk, "
        f"{computing[0]:.1f} ms (median; longest {computing[1]:.1f}); {speed:.0f} x real time"
    )
