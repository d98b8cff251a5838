"""asr listen: live captions, with a microphone that plays a file."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import asr
from asr import audio
from asr.cli import main
from tests.conftest import ROOT

RATE = 48_000
SAMPLE = ROOT / "data" / "samples" / "sample-02.opus"
DEVICES = [
    {"index": 0, "name": "Speaker", "max_input_channels": 0, "default_samplerate": 48_000.0},
    {"index": 1, "name": "Built-in microphone", "max_input_channels": 2, "default_samplerate": 44_100.0},
    {"index": 2, "name": "USB microphone", "max_input_channels": 1, "default_samplerate": 48_000.0},
]


class PortAudioError(Exception):
    """As in sounddevice."""


class Stream:
    """Plays a file to the callback, then silence, and then presses Ctrl-C or, with `ends`, stops."""

    opened: Any = None
    ends = False
    overflow = False

    def __init__(self, callback: Any, finished_callback: Any, blocksize: int, **options: Any) -> None:
        Stream.opened = options
        if options["device"] == 1:
            raise PortAudioError("Device unavailable")
        self._callback, self._finished, self._size = callback, finished_callback, blocksize
        self._thread = threading.Thread(target=self._play)

    def __enter__(self) -> "Stream":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._thread.join()

    def _play(self) -> None:
        speech = audio.resample(audio.load(SAMPLE), 16_000, RATE)
        samples = np.concatenate([speech, np.zeros(2 * RATE, np.float32)])
        buffer = np.zeros((self._size, 1), np.float32)
        for start in range(0, len(samples) - self._size, self._size):
            buffer[:, 0] = samples[start : start + self._size]
            self._callback(buffer, self._size, None, SimpleNamespace(input_overflow=self.overflow and start == 0))
        if self.ends:
            self._finished()
        else:
            time.sleep(0.5)
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def sounddevice(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    module = SimpleNamespace(
        InputStream=Stream,
        PortAudioError=PortAudioError,
        default=SimpleNamespace(device=[2, 0]),
        query_devices=lambda: DEVICES,
    )
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    monkeypatch.setattr(Stream, "ends", False)
    return module


def test_captions_are_printed_and_saved_at_ctrl_c(sounddevice: Any, tmp_path: Path, capsys: Any) -> None:
    outputs = [tmp_path / f"talk.{suffix}" for suffix in ("txt", "srt", "json", "TextGrid")]
    options = [option for path in outputs for option in ("--out", str(path))]
    assert main(["listen", "--greedy", *options]) == 0
    output = capsys.readouterr()
    assert output.out.startswith("THE LAST TRAIN TO THE CITY") and output.out.count("\n") == 1
    assert output.err.startswith("asr: listening to USB microphone; Ctrl-C ends\n")
    assert outputs[0].read_text() == output.out
    assert outputs[1].read_text().startswith("1\n00:00:00,")
    assert '"words": [{"word": "THE"' in outputs[2].read_text()
    assert Stream.opened == {"device": 2, "channels": 1, "samplerate": RATE, "dtype": "float32"}


def test_the_terminal_shows_the_level_and_the_text_so_far(
    sounddevice: Any, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    # The queue is never so full that partial results are left out.
    monkeypatch.setattr("asr.cli.listen._Recording.is_behind", False)
    assert main(["listen", "--greedy", "--quiet"]) == 0
    lines = capsys.readouterr().out.split("\r\x1b[K")
    assert lines[0] == "" and lines[-1] == ""
    meters = [line for line in lines if line.startswith("[")]
    assert {"[          ] "} < {line[:13] for line in meters} and any(line.startswith("[####") for line in meters)
    assert any("THE LAST" in line for line in meters)
    (final,) = [line for line in lines if line and not line.startswith("[")]
    assert final.startswith("THE LAST TRAIN TO THE CITY") and final.endswith("\n")


def test_a_microphone_that_stops_is_an_error_and_the_text_is_saved(
    sounddevice: Any, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stream, "ends", True)
    monkeypatch.setattr(Stream, "overflow", True)
    assert main(["listen", "--greedy", "--quiet", "--out", str(tmp_path / "a.txt")]) == 1
    assert capsys.readouterr().err == (
        "asr: warning: 1 times, audio was lost: the computer is too slow\n"
        "asr: USB microphone: the microphone has stopped\n"
    )
    assert (tmp_path / "a.txt").read_text().startswith("THE LAST TRAIN TO THE CITY")


def test_devices_are_listed_and_chosen(sounddevice: Any, capsys: Any) -> None:
    assert main(["listen", "--devices"]) == 0
    assert capsys.readouterr().out == "1  Built-in microphone\n2  USB microphone\n"
    for name in ("1", "built-IN"):
        assert main(["listen", "--greedy", "--device-name", name]) == 1
        assert "the microphone cannot be used: Device unavailable" in capsys.readouterr().err
        assert Stream.opened["device"] == 1 and Stream.opened["samplerate"] == 44_100
    assert main(["listen", "--device-name", "microphone"]) == 2
    message = "--device-name microphone fits several microphones: 1 (Built-in microphone), 2 (USB microphone)"
    assert message in capsys.readouterr().err
    assert main(["listen", "--device-name", "Speaker"]) == 2
    assert "--device-name Speaker is not a microphone: 1 (" in capsys.readouterr().err


def one_error(arguments: list[str], code: int, capsys: Any) -> str:
    assert main(["listen", *arguments]) == code
    output = capsys.readouterr()
    assert output.out == "" and output.err.count("\n") == 1
    return str(output.err)


def test_no_device(sounddevice: Any, capsys: Any) -> None:
    sounddevice.query_devices = lambda: DEVICES[:1]
    assert one_error([], 1, capsys).startswith("asr: no microphone was found")

    def fail() -> None:
        raise PortAudioError("Host error")

    sounddevice.query_devices = fail
    assert one_error(["--devices"], 1, capsys) == "asr: the microphones cannot be listed: Host error\n"


def test_without_the_extra(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert "sounddevice is missing; install it: pip install 'asr[live]'" in one_error([], 2, capsys)


def test_without_portaudio(tmp_path: Path) -> None:
    # As sounddevice fails where there is no PortAudio.
    (tmp_path / "sounddevice.py").write_text('raise OSError("PortAudio library not found")\n')
    path = os.pathsep.join([str(tmp_path), str(Path(asr.__file__).parents[1])])
    command = [sys.executable, "-m", "asr", "listen", "--devices"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path})
    assert done.returncode == 1
    assert done.stderr == (
        "asr: PortAudio cannot be used (PortAudio library not found); install it, on Debian and Ubuntu: "
        "apt install libportaudio2\n"
    )


def test_outputs_are_checked_first(sounddevice: Any, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "old.txt").write_text("kept")
    assert "old.txt: the file exists" in one_error(["--out", str(tmp_path / "old.txt")], 2, capsys)
    assert (tmp_path / "old.txt").read_text() == "kept"
    assert "a.doc: the suffix is not one of .txt, .json" in one_error(["--out", str(tmp_path / "a.doc")], 2, capsys)
