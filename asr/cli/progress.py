"""Progress on stderr: a bar with rate and time left on a terminal, plain lines elsewhere, nothing if quiet."""

import sys
import time
from types import TracebackType
from typing import Any

import click

# Seconds between two plain lines of one task.
_INTERVAL = 15.0


class Display:
    """Shows how far one task after another has come. Use it as a context manager."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self._bar: Any = None
        self._task: Any = None
        self._title = ""
        self._begin = self._said = self._first = 0.0

    def __enter__(self) -> "Display":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
        self._bar, self._title = None, ""

    def say(self, message: str, always: bool = False) -> None:
        """Show a line that stays; `always`: also when quiet, for what is no mere progress."""
        if self.quiet and not always:
            return
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


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
