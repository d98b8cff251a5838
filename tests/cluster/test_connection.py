"""Tasks on a Ray cluster of two nodes on this machine: their results, and what happens if nodes or workers are lost."""

import os
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asr import recognition
from asr.cluster import Cluster, ClusterError, divide, model_spec
from asr.corpora import manifest
from asr.features import FeatureSettings
from asr.features.cache import Computation, open_caches
from asr.parallel.tasks import WorkerLostError
from asr.recognition import TranscribeOptions
from asr.transcripts.records import FileResult


def test_divide_bounds_seconds_and_keeps_long_files_alone() -> None:
    assert list(divide("abcdef", [1, 1, 9, 1, 1, 1], 2.5)) == [["a", "b"], ["c"], ["d", "e"], ["f"]]
    assert list(divide("", [], 1)) == []
    assert max(map(len, divide(range(1000), [0] * 1000, 1))) == 64


@pytest.mark.parametrize("address", ["nonsense", "ray://head:10001", "head:port", ":6379"])
def test_address_of_another_form_is_a_clear_error(address: str) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'asr[cluster]'")
    with pytest.raises(ClusterError, match="give HOST:PORT of the cluster's head node, auto, or local"):
        Cluster(address)


def test_missing_ray_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ClusterError, match=r"needs Ray, which is not installed .*: pip install 'asr\[cluster\]'"):
        Cluster("local")


@pytest.mark.slow
def test_features_are_those_of_this_machine(address: str, tones: Path, tmp_path: Path) -> None:
    rows = manifest.read(tones / "train.jsonl")
    with Cluster(address) as nodes:
        [there] = open_caches(
            rows, FeatureSettings(), tmp_path / "there/m.jsonl", computation=Computation(None, nodes.map_each)
        )
        assert sum(nodes.files.values()) == len(rows)
    [here] = open_caches(rows, FeatureSettings(), tmp_path / "here/m.jsonl")
    for index in range(len(rows)):
        np.testing.assert_array_equal(there[index], here[index])


def end_at_5(task: Sequence[int]) -> list[int]:
    if 5 in task:
        os.kill(os.getpid(), signal.SIGKILL)
    return [10 * number for number in task]


@pytest.mark.slow
def test_argument_that_ends_its_workers_is_given_up(address: str) -> None:
    messages: list[str] = []

    def give_up(number: int, error: WorkerLostError) -> int:
        messages.append(str(error))
        return -number

    with Cluster(address) as nodes:
        assert list(nodes.map(end_at_5, [[4, 5], [6]], give_up=give_up)) == [40, -5, 60]
    assert len(messages) == 1 and messages[0].startswith("the worker ended 4 times: ")


def wait(task: Sequence[int]) -> list[int]:
    time.sleep(0.5)
    return list(task)


@pytest.mark.slow
def test_tasks_that_end_after_a_stop_are_dropped(address: str, caplog: pytest.LogCaptureFixture) -> None:
    with Cluster(address) as nodes:
        results = nodes.map(wait, [[number] for number in range(6)])
        assert next(results) == 0
        del results
        time.sleep(2)
    assert not caplog.records


def begin(task: Sequence[tuple[int, Path, str]]) -> list[int]:
    """Log the beginning of a number; on the victim do not end, elsewhere wait until the victim has begun one."""
    import ray

    [(number, folder, victim)] = task
    with (folder / str(number)).open("a") as log:
        log.write("begun\n")
    if ray.get_runtime_context().get_node_id() == victim:
        (folder / "victim").touch()
        time.sleep(600)
    while not (folder / "victim").exists():
        time.sleep(0.05)
    return [10 * number]


@pytest.mark.slow
def test_killed_node_costs_its_running_tasks_only(ray_cluster: Any, address: str, tmp_path: Path) -> None:
    victim = ray_cluster.add_node(num_cpus=1, node_name="victim")
    ray_cluster.wait_for_nodes()

    def kill() -> None:
        while not (tmp_path / "victim").exists():
            time.sleep(0.05)
        ray_cluster.remove_node(victim, allow_graceful=False)

    notes: list[str] = []
    with Cluster(address, on_note=notes.append) as nodes, ThreadPoolExecutor(1) as thread:
        killed = thread.submit(kill)
        results = nodes.map(begin, [[(number, tmp_path, victim.node_id)] for number in range(30)])
        assert list(results) == [10 * number for number in range(30)]
        killed.result()
        # One task ran on the node; one more may have waited for it.
        assert 1 <= nodes.repeated <= 2
        assert nodes.summary().endswith(f", {nodes.repeated} repeated")
    assert len(notes) == 1 and notes[0].endswith("; its files are repeated")
    begun = [(tmp_path / str(number)).read_text().count("begun") for number in range(30)]
    assert 31 <= sum(begun) <= 30 + nodes.repeated and max(begun) == 2


@pytest.mark.slow
def test_texts_are_the_same_if_a_node_is_killed(ray_cluster: Any, address: str, model: Path, tones: Path) -> None:
    utterances = manifest.read(tones / "train.jsonl")
    expected = texts(recognition.load(model).transcribe_files(utterances, TranscribeOptions()))
    victim = ray_cluster.add_node(num_cpus=1, node_name="victim")
    ray_cluster.wait_for_nodes()

    def kill(index: int, results: object) -> None:
        if victim in ray_cluster.worker_nodes:
            ray_cluster.remove_node(victim, allow_graceful=False)

    with Cluster(address) as nodes:
        results = nodes.transcribe_files(model_spec(model), list(utterances), TranscribeOptions(), None, kill)
        assert texts(results) == expected


def texts(results: Iterable[list[FileResult]]) -> list[str]:
    return [result.transcript.text if result.transcript else result.error for (result,) in results]
