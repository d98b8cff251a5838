"""Files, folders, patterns and lists of them -> the recordings meant, each once, and its place in a mirrored folder."""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from glob import glob, has_magic
from pathlib import Path

from asr.audio import SUFFIXES

STDIN = "-"


@dataclass(frozen=True)
class Recording:
    """A sound file, and where what is made of it stands in a folder that mirrors the one it was found in.

    `place`: relative, without suffix.
    """

    path: Path
    place: Path


@dataclass
class Found:
    """The recordings in the order they were asked for, and what cannot be used: a line for each problem."""

    recordings: list[Recording] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def gather(given: Sequence[str], listed: Sequence[str] = ()) -> Found:
    """Find the recordings of files, folders (with all in them), patterns with * ? [ ] or **, and `-`; then of a list.

    In folders and patterns what is hidden is left out, and names are sorted; in folders only names of sound files
    count. A file given twice, by whatever path, is found once. Places are relative to the folder given or to what a
    pattern begins with; of files given one by one they are their names, of a list the paths from the folder that all
    of it is in.
    """
    found = Found()
    seen: set[str] = set()
    for recording in (*_meant(given, found.problems), *_in_list(listed, found.problems)):
        key = STDIN if str(recording.path) == STDIN else os.path.realpath(recording.path)
        if key not in seen:
            seen.add(key)
            found.recordings.append(recording)
    return found


def read_list(content: bytes) -> list[str]:
    """Return the paths of a list, one on each line, or each with a NUL behind it, as `find -print0` writes them."""
    parts = content.split(b"\0") if b"\0" in content else [line.rstrip(b"\r") for line in content.split(b"\n")]
    return [os.fsdecode(part) for part in parts if part.strip()]


def _meant(given: Iterable[str], problems: list[str]) -> Iterator[Recording]:
    for one in given:
        if one == STDIN:
            yield Recording(Path(STDIN), Path("stdin"))
        elif not one:
            problems.append("'': no such file")
        elif has_magic(one) and not os.path.lexists(one):
            yield from _matching(one, problems)
        elif _is_folder(one):
            yield from _below(one, one, problems)
        else:
            yield _file(one, _folder_of(one))


def _in_list(listed: Sequence[str], problems: list[str]) -> Iterator[Recording]:
    if not listed:
        return
    base = os.path.commonpath([str(_whole(one)) if _is_folder(one) else _folder_of(one) for one in listed])
    for one in listed:
        if _is_folder(one):
            yield from _below(one, base, problems)
        else:
            yield _file(one, base)


def _matching(pattern: str, problems: list[str]) -> Iterator[Recording]:
    parts = Path(pattern).parts
    first = next(number for number, part in enumerate(parts) if has_magic(part))
    base = str(Path(*parts[:first]))
    # Of *.dat all is meant, of talks/* no notes beside the recordings.
    every = bool(Path(pattern).suffix) and not has_magic(Path(pattern).suffix)
    count = 0
    # Path.glob finds hidden files, too.
    for match in sorted(glob(pattern, recursive=True)):  # noqa: PTH207
        if _is_folder(match):
            recordings = list(_below(match, base, []))
        else:
            recordings = [_file(match, base)] if every or _is_sound(match) else []
        count += len(recordings)
        yield from recordings
    if not count:
        problems.append(f"{pattern}: no sound file has such a name")


def _below(folder: str, base: str, problems: list[str]) -> Iterator[Recording]:
    """Yield what is in a folder, by way of links too, each folder once."""
    count = 0
    seen: set[tuple[int, int]] = set()

    def refuse(error: OSError) -> None:
        problems.append(f"{error.filename}: {error.strerror}")

    for where, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        status = Path(where).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if _is_sound(name) and not name.startswith("."):
                count += 1
                yield _file(str(Path(where, name)), base)
    if not count:
        problems.append(f"{folder}: no sound file in this folder; names end in {', '.join(sorted(SUFFIXES))}")


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(Path(path).stat().st_mode)
    except (OSError, ValueError):  # what cannot be asked is told as a file that cannot be read
        return False


def _folder_of(path: str) -> str:
    return str(_whole(path).parent)


def _whole(path: str) -> Path:
    # Links stay as they are, so that a name is below the folder it was found in.
    return Path(os.path.normpath(Path(path).absolute()))


def _is_sound(name: str) -> bool:
    return Path(name).suffix.lower() in SUFFIXES


def _file(path: str, base: str) -> Recording:
    relative = Path(os.path.relpath(path, base))
    found = Path(path)
    # A file of this name is no standard input.
    return Recording(found.absolute() if str(found) == STDIN else found, relative.with_name(relative.stem))
