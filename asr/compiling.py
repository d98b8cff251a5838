"""Compilation of functions by numba at their first call, with a cache on disk for later processes.

numba is imported at the first call too, which takes half a second: no process that calls none of them waits for it.
numba takes a cached function for current if its own source file is unchanged, although functions of other files may be
inlined in it. So the cache folder is named after the contents of all source files. The versions of Python and numba are
part of the name too: numba overwrites what another version has cached.
"""

import dis
import hashlib
import os
import platform
import types
from collections.abc import Callable
from functools import cached_property, wraps
from importlib import metadata
from pathlib import Path
from threading import RLock
from typing import Any, Literal, TypeVar, cast

from asr.caching import cache_folder, user_cache

Function = TypeVar("Function", bound=Callable[..., object])
_lock = RLock()


class Compiled:
    """A function that numba compiles at its first call; `py_func` is its source."""

    def __init__(
        self, function: Callable[..., object], compiler: "Compiler", inline: Literal["never", "always"]
    ) -> None:
        self.py_func = function
        self._compiler = compiler
        self._inline = inline
        wraps(function)(self)

    def __call__(self, *arguments: object) -> object:
        return self.dispatcher(*arguments)

    @cached_property
    def dispatcher(self) -> Callable[..., object]:
        """Return numba's form of the function; the functions it calls are in that form too."""
        with _lock:
            # Another thread may have been first.
            known: Callable[..., object] | None = vars(self).get("dispatcher")
            return known or self._compiler.compile(_calling(self.py_func, lambda other: other.dispatcher), self._inline)


class Compiler:
    """Compiles functions whose code, with that of all functions they call, is in `folders`.

    The cache is in NUMBA_CACHE_DIR if that is set, else in the first of these folders, or in the user's cache folder.
    If none can be written to, the functions are compiled in memory, anew in each process.
    """

    def __init__(self, *folders: Path) -> None:
        self._folders = folders

    @cached_property
    def folder(self) -> Path | None:
        """Return the cache folder, or None if later processes do not find what is compiled."""
        digest = hashlib.sha256(f"{platform.python_version()} {metadata.version('numba')}".encode())
        for source in (source for folder in self._folders for source in sorted(folder.glob("*.py"))):
            digest.update(source.read_bytes())
        given = [Path(os.environ["NUMBA_CACHE_DIR"])] if os.environ.get("NUMBA_CACHE_DIR") else []
        parents = (*given, self._folders[0] / "__pycache__", user_cache())
        return cache_folder(f"compiled-{digest.hexdigest()[:16]}", parents)

    def compiled(self, function: Function) -> Function:
        """Compile a function for the types it is called with, to run without the interpreter's lock."""
        return cast(Function, Compiled(function, self, "never"))

    def inlined(self, function: Function) -> Function:
        """Compile a function as part of each function that calls it."""
        return cast(Function, Compiled(function, self, "always"))

    def compile(self, function: Function, inline: Literal["never", "always"]) -> Function:
        """Return numba's form of a function."""
        import numba  # noqa: PLC0415

        # numba reads the folder once, when a function is decorated.
        config: Any = numba.config
        before, config.CACHE_DIR = config.CACHE_DIR, str(self.folder or "")
        try:
            decorator = numba.njit(cache=self.folder is not None, nogil=True, error_model="numpy", inline=inline)
            return cast(Function, decorator(function))
        finally:
            config.CACHE_DIR = before

    def is_compiled(self, function: Callable[..., object]) -> bool:
        """Return whether a function has been compiled, in this process or in the cache."""
        # With NUMBA_DISABLE_JIT numba's form of the function is the plain one.
        if getattr(cast(Compiled, function).dispatcher, "overloads", True):
            return True
        name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"
        return self.folder is not None and any(self.folder.rglob(f"{name}-*.nbi"))


def make_caching_optional() -> None:
    """Let numba compile in memory what other libraries ask it to cache where no folder can be written to.

    numba raises a RuntimeError there when the library is imported.
    """
    from numba.core.caching import Cache, NullCache  # noqa: PLC0415

    def new(cls: Any, py_func: Any) -> Any:
        try:
            cls._impl_class(py_func)
        except RuntimeError:
            return NullCache()
        return object.__new__(cls)

    caches: Any = Cache
    caches.__new__ = new


def interpreted(function: Function) -> Function:
    """Return a compiled function, and the functions it calls, in a form that the interpreter runs: ready, but slow."""
    return cast(Function, _calling(cast(Compiled, function).py_func, interpreted))


def _calling(source: Callable[..., object], form: Callable[[Any], object]) -> Callable[..., object]:
    """Return a function that calls `form` of each Compiled function instead of that function."""
    plain = cast(types.FunctionType, source)
    used = {each.argval for each in dis.get_instructions(plain.__code__) if each.opname == "LOAD_GLOBAL"}
    forms = {name: form(value) for name in used if isinstance(value := plain.__globals__.get(name), Compiled)}
    return types.FunctionType(plain.__code__, plain.__globals__ | forms, plain.__name__, plain.__defaults__)
