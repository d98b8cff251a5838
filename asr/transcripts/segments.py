"""Words with their times -> segments: what was said without a pause, and subtitles that can be read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from asr.transcripts.records import PAUSE, Segment, Word, split_at_pauses

# What counts against a subtitle, beside the one that each counts: how fast it must be read, and how briefly it shows.
_HASTE = 2.0
_SHORTEST = 1.0


@dataclass(frozen=True)
class SubtitleLimits:
    """How much a subtitle may hold: characters in a line, lines, seconds; and the characters a second one can read.

    A pause of `pause` seconds ends a subtitle. `reading_speed` is a guideline: who speaks fast is written in full.
    """

    pause: float = PAUSE
    line_length: int = 42
    lines: int = 2
    longest: float = 7.0
    reading_speed: float = 17.0

    def __post_init__(self) -> None:
        for name in ("pause", "line_length", "lines", "longest", "reading_speed"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} = {getattr(self, name)} is not more than 0")


LIMITS = SubtitleLimits()


def subtitles(words: Sequence[Word], limits: SubtitleLimits = LIMITS) -> list[Segment]:
    """Return the words in their order, parted into subtitles within the limits and, best, at pauses between words.

    A word that is beyond the limits has one of its own. A subtitle that was said faster than it can be read stays
    after its last word, until it is read or the next one begins.
    """
    found = [part for run in split_at_pauses(words, limits.pause) for part in _parted(run, limits)]
    held = []
    for number, part in enumerate(found, 1):
        cue = Segment.from_words(part)
        lasting = min(max(len(cue.text) / limits.reading_speed, _SHORTEST), limits.longest)
        until = found[number][0].start if number < len(found) else cue.start + lasting
        end = max(cue.end, min(cue.start + lasting, until))
        held.append(replace(cue, end=end, text="\n".join(wrap([word.text for word in part], limits.line_length))))
    return held


def wrap(words: Sequence[str], length: int) -> list[str]:
    """Return the words in as few lines of at most `length` characters as hold them, the lines as even as can be.

    A longer word has a line of its own.
    """
    lines = _filled(words, length)
    shortest = max(map(len, words), default=0)
    for width in range(min(shortest, length), length):
        even = _filled(words, width)
        if len(even) == len(lines):
            return even
    return lines


def _filled(words: Sequence[str], length: int) -> list[str]:
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + 1 + len(word) <= length:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _parted(run: Sequence[Word], limits: SubtitleLimits) -> Iterator[Sequence[Word]]:
    """Yield the parts of a run which together cost least, found by dynamic programming from its first word on."""
    cost = [0.0] + [float("inf")] * len(run)
    begins = [0] * (len(run) + 1)
    for first in range(len(run)):
        for last in _reach(run, first, limits):
            total = cost[first] + _cost(run, first, last, limits)
            if total < cost[last + 1]:
                cost[last + 1], begins[last + 1] = total, first
    ends = [len(run)]
    while ends[-1]:
        ends.append(begins[ends[-1]])
    for end, first in reversed(list(pairwise(ends))):
        yield run[first:end]


def _reach(run: Sequence[Word], first: int, limits: SubtitleLimits) -> Iterator[int]:
    """Yield each word with which a subtitle that begins with the word `first` may end."""
    yield first
    lines, room = 1, limits.line_length - len(run[first].text)
    if room < 0:
        return
    for last in range(first + 1, len(run)):
        length = len(run[last].text)
        if room > length:
            room -= length + 1
        else:
            lines, room = lines + 1, limits.line_length - length
        if room < 0 or lines > limits.lines or run[last].end - run[first].start > limits.longest:
            return
        yield last


def _cost(run: Sequence[Word], first: int, last: int, limits: SubtitleLimits) -> float:
    """Return how bad it is to have these words as one subtitle: one, the pause it lacks, haste and briefness."""
    following = run[last + 1] if last + 1 < len(run) else None
    shown = following.start - run[first].start if following else limits.longest
    lack = 1.0 - min((following.start - run[last].end) / limits.pause, 1.0) if following else 0.0
    length = sum(len(word.text) + 1 for word in run[first : last + 1]) - 1
    haste = max(0.0, length / limits.reading_speed / max(shown, 0.001) - 1.0)
    return 1.0 + lack + _HASTE * min(haste, 1.0) + max(0.0, _SHORTEST - shown)
