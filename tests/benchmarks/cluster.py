"""How much faster two Ray workers are than one, and what the queue costs with 1,000 nodes and a million files.

`scaling`: transcribes files greedily with a cluster of one, then two nodes of one CPU, which have loaded the model.
`simulate`: the queue of `asr.cluster` with simulated nodes of 16 CPUs, on a clock of its own, some of which are lost;
reading a manifest of as many rows; and an output folder, whose files are real, but fewer. Ray is not used.

usage: python tests/benchmarks/cluster.py scaling MODEL FILE...
       python tests/benchmarks/cluster.py simulate [NODES [FILES]]     default: 1000 1000000
"""

import heapq
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from asr.cluster import Cluster, divide, model_spec
from asr.corpora import manifest
from asr.corpora.manifest import Utterance
from asr.parallel.tasks import Limits, in_order
from asr.recognition import TranscribeOptions
from asr.recognition.inputs import InputFile
from asr.recognition.output_folder import OutputFolder
from asr.transcripts.records import FileResult, Transcript

ROUNDS = 3
CPUS = 16
# Multiples of real time of one CPU, seconds that a task takes besides, and the fraction of nodes that are lost.
SPEED, START, LOST = 20.0, 0.05, 0.01
OUTPUTS = 10_000


def worker_seconds() -> float:
    """Return the processor time of all workers of Ray on this machine."""
    ticks = 0
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "cmdline").read_bytes().startswith(b"ray::"):
                ticks += sum(map(int, (process / "stat").read_text().rpartition(")")[2].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def scaling(model: Path, files: list[Path]) -> None:
    """Print the speed-up of two workers over one."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster as RayCluster

    nodes: Any = RayCluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    spec, seconds, texts = model_spec(model), [], []
    for workers in (1, 2):
        nodes.add_node(num_cpus=1, node_name=f"node-{workers}")
        nodes.wait_for_nodes()
        with Cluster(nodes.address) as cluster:

            def transcribe(cluster: Cluster = cluster) -> tuple[float, float, list[list[FileResult]]]:
                begin, used = time.perf_counter(), worker_seconds()
                results = list(cluster.transcribe_files(spec, files, TranscribeOptions()))
                return time.perf_counter() - begin, worker_seconds() - used, results

            texts.append(transcribe()[2])
            rounds = [transcribe()[:2] for _ in range(ROUNDS)]
            seconds.append(min(rounds)[0])
            shown = ", ".join(f"{wall:.1f} s ({used:.1f} CPU s)" for wall, used in rounds)
            print(f"{workers} workers: {shown}; {cluster.summary()}", flush=True)
    nodes.shutdown()
    print(f"RATIO two_workers_vs_one {seconds[0] / seconds[1]:.2f}")
    print(f"RATIO equal_texts {int(texts[0] == texts[1])}")


class Nodes:
    """Nodes with CPUs that compute tasks on a clock of their own. `lost` has the times at which nodes are lost."""

    def __init__(self, count: int, lost: dict[int, float]) -> None:
        self.limit = 2 * CPUS * count
        self.now = self.seconds = 0.0
        self.tasks = 0
        self.no_more = False
        self._lost = lost
        # When each CPU is free, and its node; when each task ends, its number, its future, and its results.
        self._free = [(0.0, number % count) for number in range(CPUS * count)]
        self._events: list[tuple[float, int, Future[Sequence[str]], Sequence[str] | None]] = []

    def submit(self, task: Sequence[tuple[str, float]]) -> "Future[Sequence[str]]":
        """Run a task on the CPU that is free first."""
        begin = time.process_time()
        future: Future[Sequence[str]] = Future()
        free, node = heapq.heappop(self._free)
        end = max(free, self.now) + START + sum(seconds for _, seconds in task) / SPEED
        self.tasks += 1
        if end > self._lost.get(node, np.inf):
            # The CPU is lost, too.
            heapq.heappush(self._events, (max(self.now, self._lost[node]), self.tasks, future, None))
        else:
            heapq.heappush(self._free, (end, node))
            heapq.heappush(self._events, (end, self.tasks, future, [name for name, _ in task]))
        self.seconds += time.process_time() - begin
        if len(self._events) >= self.limit:
            self._complete()
        return future

    def running(self) -> int:
        """Return how many tasks may be in progress."""
        if self.no_more and self._events:
            self._complete()
        return self.limit

    def _complete(self) -> None:
        begin = time.process_time()
        self.now, _, future, result = heapq.heappop(self._events)
        self.seconds += time.process_time() - begin
        if result is None:
            future.set_exception(ConnectionError("the node is lost"))
        else:
            future.set_result(result)


def queue(count: int, utterances: Sequence[Utterance]) -> None:
    """Print the cost of the queue, and how long the simulated nodes took."""
    ideal = sum(utterance.duration for utterance in utterances) / SPEED / CPUS / count
    random = np.random.default_rng(1)
    lost = {int(node): float(random.uniform(0, ideal)) for node in random.permutation(count)[: round(LOST * count)]}
    nodes = Nodes(count, lost)

    def tasks() -> Iterator[list[tuple[str, float]]]:
        seconds = [utterance.duration for utterance in utterances]
        rows = [(utterance.audio, utterance.duration) for utterance in utterances]
        yield from divide(rows, seconds, min(600.0, sum(seconds) / 4 / CPUS / count))
        nodes.no_more = True
        nodes.running()

    begin = time.process_time()
    limits = Limits(nodes.running, lost=ConnectionError)
    results = in_order(nodes.submit, tasks(), limits)
    # Every file once, in order.
    assert all(result == utterance.audio for result, utterance in zip(results, utterances, strict=True))
    seconds = time.process_time() - begin - nodes.seconds
    print(f"{nodes.tasks} tasks on {count} nodes, {len(lost)} of them lost: {nodes.now:.0f} s, at best {ideal:.0f} s")
    print(f"RATIO queue_cpu_seconds {seconds:.1f}")
    print(f"RATIO queue_microseconds_per_file {1e6 * seconds / len(utterances):.1f}")
    print(f"RATIO simulated_efficiency {ideal / nodes.now:.3f}")


def timed(name: str, count: int, work: Callable[[], Any]) -> Any:
    """Call `work`, print its processor time and its wall time for each of so many files, and return its result."""
    begin, wall = time.process_time(), time.perf_counter()
    result = work()
    seconds, wall = time.process_time() - begin, time.perf_counter() - wall
    print(f"RATIO {name}_microseconds_per_file {1e6 * seconds / count:.1f}")
    print(f"RATIO {name}_wall_microseconds_per_file {1e6 * wall / count:.1f}", flush=True)
    return result


def outputs(folder: Path) -> None:
    """Print the cost of an output folder: of finding what is missing, and of writing it."""
    inputs = []
    for number in range(OUTPUTS):
        path = folder / "in" / f"{number // 1000}" / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(number.to_bytes(4) * 256)
        inputs.append(InputFile(path, Path(f"{number // 1000}/{number}")))
    out = OutputFolder(folder / "out", ["txt"], "settings")
    timed("plan_outputs", OUTPUTS, lambda: out.begin(inputs))
    transcript = Transcript("the quick brown fox jumps over the lazy dog", duration=15.0)

    def save() -> None:
        for file in inputs:
            out.save(file, [FileResult(str(file.path), transcript)])

    timed("write_outputs", OUTPUTS, save)
    timed("resume_outputs", OUTPUTS, lambda: OutputFolder(folder / "out", ["txt"], "settings").begin(inputs))


def simulate(count: int, files: int) -> None:
    """Print the cost of a job of many files for the process that submits it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        durations = np.random.default_rng(0).lognormal(2.3, 0.7, files).round(3).tolist()
        rows = [
            Utterance(f"utterance-{number}", f"/corpus/{number // 1000}/{number}.flac", duration, "SOME WORDS")
            for number, duration in enumerate(durations)
        ]
        manifest.write(folder / "m.jsonl", rows)
        del rows
        utterances = timed("read_manifest", files, lambda: manifest.read(folder / "m.jsonl"))
        print(f"{files} files, {sum(durations) / 3600:.0f} hours")
        queue(count, utterances)
        print(f"RATIO peak_gb {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f}", flush=True)
        outputs(folder)


def main() -> None:
    """Run the part that the first argument names."""
    match sys.argv[1:]:
        case ["scaling", model, *files] if files:
            scaling(Path(model), list(map(Path, files)))
        case ["simulate", *numbers]:
            simulate(*[*map(int, numbers), *(1000, 1_000_000)[len(numbers) :]])
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
