"""Texts with times in whole milliseconds, as the timed output formats need them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from asr.transcripts.records import FileResult, Segment, Transcript, Word

# Seconds given to a text without word times in a recording of unknown duration.
_DEFAULT_DURATION = 7.0


@dataclass(frozen=True)
class TimedText:
    """A text from `start` to `end` in milliseconds; the end is after the start."""

    start: int
    end: int
    text: str
    confidence: float | None = None


def timed_text(
    result: FileResult, parts: Callable[[Transcript], Sequence[Word | Segment]], untimed: str = ""
) -> list[TimedText]:
    """Return the words or segments that `parts` takes from the transcript, in order and without overlap.

    None ends after the recording, if its duration is known.
    A transcript without word times gives one entry over the whole recording, with its text or `untimed`. A failed file
    gives none.
    """
    transcript = result.transcript or Transcript("")
    text = " ".join(transcript.text.split())
    timed = [
        TimedText(round(1000 * part.start), round(1000 * part.end), part.text, part.confidence)
        for part in (parts(transcript) if transcript.words else ())
    ]
    if not timed and text:
        timed = [TimedText(0, round(1000 * (transcript.duration or _DEFAULT_DURATION)), untimed or text)]
    ordered: list[TimedText] = []
    for entry in timed:
        start = max(entry.start, ordered[-1].end if ordered else 0)
        ordered.append(TimedText(start, max(entry.end, start + 1), entry.text, entry.confidence))
    if transcript.duration:
        limit = round(1000 * transcript.duration)
        for index in range(len(ordered) - 1, -1, -1):
            entry = ordered[index]
            end = max(min(entry.end, limit), 1)
            limit = max(min(entry.start, end - 1), 0)
            ordered[index] = replace(entry, start=limit, end=end)
    return ordered


def timed_words(result: FileResult) -> list[TimedText]:
    """Return the words of a transcript."""
    return timed_text(result, lambda transcript: transcript.words)


def timed_segments(result: FileResult) -> list[TimedText]:
    """Return the segments of a transcript."""
    return timed_text(result, lambda transcript: transcript.segments)


def format_seconds(milliseconds: int) -> str:
    """Return seconds with three decimals."""
    return f"{milliseconds // 1000}.{milliseconds % 1000:03d}"
