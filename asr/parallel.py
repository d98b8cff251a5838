"""One function over many arguments, on all cores or ahead of its use, results in order."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from typing import Any, Generic, TypeVar

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
    function: Callable[[Argument], Result], arguments: Iterable[Argument], threads: int
) -> Iterator[Result]:
    """Yield function(one) for each argument in order, computed by threads, or by this one if one is enough.

    Arguments are taken as they are needed. Whoever stops early waits for nothing: the threads go once they have done
    what each is at, or with the process. What the function or the arguments raise is raised here, in its turn.
    """
    if threads <= 1:
        yield from map(function, arguments)
        return
    work = _Work(function, arguments)
    for number in range(threads):
        threading.Thread(target=work.go_on, name=f"{ABANDONED}-{number}", daemon=True).start()
    try:
        for number in count():
            future = work.future(number)
            if future is None:
                return
            yield future.result()
    finally:
        work.stopped = True


class _Work(Generic[Argument, Result]):
    """What threads share: which arguments are left, and the results that wait for their turn."""

    def __init__(self, function: Callable[[Argument], Result], arguments: Iterable[Argument]) -> None:
        self.stopped = False
        self._function = function
        self._left = iter(arguments)
        self._taken = 0
        self._ended = False
        self._results: dict[int, Future[Result]] = {}
        self._changed = threading.Condition()

    def go_on(self) -> None:
        """Compute one result after another until none is left."""
        while not self.stopped:
            future: Future[Result] = Future()
            with self._changed:
                if self._ended:
                    return
                number = self._taken
                try:
                    argument = next(self._left)
                except StopIteration:
                    self._ended = True
                    self._changed.notify()
                    return
                except BaseException as error:
                    self._ended = True
                    future.set_exception(error)
                    self._results[number] = future
                    self._taken += 1
                    self._changed.notify()
                    return
                self._taken += 1
            try:
                future.set_result(self._function(argument))
            except BaseException as error:
                future.set_exception(error)
            with self._changed:
                self._results[number] = future
                self._changed.notify()

    def future(self, number: int) -> Future[Result] | None:
        """Wait for one result and return it, or None where there are no more."""
        with self._changed:
            self._changed.wait_for(lambda: number in self._results or (self._ended and number >= self._taken))
            return self._results.pop(number, None)
