"""Functions mapped over arguments by worker processes, results in order."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import joblib
from joblib.externals.loky import get_reusable_executor

from asr.parallel.tasks import Limits, grouped, in_order

Result = TypeVar("Result")

# Arguments that are sent to a worker together, and those that are in progress or waiting, for each worker.
_TOGETHER, _WAITING = 8, 2
# Each worker has one core, so its BLAS must not start threads.
_LIMITED = ("OMP", "OPENBLAS", "MKL", "BLIS", "VECLIB_MAXIMUM", "NUMEXPR", "NUMBA")
_ENVIRONMENT = {f"{library}_NUM_THREADS": "1" for library in _LIMITED}
# Seconds after which an idle worker exits.
_IDLE = 10


def map_processes(
    function: Callable[..., Result], arguments: Iterable[tuple[Any, ...]], in_process: bool, workers: int = -1
) -> Iterator[Result]:
    """Yield function(*args) for each tuple of arguments, from worker processes, or from this one if `in_process`.

    workers: the number of processes, -1 for one per core.

    The function must be importable and its arguments picklable. Exceptions of the function are raised here, and
    WorkerLostError if a worker ends while it computes, and again when this is repeated.
    """
    if in_process:
        yield from (function(*args) for args in arguments)
        return
    if workers < 0:
        workers = joblib.cpu_count()

    def submit(task: Sequence[tuple[Any, ...]]) -> Future[Sequence[Result]]:
        # It starts new workers if one of the old ones has ended.
        executor = get_reusable_executor(workers, timeout=_IDLE, env=_ENVIRONMENT)
        future: Future[Sequence[Result]] = Future()
        try:
            future = executor.submit(_call, function, task)
        except BrokenProcessPool as error:
            # A worker has ended since: the task is repeated like those that it had.
            future.set_exception(error)
        return future

    limits = Limits(
        lambda: _WAITING * workers, ahead=4 * _WAITING * workers * _TOGETHER, lost=BrokenProcessPool, retries=2
    )
    yield from in_order(submit, grouped(arguments, _TOGETHER), limits)


def _call(function: Callable[..., Result], task: Sequence[tuple[Any, ...]]) -> list[Result]:
    return [function(*args) for args in task]
