"""How functions are compiled: by numba, at their first use, and kept on the disk for the next process.

A record of arrays costs compiled code a count of references for each array, at each use. So what inner loops touch
stands in arrays of structures, each an argument or a local name.

numba takes what it kept for current as long as the one file is unchanged in which a function stands, though the
functions called and inlined stand in others. So the folder where it keeps things is named after all of them.
"""

import hashlib
import os
import shutil
import sys
import tempfile
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from asr.lm import ngram

Function = TypeVar("Function", bound=Callable[..., object])
Ints = NDArray[np.int32]
Doubles = NDArray[np.float64]
# An array of structures.
Rows = NDArray[Any]

_PREFIX = "asr-beam-"


def _folder() -> Path:
    """Return the folder for what is compiled of these sources: beside them, or wherever may be written."""
    sources = [*sorted(Path(__file__).parent.glob("*.py")), Path(ngram.__file__)]
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]
    users = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - there may be no home
    for parent in (Path(__file__).parent / "__pycache__", Path(users)):
        try:
            folder = parent / (_PREFIX + digest)
            if not folder.is_dir():
                folder.mkdir(parents=True)
                for old in parent.glob(_PREFIX + "*"):
                    if old != folder:
                        shutil.rmtree(old, ignore_errors=True)
            if os.access(folder, os.W_OK):
                return folder
        except OSError:
            continue
    return Path(tempfile.mkdtemp(prefix=_PREFIX))


_FOLDER = _folder()


def _compile(function: Function, inline: Literal["never", "always"]) -> Function:
    # numba asks for the folder once, when a function is decorated.
    config: Any = numba.config
    before, config.CACHE_DIR = config.CACHE_DIR, str(_FOLDER)
    try:
        return cast(Function, numba.njit(cache=True, nogil=True, error_model="numpy", inline=inline)(function))
    finally:
        config.CACHE_DIR = before


def compiled(function: Function) -> Function:
    """Compile a function for the numbers it is called with, to run without the interpreter's lock."""
    return _compile(function, "never")


def is_kept(function: Callable[..., object]) -> bool:
    """Say whether a compiled function was compiled before: in this process, or for it on the disk."""
    # Where numba is told to compile nothing (NUMBA_DISABLE_JIT), the function is the plain one.
    if getattr(function, "overloads", True):
        return True
    name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"
    version = f"py{sys.version_info[0]}{sys.version_info[1]}"
    return any(_FOLDER.rglob(f"{name}-*.{version}*.nbi"))


def interpreted(function: Function, done: dict[Any, Any] | None = None) -> Function:
    """Return a compiled function as the interpreter runs it, and so what it calls: ready at once, far slower."""
    done = {} if done is None else done
    source: Any = getattr(function, "py_func", function)
    if source not in done:
        names = dict(source.__globals__)
        done[source] = types.FunctionType(source.__code__, names, source.__name__, source.__defaults__)
        names |= {name: interpreted(value, done) for name, value in names.items() if hasattr(value, "py_func")}
    return cast(Function, done[source])


def inlined(function: Function) -> Function:
    """Compile a function as part of each one that calls it."""
    return _compile(function, "always")
