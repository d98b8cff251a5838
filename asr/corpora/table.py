"""A table of recordings (CSV, TSV), or a folder of sound files with a .txt beside each.

audio,text                          or without a header: the sound file, then the text
clips/first.wav,"HELLO, WORLD"
"""

import codecs
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from asr.audio import SUFFIXES
from asr.corpora.manifest import CorpusError, Utterance
from asr.corpora.rows import OnSkip, Progress, Row, lines, utterances
from asr.errors import AsrError
from asr.files import TableError, decode_utf8, read_cells

# The names that a column may have.
_COLUMNS = {
    "audio": ("audio", "audio_filepath", "path", "file", "wav", "filename", "file_name"),
    "text": ("text", "sentence", "transcript", "transcription"),
    "id": ("id", "utterance_id", "utt_id"),
    "speaker": ("speaker", "speaker_id"),
    "offset": ("offset", "start", "start_time"),
    "end": ("end", "end_time"),
    "duration": ("duration",),
}


@dataclass(frozen=True)
class TableOptions:
    """`columns`: the name in the header of audio, text, id, speaker, offset, end or duration, where it is another one.

    `audio_root`: the folder to which audio paths are relative; None: that of the table.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    audio_root: Path | None = None

    def __post_init__(self) -> None:
        """Raise CorpusError for a column that does not exist."""
        for column in self.columns.keys() - _COLUMNS.keys():
            raise CorpusError(f"unknown column {column!r}; known are {', '.join(_COLUMNS)}")


_DEFAULT = TableOptions()


@dataclass(frozen=True, slots=True)
class _Layout:
    delimiter: str
    width: int
    columns: dict[str, int]
    first_row: int


def read(
    path: str | Path,
    on_progress: Progress | None = None,
    on_skip: OnSkip | None = None,
    options: TableOptions = _DEFAULT,
) -> list[Utterance]:
    """Read a table, or a folder in which each sound file has its text beside it as NAME.txt, in the order of the ids.

    Columns: audio (relative to the table's folder) and text; optional id, speaker, offset or start, and duration or end
    (seconds).
    Without an id column the id is the path without its suffix, with `offset` in milliseconds at its end if there is
    such a column. `on_progress` is called with the number of sound files read and of all; `on_skip` as in `utterances`.
    Raises CorpusError naming file and row.
    """
    path = Path(path)
    if not path.exists():
        raise CorpusError(f"{path}: no such table or folder")
    found = list(_folder_rows(path) if path.is_dir() else _table_rows(path, options))
    if not found:
        raise CorpusError(f"{path}: no {'sound files' if path.is_dir() else 'rows'} in it")
    remedy = "rename one of the files" if path.is_dir() else "remove one, or give each its own id in a column id"
    return utterances(found, remedy, on_progress, on_skip)


def rows(path: Path) -> list[Row | CorpusError]:
    """Return the rows of a table, whose sound files need not exist. Raises CorpusError."""
    return list(_table_rows(path, _DEFAULT))


def unused_columns(path: str | Path, options: TableOptions = _DEFAULT) -> list[str]:
    """Return the columns of a table that are not read."""
    path = Path(path)
    if path.is_dir():
        return []
    text = _decode(path)
    layout = _layout(path, text, options)
    if layout is None or layout.first_row == 1:
        return []
    _, header = next(read_cells(path, text, layout.delimiter))
    return [name for index, name in enumerate(header) if index not in layout.columns.values() and name]


def _folder_rows(folder: Path) -> Iterator[Row | CorpusError]:
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
                yield CorpusError(f"{sound}: no {sound.stem}.txt beside it; write its text there")
                continue
            text = " ".join(line for _, line in lines(texts[sound.stem]))
            if not text:
                yield CorpusError(f"{texts[sound.stem]}: the file has no text; write the text there")
                continue
            yield Row(path_id(sound, folder), str(sound), text, str(sound))
        for stem in sorted(texts.keys() - {sound.stem for sound in sounds}):
            yield CorpusError(f"{texts[stem]}: no sound file {stem}.wav (.flac, .mp3, …) beside it; move it elsewhere")


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


def _columns(path: Path, number: int, header: list[str], named: Mapping[str, str]) -> dict[str, int] | None:
    """Return the index of each column that the header names, None if audio or text is not among them."""
    names = [name.lower() for name in header]
    columns: dict[str, int] = {}
    ambiguous: list[str] = []
    given = {column: (name.lower(),) for column, name in named.items()}
    if not all(name in names for (name,) in given.values()):
        return None
    for column, synonyms in (_COLUMNS | given).items():
        present = [name for name in synonyms if name in names]
        if present:
            columns[column] = names.index(present[0])
            ambiguous = ambiguous or (present[:2] if len(present) > 1 else [])
    if not {"audio", "text"} <= columns.keys():
        return None
    if not ambiguous and {"end", "duration"} <= columns.keys():
        ambiguous = ["end", "duration"]
    if ambiguous:
        first, second = map(repr, ambiguous)
        raise CorpusError(f"{path}, row {number}: columns {first} and {second} mean the same; rename one of them")
    for index in columns.values():
        if names.count(names[index]) > 1:
            raise CorpusError(f"{path}, row {number}: two columns named {header[index]!r}; rename one")
    return columns


def _layout(path: Path, text: str, options: TableOptions) -> _Layout | None:
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
        columns = _columns(path, number, cells, options.columns)
        if columns:
            return _Layout(delimiter, len(cells), columns, number + 1)
        if options.columns:
            wanted = ", ".join(options.columns.values())
            has = f"has no column for the audio, the text or one of {wanted}; name them with --columns"
            problem = problem or CorpusError(f"{path}, row {number}: the header {delimiter.join(cells)[:200]!r} {has}")
            continue
        if len(cells) > 1 and Path(cells[0]).suffix.lower() in SUFFIXES:
            return _Layout(delimiter, 2, {"audio": 0, "text": 1}, number)
        problem = problem or CorpusError(
            f"{path}, row {number}: {delimiter.join(cells)[:60]!r} is neither a header with a column for the audio "
            f"({', '.join(_COLUMNS['audio'])}) and one for the text ({', '.join(_COLUMNS['text'])}) "
            "nor a sound file and its text"
        )
    raise problem or CorpusError(f"{path}: no rows")


def _table_rows(path: Path, options: TableOptions) -> Iterator[Row | CorpusError]:
    text = _decode(path)
    layout = _layout(path, text, options)
    if layout is None:
        return
    folder = (options.audio_root or path.parent).resolve()
    for number, cells in read_cells(path, text, layout.delimiter):
        if number >= layout.first_row:
            try:
                yield _row(folder, layout, cells, f"{path}, row {number}")
            except ValueError as error:
                yield CorpusError(f"{path}, row {number}: {error}")


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
    end = _seconds("end", row.get("end", ""))
    if end is not None:
        duration = end - offset
        if duration <= 0:
            raise ValueError(f"end {end:g} s is not after start {offset:g} s")
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
