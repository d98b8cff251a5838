"""LJSpeech (Ito and Johnson, 2017) and corpora of its layout.

metadata.csv         LJ001-0001|Text as printed, 1893|Text as read, eighteen ninety-three
wavs/LJ001-0001.wav
"""

from pathlib import Path

from asr.corpora.manifest import CorpusError
from asr.corpora.rows import Row, lines


def matches(root: Path) -> bool:
    """Return whether a folder has this layout."""
    return (root / "metadata.csv").is_file() and (root / "wavs").is_dir()


def sets(root: Path) -> dict[str, list[Row]]:
    """Return the rows; the text is that as read where there is one. Raises CorpusError."""
    path = root / "metadata.csv"
    rows = []
    for number, line in lines(path):
        id, *texts = (cell.strip() for cell in line.split("|"))
        text = texts[-1] or texts[0] if len(texts) in (1, 2) else ""
        if not id or not text:
            raise CorpusError(f"{path}, row {number}: {line[:60]!r} is not 'ID|TEXT' or 'ID|TEXT|TEXT AS READ'")
        rows.append(Row(id, str(root / "wavs" / f"{id}.wav"), text, f"{path}, row {number}"))
    return {root.name: rows}
