"""STM: a line `FILE CHANNEL SPEAKER START END [<LABEL>] WORD WORD …` for each segment of the references (NIST)."""

import re

from asr.transcripts.lines import refuse_alternatives
from asr.transcripts.rows import InputFile, TranscriptError, TranscriptRow, parse_number, parse_seconds, quoted

# Speaker and text of segments that must not be scored.
_GAP = "inter_segment_gap"
_IGNORED = "ignore_time_segment_in_scoring"
_LABEL = re.compile(r"^<[^<>\s]*>(?:\s+|$)")


def fits_stm(file: InputFile) -> bool:
    """Return whether a file can be an STM.

    Some segment must have words. A time must have a decimal point, or a recording more than one segment: whole numbers
    may be words of Kaldi's text.
    """
    rows = [row.split(maxsplit=5) for _, row in file.uncommented_rows]
    if not all(len(row) >= 5 and None not in map(parse_number, row[3:5]) for row in rows):
        return False
    if not all(float(row[3]) < float(row[4]) for row in rows) or not any(len(row) == 6 for row in rows):
        return False
    return any("." in row[3] + row[4] for row in rows) or len({row[0] for row in rows}) < len(rows)


def read_stm(file: InputFile) -> list[TranscriptRow]:
    """Read the segments; the id is FILE-CHANNEL-START-END as they are written. Raises TranscriptError."""
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
        refuse_alternatives(location, text)
        rows.append(
            TranscriptRow(
                id=f"{recording}-{channel}-{start}-{end}",
                text=text,
                row=number,
                speaker=speaker,
                duration=end_seconds - start_seconds,
                recording=f"{recording}-{channel}",
                start=start_seconds,
                scored=speaker != _GAP and _IGNORED not in text.casefold(),
            )
        )
    return rows
