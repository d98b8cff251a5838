"""Stop a training run after the current step on Ctrl-C or SIGTERM."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event

import click


@contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether Ctrl-C or SIGTERM was received; a second one ends the program."""
    received = Event()

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
