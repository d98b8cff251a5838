"""Ctrl-C and SIGTERM as a wish to stop, which is granted where it costs nothing."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import click


class Asked:
    """Remembers that the run should stop."""

    def __init__(self) -> None:
        self.yes = False

    def __call__(self) -> bool:
        return self.yes


@contextmanager
def stopping() -> Iterator[Asked]:
    """Turn the first Ctrl-C or SIGTERM into a wish to stop; the second ends the program as ever."""
    asked = Asked()

    def ask(number: int, frame: object) -> None:
        asked.yes = True
        for one, handler in before.items():
            signal.signal(one, handler)
        click.echo("stopping after this step; once more to stop at once", err=True)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
