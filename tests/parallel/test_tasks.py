"""A queue of tasks for workers, some of which are lost."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from asr.parallel.tasks import Limits, WorkerLostError, in_order


class Workers:
    """Completes tasks when it is told to; `lost` says which arguments end their worker."""

    def __init__(self, lost: Callable[[int], bool] = lambda argument: False) -> None:
        self.tasks: list[tuple[list[int], Future[Sequence[int]]]] = []
        self.submitted: list[list[int]] = []
        self._lost = lost

    def submit(self, task: Sequence[int]) -> "Future[Sequence[int]]":
        future: Future[Sequence[int]] = Future()
        self.tasks.append((list(task), future))
        self.submitted.append(list(task))
        return future

    def complete(self) -> int:
        """Complete the newest task; return how many were in progress."""
        count = len(self.tasks)
        if self.tasks:
            task, future = self.tasks.pop()
            if any(map(self._lost, task)):
                future.set_exception(ConnectionError("the node is gone"))
            else:
                future.set_result([10 * argument for argument in task])
        return count


def completing(workers: Workers, most: int, seen: list[int]) -> Callable[[], int]:
    """Return a limit that completes a task whenever `most` are in progress, or when no task was added."""

    def running() -> int:
        added = len(workers.submitted)
        if len(workers.tasks) >= most or (seen and seen[-1] == added):
            workers.complete()
        seen.append(added)
        return most

    return running


def test_in_order_yields_results_of_tasks_that_complete_in_any_order() -> None:
    workers, done = Workers(), list[tuple[int, int]]()
    limits = Limits(completing(workers, 3, []))
    tasks = [[0, 1], [2], [3, 4, 5], [6], [7]]
    results = in_order(workers.submit, tasks, limits, lambda *row: done.append(row))
    assert list(results) == [0, 10, 20, 30, 40, 50, 60, 70]
    assert sorted(done) == [(number, 10 * number) for number in range(8)]
    assert done != sorted(done)
    assert workers.submitted == tasks


def test_in_order_takes_tasks_when_needed() -> None:
    taken: list[int] = []

    def tasks() -> Iterator[list[int]]:
        for number in range(100):
            taken.append(number)
            yield [number]

    with ThreadPoolExecutor(2) as pool:
        limits = Limits(lambda: 4, ahead=6)
        results = in_order(lambda task: pool.submit(list, task), tasks(), limits)
        for used in range(1, 50):
            next(results)
            assert used <= len(taken) <= used + 6
        results.close()


def test_in_order_repeats_the_arguments_of_a_lost_task_alone() -> None:
    losses = iter([True])
    workers = Workers(lambda argument: argument == 3 and next(losses, False))
    results = in_order(workers.submit, [[1, 2], [3, 4], [5]], Limits(completing(workers, 2, []), lost=ConnectionError))
    assert list(results) == [10, 20, 30, 40, 50]
    assert [task for task in workers.submitted if len(task) == 1 and task != [5]] == [[3], [4]]


def test_in_order_gives_up_the_argument_whose_workers_are_lost() -> None:
    workers = Workers(lambda argument: argument == 3)
    messages: list[str] = []

    def give_up(argument: int, error: WorkerLostError) -> int:
        messages.append(f"{argument}: {error}")
        return -1

    limits = Limits(completing(workers, 2, []), lost=ConnectionError, retries=2)
    results = in_order(workers.submit, [[1, 2], [3, 4], [5]], limits, give_up=give_up)
    assert list(results) == [10, 20, -1, 40, 50]
    assert messages == ["3: the worker ended 3 times: the node is gone"]
    assert workers.submitted.count([3]) == 2


def test_in_order_raises_other_errors() -> None:
    with ThreadPoolExecutor(1) as pool, pytest.raises(ValueError, match="invalid literal"):
        list(in_order(lambda task: pool.submit(lambda: list(map(int, task))), [["1"], ["x"]], Limits(lambda: 2)))
