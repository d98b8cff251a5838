"""A table of recordings (CSV, TSV), or a folder of sound files with a .txt beside each.

audio,text                          or without a header: the sound file, then the text
clips/first.wav,"HELLO, WORLD"
"""

import codecs
import csv
import io
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from asr.audio import SUFFIXES
from asr.corpora import CorpusError, Progress, durations, lines
from asr.corpora.manifest import Utterance

# The names a column may have, the first that is there is taken.
_AUDIO_COLUMNS = ("audio", "path", "file", "wav", "filename", "file_name")
_TEXT_COLUMNS = ("text", "sentence", "transcript", "transcription")
_OPTIONAL = ("id", "speaker", "offset", "duration")
# Seconds by which a segment may end behind its file: what rounding in a table, or an MP3's estimated length, explains.
_TOLERANCE = 0.1


@dataclass(frozen=True, slots=True)
class _Layout:
    delimiter: str
    width: int
    columns: dict[str, int]
    first_row: int


@dataclass(frozen=True, slots=True)
class _Row:
    id: str
    audio: str
    text: str
    place: str
    speaker: str = ""
    offset: float = 0.0
    duration: float | None = None


def read(path: str | Path, progress: Progress | None = None) -> list[Utterance]:
    """Read a table, or a folder in which each sound file has its text beside it as NAME.txt, in the order of its ids.

    Columns: audio (relative to the table's folder) and text; id, speaker, offset and duration (seconds) if there are
    such. Without an id column the path is the id, with `offset` in milliseconds at its end if there is such a column.
    `progress` is called with the sound files read so far and all of them. Raises CorpusError naming file and row.
    """
    path = Path(path)
    if not path.exists():
        raise CorpusError(f"{path}: no such table or folder")
    rows: dict[str, _Row] = {}
    for row in _folder_rows(path) if path.is_dir() else _table_rows(path):
        if row.id in rows:
            raise CorpusError(
                f"{row.place}: id {row.id!r} stands already in {rows[row.id].place}; remove one, or add an id column"
            )
        rows[row.id] = row
    if not rows:
        raise CorpusError(f"{path}: no {'sound files' if path.is_dir() else 'rows'} in it")
    length = durations({row.audio: row.place for row in rows.values()}, progress)
    return [
        Utterance(row.id, row.audio, _duration(row, length[row.audio]), row.text, row.speaker, row.offset)
        for row in sorted(rows.values(), key=lambda row: row.id)
    ]


def _duration(row: _Row, length: float) -> float:
    left = length - row.offset
    if left <= 0:
        raise CorpusError(f"{row.place}: offset {row.offset:g} s lies behind the end of {row.audio} ({length:.3f} s)")
    if row.duration is None:
        return left
    if row.duration > left + _TOLERANCE:
        end = row.offset + row.duration
        raise CorpusError(f"{row.place}: the segment ends at {end:g} s, {row.audio} at {length:.3f} s")
    return min(row.duration, left)


def _folder_rows(folder: Path) -> Iterator[_Row]:
    folder = folder.resolve()
    for parent, folders, names in os.walk(folder, followlinks=True):
        here = Path(parent).resolve()
        # A link to a folder above would lead round for ever.
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and not here.is_relative_to(Path(parent, name).resolve())
        )
        files = [Path(parent, name) for name in sorted(names) if not name.startswith(".")]
        sounds = [file for file in files if file.suffix.lower() in SUFFIXES]
        texts = {file.stem: file for file in files if file.suffix.lower() == ".txt"}
        for sound in sounds:
            if sound.stem not in texts:
                raise CorpusError(f"{sound}: no {sound.stem}.txt beside it; write its text there")
            text = " ".join(line for _, line in lines(texts[sound.stem]))
            if not text:
                raise CorpusError(f"{texts[sound.stem]}: no text in it")
            yield _Row(_id(sound, folder), str(sound), text, str(sound))
        for stem in sorted(texts.keys() - {sound.stem for sound in sounds}):
            raise CorpusError(f"{texts[stem]}: no sound file {stem}.wav (.flac, .mp3, …) beside it; move it elsewhere")


def _id(audio: Path, folder: Path) -> str:
    named = audio.relative_to(folder) if audio.is_relative_to(folder) else audio
    return re.sub(r"\s", "_", (named.parent / named.stem).as_posix().strip("/").replace("/", "-"))


def _decode(path: Path) -> str:
    raw = path.read_bytes()
    # Excel's "Unicode text" is UTF-16.
    utf16 = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return raw.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        row = raw.count(b"\n", 0, error.start) + 1
        raise CorpusError(
            f"{path}, row {row}: not UTF-8 (byte 0x{raw[error.start]:02X}); save the table as 'CSV UTF-8'"
        ) from None


def _cells(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number, as a spreadsheet counts, and the cells of each row that is not blank."""
    # Tab- and bar-separated files carry quotation marks as they are; only a cell quoted as a whole, by Excel, is not.
    bare = delimiter in "\t|"
    source = io.StringIO(text, newline="")
    rows = csv.reader(source, delimiter=delimiter, quoting=csv.QUOTE_NONE if bare else csv.QUOTE_MINIMAL, strict=True)
    number = 0
    try:
        for number, row in enumerate(rows, 1):
            cells = [(_unquote(cell) if bare else cell).strip() for cell in row]
            if any(cells):
                yield number, cells
    except csv.Error as error:
        raise CorpusError(
            f'{path}, row {number + 1}: {error}; write a cell with {delimiter} or " in it as "…", each " in it twice'
        ) from None


def _unquote(cell: str) -> str:
    if len(cell) >= 2 and cell[0] == cell[-1] == '"' and '"' not in cell[1:-1].replace('""', ""):
        return cell[1:-1].replace('""', '"')
    return cell


def _columns(path: Path, number: int, header: list[str]) -> dict[str, int] | None:
    names = [name.lower() for name in header]
    columns: dict[str, int] = {}
    wanted = {"audio": _AUDIO_COLUMNS, "text": _TEXT_COLUMNS, **{name: (name,) for name in _OPTIONAL}}
    for column, synonyms in wanted.items():
        there = next((name for name in synonyms if name in names), None)
        if there is not None:
            columns[column] = names.index(there)
    if not {"audio", "text"} <= columns.keys():
        return None
    for index in columns.values():
        if names.count(names[index]) > 1:
            raise CorpusError(f"{path}, row {number}: two columns named {header[index]!r}; rename one")
    return columns


def _layout(path: Path, text: str) -> _Layout | None:
    delimiters = sorted("\t,;|", key=lambda delimiter: (delimiter == "\t") != (path.suffix.lower() in (".tsv", ".tab")))
    problem: CorpusError | None = None
    for delimiter in delimiters:
        try:
            number, cells = next(_cells(path, text, delimiter), (0, []))
        except CorpusError as error:
            problem = problem or error
            continue
        if not cells:
            return None
        columns = _columns(path, number, cells)
        if columns:
            return _Layout(delimiter, len(cells), columns, number + 1)
        if len(cells) > 1 and Path(cells[0]).suffix.lower() in SUFFIXES:
            return _Layout(delimiter, 2, {"audio": 0, "text": 1}, number)
        problem = problem or CorpusError(
            f"{path}, row {number}: {delimiter.join(cells)[:60]!r} is neither a header with a column for the audio "
            f"({', '.join(_AUDIO_COLUMNS)}) and one for the text ({', '.join(_TEXT_COLUMNS)}) nor a sound file and text"
        )
    raise problem or CorpusError(f"{path}: no rows in it")


def _table_rows(path: Path) -> Iterator[_Row]:
    text = _decode(path)
    layout = _layout(path, text)
    if layout is None:
        return
    folder = path.resolve().parent
    for number, cells in _cells(path, text, layout.delimiter):
        if number >= layout.first_row:
            try:
                yield _row(folder, layout, cells, f"{path}, row {number}")
            except ValueError as error:
                raise CorpusError(f"{path}, row {number}: {error}") from None


def _row(folder: Path, layout: _Layout, cells: list[str], place: str) -> _Row:
    if len(cells) > layout.width and any(cells[layout.width :]):
        raise ValueError(
            f"{len(cells)} cells, {layout.width} are meant; "
            f'is there a {layout.delimiter!r} in the text? Then write the text in "…"'
        )
    row = {name: cells[index] if index < len(cells) else "" for name, index in layout.columns.items()}
    for name in ("audio", "text", "id"):
        if row.get(name) == "":
            raise ValueError(f"the {name} is empty; fill it in or remove the row")
    audio = Path(row["audio"])
    offset = _seconds("offset", row.get("offset", "")) or 0.0
    id = row.get("id") or _id(audio, folder) + (f"-{round(offset * 1000):07d}" if "offset" in row else "")
    if re.search(r"\s", id):
        raise ValueError(f"id {id!r} contains white space; write _ instead")
    duration = _seconds("duration", row.get("duration", ""))
    if duration == 0:
        raise ValueError("duration 0; leave it empty for the whole file")
    text = " ".join(row["text"].split())
    return _Row(id, os.path.normpath(folder / audio), text, place, row.get("speaker", ""), offset, duration)


def _seconds(name: str, cell: str) -> float | None:
    if not cell:
        return None
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{name} {cell!r} is not a number of seconds, such as 2.5")
    return value
