"""The threads of NumPy's matrix products."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import threadpoolctl

_lock = threading.Lock()
_limits: list[Any] = []
_users = [0]


@lru_cache
def _controller() -> threadpoolctl.ThreadpoolController:
    return threadpoolctl.ThreadpoolController()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let NumPy's matrix products use one thread each; several threads of this process may be in the context.

    The products of recognition are so small that threads wait for each other most of the time, and they wait actively.
    """
    with _lock:
        _users[0] += 1
        if _users[0] == 1:
            _limits.append(_controller().limit(limits=1, user_api="blas"))
    try:
        yield
    finally:
        with _lock:
            _users[0] -= 1
            if _users[0] == 0:
                _limits.pop().restore_original_limits()
