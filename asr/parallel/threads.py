"""Functions mapped over arguments by threads, results in order."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

Argument = TypeVar("Argument")
Result = TypeVar("Result")
# The prefix of the names of threads that may still run when the process ends.
ABANDONED = "asr-abandoned"


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
