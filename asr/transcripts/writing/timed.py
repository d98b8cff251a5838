"""Transcripts -> words and segments with their times: ctm, tsv and Praat's TextGrid."""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from asr.transcripts.records import FileResult
from asr.transcripts.writing import spans
from asr.transcripts.writing.lines import cell
from asr.transcripts.writing.spans import Span

_TSV_HEAD = ("audio", "start", "end", "confidence", "text")


def ctm(result: FileResult) -> str:
    """Return a line FILE CHANNEL START DURATION WORD CONFIDENCE for each word (NIST).

    FILE is the utterance's id, or the stem of the name. White space in it becomes `_`: cells are parted by it, and CTM
    has no quotes.
    """
    name = re.sub(r"\s|^;", "_", result.id or Path(result.audio).stem) or "_"
    lines = []
    for one in spans.words(result):
        sure = "NA" if one.confidence is None else f"{one.confidence:.4f}"
        for word, part in _shared(one):
            times = f"{_seconds(part.start)} {_seconds(part.end - part.start)}"
            lines.append(f"{name} {result.channel or 1} {times} {word} {sure}\n")
    return _escaped("".join(lines))


def _shared(one: Span) -> list[tuple[str, Span]]:
    """Return each word of a span with its share of the time: more than one only where words have no times."""
    words = one.text.split()
    edges = [one.start + (one.end - one.start) * number // len(words) for number in range(len(words) + 1)]
    return [(word, Span(edges[number], edges[number + 1], word)) for number, word in enumerate(words)]


def tsv_head(result: FileResult) -> str:
    """Return the header of a table."""
    audio, *others = _TSV_HEAD
    return "\t".join([audio, *(["channel"] if result.channel is not None else []), *others]) + "\n"


def tsv(result: FileResult) -> str:
    """Return a row audio, start, end (seconds), confidence, text for each segment, without the header.

    Where channels are apart, channel is the second cell. Tabs, line feeds and backslashes in the name are written as
    \\t, \\n, \\r and \\\\; cells with quotes are quoted.
    """
    name = [cell(result.audio), *([] if result.channel is None else [str(result.channel)])]
    rows = io.StringIO()
    table = csv.writer(rows, delimiter="\t", lineterminator="\n")
    for one in spans.segments(result):
        sure = "" if one.confidence is None else f"{one.confidence:.4f}"
        table.writerow([*name, _seconds(one.start), _seconds(one.end), sure, one.text])
    return _escaped(rows.getvalue())


def textgrid(results: Sequence[FileResult]) -> str:
    """Return Praat's TextGrid in its long form: a tier of segments and one of words, which cover the recording.

    Where channels are apart, each of the transcripts has two tiers, whose names end in the channel's number.
    """
    tiers: dict[str, list[Span]] = {}
    for result in results:
        apart = f" {result.channel}" if result.channel else ""
        tiers |= {f"segments{apart}": spans.segments(result), f"words{apart}": spans.words(result)}
    ends = [tier[-1].end for tier in tiers.values() if tier]
    end = max([*(round(one.transcript.duration * 1000) for one in results if one.transcript), 1, *ends])
    head = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0",
        f"xmax = {_seconds(end)}",
        "tiers? <exists>",
        f"size = {len(tiers)}",
        "item []:",
    ]
    for number, (name, tier) in enumerate(tiers.items(), 1):
        intervals = _covering(tier, end)
        head += [
            f"    item [{number}]:",
            '        class = "IntervalTier"',
            f'        name = "{name}"',
            "        xmin = 0",
            f"        xmax = {_seconds(end)}",
            f"        intervals: size = {len(intervals)}",
        ]
        for place, one in enumerate(intervals, 1):
            quoted = one.text.replace('"', '""')
            head += [
                f"        intervals [{place}]:",
                f"            xmin = {_seconds(one.start)}",
                f"            xmax = {_seconds(one.end)}",
                f'            text = "{quoted}"',
            ]
    return "\n".join(head) + "\n"


def _covering(tier: Sequence[Span], end: int) -> list[Span]:
    """Return the spans with empty ones between, as a tier must have no gaps."""
    found: list[Span] = []
    now = 0
    for one in tier:
        if one.start > now:
            found.append(Span(now, one.start, ""))
        found.append(one)
        now = one.end
    return [*found, Span(now, end, "")] if now < end else found


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds // 1000}.{milliseconds % 1000:03d}"


def _escaped(text: str) -> str:
    """Return the text with escapes for the bytes of a file's name that are no UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()
