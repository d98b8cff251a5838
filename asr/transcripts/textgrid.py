"""TextGrid: tiers of segments and words for Praat, in its long text form."""

from collections.abc import Sequence

from asr.transcripts.records import FileResult
from asr.transcripts.timed_text import TimedText, format_seconds, timed_segments, timed_words


def format_textgrid(results: Sequence[FileResult]) -> str:
    """Return one TextGrid of the results of a recording or of its channels.

    Each result has a tier of segments and one of words. Where channels are separate, the names of their tiers end with
    the number of the channel.
    """
    tiers: dict[str, list[TimedText]] = {}
    for result in results:
        suffix = f" {result.channel}" if result.channel else ""
        tiers |= {f"segments{suffix}": timed_segments(result), f"words{suffix}": timed_words(result)}
    durations = [round(1000 * result.transcript.duration) for result in results if result.transcript]
    end = max([1, *durations, *(tier[-1].end for tier in tiers.values() if tier)])
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0",
        f"xmax = {format_seconds(end)}",
        "tiers? <exists>",
        f"size = {len(tiers)}",
        "item []:",
    ]
    for number, (name, tier) in enumerate(tiers.items(), 1):
        intervals = _fill_gaps(tier, end)
        lines += [
            f"    item [{number}]:",
            '        class = "IntervalTier"',
            f'        name = "{name}"',
            "        xmin = 0",
            f"        xmax = {format_seconds(end)}",
            f"        intervals: size = {len(intervals)}",
        ]
        for index, interval in enumerate(intervals, 1):
            text = interval.text.replace('"', '""')
            lines += [
                f"        intervals [{index}]:",
                f"            xmin = {format_seconds(interval.start)}",
                f"            xmax = {format_seconds(interval.end)}",
                f'            text = "{text}"',
            ]
    return "\n".join(lines) + "\n"


def _fill_gaps(tier: Sequence[TimedText], end: int) -> list[TimedText]:
    """Return the intervals of a tier with empty ones between them, as a tier must cover the whole recording."""
    intervals: list[TimedText] = []
    last = 0
    for interval in [*tier, TimedText(end, end, "")]:
        if interval.start > last:
            intervals.append(TimedText(last, interval.start, ""))
        if interval.end > interval.start:
            intervals.append(interval)
        last = interval.end
    return intervals
