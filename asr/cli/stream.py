"""asr transcribe --stream: a recording, or raw samples on stdin, processed chunk by chunk."""

import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

import click

from asr.cli import options
from asr.cli.decoding import DecodingOptions
from asr.cli.progress import Display, one_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from asr.recognition.streaming import Stream
    from asr.transcripts.records import Transcript

# Seconds of sound in a chunk.
CHUNK = 0.1
_STDIN = "-"
_CLEAR = "\r\x1b[K"
_KNOWN = {
    *("files", "model", "device", "quiet", "stream", "raw_rate", "greedy", "decoder", "beam_width", "lm", "lm_weight"),
    *("word_bonus", "hotwords", "rescorer", "rescorer_weight", "pronunciations", "known_words", "strict"),
}


def stream(
    files: tuple[str, ...],
    raw_rate: int | None,
    model: Path,
    decoding: DecodingOptions,
    device: str | None,
    strict: bool,
    quiet: bool,
) -> int:
    """Print the text of one file while it is processed; return the exit code. `raw_rate` is in Hz."""
    _check(files, raw_rate)
    from asr import audio, recognition

    recognizer = recognition.load(model, device or "cpu")
    with Display(quiet or sys.stdout.isatty()) as display:
        recognizer, _ = decoding.apply(recognizer, display)
    if raw_rate:
        rate = raw_rate
        chunks: Any = _RawSamples(rate)
    else:
        with audio.AudioReader(files[0], strict=strict) as reader:
            rate = reader.info.sample_rate
            waveform = reader.read(rate)
        for note in reader.notes:
            click.echo(f"asr: warning: {one_line(f'{files[0]}: {note}')}", err=True)
        size = round(CHUNK * rate)
        chunks = (waveform[start : start + size] for start in range(0, len(waveform), size))
    audio_stream = recognizer.stream(rate)
    times = _feed(audio_stream, chunks, _Writer(sys.stdout.isatty()))
    if not quiet:
        click.echo(_latency(audio_stream, times), err=True)
    if not audio_stream.seconds:
        raise audio.AudioError(f"{files[0]}: 0 samples")
    if raw_rate and chunks.rest:
        raise audio.AudioError(f"{files[0]}: ended in the middle of a sample (two bytes)")
    return 0


def _check(files: tuple[str, ...], raw_rate: int | None) -> None:
    context = click.get_current_context()
    for parameter in context.command.params:
        name = parameter.name or ""
        if name not in _KNOWN and context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{parameter.opts[0]} cannot be used with --stream, which writes only the text")
    if len(files) != 1:
        raise click.UsageError(f"--stream takes one FILE, not {len(files)}")
    if (files[0] == _STDIN) != bool(raw_rate):
        raise click.UsageError(
            "--stream reads raw 16-bit little-endian mono samples from stdin with FILE - and --raw-rate HZ; "
            "a sound file needs no --raw-rate"
        )


@dataclass
class _RawSamples:
    """Samples from stdin, as soon as they arrive; `rest`: bytes of an incomplete sample."""

    rate: int
    rest: bytes = b""

    def __iter__(self) -> "Iterator[NDArray[np.int16]]":
        import numpy as np

        # Read what has arrived; a plain read would wait for a whole chunk.
        stdin: Any = options.stdin()
        while data := stdin.read1(2 * round(CHUNK * self.rate)):
            data = self.rest + data
            whole = len(data) - len(data) % 2
            self.rest = data[whole:]
            yield np.frombuffer(data[:whole], "<i2").astype(np.int16)


def _feed(stream: "Stream", chunks: "Iterable[NDArray[Any]]", writer: "_Writer") -> list[float]:
    """Feed a stream and print its text; return the seconds that each chunk took."""
    times: list[float] = []
    try:
        for chunk in chunks:
            begin = time.perf_counter()
            text = stream.feed(chunk)
            times.append(time.perf_counter() - begin)
            writer.partial(text, stream.stable)
    finally:
        # After Ctrl-C, the text so far is printed.
        writer.final(stream.finish())
    return times


@dataclass
class _Writer:
    """Prints a growing text: in place on a terminal, elsewhere each word on a line once it does not change."""

    terminal: bool
    shown: str = field(default="", init=False)

    def partial(self, text: str, stable: str) -> None:
        """Print the text so far, of which the words `stable` do not change."""
        if self.terminal and text != self.shown:
            # The cursor cannot return to a previous line.
            width = get_terminal_size().columns - 1
            click.echo(_CLEAR + text[-width:], nl=False)
            self.shown = text
        elif not self.terminal and stable != self.shown:
            click.echo(stable[len(self.shown) :].strip())
            self.shown = stable

    def final(self, transcript: "Transcript") -> None:
        """Print the rest of the text, or the whole text on a terminal."""
        if self.terminal:
            click.echo(_CLEAR + transcript.text)
        elif rest := transcript.text[len(self.shown) :].strip():
            click.echo(rest)


def _latency(stream: "Stream", times: list[float]) -> str:
    if not times:
        return "no audio was received"
    ordered = sorted(times)
    speed = stream.seconds / max(sum(times), 1e-9)
    model, chunk = 1000 * stream.latency, 1000 * stream.seconds / len(times)
    median, longest = 1000 * ordered[len(ordered) // 2], 1000 * ordered[-1]
    return (
        f"latency: up to {model:.0f} ms until the frames of the model are complete, up to {chunk:.0f} ms until the "
        f"chunk is complete, {median:.1f} ms (median; longest {longest:.1f}) to compute it; {speed:.0f} x real time"
    )
