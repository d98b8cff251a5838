"""NeMo manifests: JSON Lines with audio_filepath, duration, text and optionally offset and speaker.

{"audio_filepath": "wav/1.wav", "duration": 5.8, "text": "mister quilter"}
"""

import os
from pathlib import Path

from asr.corpora.manifest import CorpusError
from asr.corpora.rows import Row, field, json_lines
from asr.corpora.table import path_id


def _is_manifest(path: Path) -> bool:
    with path.open("rb") as file:
        return b'"audio_filepath"' in file.read(1 << 16)


def _files(root: Path) -> list[Path]:
    paths = [root] if root.is_file() else sorted([*root.glob("*.json"), *root.glob("*.jsonl")])
    return [path for path in paths if path.suffix in (".json", ".jsonl") and _is_manifest(path)]


def matches(root: Path) -> bool:
    """Return whether a file is such a manifest, or a folder holds some."""
    return bool(_files(root))


def sets(root: Path) -> dict[str, list[Row]]:
    """Return the rows of each manifest; the id is the path, with the offset in milliseconds. Raises CorpusError."""
    return {path.stem: _rows(path) for path in _files(root)}


def _rows(path: Path) -> list[Row]:
    folder = path.resolve().parent
    rows = []
    for number, row in json_lines(path):
        source = f"{path}, line {number}"
        audio = Path(field(row, "audio_filepath", str, source))
        offset = float(field(row, "offset", float, source, 0.0))
        duration = float(field(row, "duration", float, source))
        if not 0 <= offset < float("inf") or not 0 < duration < float("inf"):
            raise CorpusError(f"{source}: offset {offset:g} s, duration {duration:g} s; expected positive seconds")
        id = path_id(audio, folder) + (f"-{round(offset * 1000):07d}" if "offset" in row else "")
        text, speaker = field(row, "text", str, source), str(row.get("speaker") or "")
        rows.append(Row(id, os.path.normpath(folder / audio), text, source, speaker, offset, duration))
    return rows
