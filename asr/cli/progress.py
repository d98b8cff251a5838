"""Progress on stderr: a bar with rate and time left on a terminal, plain lines elsewhere, nothing if quiet.

And the signals that stop a long command.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

# Seconds between two plain lines of one task.
_INTERVAL = 15.0
# The lines of a list of problems that are shown.
_LISTED = 10


def one_line(text: str) -> str:
    """Return a text with line ends, control and unprintable characters escaped: a file name may contain any."""
    return "".join(part if part.isprintable() else part.encode("unicode_escape").decode() for part in text)


def first_lines(lines: Sequence[str], hint: str, count: int = _LISTED) -> list[str]:
    """Return the first lines of a list, and one that says how many more there are; `hint`: what shows them."""
    more = len(lines) - count
    return [*lines[:count], *([f"… and {more} more ({hint})"] if more > 0 else [])]


@contextmanager
def libraries_silent() -> Iterator[None]:
    """Discard what C libraries write to stderr, such as libmpg123 for each damaged frame of an MP3 file.

    What Python writes to sys.stderr is still shown.
    """
    own = sys.stderr
    try:
        copy = os.dup(2)
    except OSError:  # there is no stderr
        yield
        return
    devnull_fd = os.open(os.devnull, os.O_WRONLY)
    try:
        if _number_of(own) == 2:
            sys.stderr = os.fdopen(copy, "w", 1, own.encoding, own.errors, closefd=False)
        os.dup2(devnull_fd, 2)
        yield
    finally:
        sys.stderr.flush()
        sys.stderr = own
        os.dup2(copy, 2)
        os.close(copy)
        os.close(devnull_fd)


def _number_of(stream: Any) -> int | None:
    try:
        return int(stream.fileno())
    except (AttributeError, OSError, ValueError):
        return None


@contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether Ctrl-C or SIGTERM was received; a second one ends the program."""
    received = threading.Event()

    def handle(number: int, frame: object) -> None:
        received.set()
        restore()
        click.echo("stopping after this step; press Ctrl-C again to stop at once", err=True)

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received.is_set
    finally:
        restore()


class Display:
    """Shows the progress of one task after the other. Its methods may be called from any thread."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self._bar: Any = None
        self._task: Any = None
        self._title = ""
        self._begin = self._shown = self._first = 0.0
        self._lock = threading.RLock()

    def __enter__(self) -> "Display":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the bar."""
        with self._lock:
            if self._bar is not None:
                self._bar.stop()
            self._bar, self._title = None, ""

    def say(self, message: str, always: bool = False) -> None:
        """Print a line to stderr; `always`: even if quiet."""
        if self.quiet and not always:
            return
        with self._lock:
            if self._bar is not None:
                self._bar.console.print(message, markup=False, highlight=False)
            else:
                click.echo(message, err=True)

    def update(self, title: str, done: float, total: float, unit: str = "", note: str = "") -> None:
        """Show that `done` of `total` units of a task are done; a new title begins a new task.

        The rate is shown in `unit` per second; without a unit, the note is shown instead.
        """
        if self.quiet or total <= 0:
            return
        with self._lock:
            self._show(title, done, total, unit, note)

    def _show(self, title: str, done: float, total: float, unit: str, note: str) -> None:
        now = time.monotonic()
        if title != self._title:
            self.close()
            self._title, self._begin, self._shown, self._first = title, now, now, done
            if sys.stderr.isatty():
                self._start(title, total, unit)
        # What was done at the start, such as the first part of a resumed download, does not count for the rate.
        rate = (done - self._first) / max(now - self._begin, 1e-6)
        if self._bar is not None:
            label = f"{_number(rate)} {unit}/s {note}" if unit else note
            self._bar.update(self._task, completed=done, total=total, rate=label)
            if done >= total:
                self.close()
        elif now - self._shown >= _INTERVAL and rate > 0:
            self._shown = now
            left = _time((total - done) / rate)
            label = f"{_number(rate)} {unit}/s, {left} left {note}".rstrip() if unit else f"{note}, {left} left"
            click.echo(f"{title}: {done / total:.0%}, {label}", err=True)

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


class FileProgress:
    """Shows how many files are done, weighted by their sizes in bytes. Its methods may be called from any thread.

    `where` returns what else to show, such as the nodes of a cluster.
    """

    def __init__(self, display: Display, sizes: Sequence[int], where: Callable[[], str] = str) -> None:
        self._display = display
        self._sizes = sizes
        self._where = where
        self._total = sum(sizes)
        self._lock = threading.Lock()
        self._begin = time.monotonic()
        self._files = 0
        # The bytes and the seconds of audio that are done, and those of each file in progress.
        self._done = self._seconds = 0.0
        self._parts: dict[int, tuple[float, float]] = {}
        self._closed = False
        self._display.update("transcribe", 0, self._total, note="")

    def update(self, index: int, share: float, duration: float) -> None:
        """Show that a share (0 to 1) of a file of this duration (s) is done."""
        with self._lock:
            self._set(index, share * self._sizes[index], share * duration)
            self._show()

    def finish(self, index: int) -> None:
        """Show that a file is done."""
        with self._lock:
            self._files += 1
            self._set(index, self._sizes[index], self._parts.get(index, (0.0, 0.0))[1])
            del self._parts[index]
            self._show()

    def close(self) -> None:
        """Show nothing from now on, whatever abandoned threads report."""
        with self._lock:
            self._closed = True

    def _set(self, index: int, size: float, seconds: float) -> None:
        # Without a sum over all files, of which a cluster may have many in progress.
        before = self._parts.get(index, (0.0, 0.0))
        self._parts[index] = size, seconds
        self._done += size - before[0]
        self._seconds += seconds - before[1]

    def _show(self) -> None:
        if self._closed:
            return
        speed = self._seconds / max(time.monotonic() - self._begin, 1e-6)
        files = f"{self._files} of {len(self._sizes)} files"
        note = f"{files}, {self._seconds / 3600:.2f} hours, {speed:.0f} × real time"
        if where := self._where():
            note = f"{note} ({where})"
        self._display.update("transcribe", self._done, self._total, note=note)


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
