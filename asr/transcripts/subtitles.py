"""Subtitles: SubRip (srt) and WebVTT (vtt), and the layout of words in cues."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise

import srt

from asr.transcripts.records import LOW_CONFIDENCE, PAUSE, FileResult, Segment, Word, split_at_pauses
from asr.transcripts.timed_text import TimedText, timed_text

# The layout minimises a cost. Each cue costs 1; the weight of reading it too fast and its shortest display in seconds:
_READING_WEIGHT = 2.0
_SHORTEST = 1.0


@dataclass(frozen=True)
class SubtitleLimits:
    """The limits of a subtitle; a pause of `pause` seconds ends it.

    `line_length` in characters, `longest` in seconds, `reading_speed` in characters per second. `reading_speed` is a
    guideline: fast speech is written in full.
    """

    pause: float = PAUSE
    line_length: int = 42
    lines: int = 2
    longest: float = 7.0
    reading_speed: float = 17.0


LIMITS = SubtitleLimits()


def format_srt(result: FileResult) -> str:
    """Return SubRip subtitles, numbered from 1; nothing if the text is empty."""
    cues = [
        # SubRip has no escapes, and an arrow in a text may be read as part of a time line.
        srt.Subtitle(number, _time(cue.start), _time(cue.end), cue.text.replace("-->", "→"))
        for number, cue in enumerate(_timed_cues(result), 1)
    ]
    return str(srt.compose(cues, reindex=False)).removesuffix("\n")


def format_vtt(result: FileResult) -> str:
    """Return WebVTT subtitles (W3C, 2019); cues with a low confidence have the class `low`."""
    lines = ["WEBVTT\n"]
    for cue in _timed_cues(result):
        start, end = (srt.timedelta_to_srt_timestamp(_time(time)).replace(",", ".") for time in (cue.start, cue.end))
        text = cue.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        if cue.confidence is not None and cue.confidence < LOW_CONFIDENCE:
            text = f"<c.low>{text}</c>"
        lines.append(f"\n{start} --> {end}\n{text}\n")
    return "".join(lines)


def _time(milliseconds: int) -> timedelta:
    return timedelta(milliseconds=milliseconds)


def _timed_cues(result: FileResult) -> list[TimedText]:
    untimed = "\n".join(wrap(result.text.split(), LIMITS.line_length))
    return timed_text(result, lambda transcript: split_into_cues(transcript.words), untimed)


def split_into_cues(words: Sequence[Word], limits: SubtitleLimits = LIMITS) -> list[Segment]:
    """Return the words as cues within the limits, preferably split at pauses; line feeds separate their lines.

    A word that exceeds the limits has its own cue. A cue that cannot be read in the time of its words is displayed
    longer, until it can be read or the next one starts.
    """
    parts = [part for run in split_at_pauses(words, limits.pause) for part in _split_run(run, limits)]
    cues = []
    for index, part in enumerate(parts, 1):
        cue = Segment.from_words(part)
        display = min(max(len(cue.text) / limits.reading_speed, _SHORTEST), limits.longest)
        next_start = parts[index][0].start if index < len(parts) else cue.start + display
        end = max(cue.end, min(cue.start + display, next_start))
        cues.append(replace(cue, end=end, text="\n".join(wrap([word.text for word in part], limits.line_length))))
    return cues


def wrap(words: Sequence[str], length: int) -> list[str]:
    """Return the words in as few lines of at most `length` characters as possible, of similar lengths.

    A longer word has its own line.
    """
    lines = _fill_lines(words, length)
    longest_word = max(map(len, words), default=0)
    for width in range(min(longest_word, length), length):
        narrow = _fill_lines(words, width)
        if len(narrow) == len(lines):
            return narrow
    return lines


def _fill_lines(words: Sequence[str], length: int) -> list[str]:
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + 1 + len(word) <= length:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _split_run(run: Sequence[Word], limits: SubtitleLimits) -> Iterator[Sequence[Word]]:
    """Yield the parts of a run with the lowest total cost, found by dynamic programming over its words."""
    cost = [0.0] + [float("inf")] * len(run)
    begins = [0] * (len(run) + 1)
    for first in range(len(run)):
        for last in _possible_ends(run, first, limits):
            total = cost[first] + _cost(run, first, last, limits)
            if total < cost[last + 1]:
                cost[last + 1], begins[last + 1] = total, first
    ends = [len(run)]
    while ends[-1]:
        ends.append(begins[ends[-1]])
    for end, first in reversed(list(pairwise(ends))):
        yield run[first:end]


def _possible_ends(run: Sequence[Word], first: int, limits: SubtitleLimits) -> Iterator[int]:
    """Yield the index of each word that may end a cue starting with the word `first`."""
    yield first
    lines, remaining = 1, limits.line_length - len(run[first].text)
    if remaining < 0:
        return
    for last in range(first + 1, len(run)):
        length = len(run[last].text)
        if remaining > length:
            remaining -= length + 1
        else:
            lines, remaining = lines + 1, limits.line_length - length
        if remaining < 0 or lines > limits.lines or run[last].end - run[first].start > limits.longest:
            return
        yield last


def _cost(run: Sequence[Word], first: int, last: int, limits: SubtitleLimits) -> float:
    """Return the cost of a cue: 1, plus penalties for a short pause after it, fast reading and a short display."""
    following = run[last + 1] if last + 1 < len(run) else None
    display = following.start - run[first].start if following else limits.longest
    pause = 1.0 - min((following.start - run[last].end) / limits.pause, 1.0) if following else 0.0
    length = sum(len(word.text) + 1 for word in run[first : last + 1]) - 1
    excess = max(0.0, length / limits.reading_speed / max(display, 0.001) - 1.0)
    return 1.0 + pause + _READING_WEIGHT * min(excess, 1.0) + max(0.0, _SHORTEST - display)
