"""TED-LIUM 3 (Hernandez et al., 2018): talks with segments in STM files.

legacy/train/stm/AaronHuey_2010X.stm    AaronHuey_2010X 1 AaronHuey_2010X 16.18 24.62 <o,f0,male> i 'm here …
legacy/train/sph/AaronHuey_2010X.sph
"""

import re
from pathlib import Path

from asr.corpora.manifest import CorpusError
from asr.corpora.rows import Row, lines

_IGNORED = "ignore_time_segment_in_scoring"


def _folders(root: Path) -> list[Path]:
    parents = [root, root / "legacy"]
    folders = [folder for parent in parents for folder in (parent / "train", parent / "dev", parent / "test")]
    return [folder for folder in (root, *folders) if (folder / "stm").is_dir() and (folder / "sph").is_dir()]


def matches(root: Path) -> bool:
    """Return whether a folder has this layout."""
    return bool(_folders(root))


def sets(root: Path) -> dict[str, list[Row]]:
    """Return the rows of each set, without segments that are not scored or have unknown words. Raises CorpusError."""
    return {
        folder.name: [row for path in sorted((folder / "stm").glob("*.stm")) for row in _rows(path)]
        for folder in _folders(root)
    }


def _rows(path: Path) -> list[Row]:
    rows = []
    for number, line in lines(path):
        source = f"{path}, line {number}"
        if line.startswith(";;"):
            continue
        try:
            name, _, speaker, start, end, *rest = line.split(maxsplit=5)
            first, last = float(start), float(end)
        except ValueError:
            raise CorpusError(
                f"{source}: {line[:60]!r} is not 'FILE CHANNEL SPEAKER START END <LABELS> TEXT'"
            ) from None
        if not 0 <= first < last < float("inf"):
            raise CorpusError(f"{source}: segment {first:g}–{last:g} s; expected 0 <= start < end")
        text = re.sub(r"^<[^>]*>\s*", "", rest[0]) if rest else ""
        # Fillers are in braces, variants of a pronunciation end in (2), and clitics are words of their own.
        text = " ".join(re.sub(r"\{[^}]*\}|\(\d+\)", " ", text).split()).replace(" '", "'")
        if not text or "<unk>" in text or _IGNORED in text:
            continue
        audio = path.parent.parent / "sph" / f"{name}.sph"
        rows.append(Row(f"{name}-{round(first * 1000):07d}", str(audio), text, source, speaker, first, last - first))
    return rows
