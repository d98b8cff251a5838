"""One function over many arguments, on all cores or ahead of its use, results in order."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar, cast

import joblib

Argument = TypeVar("Argument")
Result = TypeVar("Result")
# What the names of threads begin with that may be left behind in the middle of their work.
ABANDONED = "asr-abandoned"

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


def side_by_side(
    function: Callable[[Argument], Result], arguments: Sequence[Argument], threads: int
) -> Iterator[Result]:
    """Yield function(one) for each argument in order, computed by threads, or by this one if one is enough.

    Whoever stops early waits for nothing: the threads go once they have done what each is at, or with the process.
    What the function raises is raised here, in its turn.
    """
    if min(threads, len(arguments)) <= 1:
        yield from map(function, arguments)
        return
    work = _Work(function, arguments)
    for number in range(min(threads, len(arguments))):
        threading.Thread(target=work.go_on, name=f"{ABANDONED}-{number}", daemon=True).start()
    try:
        yield from map(work.result, range(len(arguments)))
    finally:
        work.stopped = True


class _Work(Generic[Argument, Result]):
    """What threads share: which arguments are left, and the results that wait for their turn."""

    def __init__(self, function: Callable[[Argument], Result], arguments: Iterable[Argument]) -> None:
        self.stopped = False
        self._function = function
        self._left = enumerate(arguments)
        self._results: dict[int, Future[Result]] = {}
        self._changed = threading.Condition()

    def go_on(self) -> None:
        """Compute one result after another until none is left."""
        while not self.stopped:
            with self._changed:
                number, argument = next(self._left, (None, None))
            if number is None:
                return
            future: Future[Result] = Future()
            try:
                future.set_result(self._function(cast(Argument, argument)))
            except BaseException as error:
                future.set_exception(error)
            with self._changed:
                self._results[number] = future
                self._changed.notify()

    def result(self, number: int) -> Result:
        """Wait for one result and return it, or raise what was raised in its place."""
        with self._changed:
            self._changed.wait_for(lambda: number in self._results)
            future = self._results.pop(number)
        return future.result()
