"""The threads of matrix products."""

import threading

from threadpoolctl import threadpool_info

from asr.parallel.blas import one_blas_thread


def blas_threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_matrix_products_use_one_thread_while_any_thread_of_the_process_recognises() -> None:
    before = blas_threads()
    entered, leave = threading.Event(), threading.Event()

    def recognise() -> None:
        with one_blas_thread():
            entered.set()
            leave.wait()

    other = threading.Thread(target=recognise)
    other.start()
    entered.wait()
    with one_blas_thread():
        assert blas_threads() == {1}
    assert blas_threads() == {1}
    leave.set()
    other.join()
    assert blas_threads() == before
