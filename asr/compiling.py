"""Compilation of functions by numba at their first use, with a cache on disk for later processes.

numba takes a cached function for current if its own source file is unchanged, although functions of other files may be
inlined in it. So the cache folder is named after the contents of all source files. The versions of Python and numba are
part of the name too: numba overwrites what another version has cached.
"""

import hashlib
import os
import platform
import shutil
import time
import types
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import numba
import platformdirs
from numba.core.caching import Cache, NullCache

Function = TypeVar("Function", bound=Callable[..., object])
_PREFIX = "compiled-"
# Seconds.
_UNUSED = 30 * 86_400


class Compiler:
    """Compiles functions whose code, with that of all functions they call, is in `folders`.

    The cache is in NUMBA_CACHE_DIR if that is set, else in the first of these folders, or in the user's cache folder.
    If none can be written to, the functions are compiled in memory, anew in each process.
    """

    def __init__(self, *folders: Path) -> None:
        digest = hashlib.sha256(f"{platform.python_version()} {numba.__version__}".encode())
        for source in (source for folder in folders for source in sorted(folder.glob("*.py"))):
            digest.update(source.read_bytes())
        given = [Path(os.environ["NUMBA_CACHE_DIR"])] if os.environ.get("NUMBA_CACHE_DIR") else []
        parents = (*given, folders[0] / "__pycache__", Path(platformdirs.user_cache_dir("asr", appauthor=False)))
        self._folder = cache_folder(digest.hexdigest()[:16], parents)

    @property
    def caches(self) -> bool:
        """Return whether later processes find what is compiled."""
        return self._folder is not None

    def compiled(self, function: Function) -> Function:
        """Compile a function for the types it is called with, to run without the interpreter's lock."""
        return self._compile(function, "never")

    def inlined(self, function: Function) -> Function:
        """Compile a function as part of each function that calls it."""
        return self._compile(function, "always")

    def _compile(self, function: Function, inline: Literal["never", "always"]) -> Function:
        # numba reads the folder once, when a function is decorated.
        config: Any = numba.config
        before, config.CACHE_DIR = config.CACHE_DIR, str(self._folder or "")
        try:
            decorator = numba.njit(cache=self._folder is not None, nogil=True, error_model="numpy", inline=inline)
            return cast(Function, decorator(function))
        finally:
            config.CACHE_DIR = before

    def is_compiled(self, function: Callable[..., object]) -> bool:
        """Return whether a function has been compiled, in this process or in the cache."""
        # With NUMBA_DISABLE_JIT the function is the plain one.
        if getattr(function, "overloads", True):
            return True
        name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"
        return self._folder is not None and any(self._folder.rglob(f"{name}-*.nbi"))


def cache_folder(name: str, parents: Iterable[Path]) -> Path | None:
    """Return the cache folder `name` in the first parent that can be written to, or None if none can.

    Cache folders there that no process has used for 30 days are removed.
    """
    for parent in parents:
        folder = parent / (_PREFIX + name)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            os.utime(folder)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            for other in parent.glob(_PREFIX + "*"):
                with suppress(OSError):
                    if time.time() - other.stat().st_mtime > _UNUSED:
                        shutil.rmtree(other)
            return folder
    return None


def make_caching_optional() -> None:
    """Let numba compile in memory what other libraries ask it to cache where no folder can be written to.

    numba raises a RuntimeError there when the library is imported.
    """

    def new(cls: Any, py_func: Any) -> Any:
        try:
            cls._impl_class(py_func)
        except RuntimeError:
            return NullCache()
        return object.__new__(cls)

    caches: Any = Cache
    caches.__new__ = new


def interpreted(function: Function, done: dict[Any, Any] | None = None) -> Function:
    """Return a compiled function, and the functions it calls, in a form that the interpreter runs: ready, but slow."""
    done = {} if done is None else done
    source: Any = getattr(function, "py_func", function)
    if source not in done:
        names = dict(source.__globals__)
        done[source] = types.FunctionType(source.__code__, names, source.__name__, source.__defaults__)
        names |= {name: interpreted(value, done) for name, value in names.items() if hasattr(value, "py_func")}
    return cast(Function, done[source])
