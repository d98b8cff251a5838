"""A queue of tasks for workers that may be lost, processes or the nodes of a cluster, results in order."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from math import inf
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from asr.errors import AsrError

Argument = TypeVar("Argument")
Result = TypeVar("Result")


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
    queue = _Queue(submit, tasks, limits, give_up)
    results: dict[int, Result] = {}
    number = 0
    try:
        while queue.fill(number):
            for index, result in queue.wait():
                on_result(index, result)
                results[index] = result
            while number in results:
                yield results.pop(number)
                number += 1
    finally:
        queue.cancel()


class _Queue(Generic[Argument, Result]):
    """The tasks that are in progress, and those to repeat because their worker was lost."""

    def __init__(
        self,
        submit: Callable[[Sequence[Argument]], Future[Sequence[Result]]],
        tasks: Iterable[Sequence[Argument]],
        limits: Limits,
        give_up: Callable[[Argument, WorkerLostError], Result] | None,
    ) -> None:
        self._submit, self._remaining, self._limits, self._give_up = submit, iter(tasks), limits, give_up
        self._active: set[Future[Sequence[Result]]] = set()
        self._finished: SimpleQueue[tuple[_Task, Future[Sequence[Result]]]] = SimpleQueue()
        self._again = deque[_Task]()
        self._taken = 0

    def fill(self, used: int) -> bool:
        """Submit tasks up to the limits, after `used` results were used; return whether a task is in progress."""
        while len(self._active) < self._limits.running():
            if self._again:
                self._begin(self._again.popleft())
            elif self._taken - used < self._limits.ahead and (arguments := next(self._remaining, None)):
                self._begin(_Task(self._taken, arguments))
                self._taken += len(arguments)
            else:
                break
        return bool(self._active)

    def _begin(self, task: _Task) -> None:
        future = self._submit(task.arguments)
        self._active.add(future)
        future.add_done_callback(lambda done: self._finished.put((task, done)))

    def wait(self) -> Iterable[tuple[int, Result]]:
        """Wait until a task ends; return the indices and results of its arguments, none if its worker was lost."""
        task, future = self._finished.get()
        self._active.discard(future)
        arguments = enumerate(task.arguments, task.first)
        try:
            return enumerate(future.result(), task.first)
        except self._limits.lost as error:
            if task.attempts <= self._limits.retries:
                self._again.extend(_Task(index, [argument], task.attempts + 1) for index, argument in arguments)
                return ()
            lost = WorkerLostError(f"the worker ended {task.attempts} times: {str(error).partition(chr(10))[0]}")
            if self._give_up is None:
                raise lost from error
            return [(index, self._give_up(argument, lost)) for index, argument in arguments]

    def cancel(self) -> None:
        """Cancel the tasks that no worker has begun."""
        for future in self._active:
            future.cancel()


def grouped(arguments: Iterable[Argument], size: int) -> Iterator[list[Argument]]:
    """Yield the arguments in lists of `size`; the last may be shorter."""
    remaining = iter(arguments)
    while group := list(islice(remaining, size)):
        yield group
