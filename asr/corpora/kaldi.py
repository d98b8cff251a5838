"""Kaldi data folders, also those of speechocean762 (Zhang et al., 2021).

wav.scp     RECORDING PATH, or RECORDING sph2pipe -f wav PATH |, or RECORDING flac -c -d -s PATH |
text        UTTERANCE WORD WORD …
segments    UTTERANCE RECORDING START END, in seconds; without it, recordings are utterances
utt2spk     UTTERANCE SPEAKER

Pipes are never executed: the file that sph2pipe, flac or cat would read is read itself.
"""

import re
import shlex
from pathlib import Path

from asr.audio import AudioError, info
from asr.corpora.manifest import CorpusError
from asr.corpora.rows import Row, lines

# The arguments of the programs that only convert a file to WAV.
_PROGRAMS = {
    "sph2pipe": re.compile(r"-f (wav|rif|riff)|-p|-c [12]"),
    "flac": re.compile(r"-[cds]+|--decode|--stdout|--silent|--totally-silent"),
    "cat": re.compile(r"(?!)"),
}
_REMEDY = "it is not executed; convert the recording to a sound file and write its path"


def _folders(root: Path) -> list[Path]:
    if (root / "wav.scp").is_file():
        return [root]
    return sorted(path.parent for path in root.glob("*/wav.scp") if (path.parent / "text").is_file())


def matches(root: Path) -> bool:
    """Return whether a folder is a Kaldi data folder or holds some."""
    return bool(_folders(root))


def sets(root: Path) -> dict[str, list[Row]]:
    """Return the rows of each data folder. Raises CorpusError."""
    return {folder.name: _rows(folder) for folder in _folders(root)}


def _rows(folder: Path) -> list[Row]:
    recordings = {id: _audio(folder, rest, source) for id, (rest, source) in _table(folder / "wav.scp").items()}
    speakers = _table(folder / "utt2spk") if (folder / "utt2spk").is_file() else {}
    segments = _table(folder / "segments") if (folder / "segments").is_file() else None
    rows = []
    for id, (text, source) in _table(folder / "text").items():
        recording, offset, duration = id, 0.0, None
        if segments is not None:
            if id not in segments:
                raise CorpusError(f"{source}: {id!r} is not in {folder / 'segments'}; add it or remove the line")
            recording, offset, duration = _segment(*segments[id])
        if recording not in recordings:
            raise CorpusError(f"{source}: recording {recording!r} is not in {folder / 'wav.scp'}")
        speaker = speakers[id][0] if id in speakers else ""
        rows.append(Row(id, recordings[recording], text, source, speaker, offset, duration))
    return rows


def _table(path: Path) -> dict[str, tuple[str, str]]:
    """Return the rest of each line by its first word, and where it is."""
    if not path.is_file():
        raise CorpusError(f"{path}: no such file; a Kaldi data folder needs wav.scp and text")
    table: dict[str, tuple[str, str]] = {}
    for number, line in lines(path):
        id, *rest = line.split(maxsplit=1)
        source = f"{path}, line {number}"
        if not rest:
            raise CorpusError(f"{source}: {id!r} has nothing after it; complete or remove the line")
        if id in table:
            raise CorpusError(f"{source}: {id!r} is already in {table[id][1]}; remove one of them")
        table[id] = rest[0], source
    return table


def _segment(rest: str, source: str) -> tuple[str, float, float | None]:
    try:
        recording, *times = rest.split()
        start, end = map(float, times)
    except ValueError:
        raise CorpusError(f"{source}: {rest[:60]!r} is not 'RECORDING START END' in seconds") from None
    if end == -1:
        return recording, start, None
    if not 0 <= start < end < float("inf"):
        raise CorpusError(f"{source}: segment {start:g}–{end:g} s; expected 0 <= start < end")
    return recording, start, end - start


def _audio(folder: Path, rest: str, source: str) -> str:
    if not rest.endswith("|"):
        return _resolve(folder, rest)
    command = rest[:-1].strip()
    try:
        program, *arguments = shlex.split(command)
    except ValueError as error:
        raise CorpusError(f"{source}: {command[:60]!r}: {error}; {_REMEDY}") from None
    known = _PROGRAMS.get(Path(program).name)
    path = arguments.pop() if arguments else ""
    if path == "-" and arguments:  # sph2pipe may name its output
        path = arguments.pop()
    flags = re.findall(r"-[fc] (?:\w+)|\S+", " ".join(arguments)) if Path(program).name == "sph2pipe" else arguments
    if not known or not path or re.search(r"[|;&<>$`*?]", command) or not all(map(known.fullmatch, flags)):
        raise CorpusError(f"{source}: {command[:60]!r} is a program; {_REMEDY}")
    audio = _resolve(folder, path)
    if any(flag.startswith("-c ") for flag in flags):
        try:
            channels = info(audio).channels
        except AudioError as error:
            raise CorpusError(f"{source}: {error}") from None
        if channels > 1:
            raise CorpusError(f"{source}: one channel of {channels}; write it to a file of its own")
    return audio


def _resolve(folder: Path, name: str) -> str:
    # Relative paths are relative to the folder from which the recipe ran: that above data/, as a rule.
    folder = folder.resolve()
    places = [place / name for place in (folder, *list(folder.parents)[:2])]
    return str(next((place for place in places if place.is_file()), places[0]))
