"""Files that are written whole or not at all, locks, digests, and JSON lines."""

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from asr.errors import AsrError

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None  # type: ignore[assignment]


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path` for writing; once all is on the disk it takes the name, else it goes.

    What stood under the name before stays until then. Two processes that write the same file do not mix. A link is
    followed, and the folder must exist. Raises OSError.
    """
    target = Path(os.path.realpath(path))
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as out:
            yield out
            out.flush()
            # Without this a power cut may leave the new name on an empty file.
            os.fsync(out.fileno())
        part.replace(target)
    except OSError as error:
        # A full disk names no file of itself.
        error.filename = error.filename or str(path)
        raise
    finally:
        part.unlink(missing_ok=True)


def digest(path: Path) -> str:
    """Return what tells a file's contents from others: the first digits of its SHA-256. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def write_text(path: Path, content: str) -> None:
    """Write a text file whole or not at all, with the folders above it; what is no plain file is written to as it is.

    Halves of surrogate pairs are written as their escapes. Raises OSError.
    """
    # What is no plain file, /dev/stdout say, cannot be renamed to.
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = content.encode("utf-8", "backslashreplace")
    if path.exists() and not path.is_file():
        path.write_bytes(encoded)
        return
    with whole(path) as out:
        out.write(encoded)


class LockedError(AsrError):
    """A folder that another process is writing to."""


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Be the one process that writes to a folder, for as long as the context lasts; the lock ends with the process.

    Raises LockedError if there is another writer.
    """
    with (folder / ".lock").open("wb") as lock:
        if fcntl:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise LockedError(f"{folder}: another process is writing to it; wait for it, or stop it") from error
        yield


def clear_begun(folder: Path, pattern: str) -> None:
    """Take away what processes that were killed left of the files of a pattern; what others put there stays."""
    for part in folder.glob(f"{pattern}.*.part"):
        if re.fullmatch(r".+\.\d+\.part", part.name):
            part.unlink(missing_ok=True)


def clear(folder: Path, pattern: str) -> None:
    """Take away the files of a pattern, whole or begun, and the folder if nothing else is in it."""
    clear_begun(folder, pattern)
    for path in folder.glob(pattern):
        path.unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


class JsonlError(AsrError):
    """A line that is no JSON object; the message says what is wrong with it, not where it stands."""


def parsed(line: str) -> dict[str, Any]:
    """Return the object. Raises JsonlError, whatever the line holds."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise JsonlError(f"not JSON: {error.msg} at column {error.colno}") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets a thousand deep
        raise JsonlError(f"not JSON: {error}") from error
    if not isinstance(row, dict):
        raise JsonlError("not a JSON object {…}")
    return row
