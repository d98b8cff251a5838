"""Hugging Face audio folders: metadata.csv or metadata.jsonl beside the files, in the folder or in one for each set.

metadata.csv     file_name,transcription
train/metadata.jsonl    {"file_name": "a.wav", "transcription": "…"}
"""

import os
from collections.abc import Sequence
from pathlib import Path

from asr.corpora import table
from asr.corpora.manifest import CorpusError
from asr.corpora.rows import Row, existing, field, json_lines

_NAMES = ("metadata.csv", "metadata.jsonl")
_TEXTS = ("transcription", "text", "sentence", "transcript")


def _files(root: Path) -> dict[str, Path]:
    folders = [root, *sorted(path for path in root.iterdir() if path.is_dir())]
    return {folder.name: path for folder in folders for path in existing(folder, *_NAMES)[:1] if _is_metadata(path)}


def _is_metadata(path: Path) -> bool:
    with path.open("rb") as file:
        return b"file_name" in file.read(1 << 16)


def matches(root: Path) -> bool:
    """Return whether a folder has this layout."""
    return bool(_files(root))


def sets(root: Path) -> dict[str, Sequence[Row | CorpusError]]:
    """Return the rows of each folder with metadata. Raises CorpusError."""
    files = _files(root).items()
    return {name: table.rows(path) if path.suffix == ".csv" else _rows(path) for name, path in files}


def _rows(path: Path) -> list[Row]:
    folder = path.resolve().parent
    rows = []
    for number, row in json_lines(path):
        source = f"{path}, line {number}"
        audio = Path(field(row, "file_name", str, source))
        key = next((key for key in _TEXTS if key in row), None)
        if key is None:
            raise CorpusError(f"{source}: no text; expected one of {', '.join(_TEXTS)}")
        rows.append(
            Row(table.path_id(audio, folder), os.path.normpath(folder / audio), field(row, key, str, source), source)
        )
    return rows
