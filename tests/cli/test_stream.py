"""asr transcribe --stream: text while the audio is processed."""

import io
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr import audio
from asr.cli import main
from tests.conftest import SAMPLE_RATE, spell


@pytest.fixture
def command(streaming: Path) -> list[str]:
    return ["transcribe", "--stream", "--model", str(streaming)]


def raw(waveform: audio.Waveform, monkeypatch: pytest.MonkeyPatch, more: bytes = b"") -> None:
    """Put samples on stdin."""
    data = np.round(waveform * 32_767).astype("<i2").tobytes() + more
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_a_file_prints_a_line_for_each_word_and_the_latency(
    rate: int, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    waveform = audio.resample(spell("AB CA B"), SAMPLE_RATE, rate)
    soundfile.write(tmp_path / "a.flac", np.stack([waveform, waveform], axis=1), rate)
    assert main([*command, str(tmp_path / "a.flac")]) == 0
    streamed = capsys.readouterr()
    assert streamed.out == "AB\nCA\nB\n"
    wait = 76 if rate == SAMPLE_RATE else r"\d{3}"
    assert re.search(rf"^latency: up to {wait} ms until .* real time\n$", streamed.err)
    assert main([*command[:1], *command[2:], str(tmp_path / "a.flac")]) == 0
    assert capsys.readouterr().out == streamed.out.replace("\n", " ").strip() + "\n"


def test_text_on_a_terminal_is_rewritten_in_place(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "a.wav", spell("AB CA"), SAMPLE_RATE)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("asr.cli.stream.get_terminal_size", lambda: os.terminal_size((4, 24)))
    assert main([*command, str(tmp_path / "a.wav"), "--quiet"]) == 0
    output = capsys.readouterr()
    shown = output.out.split("\r\x1b[K")
    # The end of a text that is longer than the line, and finally the whole text.
    assert shown[:3] == ["", "A", "AB"] and shown[-2:] == [" CA", "AB CA\n"]
    assert output.err == ""


def test_raw_samples_on_stdin(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    raw(audio.resample(spell("CAB A"), SAMPLE_RATE, 32_000), monkeypatch)
    assert main([*command, "-", "--raw-rate", "32000", "-q"]) == 0
    assert capsys.readouterr().out == "CAB\nA\n"


def test_a_beam_decoder_prints_the_words_in_which_all_hypotheses_agree(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    raw(spell("CAB A"), monkeypatch)
    assert main([*command, "-", "--raw-rate", "16000", "-q", "--beam-width", "8"]) == 0
    assert capsys.readouterr().out.split() == ["CAB", "A"]


def test_an_incomplete_sample_is_reported_after_the_text(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    raw(spell("AB"), monkeypatch, b"\x01")
    assert main([*command, "-", "--raw-rate", "16000", "-q"]) == 1
    output = capsys.readouterr()
    assert output.out == "AB\n"
    assert output.err == "asr: -: ended in the middle of a sample (two bytes)\n"


def test_ctrl_c_prints_the_text_so_far(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(io.BytesIO):
        def read1(self, size: int | None = -1, /) -> bytes:
            if not (data := super().read1(size)):
                raise KeyboardInterrupt
            return data

    samples = np.round(spell("AB") * 32_767).astype("<i2").tobytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Interrupted(samples)))
    assert main([*command, "-", "--raw-rate", "16000", "-q"]) == 130
    output = capsys.readouterr()
    assert output.out == "AB\n"
    assert output.err.strip() == "asr: stopped"


def test_unusable_arguments_print_one_line(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for arguments, message in (
        (["a.wav", "b.wav"], "--stream takes one FILE, not 2"),
        (["-"], "a sound file needs no --raw-rate"),
        (["a.wav", "--raw-rate", "8000"], "a sound file needs no --raw-rate"),
        (["a.wav", "--format", "json"], "--format cannot be used with --stream"),
    ):
        assert main([*command, *arguments]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    raw(np.zeros(0, np.float32), monkeypatch)
    assert main([*command, "-", "--raw-rate", "16000", "-q"]) == 1
    assert capsys.readouterr().err == "asr: -: 0 samples\n"
    assert main([*command, "-", "--raw-rate", "16", "-q"]) == 1
    assert capsys.readouterr().err == "asr: 16 Hz; speech needs 2000 to 768000 Hz\n"
