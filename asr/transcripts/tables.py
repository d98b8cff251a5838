"""Tables with a header: reads CSV and TSV, writes TSV."""

import csv
import io

from asr.files import read_cells
from asr.transcripts.json_lines import AUDIO_FIELDS, ID_FIELDS, TEXT_FIELDS, find_field, row_from_fields
from asr.transcripts.lines import escape_name
from asr.transcripts.records import FileResult
from asr.transcripts.rows import InputFile, TranscriptError, TranscriptRow, quoted
from asr.transcripts.timed_text import format_seconds, timed_segments

_FIELDS = {*ID_FIELDS, *AUDIO_FIELDS, *TEXT_FIELDS, "speaker", "duration"}


def is_header(row: str, delimiter: str) -> bool:
    """Return whether a row has the names of the columns that transcripts need."""
    return _has_columns(_names(row.split(delimiter)))


def _names(cells: list[str]) -> list[str]:
    return [cell.strip().strip('"').casefold() for cell in cells]


def _has_columns(names: list[str]) -> bool:
    return find_field(TEXT_FIELDS, names) is not None and find_field(ID_FIELDS + AUDIO_FIELDS, names) is not None


def read_table(file: InputFile, delimiter: str) -> list[TranscriptRow]:
    """Read a table with a header; unknown columns are ignored. Raises TranscriptError and TableError."""
    rows = []
    names: list[str] = []
    for number, cells in read_cells(file.name, file.text, delimiter):
        location = file.at(number)
        if not names:
            names = _names(cells)
            if not _has_columns(names):
                header = quoted(delimiter.join(cells))
                raise TranscriptError(f"{location}: the header {header} needs a column 'text' and one 'id' or 'audio'")
            continue
        if len(cells) != len(names):
            raise TranscriptError(
                f"{location}: {len(cells)} cells, but the header has {len(names)}; "
                + ("put a text with a comma in quotes" if delimiter == "," else "a text must not contain a tab")
            )
        fields = {name: cell for name, cell in zip(names, cells, strict=True) if name in _FIELDS}
        rows.append(row_from_fields(location, number, fields))
    return rows


def tsv_header(result: FileResult) -> str:
    """Return the header of a TSV; it has a column `channel` if channels are separate."""
    channel = [] if result.channel is None else ["channel"]
    return "\t".join(["audio", *channel, "start", "end", "confidence", "text"]) + "\n"


def format_tsv(result: FileResult) -> str:
    """Return the rows of a TSV, one for each segment, with times in seconds.

    Tab, line feed, carriage return and backslash in the name of the audio are escaped; cells with quotes are quoted.
    """
    channel = [] if result.channel is None else [result.channel]
    output = io.StringIO()
    table = csv.writer(output, delimiter="\t", lineterminator="\n")
    for segment in timed_segments(result):
        confidence = "" if segment.confidence is None else f"{segment.confidence:.4f}"
        times = format_seconds(segment.start), format_seconds(segment.end)
        table.writerow([escape_name(result.audio), *channel, *times, confidence, segment.text])
    return output.getvalue()
