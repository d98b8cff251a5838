"""Jobs on a Ray cluster of two nodes on this machine, and what goes wrong with one."""

import io
import os
import re
import signal
import sys
import time
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asr import cluster, recognition
from asr.cli import main
from asr.cluster import Cluster, ClusterError, divide, model_spec
from asr.corpora import manifest
from asr.features import FeatureSettings
from asr.features.cache import Computation, open_caches
from asr.model import checkpoint
from asr.parallel import WorkerLostError
from asr.recognition import TranscribeOptions
from asr.transcripts.records import FileResult

# Starting Ray takes many seconds.
needs_ray = pytest.mark.slow


def run(*arguments: object) -> tuple[int, str, str]:
    """Run the command line; return its exit code, stdout and stderr."""
    out, error = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(error):
        code = main(list(map(str, arguments)))
    return code, out.getvalue(), error.getvalue()


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[Any]:
    """A cluster whose head computes nothing; it has no other nodes yet. Nothing is reported to anyone."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'asr[cluster]'")
    from ray.cluster_utils import Cluster as RayCluster

    nodes: Any = RayCluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield nodes
    nodes.shutdown()


@pytest.fixture(scope="module")
def address(ray_cluster: Any) -> str:
    """The address of a cluster of two nodes with one CPU each."""
    for name in ("first", "second"):
        ray_cluster.add_node(num_cpus=1, node_name=name)
    ray_cluster.wait_for_nodes()
    return str(ray_cluster.address)


@pytest.fixture(scope="module")
def model(trained: Path) -> Path:
    return trained / "best.safetensors"


# Without a cluster


def test_divide_bounds_seconds_and_keeps_long_files_alone() -> None:
    assert list(divide("abcdef", [1, 1, 9, 1, 1, 1], 2.5)) == [["a", "b"], ["c"], ["d", "e"], ["f"]]
    assert list(divide("", [], 1)) == []
    assert max(map(len, divide(range(1000), [0] * 1000, 1))) == 64


@pytest.mark.parametrize("address", ["nonsense", "ray://head:10001", "head:port", ":6379"])
def test_address_of_another_form_is_a_clear_error(address: str) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'asr[cluster]'")
    with pytest.raises(ClusterError, match="give HOST:PORT of the cluster's head node, auto, or local"):
        Cluster(address)


def test_address_without_a_cluster_is_a_clear_error(model: Path, tones: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'asr[cluster]'")
    code, said, error = run("transcribe", tones / "dev", "--model", model, "--cluster", "127.0.0.1:1")
    assert (code, said) == (1, "")
    assert error.startswith("asr: --cluster 127.0.0.1:1: no head node answers there (") and error.count("\n") == 1


def test_missing_ray_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ClusterError, match=r"needs Ray, which is not installed .*: pip install 'asr\[cluster\]'"):
        Cluster("local")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.wav", "--jobs", "2"], "--cluster cannot be used with --jobs"),
        (["a.wav", "--stream"], "--cluster cannot be used with --stream"),
        (["-"], "--cluster reads files that every node can open; - is none"),
    ],
)
def test_options_that_a_cluster_excludes(arguments: list[str], message: str, model: Path) -> None:
    code, _, error = run("transcribe", *arguments, "--model", model, "--cluster", "local")
    assert code == 2 and message in error


def test_node_without_the_model_says_so(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(model.read_bytes())
    spec = model_spec(path)
    path.write_bytes(b"another")
    with pytest.raises(ClusterError, match=r"another file of 7 bytes, not .*; every node needs the same model"):
        cluster._recognizer(spec)
    path.unlink()
    with pytest.raises(ClusterError, match="No such file or directory; every node needs the model under the same path"):
        cluster._recognizer(spec)


# On two nodes


@needs_ray
def test_transcripts_are_those_of_this_machine(address: str, model: Path, tones: Path, tmp_path: Path) -> None:
    here = run("transcribe", tones / "dev", "--model", model, "--format", "json")
    there = run("transcribe", tones / "dev", "--model", model, "--format", "json", "--cluster", address)
    assert here[:2] == there[:2]
    assert "files of each node: " in there[2]
    # Half of the job, then all of it: an output folder is resumed, whatever wrote it.
    some = [tones / f"dev/dev-{number}.wav" for number in range(6)]
    outputs = ["--model", model, "--out", tmp_path / "out"]
    assert run("transcribe", *some, *outputs)[0] == 0
    code, said, error = run("transcribe", tones / "dev", *outputs, "--cluster", address)
    assert (code, said.partition(" (")[0]) == (0, f"{tmp_path / 'out'}: 6 transcribed")
    assert "6 of 12 recordings are up to date" in error
    assert len(list((tmp_path / "out").glob("*.txt"))) == 12


@needs_ray
def test_evaluation_is_that_of_this_machine(address: str, model: Path, tones: Path) -> None:
    arguments = ["evaluate", tones / "dev.jsonl", "--model", model, "--beam-width", "8"]
    here, there = run(*arguments), run(*arguments, "--cluster", address)
    without_speed = [[line for line in said.splitlines() if "real time" not in line] for _, said, _ in (here, there)]
    assert without_speed[0] == without_speed[1] and (here[0], there[0]) == (0, 0)


def tuned(*arguments: object) -> tuple[int, str, dict[str, Any], list[str]]:
    """Tune; return the exit code, the error rates that are printed, the settings but the search, and the table."""
    out = Path(str(arguments[-1]))
    code, said, error = run("tune", *arguments)
    assert code == 0, error
    settings = tomllib.loads(out.read_text())
    # The fastest search depends on the machine, and the temperature on the search.
    del settings["search"], settings["temperature"]
    cells = re.findall(r'<td class="heat.*?</td>', out.with_suffix(".html").read_text(), re.DOTALL)
    return code, "".join(re.findall(r"[\d.]+ % WER", said)), settings, [cell.replace(" best", "") for cell in cells]


@needs_ray
def test_settings_of_tune_are_those_of_this_machine(address: str, model: Path, tones: Path, tmp_path: Path) -> None:
    lm = tmp_path / "lm.arpa"
    assert run("lm", "train", tones / "train.jsonl", "--order", "2", "--out", lm, "--quiet")[0] == 0
    command = [tones / "dev.jsonl", "--model", model, "--lm", lm]
    here = tuned(*command, "--out", tmp_path / "here.toml")
    there = tuned(*command, "--cluster", address, "--out", tmp_path / "there.toml")
    assert here == there and len(here[-1]) > 90
    code, said, error = run("tune", *command, "--cluster", "127.0.0.1:1", "--out", tmp_path / "none.toml")
    assert (code, said) == (1, "") and error.startswith("asr: --cluster 127.0.0.1:1: no head node answers there (")
    assert not (tmp_path / "none.toml").exists()


@needs_ray
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


@needs_ray
def test_prepared_features_are_found_by_training(address: str, tones: Path, tmp_path: Path) -> None:
    data = [tones / "tiny.toml", "--train", tones / "train.jsonl", "--dev", tones / "dev.jsonl"]
    data += ["--cache", tmp_path / "cache"]
    code, said, _ = run("prepare", "features", *data, "--cluster", address)
    assert code == 0 and said.startswith("train: features of 60 utterances, "), said
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*")}
    assert run("train", *data, "--out", tmp_path / "run", "--epochs", "1")[0] == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*")} == before


@needs_ray
def test_runs_of_a_grid_are_those_of_this_machine(address: str, tones: Path, tmp_path: Path) -> None:
    grid = tmp_path / "grid.toml"
    grid.write_text("[model]\nhidden = [8, 12]\n")
    command = ["train", tones / "tiny.toml", "--train", tones / "train.jsonl", "--dev", tones / "dev.jsonl"]
    command += ["--epochs", "1", "--grid", grid]
    code, there, said = run(*command, "--out", tmp_path / "there", "--cluster", address)
    assert code == 0, said
    assert "2 of 2 runs: model.hidden = " in said
    code, here, _ = run(*command, "--out", tmp_path / "here")
    assert code == 0
    assert there.splitlines()[:-1] == here.splitlines()[:-1]
    for path in (tmp_path / "here").glob("run-*/best.safetensors"):
        _, weights = checkpoint.read(path)
        _, other = checkpoint.read(tmp_path / "there" / path.relative_to(tmp_path / "here"))
        assert all(np.array_equal(weights[name], other[name]) for name in weights)


@needs_ray
def test_what_a_node_does_not_see(address: str, model: Path, tones: Path, tmp_path: Path) -> None:
    good = tones / "dev/dev-0.wav"
    code, said, error = run("transcribe", good, tmp_path / "gone.wav", "--model", model, "--cluster", address)
    assert code == 1 and len(said.splitlines()) == 2
    assert f"asr: {tmp_path}/gone.wav: no such file on node " in error
    assert "; every node needs the recordings under the same paths" in error
    copied = tmp_path / "model.safetensors"
    copied.write_bytes(model.read_bytes())
    spec = model_spec(copied)
    copied.unlink()
    message = r"model.safetensors: No such file.*; every node needs the model under the same path \(on node .*\)"
    with Cluster(address) as nodes, pytest.raises(ClusterError, match=message):
        list(nodes.transcribe_files(spec, [good], TranscribeOptions()))


def end_at_5(task: Sequence[int]) -> list[int]:
    if 5 in task:
        os.kill(os.getpid(), signal.SIGKILL)
    return [10 * number for number in task]


@needs_ray
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


@needs_ray
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


@needs_ray
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


@needs_ray
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
