"""Programs as synthesizers: what they get, what they may return, and how they fail."""

import os
import shlex
import sys
import time
from pathlib import Path
from random import Random

import numpy as np
import pytest

from asr.corpora.manifest import CorpusError
from asr.corpora.synthesis import Command, SynthesisError
from tests.conftest import SAMPLE_RATE

# Writes a second of a tone and what it got to `got.txt` beside the script.
SPEAK = """
import pathlib, sys, wave, array, math
got = pathlib.Path(__file__).with_name("got.txt")
got.write_text(repr((sys.argv[1:], sys.stdin.read())))
with wave.open(sys.stdout.buffer, "wb") as out:
    out.setparams((2, 2, 22050, 0, "NONE", ""))
    out.writeframes(array.array("h", [int(9000 * math.sin(i / 9)) for i in range(2 * 22050)]))
"""


def script(folder: Path, source: str) -> str:
    (folder / "speak.py").write_text(source)
    return shlex.join([sys.executable, str(folder / "speak.py")])


def call(line: str, timeout: float = 60.0) -> None:
    Command(line, timeout=timeout)("Hello.", Random(1))


def test_text_and_arguments(tmp_path: Path) -> None:
    line = script(tmp_path, SPEAK)
    command = Command(f"{line} --voice={{voice}} {{speed}} {{stretch}} '; touch x' {{other}}", ["rms", "slt"])
    speech = command("Here, “é”.", Random(3))
    assert speech.waveform.dtype == np.float32 and len(speech.waveform) == SAMPLE_RATE
    arguments, text = eval((tmp_path / "got.txt").read_text())
    assert text == "Here, “é”.\n"
    assert arguments[0] == f"--voice={speech.speaker}" and speech.speaker in ("rms", "slt")
    assert 0.85 <= float(arguments[1]) <= 1.2 and float(arguments[1]) * float(arguments[2]) == pytest.approx(
        1, abs=2e-3
    )
    assert arguments[3:] == ["; touch x", "{other}"] and not Path("x").exists()


def test_voices_and_speeds_depend_on_the_random_numbers_only(tmp_path: Path) -> None:
    command = Command(script(tmp_path, SPEAK) + " {voice} {speed}", ["a", "b", "c"])
    got = []
    for seed in (1, 1, 2):
        command("X.", Random(seed))
        got.append((tmp_path / "got.txt").read_text())
    assert got[0] == got[1] != got[2]


def test_program_is_the_speaker_without_voices(tmp_path: Path) -> None:
    assert Command(script(tmp_path, SPEAK))("X.", Random(1)).speaker == Path(sys.executable).stem


def test_program_that_seeks_in_its_output(tmp_path: Path) -> None:
    source = """
import soundfile, numpy, sys
soundfile.write("/dev/stdout", numpy.sin(numpy.arange(16000) / 9) / 2, 16000, format="WAV")
"""
    speech = Command(script(tmp_path, source))("X.", Random(1))
    assert len(speech.waveform) == SAMPLE_RATE


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("import sys; print('one', file=sys.stderr); sys.exit('no voice slt')", "exit code 1: no voice slt"),
        ("import sys; sys.exit(3)", "exit code 3$"),
        ("import os; os.abort()", "exit code -6"),
        ("", "wrote nothing to standard output"),
        ("print('hello')", "its output cannot be used: not a sound file"),
        (SPEAK.replace("9000", "0"), "its output cannot be used: digital silence"),
        ("import sys; sys.stdin.close(); raise OSError('broken')", "exit code 1: OSError: broken"),
    ],
)
def test_failure_is_one_line(source: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(SynthesisError, match=problem) as error:
        call(script(tmp_path, source))
    assert str(error.value).startswith(f"{Path(sys.executable).stem}: ") and str(tmp_path) not in str(error.value)


def test_slow_program_is_killed_with_its_children(tmp_path: Path) -> None:
    source = """
import pathlib, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
pathlib.Path(__file__).with_name("pid").write_text(str(child.pid))
child.wait()
"""
    begin = time.monotonic()
    with pytest.raises(SynthesisError, match="stopped after 1 s"):
        call(script(tmp_path, source), timeout=1.0)
    assert time.monotonic() - begin < 20
    pid = int((tmp_path / "pid").read_text())
    end = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < end:
        time.sleep(0.02)
    assert not is_running(pid)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A killed process whose parent is gone may remain as a zombie until init collects it.
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")


def test_program_without_end_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(SynthesisError, match="wrote more than 64 MiB"):
        call(script(tmp_path, "import os, time\nos.write(1, bytes(70 << 20))\ntime.sleep(60)"))


@pytest.mark.parametrize(
    ("line", "voices", "problem"),
    [
        ("no-such-program-here x", [], "there is no program 'no-such-program-here'; install it"),
        ("sh -c 'x", [], "no closing quotation"),
        ("  ", [], "the command is empty"),
        ("sh", ["a"], r"write \{voice\} in the command"),
        ("sh {voice}", [], r"give voices and write \{voice\}"),
    ],
)
def test_unusable_command(line: str, voices: list[str], problem: str) -> None:
    with pytest.raises(CorpusError, match=problem):
        Command(line, voices)
