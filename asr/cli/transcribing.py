"""The run of asr transcribe: recordings -> stdout or a folder, several at a time, until all are done or Ctrl-C."""

import hashlib
import json
import math
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from asr.cli.decoding import Decoding
from asr.cli.progress import Display
from asr.version import __version__

if TYPE_CHECKING:
    from asr.inputs import Found, Recording
    from asr.mirror import Mirror
    from asr.output import Transcript
    from asr.recognition import Recognizer


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

    def start(self, decoding: Decoding, device: str) -> int:
        """Transcribe all that is to be; return the exit code."""
        from asr.mirror import Mirror

        wishes, pending = self._wishes, self._found.recordings
        mirror = None
        if wishes.out is not None:
            mirror = Mirror(wishes.out, wishes.formats, _digest(wishes, decoding), wishes.force)
            pending = mirror.begin(pending, self._read)
        for problem in self._found.problems:
            self._tell(problem)
        current = len(self._found.recordings) - len(pending)
        if current:
            self._display.say(f"{current} of {len(self._found.recordings)} recordings are done already")
        if pending:
            from asr import recognition
            from asr.listening import Listening

            recognizer = recognition.load(wishes.model, device)
            if wishes.vad:
                recognizer = recognizer.with_listening(Listening(vad=True))
            recognizer, _ = decoding.equip(recognizer, self._display, wishes.nbest, self._heard(pending))
            with self._standard_input(pending), _threads(min(wishes.jobs, len(pending))):
                try:
                    self._each(recognizer, pending, mirror)
                except KeyboardInterrupt:
                    return self._stopped(len(pending), mirror)
                finally:
                    if mirror:
                        mirror.close()
        return self._ended(current)

    def _each(self, recognizer: "Recognizer", pending: "list[Recording]", mirror: "Mirror | None") -> None:
        from asr.mirror import stamp
        from asr.output import document
        from asr.parallel import side_by_side

        sizes = [self._size(one) for one in pending]
        progress, total, begin = 0, sum(sizes), time.monotonic()
        self._display.update("transcribe", 0, total, note="")

        def work(one: "Recording") -> "Transcript":
            seen = stamp(one.path)
            made = self._transcribed(recognizer, one)
            if mirror and made.hypothesis is not None:
                mirror.save(one, made, seen)
            return made

        for number, made in enumerate(side_by_side(work, pending, self._wishes.jobs), 1):
            if made.hypothesis is None:
                self._failed += 1
                self._tell(made.error)
            if mirror is None:
                click.echo(document(made, self._wishes.formats[0], head=number == 1), nl=False)
            self._done += made.hypothesis is not None
            self._seconds += made.duration
            progress += sizes[number - 1]
            speed = self._seconds / max(time.monotonic() - begin, 1e-6)
            note = f"{number} of {len(pending)} files, {self._seconds / 3600:.2f} hours, {speed:.0f} × real time"
            self._display.update("transcribe", progress, total, note=note)

    def _transcribed(self, recognizer: "Recognizer", one: "Recording") -> "Transcript":
        """Return what became of a recording."""
        from asr import audio, output
        from asr.alignment import AlignmentError
        from asr.decoding import DecodingError

        path = self._path(one)
        try:
            duration = audio.info(path).duration
            words = self._wishes.formats != ("txt",)
            best, *others = recognizer.alternatives(path, self._wishes.nbest, words=words)
        except audio.AudioError as error:
            message = str(error) if path == one.path else str(error).replace(str(path), "standard input")
        except (AlignmentError, DecodingError) as error:
            message = f"{one.path}: {error}"
        else:
            return output.Transcript(str(one.path), best, alternatives=tuple(others), duration=duration)
        return output.Transcript(str(one.path), None, message)

    def _path(self, one: "Recording") -> Path:
        """Return the file to read."""
        from asr.inputs import STDIN

        return self._stdin if str(one.path) == STDIN else one.path

    def _heard(self, pending: "list[Recording]") -> float:
        """Return the seconds of all recordings, if they are few: of many, they are not worth opening for it."""
        from asr import audio
        from asr.inputs import STDIN

        if len(pending) > _FEW or any(str(one.path) == STDIN for one in pending):
            return math.inf
        seconds = 0.0
        for one in pending:
            with suppress(audio.AudioError):
                seconds += audio.info(one.path).duration
        return seconds

    def _size(self, one: "Recording") -> int:
        try:
            return max(self._path(one).stat().st_size, 1)
        except OSError:
            return 1

    @contextmanager
    def _standard_input(self, pending: "list[Recording]") -> Iterator[None]:
        """Put what is on standard input into a file, if it is meant: headers are read back and forth."""
        from asr.inputs import STDIN

        if not any(str(one.path) == STDIN for one in pending):
            yield
            return
        with tempfile.TemporaryDirectory(prefix="asr-") as folder:
            self._stdin = Path(folder) / "stdin"
            with self._stdin.open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file)
            yield

    def _tell(self, problem: str) -> None:
        # A name may have line feeds in it.
        self._display.say(f"asr: {' '.join(problem.split())}", always=True)

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


def _digest(wishes: Wishes, decoding: Decoding) -> str:
    """Return a digest of all that the transcripts depend on, beside the recordings."""
    with wishes.model.open("rb") as file:
        model = hashlib.file_digest(file, "sha256").hexdigest()
    files = [path for path in (decoding.file, decoding.lm, decoding.rescorer) if path]
    if decoding.file:
        from asr.decoder import read_settings

        named = read_settings(decoding.file)
        files += [Path(name) for name in (named.lm, named.rescorer) if name and Path(name).exists()]
    stamps = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    settings = [__version__, model, repr(decoding), stamps, wishes.nbest, wishes.vad]
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()
