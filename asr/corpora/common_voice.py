"""Common Voice (Ardila et al., 2020): one language.

train.tsv dev.tsv test.tsv     with a header: client_id  path  sentence  …
clips/common_voice_en_1.mp3
"""

from pathlib import Path

from asr.corpora.manifest import CorpusError
from asr.corpora.rows import Row, existing
from asr.files import read_cells, read_utf8

_COLUMNS = ("client_id", "path", "sentence")


def _tables(root: Path) -> list[Path]:
    return existing(root, "train.tsv", "dev.tsv", "test.tsv") or existing(root, "validated.tsv")


def matches(root: Path) -> bool:
    """Return whether a folder has this layout."""
    return (root / "clips").is_dir() and bool(_tables(root))


def sets(root: Path) -> dict[str, list[Row]]:
    """Return the rows of train, dev and test, or else of the validated clips; speakers are client ids."""
    return {path.stem: _rows(path) for path in _tables(root)}


def _rows(path: Path) -> list[Row]:
    # Texts may contain quotation marks, none of which encloses a cell.
    cells = read_cells(path, read_utf8(path), "\t")
    _, header = next(cells, (0, [""]))
    for name in _COLUMNS:
        if name not in header:
            raise CorpusError(f"{path}, row 1: no column {name!r}; expected {', '.join(_COLUMNS)}")
    client, clip, sentence = map(header.index, _COLUMNS)
    rows = []
    for number, row in cells:
        source = f"{path}, row {number}"
        if len(row) > len(header) or len(row) <= max(client, clip, sentence):
            raise CorpusError(f"{source}: {len(row)} cells, expected {len(header)}; is there a tab in the text?")
        recording = Path(row[clip])
        if not recording.name or not row[sentence]:
            raise CorpusError(f"{source}: the path or the sentence is empty; fill it in or remove the row")
        audio = path.parent / "clips" / (recording if recording.suffix else f"{recording}.mp3")
        rows.append(Row(recording.stem, str(audio), row[sentence], source, row[client]))
    return rows
