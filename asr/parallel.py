"""One function over many arguments, on all cores or ahead of its use, results in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import joblib

Argument = TypeVar("Argument")
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


def ahead(function: Callable[[Argument], Result], arguments: Iterable[Argument], threads: int = 2) -> Iterator[Result]:
    """Yield function(one) for each argument in order, a few computed ahead of their use by threads.

    What the function raises is raised here.
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for argument in arguments:
                waiting.append(pool.submit(function, argument))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
