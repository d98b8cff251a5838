"""Atomic writes, folder locks, digests, UTF-8 text, tables of cells, and JSON lines."""

import csv
import hashlib
import io
import json
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from asr.errors import AsrError

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None  # type: ignore[assignment]


class EncodingError(AsrError):
    """A text file that is not UTF-8; the message names the file, the line and the byte."""


class OverwriteError(AsrError):
    """A file that is read and would be written over; the message names it."""


class TableError(AsrError):
    """A table with cells that cannot be separated; the message names the file and the row."""


class LockedError(AsrError):
    """A folder that another process writes to."""


class JsonLineError(AsrError):
    """A line that is not a JSON object; the message does not name the file."""


# The names of open files: on Linux links whose targets have been opened already, and may be regular files.
_STANDARD = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_DESCRIPTOR = re.compile(r"/(?:dev|proc/([^/]+))/fd/(\d{1,9})")
# Links to follow before giving up, as Linux does.
_LINKS = 40


@contextmanager
def open_atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path` for writing; rename it to `path` on success, delete it on failure.

    Until then the old file stays. Each process writes its own temporary file. A symbolic link is followed; the folder
    must exist. What is no regular file (a pipe, a device, /dev/stdout whatever is behind it) cannot be replaced, and is
    written to. Raises OSError.
    """
    descriptor = open_descriptor(path)
    if descriptor is not None or _is_special(path):
        sys.stdout.flush()
        with path.open("wb") if descriptor is None else os.fdopen(os.dup(descriptor), "wb") as out:
            yield out
        return
    target = Path(os.path.realpath(path))
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as out:
            yield out
            out.flush()
            # Without this a power failure may leave the new name on an empty file.
            os.fsync(out.fileno())
        part.replace(target)
    except OSError as error:
        # The error of a full disk names no file, that of a folder without permission the temporary one.
        if error.filename in (None, str(part)):
            error.filename = str(path)
        raise
    finally:
        part.unlink(missing_ok=True)


def open_descriptor(path: Path) -> int | None:
    """Return the number of the open file that /dev/stdout, /dev/fd/N or a link to them names; None for others."""
    for _ in range(_LINKS):
        if path.as_posix() in _STANDARD:
            return _STANDARD[path.as_posix()]
        name = os.path.normpath(path.absolute())
        match = _DESCRIPTOR.fullmatch(name)
        if match and match[1] in ("self", "thread-self", str(os.getpid()), None):
            return int(match[2])
        try:
            path = path.parent / path.readlink()
        except (OSError, ValueError):
            return None
    return None


def _is_special(path: Path) -> bool:
    return path.exists() and not path.is_file() and not path.is_dir()


def check_not_read(targets: Iterable[Path], inputs: Iterable[str | Path]) -> None:
    """Raise OverwriteError if a file to be written is also read, under whatever name, or is to be written twice."""
    written: dict[object, Path] = {}
    for target in targets:
        for key in (_identity(target), os.path.realpath(target)):
            if key and written.setdefault(key, target) is not target:
                raise OverwriteError(f"{target}: two outputs would be written to it; write them to different files")
    if not any(isinstance(key, tuple) for key in written):
        return  # none of them exists
    for path in inputs:
        if (identity := _identity(path)) in written:
            raise OverwriteError(f"{written[identity]}: would overwrite the input file {path}; write to another file")


def _identity(path: str | Path) -> tuple[int, int] | None:
    """Return what all names of a regular file have in common; None if there is no such file."""
    try:
        status = Path(path).stat()
    except (OSError, ValueError):
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None


def below_common_folder(paths: Sequence[Path]) -> list[Path]:
    """Return the paths relative to the folder that contains all of them, as they are if there is none."""
    absolute = [Path(os.path.normpath(path.absolute())) for path in paths]
    try:
        base = os.path.commonpath([path.parent for path in absolute])
    except ValueError:  # no paths, or different drives
        return list(paths)
    return [path.relative_to(base) for path in absolute]


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: Path, content: str) -> None:
    """Write a text file as `open_atomic` does, and create the folders above it.

    Unpaired surrogates are written as their escapes. Raises OSError.
    """
    if open_descriptor(path) is None:
        path.parent.mkdir(parents=True, exist_ok=True)
    with open_atomic(path) as out:
        out.write(content.encode("utf-8", "backslashreplace"))


def decode_utf8(name: object, content: bytes) -> str:
    """Decode a text file without its byte order mark; `name` is for the message. Raises EncodingError."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        line, byte = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
        raise EncodingError(_not_utf8(name, line, byte, error.object[error.start])) from None


def read_utf8(path: str | Path) -> str:
    """Read a text file without its byte order mark. Raises EncodingError and OSError."""
    return decode_utf8(path, Path(path).read_bytes())


def utf8_lines(name: object, lines: Iterable[bytes]) -> Iterator[tuple[int, str]]:
    """Yield the number, from 1, and the text of each line, without the byte order mark of the first.

    `name` is for the message. Raises EncodingError.
    """
    for number, raw in enumerate(lines, 1):
        try:
            yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise EncodingError(_not_utf8(name, number, error.start + 1, error.object[error.start])) from None


def _not_utf8(name: object, line: int, byte: int, value: int) -> str:
    return f"{name}, line {line}: not UTF-8 (byte {byte} is 0x{value:02X}); save the file as UTF-8"


def read_cells(name: object, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number, from 1, and the cells of each row of a CSV or TSV table that is not blank.

    Cells are stripped of white space. With a tab or a bar as `delimiter`, quotation marks are part of the cell, unless
    they enclose all of it, as Excel writes them. `name` is for the message. Raises TableError.
    """
    verbatim = delimiter in "\t|"
    rows = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        quoting=csv.QUOTE_NONE if verbatim else csv.QUOTE_MINIMAL,
        strict=True,
    )
    number = 0
    try:
        for number, row in enumerate(rows, 1):
            cells = [(_unquote(cell) if verbatim else cell).strip() for cell in row]
            if any(cells):
                yield number, cells
    except csv.Error as error:
        raise TableError(
            f'{name}, row {number + 1}: {error}; quote cells that contain {delimiter} or ", and double each " in them'
        ) from None


def _unquote(cell: str) -> str:
    if len(cell) >= 2 and cell[0] == cell[-1] == '"' and '"' not in cell[1:-1].replace('""', ""):
        return cell[1:-1].replace('""', '"')
    return cell


def lock_file(file: BinaryIO, shared: bool = False) -> bool:
    """Lock an open file until it is closed; return False if another process holds a lock that conflicts.

    A system without flock grants every lock.
    """
    if fcntl:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError:
            return False
    return True


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold a folder's write lock during the context; the lock ends with the process at the latest.

    Raises LockedError if another process holds it.
    """
    with (folder / ".lock").open("wb") as lock:
        if not lock_file(lock):
            raise LockedError(f"{folder}: another process is writing to it; wait for it, or stop it")
        yield


def remove_partial(folder: Path, pattern: str) -> None:
    """Delete the temporary files that killed processes left of files that match `pattern`; keep all other files."""
    for part in folder.glob(f"{pattern}.*.part"):
        if re.fullmatch(r".+\.\d+\.part", part.name):
            part.unlink(missing_ok=True)


def abandoned_target(part: Path) -> str | None:
    """Return the name of the file that a temporary file is of, or None if it is none or its process may still run."""
    match = re.fullmatch(r"(.+)\.(\d+)\.part", part.name)
    return match[1] if match and not _runs_elsewhere(int(match[2])) else None


def _runs_elsewhere(process: int) -> bool:
    """Return whether another process than this one has a number."""
    # On Windows os.kill ends the process.
    if process == os.getpid() or os.name == "nt":
        return False
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def remove_files(folder: Path, pattern: str) -> None:
    """Delete the files that match `pattern`, complete or partial, and the folder if it is then empty."""
    remove_partial(folder, pattern)
    for path in folder.glob(pattern):
        path.unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def parse_json_object(line: str) -> dict[str, Any]:
    """Parse one line of JSON. Raises JsonLineError for anything but an object."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise JsonLineError(f"not JSON: {error.msg} at column {error.colno}") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets a thousand deep
        raise JsonLineError(f"not JSON: {error}") from error
    if not isinstance(row, dict):
        raise JsonLineError("not a JSON object {…}")
    return row
