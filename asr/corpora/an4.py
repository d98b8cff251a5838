"""CMU AN4 (Acero, 1993): names, addresses, dates and numbers, spelled, over a close-talking microphone.

an4/etc/an4_train.transcription     <s> TEXT </s> (an251-fash-b)      in an4_test without <s> and </s>
an4/etc/an4_train.fileids           an4_clstk/fash/an251-fash-b       the same utterance in the same line
an4/wav/an4_clstk/fash/an251-fash-b.sph
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from asr.corpora.manifest import CorpusError, Utterance
from asr.corpora.rows import OnSkip, Progress, Row, lines, utterances

# AN4 has no development set. A tenth of the training list is enough to select between epochs.
DEV_UTTERANCES = 100
# The distribution is NIST SPHERE; converted copies keep the names.
_AUDIO = (".sph", ".wav", ".flac")
# The fillers of etc/an4.filler mark silence and are not spoken.
_FILLERS = {"<s>", "</s>", "<sil>"}
_LINE = re.compile(r"(?P<words>.*?)\s*\((?P<id>[^()\s]+)\)")


def read(
    root: str | Path, on_progress: Progress | None = None, on_skip: OnSkip | None = None
) -> dict[str, list[Utterance]]:
    """Read AN4 as `train`, `dev` and `test`, each in the order of its ids, the words in upper case.

    `root` is an4/ or the folder that holds it. `dev` is whole speakers of the training list: in the order of the
    SHA-256 of their names, as many as have DEV_UTTERANCES. `on_progress` is called with the number of sound files
    read and of all; `on_skip` as in `utterances`. Raises CorpusError.
    """
    folder = _locate(Path(root))
    train, test = list(_rows(folder, "train")), list(_rows(folder, "test"))
    all_utterances = utterances([*train, *test], "remove one of them", on_progress, on_skip)
    test_ids = {row.id for row in test}
    dev_speakers = _dev_speakers(Counter(row.speaker for row in train), folder)
    sets: dict[str, list[Utterance]] = {"train": [], "dev": [], "test": []}
    for utterance in all_utterances:
        name = "test" if utterance.id in test_ids else "dev" if utterance.speaker in dev_speakers else "train"
        sets[name].append(utterance)
    return sets


def _locate(root: Path) -> Path:
    for folder in (root.resolve(), root.resolve() / "an4"):
        if (folder / "etc").is_dir():
            return folder
    raise CorpusError(f"{root}: contains no etc/an4_train.transcription; give the folder an4/ or its parent folder")


def _read_list(path: Path) -> list[tuple[int, str]]:
    if not path.is_file():
        raise CorpusError(f"{path}: no such file; it is part of AN4, unpack the distribution again")
    return list(lines(path))


def _rows(folder: Path, name: str) -> Iterator[Row]:
    transcription = folder / "etc" / f"an4_{name}.transcription"
    fileids = transcription.with_suffix(".fileids")
    texts, ids = _read_list(transcription), _read_list(fileids)
    if len(texts) != len(ids) or not texts:
        raise CorpusError(f"{transcription}: {len(texts)} utterances, {fileids.name} has {len(ids)}; they must agree")
    for (number, line), (other, fileid) in zip(texts, ids, strict=True):
        source = f"{transcription}, line {number}"
        match = _LINE.fullmatch(line)
        words = [word for word in match["words"].split() if word not in _FILLERS] if match else []
        if not match or not words:
            raise CorpusError(f"{source}: {line[:60]!r} is not '<s> TEXT </s> (ID)'")
        id = match["id"]
        if fileid.rpartition("/")[2] != id:
            raise CorpusError(f"{source}: id {id!r}, but {fileids.name}, line {other}, has {fileid!r}; they must agree")
        audio = _find(folder / "wav" / fileid, source)
        yield Row(id, str(audio), " ".join(words).upper(), source, audio.parent.name)


def _find(stem: Path, source: str) -> Path:
    for suffix in _AUDIO:
        path = stem.with_name(stem.name + suffix)
        if path.is_file():
            return path
    raise CorpusError(f"{source}: no sound file {stem}.sph (or {', '.join(_AUDIO[1:])})")


def _dev_speakers(counts: Counter[str], folder: Path) -> set[str]:
    speakers: set[str] = set()
    for speaker in sorted(counts, key=lambda speaker: hashlib.sha256(speaker.encode()).digest()):
        if sum(counts[name] for name in speakers) >= DEV_UTTERANCES:
            return speakers
        speakers.add(speaker)
    raise CorpusError(
        f"{folder / 'etc' / 'an4_train.fileids'}: {counts.total()} utterances of {len(counts)} speakers are too few "
        f"to hold out {DEV_UTTERANCES} of whole speakers as dev and train on the others"
    )
