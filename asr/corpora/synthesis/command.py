"""Any text-to-speech program as a synthesizer: text on its standard input, a sound file on its standard output."""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

from asr.audio import AudioError, load
from asr.corpora.manifest import CorpusError
from asr.corpora.synthesis.speech import FASTEST, SLOWEST, Speech, SynthesisError

# Seconds after which a program is killed, and the most bytes that it may write.
TIMEOUT = 120.0
_LARGEST = 1 << 26
_CHECK_INTERVAL = 0.5
_VOICE, _SPEED, _STRETCH = "{voice}", "{speed}", "{stretch}"


class Command:
    """Runs a program for each text, without a shell.

    In the arguments, `{voice}` is replaced by one of the voices, `{speed}` by a factor of the speaking rate, and
    `{stretch}` by its inverse, a factor of the duration. Raises CorpusError for a line that is not a command, a
    program that does not exist, and voices without `{voice}` or the reverse.
    """

    def __init__(self, line: str, voices: Sequence[str] = (), timeout: float = TIMEOUT) -> None:
        try:
            self._arguments = shlex.split(line)
        except ValueError as error:
            raise CorpusError(f"command {line!r}: {str(error).lower()}") from None
        if not self._arguments:
            raise CorpusError("the command is empty")
        if shutil.which(self._arguments[0]) is None:
            raise CorpusError(f"command {line!r}: there is no program {self._arguments[0]!r}; install it")
        if bool(voices) != (_VOICE in line):
            raise CorpusError(f"command {line!r}: give voices and write {_VOICE} in the command, or neither")
        self._name = Path(self._arguments[0]).stem
        self._voices, self._timeout = list(voices), timeout
        self.settings: Mapping[str, str] = {"command": line, "voices": ",".join(voices)}

    def __call__(self, text: str, random: Random) -> Speech:
        """Synthesise a text. Raises SynthesisError if the program fails or writes no usable sound file."""
        speed = random.uniform(SLOWEST, FASTEST)
        voice = random.choice(self._voices) if self._voices else ""
        replacements = {_VOICE: voice, _SPEED: f"{speed:.3f}", _STRETCH: f"{1 / speed:.3f}"}
        arguments = list(self._arguments)
        for placeholder, value in replacements.items():
            arguments = [argument.replace(placeholder, value) for argument in arguments]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "speech.wav")
            self._run(arguments, text, path)
            try:
                waveform = load(path)
            except AudioError as error:
                problem = str(error).removeprefix(f"{path}: ")
                raise SynthesisError(f"{self._name}: its output cannot be used: {problem}") from None
        return Speech(waveform, voice or self._name)

    def _run(self, arguments: list[str], text: str, output: Path) -> None:
        # Standard input and output are files: many programs seek in a WAV file to write its length.
        with tempfile.TemporaryFile() as stdin, output.open("wb") as stdout, tempfile.TemporaryFile() as stderr:
            stdin.write(text.encode("utf-8", "replace") + b"\n")
            stdin.seek(0)
            try:
                # The program may be a script that starts others, so all are one process group.
                process = subprocess.Popen(  # noqa: S603 - the user's own command, without a shell
                    arguments, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True
                )
            except OSError as error:
                raise SynthesisError(f"{self._name}: cannot be started: {error.strerror or error}") from None
            try:
                self._wait(process, output)
            finally:
                _kill(process)
            if process.returncode:
                stderr.seek(0)
                last = stderr.read(1 << 16).decode("utf-8", "replace").strip().rpartition("\n")[2]
                raise SynthesisError(f"{self._name}: exit code {process.returncode}{': ' if last else ''}{last[:200]}")
        if not output.stat().st_size:
            raise SynthesisError(f"{self._name}: wrote nothing to standard output")

    def _wait(self, process: subprocess.Popen[bytes], output: Path) -> None:
        end = time.monotonic() + self._timeout
        while True:
            try:
                process.wait(min(_CHECK_INTERVAL, max(0.0, end - time.monotonic())))
                return
            except subprocess.TimeoutExpired:
                if output.stat().st_size > _LARGEST:
                    raise SynthesisError(f"{self._name}: wrote more than {_LARGEST >> 20} MiB") from None
                if time.monotonic() >= end:
                    raise SynthesisError(f"{self._name}: stopped after {self._timeout:g} s") from None


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a program, if it still runs, and those that it started."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    else:  # Windows
        process.kill()
    process.wait()
