"""The run of asr transcribe: recordings -> stdout or a folder, several at a time, until all are done or Ctrl-C."""

import hashlib
import json
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from asr.cli.decoding import DecodingOptions
from asr.cli.progress import Display, Recordings, one_line
from asr.version import __version__

if TYPE_CHECKING:
    from asr.recognition import Recognizer
    from asr.recognition.files import Heard
    from asr.recognition.inputs import Found, Recording
    from asr.recognition.output_folder import Mirror
    from asr.transcripts.records import FileResult


# Recordings whose durations are soon known.
_FEW = 20


@dataclass(frozen=True)
class Wishes:
    """What was asked for."""

    formats: tuple[str, ...]
    out: Path | None
    force: bool
    nbest: int
    jobs: int
    model: Path
    vad: bool
    split: bool
    batch_seconds: int | None


class Run:
    """Transcribes recordings; `read`: other files that are read, and must not be written over."""

    def __init__(self, wishes: Wishes, found: "Found", read: Sequence[Path], display: Display) -> None:
        self._wishes = wishes
        self._found = found
        self._read = [wishes.model, *read]
        self._display = display
        self._stdin = Path()
        self._done = 0
        self._failed = len(found.problems)
        self._seconds = 0.0

    def start(self, decoding: DecodingOptions, device: str) -> int:
        """Transcribe all that is to be; return the exit code."""
        with self._standard_input():
            return self._start(decoding, device)

    def _start(self, decoding: DecodingOptions, device: str) -> int:
        from asr.recognition.output_folder import Mirror

        wishes, pending = self._wishes, self._found.recordings
        mirror = None
        if wishes.out is not None:
            channels = self._channels if wishes.split else None
            mirror = Mirror(wishes.out, wishes.formats, _digest(wishes, decoding), wishes.force, channels)
            pending = mirror.begin(pending, self._read)
        for problem in self._found.problems:
            self._tell(problem)
        current = len(self._found.recordings) - len(pending)
        if current:
            self._display.say(f"{current} of {len(self._found.recordings)} recordings are done already")
        if pending:
            from asr import recognition
            from asr.recognition.listening import Listening

            listening = Listening(vad=wishes.vad, batch=wishes.batch_seconds)
            recognizer = recognition.load(wishes.model, device).with_listening(listening)
            recognizer, _ = decoding.apply(recognizer, self._display, wishes.nbest, self._durations(pending))
            with _threads(min(wishes.jobs, len(pending))):
                try:
                    self._each(recognizer, pending, mirror)
                except KeyboardInterrupt:
                    return self._stopped(len(pending), mirror)
                finally:
                    if mirror:
                        mirror.close()
        return self._ended(current)

    def _each(self, recognizer: "Recognizer", pending: "list[Recording]", mirror: "Mirror | None") -> None:
        from asr.parallel import map_threads
        from asr.recognition import files as recordings
        from asr.recognition.output_folder import stamp

        wishes = self._wishes
        jobs = min(wishes.jobs, len(pending))
        paths = [self._path(one) for one in pending]
        threads = max(1, (os.cpu_count() or 1) // jobs)
        way = recordings.Way(wishes.nbest, wishes.formats != ("txt",), wishes.split, threads)
        progress = Recordings(self._display, [_size(path) for path in paths])

        def work(indices: list[int]) -> "dict[int, list[FileResult]]":
            seen = [stamp(paths[index]) for index in indices]

            def tell(share: float, seconds: float) -> None:
                progress.part(indices[0], share, seconds)

            heard = recordings.transcribe(recognizer, [paths[index] for index in indices], way, tell)
            made = {index: self._made(pending[index], one) for index, one in zip(indices, heard, strict=True)}
            for index, source in zip(indices, seen, strict=True):
                if mirror and made[index][0].transcript is not None:
                    mirror.save(pending[index], made[index], source)
            return made

        waiting: dict[int, list[FileResult]] = {}
        number = 0
        try:
            for made in map_threads(work, recordings.plan(recognizer, paths, wishes.split, jobs), jobs):
                waiting |= made
                while number in waiting:
                    progress.done(number, self._finished(waiting.pop(number), mirror, number == 0))
                    number += 1
        finally:
            progress.close()

    def _finished(self, made: "list[FileResult]", mirror: "Mirror | None", first: bool) -> float:
        """Tell what became of a recording, and return its seconds."""
        from asr.transcripts import document

        failed = made[0].transcript is None
        if failed:
            self._failed += 1
            self._tell(made[0].error)
        if mirror is None:
            click.echo(document(made, self._wishes.formats[0], header=first), nl=False)
        self._done += not failed
        seconds = made[0].transcript.duration if made[0].transcript else 0.0
        self._seconds += seconds
        return seconds

    def _made(self, one: "Recording", heard: "Heard") -> "list[FileResult]":
        """Return the transcripts of a recording: of each channel, or the one of all."""
        from asr.transcripts.records import FileResult, Transcript

        split = self._wishes.split
        if heard.error:
            path = self._path(one)
            message = heard.error if path == one.path else heard.error.replace(str(path), "standard input")
            return [FileResult(str(one.path), error=message, channel=0 if split else None)]
        return [
            FileResult(
                str(one.path),
                Transcript.from_hypotheses(hypotheses, heard.duration),
                channel=number if split else None,
            )
            for number, hypotheses in enumerate(heard.channels, 1)
        ]

    def _channels(self, one: "Recording") -> int:
        from asr import audio

        try:
            return audio.info(self._path(one)).channels
        except audio.AudioError:
            return 0  # what is wrong with it is told in its turn

    def _path(self, one: "Recording") -> Path:
        """Return the file to read."""
        from asr.recognition.inputs import STDIN

        return self._stdin if str(one.path) == STDIN else one.path

    def _durations(self, pending: "list[Recording]") -> float:
        """Return the seconds of all recordings, if they are few: of many, they are not worth opening for it."""
        from asr import audio

        if len(pending) > _FEW:
            return math.inf
        seconds = 0.0
        for one in pending:
            with suppress(audio.AudioError):
                seconds += audio.info(self._path(one)).duration
        return seconds

    @contextmanager
    def _standard_input(self) -> Iterator[None]:
        """Put what is on standard input into a file, if it is meant: headers are read back and forth."""
        from asr.recognition.inputs import STDIN

        if not any(str(one.path) == STDIN for one in self._found.recordings):
            yield
            return
        with tempfile.TemporaryDirectory(prefix="asr-") as folder:
            self._stdin = Path(folder) / "stdin"
            with self._stdin.open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file)
            yield

    def _tell(self, problem: str) -> None:
        self._display.say(f"asr: {one_line(problem)}", always=True)

    def _stopped(self, total: int, mirror: "Mirror | None") -> int:
        if mirror:
            mirror.close()  # before it is counted
        self._display.close()
        done = mirror.saved if mirror else self._done
        kept = f" and kept in {self._wishes.out}; the same command goes on from there" if mirror else ""
        click.echo(f"asr: stopped: {done} of {total} recordings are done{kept}", err=True)
        return 130

    def _ended(self, current: int) -> int:
        wishes = self._wishes
        self._display.close()
        total = len(self._found.recordings) + len(self._found.problems)
        if self._failed and total > 1:
            self._display.say(f"asr: {self._failed} of {total} files could not be transcribed")
        if wishes.out is not None and (self._done or current):
            already = f", {current} were there already" if current else ""
            hours = f"{self._seconds / 3600:.2f} hours"
            click.echo(f"{wishes.out}: {self._done} transcribed ({hours}){already}")
        return 1 if self._failed else 0


def _size(path: Path) -> int:
    try:
        return max(path.stat().st_size, 1)
    except OSError:
        return 1


@contextmanager
def _threads(jobs: int) -> Iterator[None]:
    """Share the cores out among the jobs; a network of small matrices gains more from a job than from a thread."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before // jobs))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _digest(wishes: Wishes, decoding: DecodingOptions) -> str:
    """Return a digest of all that the transcripts depend on, beside the recordings."""
    with wishes.model.open("rb") as file:
        model = hashlib.file_digest(file, "sha256").hexdigest()
    files = [path for path in (decoding.file, decoding.lm, decoding.rescorer) if path]
    if decoding.file:
        from asr.decoding.decoder import read_settings

        named = read_settings(decoding.file)
        files += [Path(name) for name in (named.lm, named.rescorer) if name and Path(name).exists()]
    stamps = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    settings = [__version__, model, repr(decoding), stamps, wishes.nbest, wishes.vad, wishes.split]
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()
