"""Progress on stderr: a bar with rate and time left on a terminal, plain lines elsewhere, nothing if quiet."""

import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import click

# Seconds between two plain lines of one task.
_INTERVAL = 15.0


def one_line(text: str) -> str:
    """Return a text with escapes for what would end its line, steer a terminal or cannot be shown: names may be any."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


@contextmanager
def libraries_silent() -> Iterator[None]:
    """Keep from stderr what libraries written in C tell it on their own, libmpg123 of each damaged frame of an MP3.

    What Python writes to sys.stderr is shown as ever.
    """
    own = sys.stderr
    try:
        shown = os.dup(2)
    except OSError:  # there is no stderr
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        if _number_of(own) == 2:
            sys.stderr = os.fdopen(shown, "w", 1, own.encoding, own.errors, closefd=False)
        os.dup2(nowhere, 2)
        yield
    finally:
        sys.stderr.flush()
        sys.stderr = own
        os.dup2(shown, 2)
        os.close(shown)
        os.close(nowhere)


def _number_of(stream: Any) -> int | None:
    try:
        return int(stream.fileno())
    except (AttributeError, OSError, ValueError):
        return None


class Display:
    """Shows how far one task after another has come, told from any thread. Use it as a context manager."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self._bar: Any = None
        self._task: Any = None
        self._title = ""
        self._begin = self._said = self._first = 0.0
        self._lock = threading.RLock()

    def __enter__(self) -> "Display":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar away."""
        with self._lock:
            if self._bar is not None:
                self._bar.stop()
            self._bar, self._title = None, ""

    def say(self, message: str, always: bool = False) -> None:
        """Show a line that stays; `always`: also when quiet, for what is no mere progress."""
        if self.quiet and not always:
            return
        with self._lock:
            if self._bar is not None:
                self._bar.console.print(message, markup=False, highlight=False)
            else:
                click.echo(message, err=True)

    def update(self, title: str, done: float, total: float, unit: str = "", note: str = "") -> None:
        """Show that `done` of `total` units of the task are done; a new title begins a new task.

        Without a `unit` the note tells what the rate would.
        """
        if self.quiet or total <= 0:
            return
        with self._lock:
            self._show(title, done, total, unit, note)

    def _show(self, title: str, done: float, total: float, unit: str, note: str) -> None:
        now = time.monotonic()
        if title != self._title:
            self.close()
            self._title, self._begin, self._said, self._first = title, now, now, done
            if sys.stderr.isatty():
                self._start(title, total, unit)
        # What was there at the start, the first part of a resumed download for one, says nothing of the rate.
        rate = (done - self._first) / max(now - self._begin, 1e-6)
        if self._bar is not None:
            told = f"{_number(rate)} {unit}/s {note}" if unit else note
            self._bar.update(self._task, completed=done, total=total, rate=told)
            if done >= total:
                self.close()
        elif now - self._said >= _INTERVAL and rate > 0:
            self._said = now
            left = _time((total - done) / rate)
            told = f"{_number(rate)} {unit}/s, {left} left {note}".rstrip() if unit else f"{note}, {left} left"
            click.echo(f"{title}: {done / total:.0%}, {told}", err=True)

    def _start(self, title: str, total: float, unit: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task(title, total=total, rate="")
        self._bar.start()


class Recordings:
    """How far recordings of these sizes are, told from any thread."""

    def __init__(self, display: Display, sizes: Sequence[int]) -> None:
        self._display = display
        self._sizes = sizes
        self._lock = threading.Lock()
        self._begin = time.monotonic()
        self._done = 0
        self._seconds = 0.0
        # Of those that are worked on: the share of the size, and the seconds, that are done.
        self._parts: dict[int, tuple[float, float]] = {}
        self._number = 0
        self._closed = False
        self._total = sum(sizes)
        self._display.update("transcribe", 0, self._total, note="")

    def part(self, index: int, share: float, seconds: float) -> None:
        """Tell the share that is done of one that is worked on; `seconds` of all of it."""
        with self._lock:
            if not self._closed:
                self._parts[index] = (share * self._sizes[index], share * seconds)
                self._show()

    def done(self, index: int, seconds: float) -> None:
        """Tell that one is done."""
        with self._lock:
            self._parts.pop(index, None)
            self._number += 1
            self._done += self._sizes[index]
            self._seconds += seconds
            self._show()

    def close(self) -> None:
        """Show no more, whatever is told by threads that were left behind."""
        with self._lock:
            self._closed = True

    def _show(self) -> None:
        done = self._done + sum(size for size, _ in self._parts.values())
        seconds = self._seconds + sum(part for _, part in self._parts.values())
        speed = seconds / max(time.monotonic() - self._begin, 1e-6)
        files = f"{self._number} of {len(self._sizes)} files"
        note = f"{files}, {seconds / 3600:.2f} hours, {speed:.0f} × real time"
        self._display.update("transcribe", done, self._total, note=note)


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
