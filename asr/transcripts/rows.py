"""The rows of transcript files, and the file that a reader takes them from."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from asr.errors import AsrError


class TranscriptError(AsrError):
    """Raised for transcripts that cannot be read or matched; the message names file, row, value and mend."""


@dataclass(frozen=True, slots=True)
class TranscriptRow:
    """A reference or a hypothesis, and the row of the file that it is in.

    `duration` in seconds, 0 where unknown. `confidences` of the words, from 0 to 1, or empty. For a segment of an STM,
    `recording` is its file and channel, `start` is in seconds and `scored` is False if it must not be scored.
    `is_part`: whether it is a segment that has the id of its recording.
    `alternatives`: if the text has any, its parts in order, each with the texts that it may have.
    """

    id: str
    text: str
    row: int
    speaker: str = ""
    duration: float = 0.0
    confidences: tuple[float, ...] = ()
    recording: tuple[str, str] | None = None
    start: float = 0.0
    is_part: bool = False
    scored: bool = True
    alternatives: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class InputFile:
    """The name and the text of a file. It is read once, as a pipe cannot be read twice."""

    name: str
    text: str

    @cached_property
    def rows(self) -> list[tuple[int, str]]:
        """Return the rows that are not blank, numbered from 1."""
        # Tabs stay, as a table may start or end with empty cells.
        rows = enumerate((row.strip(" \r") for row in self.text.split("\n")), 1)
        return [(number, row) for number, row in rows if row.strip()]

    @property
    def uncommented_rows(self) -> list[tuple[int, str]]:
        """Return the rows without those that start with `;;`, which are comments in NIST's formats."""
        return [(number, row) for number, row in self.rows if not row.startswith(";;")]

    def at(self, row: int) -> str:
        """Return the location of a row, as it starts an error message."""
        return f"{self.name}, row {row}"


def quoted(value: object) -> str:
    """Return a value for an error message: quoted and at most 60 characters long."""
    return repr(f"{value[:57]}…" if isinstance(value, str) and len(value) > 60 else value)[:62]


def parse_number(value: Any) -> float | None:
    """Return a finite number that is not negative, or None."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if 0 <= number < math.inf and not isinstance(value, bool) else None


def parse_seconds(location: str, name: str, value: Any) -> float:
    """Return a number of seconds. Raises TranscriptError."""
    number = parse_number(value)
    if number is None:
        raise TranscriptError(f"{location}: {name} {quoted(value)} is not a number of seconds, 0 or more")
    return number


def check_rows(file: InputFile, rows: Iterable[TranscriptRow], hint: str = "") -> list[TranscriptRow]:
    """Return the rows. Raises TranscriptError, with a hint, if two have the same id, and if there are none."""
    checked: dict[str, TranscriptRow] = {}
    for row in rows:
        first = checked.setdefault(row.id, row)
        if first is not row:
            raise TranscriptError(
                f"{file.at(row.row)}: id {quoted(row.id)} is already in row {first.row}; "
                f"remove one of them or give it another id{hint}"
            )
    if not checked:
        raise TranscriptError(f"{file.name}: no transcripts")
    return list(checked.values())
