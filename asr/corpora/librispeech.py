"""LibriSpeech (Panayotov et al., 2015) and every corpus with its layout.

LibriSpeech/dev-clean/84/121123/84-121123.trans.txt     lines: 84-121123-0000 GO DO YOU HEAR
LibriSpeech/dev-clean/84/121123/84-121123-0000.flac
"""

from collections.abc import Iterator
from pathlib import Path

from asr.corpora.download import ARCHIVES
from asr.corpora.manifest import CorpusError, Utterance
from asr.corpora.rows import OnSkip, Progress, Row, lines, utterances

# The distribution is FLAC; of several files with one id the first of these is taken.
_AUDIO = (".flac", ".wav", ".opus", ".ogg", ".mp3")
_TRANSCRIPT = ".trans.txt"


def read(
    root: str | Path, subset: str, on_progress: Progress | None = None, on_skip: OnSkip | None = None
) -> list[Utterance]:
    """Read one subset, in the order of its ids.

    `root` is LibriSpeech/ or the folder that holds it; `subset` is any folder there that has the layout, official or
    not. `on_progress` is called with the number of sound files read and of all; `on_skip` as in `utterances`. Raises
    CorpusError.
    """
    folder = _locate(Path(root), subset)
    rows = [row for chapter in _chapters(folder) for row in _rows(chapter)]
    if not rows:
        raise CorpusError(f"{folder}: no <speaker>/<chapter>/*{_TRANSCRIPT} in it; is it a LibriSpeech subset?")
    return utterances(rows, "remove one of them", on_progress, on_skip)


def _locate(root: Path, subset: str) -> Path:
    official = f"official subsets are {', '.join(ARCHIVES)}"
    if not subset or subset in (".", "..") or Path(subset).name != subset:
        raise CorpusError(f"subset {subset!r} is not the name of a folder; {official}")
    remedy = "--download fetches it" if subset in ARCHIVES else official
    if not root.is_dir():
        raise CorpusError(f"{root}: no such folder, so no subset {subset!r}; {remedy}")
    trees = [tree for tree in (root.resolve() / "LibriSpeech", root.resolve()) if tree.is_dir()]
    for tree in trees:
        if (tree / subset).is_dir():
            return tree / subset
    if root.resolve().name == subset:
        raise CorpusError(f"{root}: this is the subset itself; give its parent folder")
    subsets = [folder.name for tree in trees for folder in _folders(tree) if any(folder.glob(f"*/*/*{_TRANSCRIPT}"))]
    listing = f"only {', '.join(subsets)}" if subsets else "nor any other"
    raise CorpusError(f"{root}: no subset {subset!r} in it, {listing}; {remedy}")


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _chapters(subset: Path) -> Iterator[Path]:
    for parent in (subset, *_folders(subset)):
        for path in parent.iterdir():
            if _is_transcript(path) or _is_audio(path):
                raise CorpusError(f"{path}: is outside <speaker>/<chapter>/ of {subset}; move it there or remove it")
        if parent != subset:
            yield from _folders(parent)


def _is_transcript(path: Path) -> bool:
    return path.name.endswith(_TRANSCRIPT) and not path.name.startswith(".")


def _is_audio(path: Path) -> bool:
    # macOS leaves a hidden ._NAME.flac beside each NAME.flac on foreign disks.
    return path.suffix.lower() in _AUDIO and not path.name.startswith(".")


def _rows(chapter: Path) -> Iterator[Row]:
    files = sorted(chapter.iterdir())
    audio: dict[str, Path] = {}
    for path in sorted(filter(_is_audio, files), key=lambda path: _AUDIO.index(path.suffix.lower())):
        audio.setdefault(path.stem, path)
    transcripts = [path for path in files if _is_transcript(path)]
    listed = set()
    for transcript in transcripts:
        for number, line in lines(transcript):
            source = f"{transcript}, line {number}"
            id, *text = line.split(maxsplit=1)
            if not text:
                raise CorpusError(f"{source}: {line[:60]!r} is not 'ID TEXT'; add the text or remove the line")
            if id not in audio:
                raise CorpusError(f"{source}: no sound file {id}.flac (or {', '.join(_AUDIO[1:])}) beside it")
            listed.add(id)
            yield Row(id, str(audio[id]), text[0], source, chapter.parent.name)
    for id in sorted(audio.keys() - listed):
        names = ", ".join(path.name for path in transcripts) or f"{chapter.parent.name}-{chapter.name}{_TRANSCRIPT}"
        raise CorpusError(f"{audio[id]}: no line for it in {names}; add one or remove the file")
