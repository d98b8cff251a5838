"""Functions mapped over arguments in processes and threads."""

import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest

from asr.parallel import ABANDONED, Limits, WorkerLostError, in_order, map_threads, prefetch
from asr.processes import map_processes


def place(number: int) -> tuple[int, int, str | None]:
    return number, os.getpid(), os.environ.get("OMP_NUM_THREADS")


def test_map_processes_keeps_order_with_one_thread_each() -> None:
    results = list(map_processes(place, ((number,) for number in range(50)), in_process=False))
    assert [number for number, _, _ in results] == list(range(50))
    assert os.getpid() not in {process for _, process, _ in results}
    assert {threads for _, _, threads in results} == {"1"}


def test_map_processes_in_process() -> None:
    assert {process for _, process, _ in map_processes(place, [(1,), (2,)], in_process=True)} == {os.getpid()}


@pytest.mark.parametrize("in_process", [True, False])
def test_map_processes_raises_errors(in_process: bool) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        list(map_processes(int, [("1",), ("x",)], in_process=in_process))


# Ahead of their use


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_prefetch_keeps_order(threads: int) -> None:
    def slow(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        return 10 * number

    assert list(prefetch(slow, range(30), threads)) == list(range(0, 300, 10))
    assert list(prefetch(slow, [], threads)) == []
    assert list(prefetch(slow, [4], threads)) == [40]


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_prefetch_is_bounded(threads: int) -> None:
    taken: list[int] = []
    begun: list[int] = []

    def arguments() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = cast(Generator[None, None, None], prefetch(begun.append, arguments(), threads))
    assert not taken
    for used in range(1, 20):
        next(results)
        assert used < len(taken) <= used + 2 * threads
        assert len(begun) <= len(taken)
    results.close()


def test_prefetch_computes_in_other_threads() -> None:
    met = threading.Barrier(2)

    def meet(_: int) -> str:
        met.wait(timeout=300)  # two at once, or it breaks
        return threading.current_thread().name

    assert threading.current_thread().name not in set(prefetch(meet, range(4)))


def test_prefetch_raises_errors_in_order() -> None:
    results = prefetch(int, ["1", "2", "x", "4"])
    assert [next(results), next(results)] == [1, 2]
    with pytest.raises(ValueError, match="invalid literal"):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


def test_prefetch_raises_errors_of_arguments() -> None:
    def arguments() -> Iterator[int]:
        yield 1
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        list(prefetch(str, arguments()))


def test_prefetch_close_waits_for_running_calls_only() -> None:
    go = threading.Event()
    done: list[int] = []

    def slow(number: int) -> int:
        if number:
            go.wait(timeout=300)
        done.append(number)
        return number

    before = threading.active_count()
    results = cast(Generator[int, None, None], prefetch(slow, range(1000)))
    assert next(results) == 0
    threading.Timer(0.3, go.set).start()
    results.close()
    assert len(done) <= 3  # the first, and one in each thread
    assert threading.active_count() <= before + 1  # the timer may still be ending


@pytest.mark.parametrize("threads", [1, 2, 50])
def test_map_threads_keeps_order(threads: int) -> None:
    def slow(number: int) -> int:
        time.sleep(0.001 * (number % 5))
        return number

    assert list(map_threads(slow, list(range(40)), threads)) == list(range(40))
    assert list(map_threads(slow, [], threads)) == []


@pytest.mark.parametrize("threads", [1, 3])
def test_map_threads_raises_errors_in_order(threads: int) -> None:
    def fail(number: int) -> int:
        if number == 3:
            raise KeyError(number)
        return number

    results = map_threads(fail, range(100), threads)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError):
        next(results)


def test_map_threads_close_does_not_wait() -> None:
    free, begun = threading.Event(), threading.Event()
    seen: list[int] = []

    def wait(number: int) -> int:
        seen.append(number)
        if number:
            begun.set()
            free.wait(60)
        return number

    results = cast(Generator[int], map_threads(wait, range(100), 2))
    assert next(results) == 0
    begun.wait(60)
    mine = [one for one in threading.enumerate() if one.name.startswith(ABANDONED)]
    assert mine
    results.close()
    free.set()
    for one in mine:
        one.join(60)
    assert len(seen) <= 4


@pytest.mark.parametrize("threads", [1, 3])
def test_map_threads_takes_arguments_when_needed(threads: int) -> None:
    taken: list[int] = []

    def arguments() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    free = threading.Event()
    results = cast(
        Generator[int], map_threads(lambda one: one if one < 3 else free.wait(60) and one, arguments(), threads)
    )
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    assert len(taken) <= 3 + threads
    results.close()
    free.set()


@pytest.mark.parametrize("threads", [1, 3])
def test_map_threads_raises_errors_of_arguments_in_order(threads: int) -> None:
    def arguments() -> Iterator[int]:
        yield from range(5)
        raise KeyError("no more")

    results = map_threads(lambda one: 2 * one, arguments(), threads)
    assert [next(results) for _ in range(5)] == [0, 2, 4, 6, 8]
    with pytest.raises(KeyError, match="no more"):
        next(results)


# In order, from workers


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


def end(number: int) -> int:
    if number == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.slow
def test_map_processes_names_the_end_of_a_worker() -> None:
    with pytest.raises(WorkerLostError, match=r"the worker ended 3 times: .*terminated"):
        list(map_processes(end, ((number,) for number in range(20)), in_process=False))


def end_once(number: int, path: str) -> int:
    if number == 5 and not Path(path).exists():
        Path(path).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.slow
def test_map_processes_repeats_what_a_worker_left(tmp_path: Path) -> None:
    jobs = ((number, str(tmp_path / "ended")) for number in range(40))
    assert list(map_processes(end_once, jobs, in_process=False)) == list(range(40))
