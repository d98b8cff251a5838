"""The formats of transcript files: their names, which one a file has, reading and writing.

Input formats:

text, kaldi  a line for each: `ID WORD WORD …`, as Kaldi's `text` and LibriSpeech's .trans.txt
trn          `WORD WORD … (ID)`
ctm          a line for each word: `FILE CHANNEL START DURATION WORD [CONFIDENCE]`
stm          a line for each segment: `FILE CHANNEL SPEAKER START END [<LABEL>] WORD WORD …`
jsonl        a JSON object for each, with `text` and `id` (or `audio`, whose path is the id); see `columns`
csv, tsv     a table with a header of the same names
report       a JSON report of `asr evaluate` or `asr score`

Output formats:

txt          the text on one line
json         an object on one line: text, scores, words and segments with times and confidences, alternatives
srt, vtt     subtitles
ctm          a line for each word
tsv          a table of segments with a header
textgrid     tiers of segments and words for Praat
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.files import read_utf8
from asr.transcripts import json_lines, lines, nist, subtitles, tables, textgrid
from asr.transcripts.columns import Side
from asr.transcripts.records import FileResult
from asr.transcripts.rows import InputFile, TranscriptError, TranscriptRow, check_rows

INPUT_FORMATS = ("auto", "text", "kaldi", "trn", "ctm", "stm", "jsonl", "csv", "tsv", "report")
_INPUT_SUFFIXES = {".ndjson": "jsonl", ".json": "jsonl"} | {
    f".{name}": name for name in ("trn", "ctm", "stm", "jsonl", "csv", "tsv")
}
_READERS: dict[str, Callable[[InputFile], list[TranscriptRow]]] = {
    "text": lines.read_text,
    "kaldi": lines.read_text,
    "trn": lines.read_trn,
    "ctm": lambda file: nist.join_recordings(nist.read_ctm(file)),
    "stm": nist.read_stm,
}
# Formats whose texts have names: these return the name too.
_COLUMN_READERS: dict[str, Callable[[InputFile, Side, str], tuple[list[TranscriptRow], str]]] = {
    "jsonl": json_lines.read_jsonl,
    "csv": lambda file, side, column: tables.read_table(file, ",", side, column),
    "tsv": lambda file, side, column: tables.read_table(file, "\t", side, column),
}
_FITS = {"trn": lines.fits_trn, "ctm": nist.fits_ctm, "stm": nist.fits_stm, "text": lines.fits_text}

_WRITERS: dict[str, Callable[[FileResult], str]] = {
    "txt": lambda result: f"{result.text}\n",
    "json": json_lines.format_json,
    "srt": subtitles.format_srt,
    "vtt": subtitles.format_vtt,
    "ctm": nist.format_ctm,
    "tsv": tables.format_tsv,
    "textgrid": lambda result: textgrid.format_textgrid([result]),
}
OUTPUT_FORMATS = tuple(_WRITERS)
# Praat expects its own spelling.
_OUTPUT_SUFFIXES = {format: f".{format}" for format in OUTPUT_FORMATS} | {"textgrid": ".TextGrid"}
# Formats that can hold several recordings.
MULTI_RECORDING_FORMATS = ("txt", "json", "ctm", "tsv")
# Formats whose file holds all channels of a recording; the others have a file for each channel.
MULTI_CHANNEL_FORMATS = ("ctm", "tsv", "textgrid")


@dataclass(frozen=True)
class Choice:
    """How a file is read: `format` is one of INPUT_FORMATS, `column` the name of its text, or "" to find it."""

    format: str = "auto"
    column: str = ""


@dataclass(frozen=True)
class TranscriptFile:
    """The rows of a file in its order, its format, and the column of the text if the format has columns."""

    rows: list[TranscriptRow]
    format: str
    column: str = ""

    @property
    def described(self) -> str:
        """Return the format and the column for a report."""
        return f"{self.format}, column {self.column!r}" if self.column else self.format


def read(path: str | Path, choice: Choice = Choice(), side: Side = "reference") -> TranscriptFile:
    """Read the transcripts of a side.

    Raises OSError, EncodingError, and TranscriptError for a malformed row, an id that occurs twice, an empty file, one
    that fits two formats or has two columns that may be the text.
    """
    return _read(*_open(path, choice, side), choice, side)


def read_hypotheses(
    path: str | Path, references: list[TranscriptRow], choice: Choice = Choice()
) -> tuple[TranscriptFile, int]:
    """Read the hypotheses for references; return them and the number of words outside all segments.

    If the references are an STM, each word of a CTM goes to a segment of it (see `join_segments`). Raises as `read`.
    """
    file, format = _open(path, choice, "hypothesis")
    if format == "ctm" and not choice.column and any(reference.recording for reference in references):
        rows, outside = nist.join_segments(nist.read_ctm(file), references)
        return TranscriptFile(check_rows(file, rows), format), outside
    return _read(file, format, choice, "hypothesis"), 0


def _read(file: InputFile, format: str, choice: Choice, side: Side) -> TranscriptFile:
    if choice.column and format not in _COLUMN_READERS:
        raise TranscriptError(f"{file.name}: the format {format} has no columns; leave out --{side}-column")
    if format in _COLUMN_READERS:
        rows, column = _COLUMN_READERS[format](file, side, choice.column)
        hint = "; segments that are named by their recording need a column 'start', in seconds"
        return TranscriptFile(check_rows(file, rows, hint), format, column)
    rows = json_lines.read_report(file, side) if format == "report" else _READERS[format](file)
    return TranscriptFile(check_rows(file, rows), format)


def _open(path: str | Path, choice: Choice, side: Side) -> tuple[InputFile, str]:
    format = choice.format
    if format not in INPUT_FORMATS:
        raise TranscriptError(f"unknown format {format!r}; known are {', '.join(INPUT_FORMATS)}")
    file = InputFile(str(path), read_utf8(path))
    if format != "auto":
        return file, format
    if json_lines.is_report(file):
        return file, "report"
    return file, _INPUT_SUFFIXES.get(Path(path).suffix.lower()) or _guess(file, side, choice.column)


def _guess(file: InputFile, side: Side, column: str) -> str:
    """Return the format that the whole file fits. Raises TranscriptError if it fits more than one."""
    if file.rows and all(row.startswith("{") for _, row in file.rows):
        return "jsonl"
    for delimiter, format in (("\t", "tsv"), (",", "csv")):
        if file.rows and tables.is_header(file.rows[0][1], delimiter, column):
            return format
    formats = [format for format, fits in _FITS.items() if fits(file)]
    if len(formats) > 1:
        raise TranscriptError(f"{file.name}: fits the formats {' and '.join(formats)}; choose one with --{side}-format")
    # The reader of text says what is wrong with a file that fits none.
    return formats[0] if formats else "text"


def document(results: Sequence[FileResult], format: str, header: bool = True) -> str:
    """Return the results of one recording, or of its channels, as one text; `format` is one of OUTPUT_FORMATS.

    Where channels are separate, lines of txt start with the file and the channel. A failed file has an empty line in
    txt, an object with audio and error in json, and no words in the other formats. `header`: of the table of a tsv.
    """
    if format == "textgrid":
        return textgrid.format_textgrid(results)
    writer = _WRITERS[format]
    if format == "txt" and results[0].channel is not None:
        writer = lines.format_labelled_txt
    first = tables.tsv_header(results[0]) if format == "tsv" and header else ""
    return _escape(first + "".join(map(writer, results)))


def file_suffixes(format: str, channels: int | None = None) -> list[str]:
    """Return the suffixes of the files of a recording: `.txt`, or `.1.txt`, `.2.txt` where channels are separate."""
    suffix = _OUTPUT_SUFFIXES[format]
    if channels is None or format in MULTI_CHANNEL_FORMATS:
        return [suffix]
    return [f".{channel}{suffix}" for channel in range(1, channels + 1)]


def documents_by_suffix(results: Sequence[FileResult], format: str) -> dict[str, str]:
    """Return the contents of the files of a recording, keyed by `file_suffixes`."""
    suffixes = file_suffixes(format, None if results[0].channel is None else len(results))
    if format in MULTI_CHANNEL_FORMATS:
        return {suffixes[0]: document(results, format)}
    return {suffix: _escape(_WRITERS[format](result)) for suffix, result in zip(suffixes, results, strict=True)}


def _escape(text: str) -> str:
    """Escape the bytes of file names that are not UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()
