"""The timed formats of NIST's scoring tools.

CTM has a line `FILE CHANNEL START DURATION WORD [CONFIDENCE]` for each word, and STM a line
`FILE CHANNEL SPEAKER START END [<LABEL>] WORD WORD …` for each segment of the references.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from asr.files import below_common_folder
from asr.transcripts.alternatives import parse_alternatives
from asr.transcripts.records import FileResult
from asr.transcripts.rows import InputFile, TranscriptError, TranscriptRow, parse_number, parse_seconds, quoted
from asr.transcripts.timed_text import format_seconds, timed_words

# Text of segments that must not be scored.
_IGNORED = "ignore_time_segment_in_scoring"
_LABEL = re.compile(r"^<[^<>\s]*>(?:\s+|$)")


@dataclass(frozen=True, slots=True)
class CtmWord:
    """A word with its times in seconds; `confidence` is None where there is none."""

    file: str
    channel: str
    start: float
    duration: float
    text: str
    confidence: float | None
    row: int


def fits_ctm(file: InputFile) -> bool:
    """Return whether a file can be a CTM: in its channels, increasing times and confidences too."""
    rows = [row.split() for _, row in file.uncommented_rows]
    if not rows or not all(len(row) in (5, 6) and None not in map(parse_number, row[2:4]) for row in rows):
        return False
    confidences = [row[5] for row in rows if len(row) == 6 and row[5].upper() != "NA"]
    if not all((number := parse_number(text)) is not None and number <= 1 for text in confidences):
        return False
    return _are_channels(row[1] for row in rows) and _increase((row[0], row[1], row[2]) for row in rows)


def _are_channels(names: Iterable[str]) -> bool:
    """Return whether names are A and B, or numbers from 0 or 1 without gaps: others may be words of Kaldi's text."""
    channels = set(names)
    numbers = {int(name) for name in channels if name.isascii() and name.isdigit()}
    if len(numbers) == len(channels):
        return numbers in (set(range(len(numbers))), set(range(1, len(numbers) + 1)))
    return {name.upper() for name in channels} <= {"A", "B"}


def _increase(rows: Iterable[tuple[str, str, str]]) -> bool:
    """Return whether the start, the last cell, never decreases within a recording, the cells before it."""
    last: dict[tuple[str, str], float] = {}
    for recording, channel, start in rows:
        if float(start) < last.get((recording, channel), 0.0):
            return False
        last[recording, channel] = float(start)
    return True


def read_ctm(file: InputFile) -> list[CtmWord]:
    """Read the words in the order of the file. Raises TranscriptError."""
    words = []
    for number, row in file.uncommented_rows:
        location = file.at(number)
        cells = row.split()
        if len(cells) not in (5, 6):
            raise TranscriptError(
                f"{location}: {quoted(row)} has {len(cells)} columns; "
                "a CTM has FILE CHANNEL START DURATION WORD [CONFIDENCE]"
            )
        recording, channel, start, duration, text = cells[:5]
        confidence = None
        if len(cells) == 6 and cells[5].upper() != "NA":
            confidence = parse_number(cells[5])
            if confidence is None or confidence > 1:
                raise TranscriptError(f"{location}: confidence {quoted(cells[5])} is not a number from 0 to 1, nor NA")
        times = parse_seconds(location, "start", start), parse_seconds(location, "duration", duration)
        words.append(CtmWord(recording, channel, *times, text, confidence, number))
    if not words:
        raise TranscriptError(f"{file.name}: no words")
    return words


def join_recordings(words: list[CtmWord]) -> list[TranscriptRow]:
    """Join the words of each recording in the order of time.

    The id is FILE, or FILE-CHANNEL if any file has two channels.
    """
    recordings: dict[tuple[str, str], list[CtmWord]] = defaultdict(list)
    for word in words:
        recordings[word.file, word.channel].append(word)
    several = len({file for file, _ in recordings}) < len(recordings)
    return [_join("-".join(key) if several else key[0], words) for key, words in recordings.items()]


def join_segments(words: list[CtmWord], segments: list[TranscriptRow]) -> tuple[list[TranscriptRow], int]:
    """Join the words of each segment of an STM as sclite does, and count the words outside all segments.

    In the order of time, a word is in the first segment that ends after the middle of the word; a word after the last
    segment is in the last one. So each word is scored, those between segments as insertions. Recordings without any
    word are left out. Those without a segment are rows of their own.
    """
    by_recording: dict[tuple[str, str], list[TranscriptRow]] = defaultdict(list)
    for segment in sorted(segments, key=lambda segment: segment.start):
        if segment.recording:
            by_recording[segment.recording].append(segment)
    joined: dict[str, list[CtmWord]] = {}
    outside = 0
    for recording, spoken in _by_recording(words, by_recording).items():
        parts = by_recording.get(recording)
        if parts is None:
            joined["-".join(recording)] = spoken
            continue
        joined |= {segment.id: [] for segment in parts}
        index = 0
        for word in sorted(spoken, key=lambda word: word.start):
            middle = word.start + word.duration / 2
            while index < len(parts) - 1 and middle >= parts[index].start + parts[index].duration:
                index += 1
            joined[parts[index].id].append(word)
            outside += not parts[index].start <= middle <= parts[index].start + parts[index].duration
    return [_join(identity, words) for identity, words in joined.items()], outside


def _by_recording(words: list[CtmWord], recordings: Container[tuple[str, str]]) -> dict[tuple[str, str], list[CtmWord]]:
    """Return the words of each recording, under the name that the references have for it.

    Channels 1 and A are the same, 2 and B too.
    """
    joined: dict[tuple[str, str], list[CtmWord]] = defaultdict(list)
    for word in words:
        spellings = ((word.file, channel) for channel in (word.channel, *_other_channels(word.channel)))
        joined[next((name for name in spellings if name in recordings), (word.file, word.channel))].append(word)
    return joined


def _other_channels(channel: str) -> list[str]:
    """Return other spellings of a channel."""
    numbers, letters = "12345678", "ABCDEFGH"
    if channel.upper() in letters:
        return [channel.upper(), channel.lower(), numbers[letters.index(channel.upper())]]
    index = numbers.find(channel)
    return [letters[index], letters[index].lower()] if len(channel) == 1 and index >= 0 else []


def _join(identity: str, words: list[CtmWord]) -> TranscriptRow:
    words = sorted(words, key=lambda word: word.start)
    confidences = tuple(word.confidence for word in words if word.confidence is not None)
    return TranscriptRow(
        identity,
        " ".join(word.text for word in words),
        min((word.row for word in words), default=0),
        confidences=confidences if len(confidences) == len(words) else (),
    )


def fits_stm(file: InputFile) -> bool:
    """Return whether a file can be an STM: in its channels and increasing times too. Some segment must have words."""
    rows = [row.split(maxsplit=5) for _, row in file.uncommented_rows]
    if not all(len(row) >= 5 and None not in map(parse_number, row[3:5]) for row in rows):
        return False
    if not all(float(row[3]) < float(row[4]) for row in rows) or not any(len(row) == 6 for row in rows):
        return False
    return _are_channels(row[1] for row in rows) and _increase((row[0], row[1], row[3]) for row in rows)


def read_stm(file: InputFile) -> list[TranscriptRow]:
    """Read the segments.

    The id is FILE-CHANNEL-START-END as they are written, with -SPEAKER if speakers speak at the same time. Alternatives
    and optional words are parsed. Raises TranscriptError.
    """
    rows = []
    for number, row in file.uncommented_rows:
        location = file.at(number)
        cells = row.split(maxsplit=5)
        if len(cells) < 5:
            raise TranscriptError(
                f"{location}: {quoted(row)} has {len(cells)} columns; "
                "an STM has FILE CHANNEL SPEAKER START END [<LABEL>] WORD WORD …"
            )
        recording, channel, speaker, start, end = cells[:5]
        start_seconds, end_seconds = parse_seconds(location, "start", start), parse_seconds(location, "end", end)
        if end_seconds <= start_seconds:
            raise TranscriptError(f"{location}: end {quoted(end)} is not after start {quoted(start)}")
        text = _LABEL.sub("", "".join(cells[5:]))
        rows.append(
            TranscriptRow(
                id=f"{recording}-{channel}-{start}-{end}",
                text=text,
                row=number,
                speaker=speaker,
                duration=end_seconds - start_seconds,
                recording=(recording, channel),
                start=start_seconds,
                scored=_IGNORED not in text.casefold(),
                alternatives=parse_alternatives(location, text, optional=True),
            )
        )
    counts = Counter(row.id for row in rows)
    return [replace(row, id=f"{row.id}-{row.speaker}") if counts[row.id] > 1 else row for row in rows]


def recording_names(paths: Sequence[Path]) -> list[str]:
    """Return the names of recordings in CTM files that are written together. Each is different.

    A name is the stem of the file. If two files have the same stem, it is the path below the folder that contains all
    of them, without the suffix, and with it if these are equal too. Raises TranscriptError if two paths differ only in
    white space.
    """
    names: list[str] = []
    below = below_common_folder(paths)
    for choice in ([Path(path.stem) for path in paths], [path.with_suffix("") for path in below], below):
        names = [_cell(path.as_posix()) for path in choice]
        if len(set(names)) == len(names):
            return names
    first: dict[str, Path] = {}
    for name, path in zip(names, paths, strict=True):
        other = first.setdefault(name, path)
        if other is not path:
            raise TranscriptError(f"{other} and {path} would both be recording {quoted(name)} of a CTM; rename one")
    raise AssertionError(names)


def _cell(name: str) -> str:
    # Cells are separated by white space without any quotes, and ;; starts a comment.
    return re.sub(r"\s|^;", "_", name) or "_"


def format_ctm(result: FileResult) -> str:
    """Return a line for each word.

    FILE is the id of the result, or the stem of the audio; white space in it becomes `_`. Where words have no times,
    they share the duration of the recording equally.
    """
    name = _cell(result.id or Path(result.audio).stem)
    lines = []
    for entry in timed_words(result):
        confidence = "NA" if entry.confidence is None else f"{entry.confidence:.4f}"
        # Punctuation between spaces is no word.
        words = [word for word in entry.text.split() if any(map(str.isalnum, word))] or entry.text.split()
        edges = [entry.start + (entry.end - entry.start) * index // len(words) for index in range(len(words) + 1)]
        for word, start, end in zip(words, edges, edges[1:], strict=False):
            times = f"{format_seconds(start)} {format_seconds(end - start)}"
            lines.append(f"{name} {result.channel or 1} {times} {word} {confidence}\n")
    return "".join(lines)
