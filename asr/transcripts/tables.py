"""Tables with a header: reads CSV and TSV, writes TSV."""

import csv
import io

from asr.files import read_cells
from asr.transcripts.columns import (
    AUDIO_COLUMNS,
    ID_COLUMNS,
    Side,
    first_column,
    normalise_name,
    text_column,
    text_columns,
)
from asr.transcripts.json_lines import join_segments, row_from_fields
from asr.transcripts.lines import escape_name
from asr.transcripts.records import FileResult
from asr.transcripts.rows import InputFile, TranscriptError, TranscriptRow, quoted
from asr.transcripts.timed_text import format_seconds, timed_segments

# Other columns that are read.
_FIELDS = ("speaker", "duration", "channel")


def is_header(row: str, delimiter: str, column: str = "") -> bool:
    """Return whether a row has the names of the columns that transcripts need; `column` is that of the text."""
    return _has_columns(_names(row.split(delimiter)), column)


def _names(cells: list[str]) -> list[str]:
    return [cell.strip().strip('"') for cell in cells]


def _has_columns(names: list[str], column: str) -> bool:
    return (column in names or bool(text_columns(names))) and first_column(
        ID_COLUMNS + AUDIO_COLUMNS, names
    ) is not None


def read_table(
    file: InputFile, delimiter: str, side: Side = "reference", column: str = ""
) -> tuple[list[TranscriptRow], str]:
    """Read a table with a header; return the rows and the column of their text. Other columns are ignored.

    Segments of a recording are joined, see `join_segments`.

    Raises TranscriptError and TableError.
    """
    rows = []
    names: list[str] = []
    text = ""
    for number, cells in read_cells(file.name, file.text, delimiter):
        location = file.at(number)
        if not names:
            names = _names(cells)
            if not (column or text_columns(names)) or not first_column(ID_COLUMNS + AUDIO_COLUMNS, names):
                header = quoted(delimiter.join(cells))
                raise TranscriptError(f"{location}: the header {header} needs a column 'text' and one 'id' or 'audio'")
            text = text_column(location, names, side, column)
            _refuse_repeated(location, names, text)
            continue
        if len(cells) != len(names):
            raise TranscriptError(
                f"{location}: {len(cells)} cells, but the header has {len(names)}; "
                + ("put a text with a comma in quotes" if delimiter == "," else "a text must not contain a tab")
            )
        fields = {
            normalise_name(name) if normalise_name(name) in _FIELDS and name != text else name: cell
            for name, cell in zip(names, cells, strict=True)
        }
        rows.append(row_from_fields(location, number, fields, text))
    return join_segments(file, rows), text


def _refuse_repeated(location: str, names: list[str], text: str) -> None:
    for name in (text, first_column(ID_COLUMNS, names) or first_column(AUDIO_COLUMNS, names)):
        if name and names.count(name) > 1:
            raise TranscriptError(f"{location}: two columns are named {quoted(name)}; rename one")


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
