"""Functions mapped over arguments by threads."""

import threading
import time
from collections.abc import Generator, Iterator
from typing import cast

import pytest

from asr.parallel.threads import ABANDONED, map_threads, prefetch


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
