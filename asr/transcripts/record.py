"""A transcript with its id, and the file that it is from."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from asr.errors import AsrError
from asr.files import utf8_lines


class TranscriptError(AsrError):
    """Transcripts that cannot be read or matched; the message names file, row, value and mend."""


@dataclass(frozen=True, slots=True)
class TranscriptRow:
    """What was said or recognised, and in which row of the file it stands.

    `duration` in seconds, 0 where unknown. `confidences`: of each word, 0 to 1, or empty. Of a segment of an STM,
    `recording` is its file and channel, `start` its begin in seconds, `scored` whether it is meant to be scored.
    """

    id: str
    text: str
    row: int
    speaker: str = ""
    duration: float = 0.0
    confidences: tuple[float, ...] = ()
    recording: str = ""
    start: float = 0.0
    scored: bool = True


@dataclass(frozen=True)
class Source:
    """A file and what is in it: read once, as a pipe can be read no second time."""

    path: Path
    content: bytes

    def __str__(self) -> str:
        return str(self.path)

    def rows(self) -> Iterator[tuple[int, str]]:
        """Yield the rows that are not empty, with their numbers from 1. Raises EncodingError if one is not UTF-8."""
        for number, line in utf8_lines(self, self.content.split(b"\n")):
            # A table may have empty cells at both ends.
            if line.strip():
                yield number, line.strip(" \r\n")


def shown(value: str) -> str:
    """Return a value as a message shows it: quoted, and not too long."""
    return repr(value if len(value) <= 60 else f"{value[:57]}…")


def unique(source: Source, transcripts: Iterable[TranscriptRow]) -> list[TranscriptRow]:
    """Return transcripts of which no two have the same id. Raises TranscriptError, also where there are none."""
    seen: dict[str, int] = {}
    found = list(transcripts)
    for one in found:
        if one.id in seen:
            raise TranscriptError(
                f"{source}, row {one.row}: id {shown(one.id)} stands already in row {seen[one.id]}; "
                "remove one of them or give it an id of its own"
            )
        seen[one.id] = one.row
    if not found:
        raise TranscriptError(f"{source}: no transcripts in it")
    return found
