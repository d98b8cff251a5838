"""A connection to a Ray cluster, which submits tasks of some files each and takes their results in order.

`asr.parallel.tasks.in_order` bounds the tasks in progress, restores the order and repeats the tasks of lost nodes.
"""

import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, redirect_stdout
from dataclasses import replace
from functools import partial
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from asr.cluster import nodes
from asr.cluster.nodes import ClusterError, ModelSpec, Source
from asr.corpora.manifest import Utterance
from asr.errors import AsrError
from asr.parallel.tasks import Limits, WorkerLostError, grouped, in_order
from asr.recognition import TranscribeOptions
from asr.recognition.files import OnProgress
from asr.transcripts.records import FileResult
from asr.version import __version__

if TYPE_CHECKING:
    # It imports numba and the language models, which greedy decoding does not need.
    from asr.decoding.decoder import DecoderSettings
    from asr.decoding.tuning import DevSet, Trial

Argument = TypeVar("Argument")
Result = TypeVar("Result")

# Seconds of audio and files in a task: enough that its own cost does not matter, few enough to lose.
_TASK_SECONDS, _TASK_FILES = 600.0, 64
# Each CPU or GPU should have so many tasks, so that all end at about the same time.
_SHARES = 4
# Tasks in progress for each CPU or GPU: one that runs, and one that waits on its node.
_WAITING = 2
# Arguments of `map_each` in a task, and those that may be ahead of the results that were used.
_TOGETHER, _AHEAD = 32, 4096
# Seconds between two looks at the size of the cluster, and until a head that does not answer is given up.
_LOOK, _CONNECT = 5.0, 10.0
# Nodes that are named one by one in the progress.
_NAMED = 4
# Bytes of the object store of a cluster on this machine; it holds paths, texts and the features of a few tasks.
_STORE = 256 * 2**20
# Bytes in a second of audio, between those of compressed files and of 16-bit samples.
_BYTES_PER_SECOND = 16_000


class Cluster:
    """A connection to a Ray cluster, as a context manager.

    `address`: HOST:PORT of its head, `auto` on one of its nodes, or `local`, which starts a cluster on this machine.
    `gpu`: each task needs a GPU. `on_note` is called with a line about what the user should know. Raise ClusterError.
    """

    def __init__(self, address: str, gpu: bool = False, on_note: Callable[[str], None] = lambda note: None) -> None:
        self.files: Counter[str] = Counter()
        self.repeated = 0
        self._resource, self._on_note = "GPU" if gpu else "CPU", on_note
        self._names: dict[str, str] = {}
        self._slots, self._looked = 0, -inf
        self._text, self._shown = "", -inf
        self._stack = ExitStack()
        self._ray = nodes.import_ray()
        try:
            # Ray prints the logs of lost nodes to stdout, where the transcripts are.
            nowhere = self._stack.enter_context(Path(os.devnull).open("w"))  # noqa: SIM115
            self._stack.enter_context(redirect_stdout(nowhere))
            _connect(self._ray, address)
            self._stack.callback(self._ray.shutdown)
            resources = {"num_cpus": 0, "num_gpus": 1} if gpu else {"num_cpus": 1}
            self._task = self._ray.remote(**resources, max_retries=0)(nodes.run)
            if not self.slots:
                raise ClusterError(f"--cluster {address}: no node of the cluster has a {self._resource}")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect, which ends the tasks in progress; a cluster on this machine ends."""
        self._stack.close()

    @property
    def slots(self) -> int:
        """Return how many tasks the cluster runs at once; nodes may come and go."""
        if time.monotonic() - self._looked >= _LOOK:
            self._slots = int(self._ray.cluster_resources().get(self._resource, 0))
            self._looked = time.monotonic()
        return self._slots

    def summary(self) -> str:
        """Return how many files each node has done, in a few words."""
        if not set(self.files) <= set(self._names):
            self._names = {node["NodeID"]: node["NodeName"] for node in self._ray.nodes()}
        taken = Counter(self._names.values())
        counts = {}
        for node, count in list(self.files.items()):
            name = self._names.get(node, node[:8])
            counts[name if taken[name] < 2 else f"{name} {node[:4]}"] = count
        if len(counts) <= _NAMED:
            text = ", ".join(f"{name}: {count}" for name, count in sorted(counts.items()))
        else:
            text = f"{len(counts)} nodes: {min(counts.values())} to {max(counts.values())} each"
        return f"{text}, {self.repeated} repeated" if self.repeated else text

    def progress(self) -> str:
        """Return `summary()`, which may be a second old: it costs more than a file if there are many nodes."""
        if time.monotonic() - self._shown >= 1:
            self._text, self._shown = self.summary(), time.monotonic()
        return self._text

    def map(
        self,
        function: Callable[[Sequence[Argument]], Sequence[Result]],
        tasks: Iterable[Sequence[Argument]],
        on_result: Callable[[int, Result], None] = lambda index, result: None,
        give_up: Callable[[Argument, WorkerLostError], Result] | None = None,
        ahead: float = inf,
    ) -> Iterator[Result]:
        """Yield the results of `function` on tasks, one for each argument, in order; see `in_order`.

        The function must be importable on the nodes and its arguments picklable. AsrErrors that it raises are raised
        here. Raise ClusterError if a node cannot run it, and WorkerLostError.
        """
        errors = self._ray.exceptions
        lost: tuple[type[Exception], ...] = (errors.NodeDiedError, errors.WorkerCrashedError, errors.OutOfMemoryError)
        lost += (errors.LocalRayletDiedError, errors.ObjectLostError, errors.RpcError)
        noted = set[str]()

        def submit(task: Sequence[Argument]) -> "Future[Sequence[Result]]":
            done: Future[Sequence[Result]] = Future()

            def finish(future: "Future[tuple[str, Sequence[Result] | AsrError]]") -> None:
                if not done.set_running_or_notify_cancel():
                    return  # `in_order` has stopped
                if error := future.exception():
                    if isinstance(error, lost):
                        self.repeated += len(task)
                        reason = str(error).partition(". This")[0].splitlines()[0]
                        if reason not in noted:
                            self._on_note(f"{reason}; its files are repeated")
                        noted.add(reason)
                    done.set_exception(error)
                    return
                node, results = future.result()
                if isinstance(results, AsrError):
                    done.set_exception(results)
                    return
                self.files[node] += len(task)
                done.set_result(results)

            self._task.remote(__version__, function, task).future().add_done_callback(finish)
            return done

        limits = Limits(lambda: max(1, _WAITING * self.slots), ahead, lost)
        try:
            yield from in_order(submit, tasks, limits, on_result, give_up)
        except errors.RayError as error:
            raise ClusterError(f"a task failed on the cluster: {str(error).strip().splitlines()[-1]}") from error

    def map_each(self, function: Callable[..., Result], arguments: Iterable[tuple[Any, ...]]) -> Iterator[Result]:
        """Yield function(*args) for each tuple of arguments, in order; errors as those of `map`."""
        yield from self.map(partial(nodes.call_each, function), grouped(arguments, _TOGETHER), ahead=_AHEAD)

    def transcribe_files(
        self,
        spec: ModelSpec,
        sources: Sequence[Source],
        options: TranscribeOptions,
        on_progress: OnProgress | None = None,
        on_result: Callable[[int, list[FileResult]], None] | None = None,
    ) -> Iterator[list[FileResult]]:
        """Transcribe files or utterances as `Recognizer.transcribe_files` does, with the same texts.

        A recording whose workers are lost again and again has an error as its result.
        """

        def take(index: int, results: list[FileResult]) -> None:
            transcript = results[0].transcript
            if on_progress:
                on_progress(index, 1.0, transcript.duration if transcript else 0.0)
            if on_result:
                on_result(index, results)

        def give_up(source: Source, error: WorkerLostError) -> list[FileResult]:
            return [nodes.failure(source, str(error), options)]

        absolute = list(map(_absolute, sources))
        seconds = list(map(_seconds, absolute))
        most = min(_TASK_SECONDS, sum(seconds) / (_SHARES * self.slots))
        # A task has one CPU.
        work = partial(nodes.transcribe, spec, replace(options, threads=1))
        yield from self.map(work, divide(absolute, seconds, most), take, give_up)

    def try_settings(
        self,
        spec: ModelSpec,
        dev: "DevSet",
        settings: "Sequence[DecoderSettings]",
        on_progress: Callable[[float], None] = lambda share: None,
    ) -> "list[Trial]":
        """Try decoder settings on a dev set, as `TrialRunner.run_all` does with one thread.

        A task tries all settings on some utterances, so that a slow node is slow for all of them and the times remain
        comparable. `on_progress` is called with the share that is done.
        """
        from asr.decoding.tuning import Trial  # noqa: PLC0415

        done = 0

        def report(index: int, result: object) -> None:
            nonlocal done
            done += 1
            on_progress(done / len(dev.texts))

        utterances = list(zip(dev.rows, dev.texts, strict=True))
        seconds = [len(row) * dev.seconds_per_frame * len(settings) for row in dev.rows]
        most = min(_TASK_SECONDS, sum(seconds) / (_SHARES * self.slots))
        work = partial(nodes.try_settings, spec, dev.seconds_per_frame, settings)
        columns = zip(*self.map(work, divide(utterances, seconds, most), report), strict=True)
        trials = []
        for one, column in zip(settings, columns, strict=True):
            errors, times = zip(*column, strict=True)
            trials.append(Trial(one, errors, sum(times), dev.words))
        return trials


def divide(arguments: Sequence[Argument], seconds: Sequence[float], most: float) -> Iterator[list[Argument]]:
    """Yield arguments in tasks of up to `most` seconds of audio, or of one argument."""
    task: list[Argument] = []
    total = 0.0
    for argument, length in zip(arguments, seconds, strict=True):
        if task and (total + length > most or len(task) == _TASK_FILES):
            yield task
            task, total = [], 0.0
        task.append(argument)
        total += length
    if task:
        yield task


def _connect(ray: Any, address: str) -> None:
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": "CRITICAL"}
    if address == "local":
        settings |= {"include_dashboard": False, "object_store_memory": _STORE}
    elif address != "auto":
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit() or "/" in host:
            raise ClusterError(f"--cluster {address}: give HOST:PORT of the cluster's head node, auto, or local")
        try:
            socket.create_connection((host, int(port)), _CONNECT).close()
        except (OSError, OverflowError) as error:
            raise ClusterError(
                f"--cluster {address}: no head node answers there ({error}); start it with: ray start --head"
            ) from error
    try:
        ray.init(address=address, **settings)
    except Exception as error:  # Ray has no base class for these
        raise ClusterError(f"--cluster {address}: {str(error).strip().splitlines()[0]}") from error


def _absolute(source: Source) -> Source:
    # The paths of a manifest are absolute.
    return source if isinstance(source, Utterance) else source.absolute()


def _seconds(source: Source) -> float:
    """Return the length of an utterance, or an estimate of a file's, which suffices to divide the work."""
    if isinstance(source, Utterance):
        return source.duration
    try:
        return source.stat().st_size / _BYTES_PER_SECOND
    except OSError:
        return 0.0
