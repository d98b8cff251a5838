"""Whole milliseconds that every format can write: in order, and none of no length."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from asr.transcripts.records import FileResult, Segment, Transcript, Word
from asr.transcripts.segments import LIMITS, subtitles, wrap

# Seconds that a text is shown whose times nobody asked for, in a recording of unknown length.
_SHOWN = 7.0


@dataclass(frozen=True)
class Span:
    """A text from one millisecond to another, later one."""

    start: int
    end: int
    text: str
    confidence: float | None = None


def words(result: FileResult) -> list[Span]:
    """Return the words of a transcript; where they have no times, one span of all the text over the recording."""
    return _spans(result, lambda transcript: transcript.words)


def segments(result: FileResult) -> list[Span]:
    """Return what was said between pauses; without times as `words`."""
    return _spans(result, lambda transcript: transcript.segments)


def cues(result: FileResult) -> list[Span]:
    """Return subtitles, with line feeds in their texts; without times as `words`."""
    whole = "\n".join(wrap(result.text.split(), LIMITS.line_length))
    return _spans(result, lambda transcript: subtitles(transcript.words), whole)


def _spans(
    result: FileResult, parted: Callable[[Transcript], Sequence[Word | Segment]], whole: str | None = None
) -> list[Span]:
    transcript = result.transcript or Transcript("")
    if transcript.words:
        return _in_order(
            Span(_milli(one.start), _milli(one.end), one.text, one.confidence) for one in parted(transcript)
        )
    text = " ".join(transcript.text.split())
    return _in_order([Span(0, _milli(transcript.duration or _SHOWN), whole or text)]) if text else []


def _milli(seconds: float) -> int:
    return round(seconds * 1000)


def _in_order(found: Iterable[Span]) -> list[Span]:
    held: list[Span] = []
    for one in found:
        start = max(one.start, held[-1].end if held else 0)
        held.append(Span(start, max(one.end, start + 1), one.text, one.confidence))
    return held
