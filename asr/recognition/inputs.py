"""Finds the recordings that a command line names: files, folders, patterns, lists and standard input."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from glob import glob, has_magic
from pathlib import Path

from asr.audio import SUFFIXES

STDIN = "-"


@dataclass(frozen=True)
class InputFile:
    """A recording, and the path of its outputs within the output folder: relative and without suffix."""

    path: Path
    output: Path


@dataclass
class Inputs:
    """Recordings in the order in which they were named, and a line for each name that cannot be used."""

    files: list[InputFile] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def find_inputs(arguments: Sequence[str], listed: Sequence[str] = ()) -> Inputs:
    """Find the recordings of files, folders, patterns with * ? [ ] or **, and `-`; then those of a list of paths.

    Folders are searched recursively for names of sound files; hidden files and folders are left out, and names are
    sorted. A file named twice, by whatever path, is taken once. Output paths are relative to the folder given, or to
    the part of a pattern before its first wildcard; those of single files are their names, and those of a list are
    relative to the folder that contains all of it.
    """
    inputs = Inputs()
    seen: set[str] = set()
    for file in (*_from_arguments(arguments, inputs.problems), *_from_list(listed, inputs.problems)):
        key = STDIN if str(file.path) == STDIN else os.path.realpath(file.path)
        if key not in seen:
            seen.add(key)
            inputs.files.append(file)
    return inputs


def read_list(content: bytes) -> list[str]:
    """Return the paths of a list: one a line, or each followed by NUL, as `find -print0` writes them."""
    parts = content.split(b"\0") if b"\0" in content else [line.rstrip(b"\r") for line in content.split(b"\n")]
    return [os.fsdecode(part) for part in parts if part.strip()]


def _from_arguments(arguments: Iterable[str], problems: list[str]) -> Iterator[InputFile]:
    for argument in arguments:
        if argument == STDIN:
            yield InputFile(Path(STDIN), Path("stdin"))
        elif not argument:
            problems.append("'': no such file")
        elif has_magic(argument) and not os.path.lexists(argument):
            yield from _matching(argument, problems)
        elif _is_folder(argument):
            yield from _in_folder(argument, argument, problems)
        else:
            yield _file(argument, str(_absolute(argument).parent))


def _from_list(listed: Sequence[str], problems: list[str]) -> Iterator[InputFile]:
    if not listed:
        return
    paths = [_absolute(path) for path in listed]
    base = os.path.commonpath([path if _is_folder(str(path)) else path.parent for path in paths])
    for path in listed:
        if _is_folder(path):
            yield from _in_folder(path, base, problems)
        else:
            yield _file(path, base)


def _matching(pattern: str, problems: list[str]) -> Iterator[InputFile]:
    parts = Path(pattern).parts
    first = next(index for index, part in enumerate(parts) if has_magic(part))
    base = str(Path(*parts[:first]))
    # `*.dat` means every match; `talks/*` does not mean the notes beside the recordings.
    every = bool(Path(pattern).suffix) and not has_magic(Path(pattern).suffix)
    count = 0
    # Path.glob would find hidden files, too.
    for match in sorted(glob(pattern, recursive=True)):  # noqa: PTH207
        if _is_folder(match):
            files = list(_in_folder(match, base, []))
        else:
            files = [_file(match, base)] if every or _is_sound(match) else []
        count += len(files)
        yield from files
    if not count:
        problems.append(f"{pattern}: no sound file matches this pattern")


def _in_folder(folder: str, base: str, problems: list[str]) -> Iterator[InputFile]:
    """Yield the sound files below a folder, following links, each folder once."""
    count = 0
    seen: set[tuple[int, int]] = set()

    def report(error: OSError) -> None:
        problems.append(f"{error.filename}: {error.strerror}")

    for current, folders, names in os.walk(folder, onerror=report, followlinks=True):
        status = Path(current).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if _is_sound(name) and not name.startswith("."):
                count += 1
                yield _file(str(Path(current, name)), base)
    if not count:
        problems.append(f"{folder}: no sound file in this folder; names end in {', '.join(sorted(SUFFIXES))}")


def _is_folder(path: str) -> bool:
    # Path.is_dir would raise an OSError, such as of a path that is too long; it is reported when the file is read.
    return os.path.isdir(path)  # noqa: PTH112


def _absolute(path: str) -> Path:
    # Links are kept, so that a name stays below the folder in which it was found.
    return Path(os.path.normpath(Path(path).absolute()))


def _is_sound(name: str) -> bool:
    return Path(name).suffix.lower() in SUFFIXES


def _file(name: str, base: str) -> InputFile:
    output = Path(os.path.relpath(name, base))
    path = Path(name)
    # A file named "-" is not standard input.
    return InputFile(path.absolute() if str(path) == STDIN else path, output.with_name(output.stem))
