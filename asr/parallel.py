"""Map a function over many arguments in threads or other workers, results in order; the threads of matrix products."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from queue import SimpleQueue
from typing import Any, TypeVar

import threadpoolctl

from asr.errors import AsrError

Argument = TypeVar("Argument")
Result = TypeVar("Result")
# The prefix of the names of threads that may still run when the process ends.
ABANDONED = "asr-abandoned"
_lock = threading.Lock()
_limits: list[Any] = []
_users = [0]


class WorkerLostError(AsrError):
    """A worker that ended with its tasks unfinished, again and again; the message has the reason."""


@dataclass(frozen=True)
class Limits:
    """The limits of `in_order`.

    `running`: returns how many tasks may be submitted and unfinished. `ahead`: how many arguments may be ahead of the
    results that were used. `lost`: the exceptions of tasks whose worker has ended; such a task is repeated up to
    `retries` times.
    """

    running: Callable[[], int]
    ahead: float = inf
    lost: type[Exception] | tuple[type[Exception], ...] = ()
    retries: int = 3


@dataclass(frozen=True)
class _Task:
    first: int
    arguments: Sequence[Any]
    attempts: int = 1


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


def prefetch(
    function: Callable[[Argument], Result], arguments: Iterable[Argument], threads: int = 2
) -> Generator[Result]:
    """Yield function(argument) for each argument; threads compute at most 2 * `threads` results in advance.

    Exceptions of the function are raised here. Closing the iterator waits for the calls in progress.
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


def map_threads(
    function: Callable[[Argument], Result], arguments: Iterable[Argument], threads: int
) -> Iterator[Result]:
    """Yield function(argument) for each argument from daemon threads, or from this thread if `threads` is 1.

    A thread takes its next argument when it is free, however far the results are ahead of their use. Closing the
    iterator waits for no thread: each ends after its call in progress. Exceptions of the function and of `arguments`
    are raised here, in order.
    """
    if threads <= 1:
        yield from map(function, arguments)
        return
    remaining, lock, stopped = iter(arguments), threading.Lock(), threading.Event()
    futures: SimpleQueue[Future[Result] | None] = SimpleQueue()

    def work() -> None:
        while True:
            future: Future[Result] = Future()
            with lock:
                if stopped.is_set():
                    return
                try:
                    argument = next(remaining)
                except StopIteration:
                    futures.put(None)
                    return
                except BaseException as error:
                    future.set_exception(error)
                    futures.put(future)
                    stopped.set()
                    return
                futures.put(future)
            try:
                future.set_result(function(argument))
            except BaseException as error:
                future.set_exception(error)

    for number in range(threads):
        threading.Thread(target=work, name=f"{ABANDONED}-{number}", daemon=True).start()
    try:
        while (future := futures.get()) is not None:
            yield future.result()
    finally:
        stopped.set()


def in_order(
    submit: Callable[[Sequence[Argument]], Future[Sequence[Result]]],
    tasks: Iterable[Sequence[Argument]],
    limits: Limits,
    on_result: Callable[[int, Result], None] = lambda index, result: None,
    give_up: Callable[[Argument, WorkerLostError], Result] | None = None,
) -> Generator[Result]:
    """Yield the results of the arguments of tasks, in order, from workers that complete the tasks in any order.

    `submit` returns the future of a task's results, one for each argument. `on_result` is called in this thread with
    the index and the result of an argument as soon as it is there. If the worker of a task is lost, each argument is
    submitted again as a task of its own, which shows whether it is at fault. One whose workers are lost more often
    than `limits.retries` has the result of `give_up`, which by default raises the WorkerLostError. All other exceptions
    of the futures are raised at once.
    """
    remaining, again = iter(tasks), deque[_Task]()
    finished: SimpleQueue[tuple[_Task, Future[Sequence[Result]]]] = SimpleQueue()
    active: set[Future[Sequence[Result]]] = set()
    results: dict[int, Result] = {}
    taken = number = 0

    def begin(task: _Task) -> None:
        future = submit(task.arguments)
        active.add(future)
        future.add_done_callback(lambda done: finished.put((task, done)))

    def complete(task: _Task, future: Future[Sequence[Result]]) -> Sequence[Result]:
        try:
            return future.result()
        except limits.lost as error:
            if task.attempts > limits.retries:
                lost = WorkerLostError(f"the worker ended {task.attempts} times: {str(error).partition(chr(10))[0]}")
                if give_up is None:
                    raise lost from error
                return [give_up(argument, lost) for argument in task.arguments]
            alone = enumerate(task.arguments, task.first)
            again.extend(_Task(index, [argument], task.attempts + 1) for index, argument in alone)
            return []

    try:
        while True:
            while len(active) < limits.running():
                if again:
                    begin(again.popleft())
                elif taken - number < limits.ahead and (arguments := next(remaining, None)):
                    begin(_Task(taken, arguments))
                    taken += len(arguments)
                else:
                    break
            if not active:
                return
            task, future = finished.get()
            active.discard(future)
            for index, result in enumerate(complete(task, future), task.first):
                on_result(index, result)
                results[index] = result
            while number in results:
                yield results.pop(number)
                number += 1
    finally:
        for future in active:
            future.cancel()
