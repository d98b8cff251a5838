"""Functions mapped over arguments by worker processes."""

import os
import signal
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
from joblib.externals.loky import get_reusable_executor

from asr.parallel import processes
from asr.parallel.processes import map_processes
from asr.parallel.tasks import WorkerLostError


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


def end(number: int) -> int:
    if number == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.slow
def test_map_processes_names_the_end_of_a_worker() -> None:
    with pytest.raises(WorkerLostError, match=r"the worker ended 3 times: .*terminated"):
        list(map_processes(end, ((number,) for number in range(20)), in_process=False))


def test_task_that_is_sent_when_a_worker_has_just_ended_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def submit(self, *task: object) -> None:
            raise BrokenProcessPool("a worker has ended")

    executors = iter([Broken()])
    real = get_reusable_executor
    monkeypatch.setattr(processes, "get_reusable_executor", lambda *a, **k: next(executors, None) or real(*a, **k))
    assert list(map_processes(abs, ((-number,) for number in range(20)), in_process=False)) == list(range(20))


def end_once(number: int, path: str) -> int:
    if number == 5 and not Path(path).exists():
        Path(path).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.slow
def test_map_processes_repeats_what_a_worker_left(tmp_path: Path) -> None:
    jobs = ((number, str(tmp_path / "ended")) for number in range(40))
    assert list(map_processes(end_once, jobs, in_process=False)) == list(range(40))
