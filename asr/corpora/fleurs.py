"""FLEURS (Conneau et al., 2022): one language.

train.tsv                  without a header: id, file, raw text, normalised text, characters, samples, gender
audio/train/NAME.wav       or train/NAME.wav
"""

from pathlib import Path

from asr.corpora.manifest import CorpusError
from asr.corpora.rows import Row, existing
from asr.files import read_cells, read_utf8


def _tables(root: Path) -> list[Path]:
    return [path for path in existing(root, "train.tsv", "dev.tsv", "test.tsv") if _folder(path).is_dir()]


def _folder(table: Path) -> Path:
    inner = table.parent / "audio" / table.stem
    return inner if inner.is_dir() else table.parent / table.stem


def matches(root: Path) -> bool:
    """Return whether a folder has this layout."""
    return bool(_tables(root))


def sets(root: Path) -> dict[str, list[Row]]:
    """Return the rows of each set, with the normalised texts. Raises CorpusError."""
    return {path.stem: _rows(path) for path in _tables(root)}


def _rows(path: Path) -> list[Row]:
    rows = []
    for number, cells in read_cells(path, read_utf8(path), "\t"):
        source = f"{path}, row {number}"
        if len(cells) != 7 or not cells[1] or not cells[3]:
            raise CorpusError(
                f"{source}: {len(cells)} cells, expected 7: id, file, two texts, characters, samples, gender"
            )
        # The number is that of a sentence, which several people read.
        rows.append(Row(Path(cells[1]).stem, str(_folder(path) / cells[1]), cells[3], source))
    return rows
