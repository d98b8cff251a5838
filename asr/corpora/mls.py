"""Multilingual LibriSpeech (Pratap et al., 2020): one language.

train/transcripts.txt                                      10214_10108_000000 <tab> text
train/audio/10214/10108/10214_10108_000000.flac (.opus)
"""

from pathlib import Path

from asr.corpora.manifest import CorpusError
from asr.corpora.rows import Row, existing, lines

_SETS = ("train", "dev", "test")


def matches(root: Path) -> bool:
    """Return whether a folder has this layout."""
    return bool(existing(root, *(f"{name}/transcripts.txt" for name in _SETS)))


def sets(root: Path) -> dict[str, list[Row]]:
    """Return the rows of each set. Raises CorpusError."""
    return {path.parent.name: _rows(path) for path in existing(root, *(f"{name}/transcripts.txt" for name in _SETS))}


def _rows(path: Path) -> list[Row]:
    rows = []
    for number, line in lines(path):
        source = f"{path}, line {number}"
        id, *text = line.split(maxsplit=1)
        parts = id.split("_")
        if not text or len(parts) != 3:
            raise CorpusError(f"{source}: {line[:60]!r} is not 'SPEAKER_BOOK_NUMBER<tab>TEXT'")
        folder = path.parent / "audio" / parts[0] / parts[1]
        found = existing(folder, f"{id}.flac", f"{id}.opus", f"{id}.wav")
        rows.append(Row(id, str(found[0] if found else folder / f"{id}.flac"), text[0], source, parts[0]))
    return rows
