"""Words with their times (CTM) and segments with their times (STM)."""

import math
import re
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from itertools import accumulate

from asr.transcripts.lines import refuse_alternatives
from asr.transcripts.record import Source, TranscriptError, TranscriptRow, shown, unique

# What NIST writes where a stretch is not to be scored.
_IGNORED = "IGNORE_TIME_SEGMENT_IN_SCORING"
_GAP = "inter_segment_gap"
_LABEL = re.compile(r"<[^<>]*>$")
_CTM = "FILE CHANNEL START DURATION WORD [CONFIDENCE]"
_STM = "FILE CHANNEL SPEAKER START END [<LABEL>] WORD WORD …"


@dataclass(frozen=True, slots=True)
class TimedWord:
    """A word of a CTM; times in seconds, `confidence` None where there is none."""

    file: str
    channel: str
    start: float
    duration: float
    text: str
    confidence: float | None
    row: int


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def is_ctm(line: str) -> bool:
    """Tell whether a line looks like one of a CTM."""
    cells = line.split()
    return len(cells) in (5, 6) and None not in (_number(cells[2]), _number(cells[3]))


def is_stm(line: str) -> bool:
    """Tell whether a line looks like one of an STM."""
    cells = line.split()
    return len(cells) >= 5 and None not in (_number(cells[3]), _number(cells[4]))


def _seconds(place: str, name: str, value: str) -> float:
    number = _number(value)
    if number is None:
        raise TranscriptError(f"{place}: {name} {shown(value)} is not a number of seconds, 0 or more")
    return number


def read_ctm(source: Source) -> list[TimedWord]:
    """Read the words of a CTM in the order of the file; lines of ;; are comments. Raises TranscriptError."""
    found = []
    for number, line in source.rows():
        if line.startswith(";;"):
            continue
        place = f"{source}, row {number}"
        cells = line.split()
        if len(cells) not in (5, 6):
            raise TranscriptError(f"{place}: {shown(line)} has {len(cells)} columns; meant is {_CTM}")
        file, channel, start, duration, text = cells[:5]
        confidence = None
        if len(cells) == 6 and cells[5].upper() != "NA":
            confidence = _number(cells[5])
            if confidence is None or confidence > 1:
                raise TranscriptError(f"{place}: confidence {shown(cells[5])} is not a number from 0 to 1, nor NA")
        times = _seconds(place, "start", start), _seconds(place, "duration", duration)
        found.append(TimedWord(file, channel, *times, text, confidence, number))
    if not found:
        raise TranscriptError(f"{source}: no words in it")
    return found


def _joined(identity: str, words: list[TimedWord]) -> TranscriptRow:
    words = sorted(words, key=lambda word: word.start)
    sure = tuple(word.confidence for word in words if word.confidence is not None)
    text = " ".join(word.text for word in words)
    row = min((word.row for word in words), default=0)
    return TranscriptRow(identity, text, row, confidences=sure if len(sure) == len(words) else ())


def by_recording(words: list[TimedWord]) -> list[TranscriptRow]:
    """Join words in the order of time: the id is the file, or FILE-CHANNEL where some file has two channels."""
    parts: dict[tuple[str, str], list[TimedWord]] = defaultdict(list)
    for word in words:
        parts[word.file, word.channel].append(word)
    several = len({file for file, _ in parts}) < len(parts)
    return [_joined("-".join(key) if several else key[0], part) for key, part in parts.items()]


def read_stm(source: Source) -> list[TranscriptRow]:
    """Read the segments of an STM; the id is FILE-CHANNEL-START-END as they are written. Raises TranscriptError."""
    found = []
    for number, line in source.rows():
        if line.startswith(";;"):
            continue
        place = f"{source}, row {number}"
        cells = line.split(maxsplit=5)
        if len(cells) < 5:
            raise TranscriptError(f"{place}: {shown(line)} has {len(cells)} columns; meant is {_STM}")
        file, channel, speaker, start, end = cells[:5]
        begin, stop = _seconds(place, "start", start), _seconds(place, "end", end)
        if stop <= begin:
            raise TranscriptError(f"{place}: end {shown(end)} is not after start {shown(start)}")
        text = cells[5] if len(cells) > 5 else ""
        first, _, rest = text.partition(" ")
        if _LABEL.match(first):
            text = rest.strip()
        refuse_alternatives(source, number, text)
        scored = speaker != _GAP and _IGNORED.casefold() not in text.casefold()
        found.append(
            TranscriptRow(
                id=f"{file}-{channel}-{start}-{end}",
                text=text,
                row=number,
                speaker=speaker,
                duration=stop - begin,
                recording=f"{file}-{channel}",
                start=begin,
                scored=scored,
            )
        )
    return unique(source, found)


def into_segments(words: list[TimedWord], segments: list[TranscriptRow]) -> tuple[list[TranscriptRow], int]:
    """Give each word to the segment that holds its middle; return the segments of the recordings that have words.

    Of segments that overlap, the one that begins last has the word. Also returned: how many words lie outside all.
    """
    parts: dict[str, list[TranscriptRow]] = defaultdict(list)
    for segment in sorted(segments, key=lambda one: one.start):
        parts[segment.recording].append(segment)
    ends = {name: list(accumulate((one.start + one.duration for one in part), max)) for name, part in parts.items()}
    starts = {name: [one.start for one in part] for name, part in parts.items()}
    held: dict[str, list[TimedWord]] = {}
    outside = 0
    for word in words:
        name = f"{word.file}-{word.channel}"
        middle = word.start + word.duration / 2
        for one in parts.get(name, []):
            held.setdefault(one.id, [])
        index = bisect_right(starts.get(name, []), middle) - 1
        # Once no earlier segment lasts this long, there is none.
        while index >= 0 and ends[name][index] >= middle:
            segment = parts[name][index]
            if middle <= segment.start + segment.duration:
                held[segment.id].append(word)
                break
            index -= 1
        else:
            outside += 1
    return [_joined(identity, part) for identity, part in held.items()], outside
