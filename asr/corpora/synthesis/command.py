"""Any text-to-speech program as a synthesizer: text on its standard input, a sound file on its standard output."""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

from asr.audio import AudioError, load
from asr.corpora.manifest import CorpusError
from asr.corpora.synthesis.speech import FASTEST, SLOWEST, Speech, SynthesisError

# Seconds after which a program is killed, and the most bytes that it may write.
TIMEOUT = 120.0
_LARGEST = 1 << 26
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
        content = self._run(arguments, text)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "speech.wav")
            path.write_bytes(content)
            try:
                waveform = load(path)
            except AudioError as error:
                problem = str(error).removeprefix(f"{path}: ")
                raise SynthesisError(f"{self._name}: its output cannot be used: {problem}") from None
        return Speech(waveform, f"{self._name}-{voice}" if voice else self._name)

    def _run(self, arguments: list[str], text: str) -> bytes:
        with tempfile.TemporaryFile() as errors:
            try:
                # The program may be a script that starts others, so all are one process group.
                process = subprocess.Popen(  # noqa: S603 - the user's own command, without a shell
                    arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
                )
            except OSError as error:
                raise SynthesisError(f"{self._name}: cannot be started: {error.strerror or error}") from None
            assert process.stdin and process.stdout
            timed_out = threading.Event()

            def stop() -> None:
                timed_out.set()
                _kill(process)

            timer = threading.Timer(self._timeout, stop)
            timer.start()
            try:
                # A line is far smaller than the buffer of a pipe. A program that does not read it has ended.
                with contextlib.suppress(BrokenPipeError), process.stdin:
                    process.stdin.write(text.encode("utf-8", "replace") + b"\n")
                content = process.stdout.read(_LARGEST + 1)
                if len(content) <= _LARGEST:
                    process.wait()
            finally:
                timer.cancel()
                _kill(process)
                process.stdout.close()
                process.wait()
            if timed_out.is_set():
                raise SynthesisError(f"{self._name}: stopped after {self._timeout:g} s")
            if len(content) > _LARGEST:
                raise SynthesisError(f"{self._name}: wrote more than {_LARGEST >> 20} MiB")
            if process.returncode:
                errors.seek(0)
                last = errors.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
                raise SynthesisError(f"{self._name}: exit code {process.returncode}{': ' if last else ''}{last[:200]}")
        if not content:
            raise SynthesisError(f"{self._name}: wrote nothing to standard output")
        return content


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a program and those that it started."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    else:  # Windows
        process.kill()
