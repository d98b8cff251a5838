"""asr transcribe of many files: what is written where, what is not made again, and how it ends."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from asr.cli import main
from asr.cli.transcribe import FORMATS
from asr.recognition import Recognizer
from asr.recognition import files as recordings
from asr.recognition.files import Heard, Tell, Way
from asr.recognition.output_folder import STATE
from asr.transcripts import OUTPUT_FORMATS, file_suffixes
from tests.conftest import SAMPLE_RATE, spell

TEXTS = {"a.wav": "AB", "b/c.flac": "CAB A", "b/d.wav": "BA"}
ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Desk:
    """A folder of recordings in the working folder, and the command."""

    folder: Path
    model: Path
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: object, code: int = 0) -> tuple[str, str]:
        """Run asr transcribe; return stdout and stderr."""
        assert main(self.line(*arguments)) == code
        told = self.capsys.readouterr()
        return told.out, told.err

    def line(self, *arguments: object) -> list[str]:
        return ["transcribe", *map(str, arguments), "--model", str(self.model)]

    def out(self) -> dict[str, str]:
        found = {path for path in Path("out").rglob("*") if path.is_file() and path.name != STATE}
        return {str(path.relative_to("out")): path.read_text() for path in sorted(found)}


@pytest.fixture
def desk(tmp_path: Path, trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.chdir(tmp_path)
    for name, text in TEXTS.items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, spell(text), SAMPLE_RATE)
    return Desk(tmp_path, trained / "best.safetensors", capsys)


def feed(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def times(row: dict[str, Any]) -> list[tuple[float, float]]:
    return [(word["start"], word["end"]) for word in row["words"]]


def test_the_formats_are_those_of_the_writers() -> None:
    assert FORMATS == OUTPUT_FORMATS


def test_a_folder_goes_to_stdout_in_order_whatever_the_jobs(desk: Desk) -> None:
    alone, error = desk("in", "--jobs", 1, "--format", "json")
    assert error == ""
    rows = [json.loads(line) for line in alone.splitlines()]
    assert [row["audio"] for row in rows] == [f"in/{name}" for name in TEXTS]
    assert [row["text"] for row in rows] == list(TEXTS.values())
    assert rows[0]["duration"] == round(len(spell("AB")) / SAMPLE_RATE, 3)
    for jobs in (2, 3, 16):
        others = [json.loads(line) for line in desk("in", "--jobs", jobs, "--format", "json")[0].splitlines()]
        for row, other in zip(rows, others, strict=True):
            assert other["score"] == pytest.approx(row["score"], abs=1e-3)
            assert (other["audio"], other["text"], times(other)) == (row["audio"], row["text"], times(row))


def test_outputs_mirror_the_folder_in_all_formats(desk: Desk) -> None:
    told, _ = desk("in", "--out", "out", "--format", ",".join(OUTPUT_FORMATS))
    assert told == "out: 3 transcribed (0.00 hours)\n"
    made = desk.out()
    stems = ("a", "b/c", "b/d")
    assert set(made) == {stem + file_suffixes(form)[0] for stem in stems for form in OUTPUT_FORMATS}
    assert [made[f"{stem}.txt"] for stem in stems] == [f"{text}\n" for text in TEXTS.values()]
    assert json.loads(made["b/c.json"])["words"][0]["word"] == "CAB"
    assert made["a.srt"].startswith("1\n00:00:00,")
    assert made["a.vtt"].startswith("WEBVTT\n\n00:00:00.")
    assert made["b/c.ctm"].startswith("c 1 0.") and made["b/c.ctm"].count("\n") == 2
    assert made["b/c.tsv"].startswith("audio\tstart\tend\tconfidence\ttext\nin/b/c.flac\t0.")
    assert 'text = "CAB"' in made["b/c.TextGrid"]


def test_a_second_run_does_only_what_is_missing_or_changed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Path] = []
    original = recordings.transcribe

    def listen(recognizer: Recognizer, paths: Sequence[Path], way: Way, tell: Tell | None = None) -> list[Heard]:
        heard.extend(paths)
        return original(recognizer, paths, way, tell)

    monkeypatch.setattr(recordings, "transcribe", listen)

    def again(*arguments: object) -> list[str]:
        heard.clear()
        desk("in", "--out", "out", "--jobs", 1, *arguments)
        return sorted(path.stem for path in heard)

    assert again() == ["a", "c", "d"]
    assert again() == []
    Path("out/b/c.txt").unlink()
    assert again() == ["c"]
    soundfile.write("in/a.wav", spell("CCC"), SAMPLE_RATE)
    assert again() == ["a"]
    assert desk.out()["a.txt"] == "CCC\n"
    assert again("--format", "srt") == ["a", "c", "d"]
    assert again("--format", "srt,txt") == []
    assert again("--greedy") == ["a", "c", "d"]
    assert again("--greedy") == []
    assert again("--greedy", "--force") == ["a", "c", "d"]
    shutil.copy(desk.model, "other.safetensors")
    assert again("--greedy", "--model", "other.safetensors") == []


def test_what_is_there_already_is_told(desk: Desk) -> None:
    desk("in/a.wav", "in/b/c.flac", "--out", "out")
    (Path("out") / "c.txt").unlink()
    told, error = desk("in/a.wav", "in/b/c.flac", "--out", "out")
    assert (told, error) == (
        "out: 1 transcribed (0.00 hours), 1 were there already\n",
        "1 of 2 recordings are done already\n",
    )


@pytest.mark.parametrize("jobs", [1, 3])
def test_bad_files_get_a_line_each_and_the_others_are_done(desk: Desk, jobs: int) -> None:
    Path("in/aa.wav").write_bytes(b"")
    Path("in/b/cc.wav").write_text("hello")
    told, error = desk("in", "no/*.wav", "--out", "out", "--jobs", jobs, code=1)
    assert told == "out: 3 transcribed (0.00 hours)\n"
    assert [line.split(": ")[1] for line in error.splitlines()] == [
        "no/*.wav",
        "in/aa.wav",
        "in/b/cc.wav",
        "3 of 6 files could not be transcribed",
    ]
    assert set(desk.out()) == {"a.txt", "b/c.txt", "b/d.txt"}
    # They are tried again.
    soundfile.write("in/aa.wav", spell("A"), SAMPLE_RATE)
    desk("in", "--out", "out", "-q", code=1)
    assert desk.out()["aa.txt"] == "A\n"


def test_a_list_from_a_file_and_from_standard_input(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("list.txt").write_bytes(b"in/b/d.wav\r\nin/a.wav\n")
    assert desk("--list", "list.txt")[0] == "BA\nAB\n"
    feed(monkeypatch, b"in/b/d.wav\0in/a.wav\0")
    desk("in/a.wav", "--list", "-", "--out", "out")
    assert set(desk.out()) == {"a.txt", "b/d.txt"}


def test_a_pattern(desk: Desk) -> None:
    assert desk("in/**/*.wav")[0] == "AB\nBA\n"


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "MP3"])
def test_a_recording_on_standard_input(desk: Desk, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    sound = io.BytesIO()
    soundfile.write(sound, spell("CAB A"), SAMPLE_RATE, format=form)
    feed(monkeypatch, sound.getvalue())
    assert desk("-")[0].strip() == "CAB A"
    feed(monkeypatch, sound.getvalue())
    desk("-", "--out", "out")
    assert desk.out() == {"stdin.txt": "CAB A\n"}
    feed(monkeypatch, b"hello")
    assert desk("-", code=1)[1].startswith("asr: standard input: not a sound file")


def test_a_file_given_twice_is_done_once(desk: Desk) -> None:
    assert desk("in/a.wav", "./in/a.wav", desk.folder / "in/a.wav", "in")[0] == "AB\nCAB A\nBA\n"


def test_one_header_for_a_table_of_many(desk: Desk) -> None:
    lines = desk("in", "--format", "tsv")[0].splitlines()
    assert [line.split("\t")[0] for line in lines] == ["audio", *(f"in/{name}" for name in TEXTS)]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems want names to be text")
def test_odd_names_work_and_are_told_on_one_line(desk: Desk) -> None:
    for name in ("x\ny.wav", "\udce9.wav"):
        shutil.copy("in/a.wav", Path("in") / name)
    Path("in/z\nz.wav").write_bytes(b"")
    _, error = desk("in", "--out", "out", "--format", "txt,json,ctm,tsv", code=1)
    assert error.splitlines()[0] == "asr: in/z\\nz.wav: the file is empty (0 bytes)"
    assert (Path("out") / "x\ny.txt").read_text() == "AB\n"
    assert json.loads((Path("out") / "\udce9.json").read_text())["audio"] == "in/\udce9.wav"


def test_a_full_disk_ends_the_run_in_one_line(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: str) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("asr.recognition.output_folder.write_text", full)
    assert desk("in", "--out", "out", "-q", "--jobs", 1, code=1)[1] == "asr: out/a.txt: No space left on device\n"


@pytest.mark.parametrize("out", [True, False])
def test_ctrl_c_keeps_and_counts_what_is_done(desk: Desk, out: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    original = recordings.transcribe

    def interrupted(recognizer: Recognizer, paths: Sequence[Path], way: Way, tell: Tell | None = None) -> list[Heard]:
        if paths[0].name == "d.wav":
            raise KeyboardInterrupt
        return original(recognizer, paths, way, tell)

    with monkeypatch.context() as patched:
        patched.setattr(recordings, "plan", lambda recognizer, paths, *_: ([index] for index in range(len(paths))))
        patched.setattr(recordings, "transcribe", interrupted)
        told, error = desk("in", "--jobs", 1, "-q", *(["--out", "out"] if out else []), code=130)
    assert error.startswith("asr: stopped: 2 of 3 recordings are done")
    if not out:
        assert told == "AB\nCAB A\n"
        return
    assert desk.out() == {"a.txt": "AB\n", "b/c.txt": "CAB A\n"}
    assert desk("in", "--out", "out", "-q")[0] == "out: 1 transcribed (0.00 hours), 2 were there already\n"


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_ends_a_real_run_at_once(desk: Desk, jobs: int) -> None:
    sound = np.tile(spell("CAB A"), 60)
    soundfile.write("in/b/long.wav", sound, SAMPLE_RATE)
    for number in range(40):
        os.link("in/b/long.wav", f"in/b/long-{number}.wav")
    command = [sys.executable, "-m", "asr", *desk.line("in", "--out", "out", "--jobs", jobs)]
    # Where the tests run in the background of a shell, they and what they start would ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    ) as process:
        while not Path("out/b/c.txt").exists() and process.poll() is None:
            time.sleep(0.01)
        signal.signal(signal.SIGINT, before)
        process.send_signal(signal.SIGINT)
        begin = time.monotonic()
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert time.monotonic() - begin < 10
    done = re.search(r"stopped: (\d+) of 44 recordings are done and kept in out", error)
    # Between a file and its count there is a moment.
    assert done and len(desk.out()) - 1 <= int(done[1]) <= len(desk.out()) < 44
    assert error.count("\n") == 1
    assert not list(Path("out").rglob("*.part"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["in", "--format", "txt,srt"], "several formats need --out FOLDER"),
        (["in", "--format", "vtt"], "--format vtt of 3 recordings needs --out FOLDER"),
        (["in", "--force"], "--force needs --out FOLDER"),
        (["-", "--list", "-"], "both standard input"),
        (["in", "--format", "txt,"], "'' is not one of txt, json"),
        (["in", "--jobs", "0"], "0 is not in the range x>=1"),
        ([], "Missing argument 'FILE...'"),
    ],
)
def test_what_does_not_go_together_is_refused(desk: Desk, arguments: list[str], says: str) -> None:
    told, error = desk(*arguments, code=2)
    assert says in error and error.count("\n") == 1 and told == ""


def test_one_recording_may_go_to_stdout_as_subtitles(desk: Desk) -> None:
    assert desk("in/a.wav", "--format", "vtt")[0].startswith("WEBVTT\n")
    assert desk("in/a.wav", "--format", "TextGrid")[0].startswith('File type = "ooTextFile"')


def test_progress_tells_files_hours_and_speed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asr.cli.progress._INTERVAL", 0.0)
    _, error = desk("in", "--jobs", 1, "--out", "out")
    assert error.splitlines()[-1].startswith("transcribe: 100%, 3 of 3 files, 0.00 hours, ")
    assert error.endswith(" × real time, 0:00 left\n")


def test_silence_is_left_out_if_asked(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(3)
    quiet = random.normal(0, 1e-4, 3 * SAMPLE_RATE).astype(np.float32)
    soundfile.write(tmp_path / "talk.wav", np.concatenate([quiet, spell("ABC"), quiet]), SAMPLE_RATE, subtype="FLOAT")
    command = ["transcribe", str(tmp_path / "talk.wav"), "--model", str(trained / "best.safetensors")]
    assert main([*command, "--vad", "--format", "json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["text"]
    assert all(2.5 < word["start"] < word["end"] < 3.5 + len(spell("ABC")) / SAMPLE_RATE for word in row["words"])
    out = tmp_path / "out"
    assert main([*command, "--out", str(out)]) == 0
    assert main([*command, "--out", str(out), "--vad"]) == 0
    assert "1 transcribed" in capsys.readouterr().out.splitlines()[-1]
