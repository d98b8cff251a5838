"""The queue of a server: recordings that wait are transcribed together, by a few threads."""

from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from threading import Condition, Thread

from asr.recognition import Recognizer, TranscribeOptions
from asr.transcripts.records import FileResult

# Recordings that one thread takes from the queue at once.
_TOGETHER = 16


class QueueFullError(Exception):
    """As many recordings wait as the queue may hold."""


@dataclass(frozen=True)
class _Job:
    path: Path
    options: TranscribeOptions
    future: Future[FileResult] = field(default_factory=Future)


class TranscriptionQueue:
    """Transcribes files on `threads` threads; at most `limit` files wait.

    A thread takes the next file, and its share of the others with the same options, which are computed in one batch.
    Texts do not depend on what is computed together.
    """

    def __init__(self, recognizer: Recognizer, limit: int, threads: int) -> None:
        self._recognizer = recognizer
        self._limit = limit
        self._waiting: deque[_Job] = deque()
        self._changed = Condition()
        self._closed = False
        self._threads = [
            Thread(target=self._run, name=f"transcription-{number}", daemon=True) for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def __len__(self) -> int:
        """Return how many files wait."""
        return len(self._waiting)

    def submit(self, path: Path, options: TranscribeOptions) -> "Future[FileResult]":
        """Add a file. Its result has a transcript or an error. Raise QueueFullError."""
        job = _Job(path, options)
        with self._changed:
            if self._closed or len(self._waiting) >= self._limit:
                raise QueueFullError
            self._waiting.append(job)
            self._changed.notify()
        return job.future

    def close(self) -> None:
        """Transcribe the files that wait, and stop the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while jobs := self._next_jobs():
            self._transcribe(jobs)

    def _next_jobs(self) -> list[_Job]:
        """Wait for files and return those to transcribe together; none once the queue is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                return []
            options = self._waiting[0].options
            jobs = [job for job in self._waiting if job.options == options]
            # Its share: one large batch would leave the other threads idle.
            jobs = jobs[: min(-(-len(jobs) // len(self._threads)), _TOGETHER)]
            for job in jobs:
                self._waiting.remove(job)
            return jobs

    def _transcribe(self, jobs: list[_Job]) -> None:
        # A future is cancelled when its client is gone or its time is over.
        jobs = [job for job in jobs if job.future.set_running_or_notify_cancel()]

        def finish(index: int, results: list[FileResult]) -> None:
            jobs[index].future.set_result(results[0])

        try:
            for _ in (
                self._recognizer.transcribe_files([job.path for job in jobs], jobs[0].options, on_result=finish)
                if jobs
                else ()
            ):
                pass
        except BaseException as error:  # a thread must outlive a defect, and every client gets an answer
            for job in jobs:
                if not job.future.done():
                    job.future.set_exception(error)
