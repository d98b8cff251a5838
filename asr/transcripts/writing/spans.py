"""Whole milliseconds that every format can write: in order, and none of no length."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from asr.transcripts.records import Word
from asr.transcripts.segments import LIMITS, Segment, at_pauses, subtitles, wrap
from asr.transcripts.writing.record import Transcript

# Seconds that a text is shown whose times nobody asked for, in a recording of unknown length.
_SHOWN = 7.0


@dataclass(frozen=True)
class Span:
    """A text from one millisecond to another, later one."""

    start: int
    end: int
    text: str
    confidence: float | None = None


def words(transcript: Transcript) -> list[Span]:
    """Return the words of a transcript; where they have no times, one span of all the text over the recording."""
    return _spans(transcript, lambda found: found)


def segments(transcript: Transcript) -> list[Span]:
    """Return what was said between pauses; without times as `words`."""
    return _spans(transcript, at_pauses)


def cues(transcript: Transcript) -> list[Span]:
    """Return subtitles, with line feeds in their texts; without times as `words`."""
    return _spans(transcript, subtitles, "\n".join(wrap(transcript.text.split(), LIMITS.line_length)))


def _spans(
    transcript: Transcript,
    parted: Callable[[Sequence[Word]], Sequence[Word | Segment]],
    whole: str | None = None,
) -> list[Span]:
    said = transcript.hypothesis.words if transcript.hypothesis else ()
    if said:
        return _in_order(Span(_milli(one.start), _milli(one.end), one.text, one.confidence) for one in parted(said))
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
