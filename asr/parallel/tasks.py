"""A queue of tasks for workers that may be lost, processes or the nodes of a cluster, results in order."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from math import inf
from queue import SimpleQueue
from typing import Any, TypeVar

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


def grouped(arguments: Iterable[Argument], size: int) -> Iterator[list[Argument]]:
    """Yield the arguments in lists of `size`; the last may be shorter."""
    remaining = iter(arguments)
    while group := list(islice(remaining, size)):
        yield group
