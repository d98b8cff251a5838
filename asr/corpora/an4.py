"""CMU AN4 (Acero, 1993): names, addresses, dates and numbers, spelled, over a close-talking microphone.

an4/etc/an4_train.transcription     <s> TEXT </s> (an251-fash-b)      in an4_test without <s> and </s>
an4/etc/an4_train.fileids           an4_clstk/fash/an251-fash-b       the same utterance in the same line
an4/wav/an4_clstk/fash/an251-fash-b.sph
"""

import hashlib
import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from asr.corpora import CorpusError, Progress, durations, lines
from asr.corpora.manifest import Utterance

# AN4 has no development set. A tenth of the training list decides between epochs, and leaves enough to train on.
DEV_UTTERANCES = 100
# The distribution is NIST SPHERE; converted copies keep the names.
_AUDIO = (".sph", ".wav", ".flac")
# What etc/an4.filler lists: they mark silence and are not spoken.
_FILLERS = {"<s>", "</s>", "<sil>"}
_LINE = re.compile(r"(?P<words>.*?)\s*\((?P<id>[^()\s]+)\)")


@dataclass(frozen=True, slots=True)
class _Entry:
    utterance: Utterance
    place: str


def read(root: str | Path, progress: Progress | None = None) -> dict[str, list[Utterance]]:
    """Read AN4 as `train`, `dev` and `test`, each in the order of its ids, the words in upper case.

    `root` is an4/ or the folder that holds it. `dev` is whole speakers of the training list: in the order of the
    SHA-256 of their names, as many as make DEV_UTTERANCES. `progress` is called with the sound files read so far and
    all of them. Raises CorpusError.
    """
    folder = _locate(Path(root))
    lists = {name: _entries(folder, name) for name in ("train", "test")}
    entries = [entry for name in lists for entry in lists[name]]
    first: dict[str, str] = {}
    for entry in entries:
        if entry.utterance.id in first:
            raise CorpusError(f"{entry.place}: id {entry.utterance.id!r} stands already in {first[entry.utterance.id]}")
        first[entry.utterance.id] = entry.place
    length = durations({entry.utterance.audio: entry.place for entry in entries}, progress)
    sets = {
        name: [replace(entry.utterance, duration=length[entry.utterance.audio]) for entry in lists[name]]
        for name in lists
    }
    held_out = _held_out(sets["train"], folder)
    sets["dev"] = [utterance for utterance in sets["train"] if utterance.speaker in held_out]
    sets["train"] = [utterance for utterance in sets["train"] if utterance.speaker not in held_out]
    return {name: sorted(sets[name], key=lambda utterance: utterance.id) for name in ("train", "dev", "test")}


def _locate(root: Path) -> Path:
    for folder in (root.resolve(), root.resolve() / "an4"):
        if (folder / "etc").is_dir():
            return folder
    raise CorpusError(f"{root}: no etc/an4_train.transcription in it; give the folder an4/ or the one that holds it")


def _read_list(path: Path) -> list[tuple[int, str]]:
    if not path.is_file():
        raise CorpusError(f"{path}: no such file; AN4 comes with it, unpack the distribution again")
    return list(lines(path))


def _entries(folder: Path, name: str) -> list[_Entry]:
    transcription = folder / "etc" / f"an4_{name}.transcription"
    fileids = transcription.with_suffix(".fileids")
    told, listed = _read_list(transcription), _read_list(fileids)
    if len(told) != len(listed) or not told:
        raise CorpusError(f"{transcription}: {len(told)} utterances, {fileids.name} has {len(listed)}; they must agree")
    entries = []
    for (number, line), (other, fileid) in zip(told, listed, strict=True):
        place = f"{transcription}, line {number}"
        match = _LINE.fullmatch(line)
        words = [word for word in match["words"].split() if word not in _FILLERS] if match else []
        if not match or not words:
            raise CorpusError(f"{place}: {line[:60]!r} is not '<s> TEXT </s> (ID)'")
        id = match["id"]
        if fileid.rpartition("/")[2] != id:
            raise CorpusError(f"{place}: id {id!r}, but {fileids.name}, line {other}, has {fileid!r}; they must agree")
        audio = _find(folder / "wav" / fileid, place)
        entries.append(_Entry(Utterance(id, str(audio), 0.0, " ".join(words).upper(), audio.parent.name), place))
    return entries


def _find(stem: Path, place: str) -> Path:
    for suffix in _AUDIO:
        path = stem.with_name(stem.name + suffix)
        if path.is_file():
            return path
    raise CorpusError(f"{place}: no sound file {stem}.sph (or {', '.join(_AUDIO[1:])})")


def _held_out(utterances: list[Utterance], folder: Path) -> set[str]:
    counts = Counter(utterance.speaker for utterance in utterances)
    held_out: set[str] = set()
    for speaker in sorted(counts, key=lambda speaker: hashlib.sha256(speaker.encode()).digest()):
        if sum(counts[one] for one in held_out) >= DEV_UTTERANCES:
            return held_out
        held_out.add(speaker)
    raise CorpusError(
        f"{folder / 'etc' / 'an4_train.fileids'}: {len(utterances)} utterances of {len(counts)} speakers; "
        f"too few to hold out {DEV_UTTERANCES} of whole speakers as dev and train on others"
    )
