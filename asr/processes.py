"""Map a function over many arguments in worker processes, results in order."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import joblib

Result = TypeVar("Result")

# Each worker has one core, so its BLAS must not start threads; an idle worker exits.
_WORKERS = {"inner_max_num_threads": 1, "idle_worker_timeout": 10}


def map_processes(
    function: Callable[..., Result], arguments: Iterable[tuple[Any, ...]], in_process: bool, workers: int = -1
) -> Iterator[Result]:
    """Yield function(*args) for each tuple of arguments, from worker processes, or from this one if `in_process`.

    workers: the number of processes, -1 for one per core.

    The function must be importable and its arguments picklable. Exceptions of the function are raised here.
    """
    if in_process:
        yield from (function(*args) for args in arguments)
        return
    with joblib.parallel_config("loky", n_jobs=workers, **_WORKERS):
        jobs = (joblib.delayed(function)(*args) for args in arguments)
        results = joblib.Parallel(return_as="generator", batch_size=8)(jobs)
        try:
            for result in results:  # noqa: UP028 - `yield from` would close it with the warning
                yield result
        finally:
            # joblib warns of results that are not used.
            with warnings.catch_warnings(action="ignore", category=UserWarning):
                results.close()
