"""One function over many arguments, on all cores, results in order."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import joblib

Result = TypeVar("Result")

# Each worker has a core to itself, so its BLAS must not start threads; and once idle, it goes.
_WORKERS = {"inner_max_num_threads": 1, "idle_worker_timeout": 10}


def spread(function: Callable[..., Result], arguments: Iterable[tuple[Any, ...]], alone: bool) -> Iterator[Result]:
    """Yield function(*one) for each of the arguments, computed in worker processes, or in this one if `alone`.

    The function must be importable and its arguments picklable. What it raises is raised here.
    """
    if alone:
        yield from (function(*one) for one in arguments)
        return
    with joblib.parallel_config("loky", n_jobs=-1, **_WORKERS):
        jobs = (joblib.delayed(function)(*one) for one in arguments)
        yield from joblib.Parallel(return_as="generator", batch_size=8)(jobs)
