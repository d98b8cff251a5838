"""Folders for what can be computed again: compiled functions and unpacked language models."""

import os
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import platformdirs

# Seconds.
_UNUSED = 30 * 86_400


def user_cache() -> Path:
    """Return the user's cache folder of asr, which need not exist."""
    return Path(platformdirs.user_cache_dir("asr", appauthor=False))


def cache_folder(name: str, parents: Iterable[Path]) -> Path | None:
    """Return the cache folder `name`, KIND-ID, in the first parent that can be written to, or None if none can.

    Cache folders there of the same kind that no process has used for 30 days are removed.
    """
    for parent in parents:
        folder = parent / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            os.utime(folder)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            for other in parent.glob(f"{name.partition('-')[0]}-*"):
                with suppress(OSError):
                    if time.time() - other.stat().st_mtime > _UNUSED:
                        shutil.rmtree(other)
            return folder
    return None
