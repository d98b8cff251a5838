"""A table of recordings (CSV, TSV), or a folder of sound files with a .txt beside each.

audio,text                          or without a header: the sound file, then the text
clips/first.wav,"HELLO, WORLD"
"""

import codecs
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from asr.audio import SUFFIXES
from asr.corpora.manifest import CorpusError, Utterance
from asr.corpora.rows import Progress, Row, lines, utterances
from asr.errors import AsrError
from asr.files import TableError, decode_utf8, read_cells

# The names that a column may have; the first that is in the header is taken.
_COLUMNS = {
    "audio": ("audio", "path", "file", "wav", "filename", "file_name"),
    "text": ("text", "sentence", "transcript", "transcription"),
    **{name: (name,) for name in ("id", "speaker", "offset", "duration")},
}


@dataclass(frozen=True, slots=True)
class _Layout:
    delimiter: str
    width: int
    columns: dict[str, int]
    first_row: int


def read(path: str | Path, on_progress: Progress | None = None) -> list[Utterance]:
    """Read a table, or a folder in which each sound file has its text beside it as NAME.txt, in the order of the ids.

    Columns: audio (relative to the table's folder) and text; optional id, speaker, offset and duration (seconds).
    Without an id column the id is the path without its suffix, with `offset` in milliseconds at its end if there is
    such a column. `on_progress` is called with the number of sound files read and of all. Raises CorpusError naming
    file and row.
    """
    path = Path(path)
    if not path.exists():
        raise CorpusError(f"{path}: no such table or folder")
    found = list(_folder_rows(path) if path.is_dir() else _table_rows(path))
    if not found:
        raise CorpusError(f"{path}: no {'sound files' if path.is_dir() else 'rows'} in it")
    remedy = "rename one of the files" if path.is_dir() else "remove one, or give each its own id in a column id"
    return utterances(found, remedy, on_progress)


def rows(path: Path) -> list[Row]:
    """Return the rows of a table, whose sound files need not exist. Raises CorpusError."""
    return list(_table_rows(path))


def _folder_rows(folder: Path) -> Iterator[Row]:
    folder = folder.resolve()
    for parent, folders, names in os.walk(folder, followlinks=True):
        here = Path(parent).resolve()
        # A link to a folder above would be followed without end.
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
                raise CorpusError(f"{texts[sound.stem]}: the file has no text; write the text there")
            yield Row(path_id(sound, folder), str(sound), text, str(sound))
        for stem in sorted(texts.keys() - {sound.stem for sound in sounds}):
            raise CorpusError(f"{texts[stem]}: no sound file {stem}.wav (.flac, .mp3, …) beside it; move it elsewhere")


def path_id(audio: Path, folder: Path) -> str:
    """Return the path relative to the folder, without its suffix, with _ for white space."""
    relative = audio.relative_to(folder) if audio.is_relative_to(folder) else audio
    return re.sub(r"\s", "_", (relative.parent / relative.stem).as_posix())


def _decode(path: Path) -> str:
    content = path.read_bytes()
    # Excel's "Unicode text" is UTF-16.
    if not content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return decode_utf8(path, content)
    try:
        return content.decode("utf-16")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: not UTF-16 (byte {error.start + 1}); save the table as 'CSV UTF-8'") from None


def _columns(path: Path, number: int, header: list[str]) -> dict[str, int] | None:
    """Return the index of each column that the header names, None if audio or text is not among them."""
    names = [name.lower() for name in header]
    columns: dict[str, int] = {}
    for column, synonyms in _COLUMNS.items():
        name = next((name for name in synonyms if name in names), None)
        if name is not None:
            columns[column] = names.index(name)
    if not {"audio", "text"} <= columns.keys():
        return None
    for index in columns.values():
        if names.count(names[index]) > 1:
            raise CorpusError(f"{path}, row {number}: two columns named {header[index]!r}; rename one")
    return columns


def _layout(path: Path, text: str) -> _Layout | None:
    """Find the delimiter and the columns; return None for a table without rows."""
    delimiters = sorted("\t,;|", key=lambda delimiter: (delimiter == "\t") != (path.suffix.lower() in (".tsv", ".tab")))
    problem: AsrError | None = None
    for delimiter in delimiters:
        try:
            number, cells = next(read_cells(path, text, delimiter), (0, []))
        except TableError as error:
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
            f"({', '.join(_COLUMNS['audio'])}) and one for the text ({', '.join(_COLUMNS['text'])}) "
            "nor a sound file and its text"
        )
    raise problem or CorpusError(f"{path}: no rows")


def _table_rows(path: Path) -> Iterator[Row]:
    text = _decode(path)
    layout = _layout(path, text)
    if layout is None:
        return
    folder = path.resolve().parent
    for number, cells in read_cells(path, text, layout.delimiter):
        if number >= layout.first_row:
            try:
                yield _row(folder, layout, cells, f"{path}, row {number}")
            except ValueError as error:
                raise CorpusError(f"{path}, row {number}: {error}") from None


def _row(folder: Path, layout: _Layout, cells: list[str], source: str) -> Row:
    if any(cells[layout.width :]):
        raise ValueError(
            f"{len(cells)} cells, expected {layout.width}; "
            f'is there a {layout.delimiter!r} in the text? Then write the text in "…"'
        )
    row = {name: cells[index] if index < len(cells) else "" for name, index in layout.columns.items()}
    for name in ("audio", "text", "id"):
        if row.get(name) == "":
            raise ValueError(f"the {name} is empty; fill it in or remove the row")
    audio = Path(row["audio"])
    offset = _seconds("offset", row.get("offset", "")) or 0.0
    id = row.get("id") or path_id(audio, folder) + (f"-{round(offset * 1000):07d}" if "offset" in row else "")
    if re.search(r"\s", id):
        raise ValueError(f"id {id!r} contains white space; write _ instead")
    duration = _seconds("duration", row.get("duration", ""))
    if duration == 0:
        raise ValueError("duration 0; leave it empty for the whole file")
    text = " ".join(row["text"].split())
    return Row(id, os.path.normpath(folder / audio), text, source, row.get("speaker", ""), offset, duration)


def _seconds(name: str, cell: str) -> float | None:
    if not cell:
        return None
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} {cell!r} is not a number of seconds, such as 2.5")
    return value
