"""One function over many arguments."""

import os

import pytest

from asr.parallel import spread


def place(number: int) -> tuple[int, int, str | None]:
    return number, os.getpid(), os.environ.get("OMP_NUM_THREADS")


def test_results_come_in_order_from_other_processes_with_one_thread_each() -> None:
    results = list(spread(place, ((number,) for number in range(50)), alone=False))
    assert [number for number, _, _ in results] == list(range(50))
    assert os.getpid() not in {process for _, process, _ in results}
    assert {threads for _, _, threads in results} == {"1"}


def test_alone_means_in_this_process() -> None:
    assert {process for _, process, _ in spread(place, [(1,), (2,)], alone=True)} == {os.getpid()}


@pytest.mark.parametrize("alone", [True, False])
def test_what_the_function_raises_is_raised_here(alone: bool) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        list(spread(int, [("1",), ("x",)], alone=alone))
