"""VoxForge: a folder for each submission.

ralfherzog-20080112-a/etc/PROMPTS      ralfherzog-20080112-a/mfc/a0001 AUTHOR OF THE DANGER TRAIL
ralfherzog-20080112-a/wav/a0001.wav    or flac/a0001.flac
"""

from pathlib import Path

from asr.corpora.manifest import CorpusError
from asr.corpora.rows import Row, existing, lines

_PROMPTS = ("PROMPTS", "prompts-original")


def _prompts(root: Path) -> list[Path]:
    return [path for folder in sorted(root.glob("*/etc")) for path in existing(folder, *_PROMPTS)[:1]]


def matches(root: Path) -> bool:
    """Return whether a folder has this layout."""
    return bool(_prompts(root))


def sets(root: Path) -> dict[str, list[Row]]:
    """Return the rows; the speaker is the submission's up to its date. Raises CorpusError."""
    return {root.name: [row for path in _prompts(root) for row in _rows(path)]}


def _rows(path: Path) -> list[Row]:
    submission = path.parent.parent
    speaker = submission.name.split("-")[0]
    kind = "flac" if (submission / "flac").is_dir() else "wav"
    rows = []
    for number, line in lines(path):
        source = f"{path}, line {number}"
        name, *text = line.split(maxsplit=1)
        if not text:
            raise CorpusError(f"{source}: {line[:60]!r} is not 'NAME TEXT'; add the text or remove the line")
        name = name.rpartition("/")[2]
        # Anonymous submissions are of different people.
        who = submission.name if speaker.lower() == "anonymous" else speaker
        audio = submission / kind / f"{name}.{kind}"
        rows.append(Row(f"{submission.name}-{name}", str(audio), text[0], source, who))
    return rows
