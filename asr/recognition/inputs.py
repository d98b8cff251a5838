"""Finds the recordings that a command line names: files, folders, patterns, lists and standard input."""

import codecs
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from glob import escape, glob, has_magic
from pathlib import Path

from asr.audio import MEDIA_HINT, MEDIA_SUFFIXES, SUFFIXES
from asr.errors import AsrError

STDIN = "-"
# Names of files that are listed in a message.
_LISTED = 5
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


class ListError(AsrError):
    """A list of recordings whose encoding is not that of paths."""


@dataclass(frozen=True)
class InputFile:
    """A recording, and the path of its outputs within the output folder: relative and without suffix."""

    path: Path
    output: Path


@dataclass
class Inputs:
    """Recordings in the order in which they were named.

    `problems`: a line for each name that cannot be used, and for the recordings of a folder in formats that cannot be
    read. `notes`: a line for the other files that were left out of a folder.
    """

    files: list[InputFile] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_inputs(arguments: Sequence[str], listed: Sequence[str] = ()) -> Inputs:
    """Find the recordings of files, folders, patterns with * ? [ ] or **, and `-`; then those of a list of paths.

    Folders are searched recursively for names of sound files; hidden files and folders are left out, and names are
    sorted. A file named twice, by whatever path, is taken once. Output paths are relative to the folder given, or to
    the part of a pattern before its first wildcard; those of single files are their names, and those of a list are
    relative to the folder that contains all of it.
    """
    inputs = Inputs()
    seen: set[str] = set()
    for file in (*_from_arguments(arguments, inputs), *_from_list(listed, inputs)):
        key = STDIN if str(file.path) == STDIN else os.path.realpath(file.path)
        if key not in seen:
            seen.add(key)
            inputs.files.append(file)
    return inputs


def is_open_pipe(path: Path) -> bool:
    """Return whether a path is a pipe that the process was started with, such as the shell's `<(command)`."""
    try:
        return bool(re.match("/dev/fd/|/proc/self/fd/", str(path))) and stat.S_ISFIFO(path.stat().st_mode)
    except OSError:
        return False


def read_list(content: bytes) -> list[str]:
    """Return the paths of a list: one a line, or each followed by NUL, as `find -print0` writes them.

    A list that begins with a byte order mark is UTF-8 or UTF-16. Raises ListError for one that cannot be decoded, and
    for UTF-16 without the mark.
    """
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            try:
                return read_list(os.fsencode(content.decode(encoding, "surrogateescape")))
            except UnicodeError as error:
                raise ListError(f"not {encoding.upper()}, as its first bytes say; save it as UTF-8") from error
    parts = content.split(b"\0") if b"\0" in content else [line.rstrip(b"\r") for line in content.split(b"\n")]
    # In UTF-16, a zero byte follows each character of ASCII.
    if b"\0" in content and sum(len(part) <= 1 for part in parts) > len(parts) / 2 > 1:
        raise ListError("looks like UTF-16 without a byte order mark; save it as UTF-8")
    return [os.fsdecode(part) for part in parts if part.strip()]


def _from_arguments(arguments: Iterable[str], inputs: Inputs) -> Iterator[InputFile]:
    for argument in arguments:
        if argument in (STDIN, "/dev/stdin"):
            yield InputFile(Path(STDIN), Path("stdin"))
        elif has_magic(argument) and not os.path.lexists(argument) and not _is_url(argument):
            yield from _matching(argument, inputs)
        else:
            yield from _named(argument, None, inputs)


def _from_list(listed: Sequence[str], inputs: Inputs) -> Iterator[InputFile]:
    paths = [_absolute(path) for path in listed if not _is_url(path)]
    folders = [path if _is_folder(str(path)) else path.parent for path in paths]
    base = os.path.commonpath(folders) if folders else ""
    for path in listed:
        yield from _named(path, base, inputs)


def _named(name: str, base: str | None, inputs: Inputs) -> Iterator[InputFile]:
    """Yield the recordings of a file or folder; their outputs are relative to `base`, or to the folder of the file."""
    if not name:
        inputs.problems.append("'': no such file")
    elif _is_url(name):
        hint = f"curl -L {name} | asr transcribe -"
        inputs.problems.append(f"{name}: a URL, not a file; download it, or read it from standard input: {hint}")
    elif _is_folder(name):
        yield from _in_folder(name, base or name, inputs)
    else:
        yield _file(name, base or str(_absolute(name).parent))


def _matching(pattern: str, inputs: Inputs) -> Iterator[InputFile]:
    # A part that exists as it is written, such as a folder "[2024] talks", is no pattern.
    rest = list(Path(pattern).parts)
    base = Path()
    while len(rest) > 1 and (not has_magic(rest[0]) or os.path.lexists(base / rest[0])):
        base /= rest.pop(0)
    # Path.glob would find hidden files, too. In a pattern, the current folder has no name.
    start = "" if base == Path() else escape(str(base))
    found: list[Path] = []
    for match in sorted(glob(os.path.join(start, *rest), recursive=True)):  # noqa: PTH118, PTH207
        found += _walk(match, inputs) if _is_folder(match) else [Path(match)]
    # `*.dat` means every match; `talks/*` does not mean the notes beside the recordings.
    every = bool(Path(pattern).suffix) and not has_magic(Path(pattern).suffix)
    sounds = found if every else _sounds(pattern, base, found, inputs)
    if not sounds:
        hint = "; [ and ] enclose characters to choose from, write [[] for [" if "[" in pattern else ""
        inputs.problems.append(f"{pattern}: no sound file matches this pattern{hint}")
    yield from (_file(str(path), str(base)) for path in sounds)


def _in_folder(folder: str, base: str, inputs: Inputs) -> Iterator[InputFile]:
    sounds = _sounds(folder, Path(folder), _walk(folder, inputs), inputs)
    if not sounds:
        endings = ", ".join(sorted(SUFFIXES))
        inputs.problems.append(f"{folder}: no sound file in this folder; names end in {endings}")
    yield from (_file(str(path), base) for path in sounds)


def _walk(folder: str, inputs: Inputs) -> list[Path]:
    """Return the files below a folder that are not hidden, following links, each folder once."""
    found: list[Path] = []
    seen: set[tuple[int, int]] = set()

    def report(error: OSError) -> None:
        inputs.problems.append(f"{error.filename}: {error.strerror}")

    for current, folders, names in os.walk(folder, onerror=report, followlinks=True):
        status = Path(current).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(current, name) for name in sorted(names) if not name.startswith(".")]
    return found


def _sounds(name: str, base: Path, paths: Sequence[Path], inputs: Inputs) -> list[Path]:
    """Return the files whose names are those of sound files, and report the others; `name` is what the user gave."""
    sounds = [path for path in paths if path.suffix.lower() in SUFFIXES - MEDIA_SUFFIXES]
    # The sound of a video may have been converted already.
    converted = {path.with_suffix("") for path in sounds}
    media = [path for path in paths if path.suffix.lower() in MEDIA_SUFFIXES and path.with_suffix("") not in converted]
    named = {*sounds, *media}
    rest = [path for path in paths if path not in named]
    if MEDIA_SUFFIXES <= SUFFIXES:
        sounds = [path for path in paths if path in named]
    elif media:
        inputs.problems.append(f"{name}: {_left_out(media, base)}: their formats are read with PyAV: {MEDIA_HINT}")
    if rest:
        inputs.notes.append(f"{name}: {_left_out(rest, base)}: their names are not those of sound files")
    return sounds


def _left_out(paths: Sequence[Path], base: Path) -> str:
    names = ", ".join(os.path.relpath(path, base) for path in paths[:_LISTED])
    more = ", …" if len(paths) > _LISTED else ""
    return f"{len(paths)} {'file' if len(paths) == 1 else 'files'} left out ({names}{more})"


def _is_url(name: str) -> bool:
    return bool(re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", name)) and not os.path.lexists(name)


def _is_folder(path: str) -> bool:
    # Path.is_dir would raise an OSError, such as of a path that is too long; it is reported when the file is read.
    return os.path.isdir(path)  # noqa: PTH112


def _absolute(path: str) -> Path:
    # Links are kept, so that a name stays below the folder in which it was found.
    return Path(os.path.normpath(Path(path).absolute()))


def _file(name: str, base: str) -> InputFile:
    output = Path(os.path.relpath(name, base))
    path = Path(name)
    # A file named "-" is not standard input.
    return InputFile(path.absolute() if str(path) == STDIN else path, output.with_name(output.stem))
