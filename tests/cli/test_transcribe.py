"""asr transcribe of many files: outputs, files that are up to date, errors and interruption."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from asr.audio import MEDIA_SUFFIXES, SUFFIXES
from asr.cli import main
from asr.cli.transcribe import FORMATS
from asr.recognition import Recognizer
from asr.recognition.output_folder import STATE
from asr.transcripts import OUTPUT_FORMATS, file_suffixes
from asr.transcripts.records import FileResult
from tests.conftest import SAMPLE_RATE, spell

TEXTS = {"a.wav": "AB", "b/c.flac": "CAB A", "b/d.wav": "BA"}
ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Command:
    """The command, run in a folder in which `in` has recordings."""

    folder: Path
    model: Path
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: object, code: int = 0) -> tuple[str, str]:
        """Run asr transcribe; return stdout and stderr."""
        assert main(self.line(*arguments)) == code
        output = self.capsys.readouterr()
        return output.out, output.err

    def line(self, *arguments: object) -> list[str]:
        model = [] if "--model" in arguments else ["--model", str(self.model)]
        return ["transcribe", *map(str, arguments), *model]

    def written(self) -> dict[str, str]:
        """Return the files of the output folder and their content."""
        paths = {path for path in Path("out").rglob("*") if path.is_file() and path.name != STATE}
        return {str(path.relative_to("out")): path.read_text() for path in sorted(paths)}


@pytest.fixture
def command(
    tmp_path: Path, trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Command:
    monkeypatch.chdir(tmp_path)
    for name, text in TEXTS.items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, spell(text), SAMPLE_RATE)
    return Command(tmp_path, trained / "best.safetensors", capsys)


def set_stdin(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def times(row: dict[str, Any]) -> list[tuple[float, float]]:
    return [(word["start"], word["end"]) for word in row["words"]]


def test_formats_are_those_of_the_writers() -> None:
    assert FORMATS == OUTPUT_FORMATS


def test_transcripts_of_a_folder_are_printed_in_order_for_any_jobs(command: Command) -> None:
    output, error = command("in", "--jobs", 1, "--format", "json")
    assert error == ""
    rows = [json.loads(line) for line in output.splitlines()]
    assert [row["audio"] for row in rows] == [f"in/{name}" for name in TEXTS]
    assert [row["text"] for row in rows] == list(TEXTS.values())
    assert rows[0]["duration"] == round(len(spell("AB")) / SAMPLE_RATE, 3)
    for jobs in (2, 3, 16):
        others = [json.loads(line) for line in command("in", "--jobs", jobs, "--format", "json")[0].splitlines()]
        for row, other in zip(rows, others, strict=True):
            assert other["score"] == pytest.approx(row["score"], abs=1e-3)
            assert (other["audio"], other["text"], times(other)) == (row["audio"], row["text"], times(row))


def test_out_writes_all_formats_in_folders_like_those_of_the_recordings(command: Command) -> None:
    output, _ = command("in", "--out", "out", "--format", ",".join(OUTPUT_FORMATS))
    assert output == "out: 3 transcribed (0.00 hours)\n"
    written = command.written()
    stems = ("a", "b/c", "b/d")
    assert set(written) == {stem + file_suffixes(form)[0] for stem in stems for form in OUTPUT_FORMATS}
    assert [written[f"{stem}.txt"] for stem in stems] == [f"{text}\n" for text in TEXTS.values()]
    assert json.loads(written["b/c.json"])["words"][0]["word"] == "CAB"
    assert written["a.srt"].startswith("1\n00:00:00,")
    assert written["a.vtt"].startswith("WEBVTT\n\n00:00:00.")
    assert written["b/c.ctm"].startswith("c 1 0.") and written["b/c.ctm"].count("\n") == 2
    assert written["b/c.tsv"].startswith("audio\tstart\tend\tconfidence\ttext\nin/b/c.flac\t0.")
    assert 'text = "CAB"' in written["b/c.TextGrid"]


def test_a_second_run_transcribes_only_what_is_missing_or_changed(command: Command) -> None:
    def written_again(*arguments: object) -> list[str]:
        """Run the command; return the recordings whose transcripts it wrote."""
        paths = [path for path in Path("out").rglob("*") if path.is_file()]
        for path in paths:
            os.utime(path, (1, 1))
        command("in", "--out", "out", "--jobs", 1, *arguments)
        written = [path for path in Path("out").rglob("*.*") if path.is_file() and path.name != STATE]
        return sorted({path.stem for path in written if path.stat().st_mtime > 1})

    assert written_again() == ["a", "c", "d"]
    assert written_again() == []
    Path("out/b/c.txt").unlink()
    assert written_again() == ["c"]
    soundfile.write("in/a.wav", spell("CCC"), SAMPLE_RATE)
    assert written_again() == ["a"]
    assert command.written()["a.txt"] == "CCC\n"
    assert written_again("--format", "srt") == ["a", "c", "d"]
    assert written_again("--format", "srt,txt") == []
    assert written_again("--greedy") == ["a", "c", "d"]
    assert written_again("--greedy") == []
    assert written_again("--greedy", "--force") == ["a", "c", "d"]
    shutil.copy(command.model, "other.safetensors")
    assert written_again("--greedy", "--model", "other.safetensors") == []


def test_files_that_are_up_to_date_are_counted(command: Command) -> None:
    command("in/a.wav", "in/b/c.flac", "--out", "out")
    (Path("out") / "c.txt").unlink()
    output, error = command("in/a.wav", "in/b/c.flac", "--out", "out")
    assert (output, error) == (
        "out: 1 transcribed (0.00 hours), 1 up to date\n",
        "1 of 2 recordings are up to date\n",
    )


@pytest.mark.parametrize("jobs", [1, 3])
def test_bad_files_get_one_line_each_and_the_others_are_transcribed(command: Command, jobs: int) -> None:
    Path("in/aa.wav").write_bytes(b"")
    Path("in/b/cc.wav").write_text("hello")
    output, error = command("in", "no/*.wav", "--out", "out", "--jobs", jobs, code=1)
    assert output == "out: 3 transcribed (0.00 hours)\n"
    assert [line.split(": ")[1] for line in error.splitlines()] == [
        "no/*.wav",
        "in/aa.wav",
        "in/b/cc.wav",
        "3 of 6 files could not be transcribed",
    ]
    assert set(command.written()) == {"a.txt", "b/c.txt", "b/d.txt"}
    # The next run tries them again.
    soundfile.write("in/aa.wav", spell("A"), SAMPLE_RATE)
    command("in", "--out", "out", "-q", code=1)
    assert command.written()["aa.txt"] == "A\n"


def test_a_list_from_a_file_and_from_standard_input(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("list.txt").write_bytes(b"in/b/d.wav\r\nin/a.wav\n")
    assert command("--list", "list.txt")[0] == "BA\nAB\n"
    set_stdin(monkeypatch, b"in/b/d.wav\0in/a.wav\0")
    command("in/a.wav", "--list", "-", "--out", "out")
    assert set(command.written()) == {"a.txt", "b/d.txt"}
    Path("list.txt").write_bytes(b"\n")
    assert command("--list", "list.txt", code=1)[1] == "asr: list.txt: the list is empty\n"


def test_a_pattern(command: Command) -> None:
    assert command("in/**/*.wav")[0] == "AB\nBA\n"


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "MP3"])
def test_a_recording_on_standard_input(command: Command, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    sound = io.BytesIO()
    soundfile.write(sound, spell("CAB A"), SAMPLE_RATE, format=form)
    set_stdin(monkeypatch, sound.getvalue())
    assert command("-")[0].strip() == "CAB A"
    set_stdin(monkeypatch, sound.getvalue())
    assert json.loads(command("-", "--format", "json")[0])["audio"] == "-"
    set_stdin(monkeypatch, sound.getvalue())
    command("-", "--out", "out")
    assert command.written() == {"stdin.txt": "CAB A\n"}
    set_stdin(monkeypatch, b"hello")
    assert command("-", code=1)[1].startswith("asr: standard input: not a sound file")


def test_what_is_missing_of_a_recording_is_a_warning(command: Command) -> None:
    content = Path("in/a.wav").read_bytes()
    Path("cut.wav").write_bytes(content[:-44])
    output, error = command("cut.wav", "in/b/d.wav", "-q")
    assert output == "AB\nBA\n"
    warning = f"truncated: the header announces {len(content) - 44} bytes, the file has {len(content) - 88}"
    assert error == f"asr: warning: cut.wav: {warning}\n"
    assert json.loads(command("cut.wav", "--format", "json")[0])["notes"] == [warning]
    output, error = command("cut.wav", "in/b/d.wav", "-q", "--strict", code=1)
    assert output == "\nBA\n"
    assert error == f"asr: cut.wav: {warning}\n"
    # What was written of it is not kept as the transcript of the whole recording.
    command("cut.wav", "--out", "out")
    assert command("cut.wav", "--out", "out", "-q", "--strict", code=1)[1] == f"asr: cut.wav: {warning}\n"


def test_files_left_out_of_a_folder_are_named(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asr.recognition.inputs.SUFFIXES", SUFFIXES - MEDIA_SUFFIXES)
    Path("in/b/talk.m4a").write_bytes(b"\0\0\0\x20ftypM4A ")
    Path("in/notes.txt").write_text("notes")
    output, error = command("in", code=1)
    assert output == "AB\nCAB A\nBA\n"
    lines = error.splitlines()
    hint = "their formats are read with PyAV: pip install 'asr[media]'"
    assert lines[0] == f"asr: in: 1 file left out ({Path('b', 'talk.m4a')}): {hint}"
    assert lines[1] == "in: 1 file left out (notes.txt): their names are not those of sound files"
    assert command("in", "-q", code=1)[1].splitlines() == lines[:1]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read all")
def test_a_file_without_permission_costs_only_itself(command: Command) -> None:
    Path("in/a.wav").chmod(0)
    output, error = command("in/a.wav", "in/b/d.wav", "-q", code=1)
    assert (output, error) == ("\nBA\n", "asr: in/a.wav: no permission to read it\n")


@pytest.mark.skipif(os.name == "nt", reason="has no such pipes")
def test_pipes_are_read(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.write(writing, Path("in/a.wav").read_bytes()[:60_000])
    os.close(writing)
    assert command(f"/dev/fd/{reading}", "in/b/d.wav")[0] == "AB\nBA\n"
    os.close(reading)
    set_stdin(monkeypatch, Path("in/b/d.wav").read_bytes())
    assert command("/dev/stdin")[0] == "BA\n"
    os.mkfifo("pipe.wav")
    error = command("pipe.wav", "-q", code=1)[1]
    assert error == "asr: pipe.wav: a pipe, not a file; read it as standard input: asr transcribe - < PIPE\n"


@pytest.mark.parametrize("arguments", [["-"], ["--list", "-"]])
def test_closed_standard_input_is_reported(
    command: Command, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    error = command(*arguments, "-q", code=2)[1]
    assert error == "asr: standard input is closed; nothing can be read from it; see asr transcribe --help\n"


def test_a_file_given_twice_is_transcribed_once(command: Command) -> None:
    assert command("in/a.wav", "./in/a.wav", command.folder / "in/a.wav", "in")[0] == "AB\nCAB A\nBA\n"


def test_a_table_of_many_files_has_one_header(command: Command) -> None:
    lines = command("in", "--format", "tsv")[0].splitlines()
    assert [line.split("\t")[0] for line in lines] == ["audio", *(f"in/{name}" for name in TEXTS)]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems want names to be text")
def test_unusual_names_are_written_and_reported_on_one_line(command: Command) -> None:
    for name in ("x\ny.wav", "\udce9.wav"):
        shutil.copy("in/a.wav", Path("in") / name)
    Path("in/z\nz.wav").write_bytes(b"")
    _, error = command("in", "--out", "out", "--format", "txt,json,ctm,tsv", code=1)
    assert error.splitlines()[0] == "asr: in/z\\nz.wav: the file is empty (0 bytes)"
    assert (Path("out") / "x\ny.txt").read_text() == "AB\n"
    assert json.loads((Path("out") / "\udce9.json").read_text())["audio"] == "in/\udce9.wav"


def test_a_full_disk_ends_the_run_with_one_line(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: str) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("asr.recognition.output_folder.write_text", full)
    assert command("in", "--out", "out", "-q", "--jobs", 1, code=1)[1] == "asr: out/a.txt: No space left on device\n"


@pytest.mark.parametrize("out", [True, False])
def test_ctrl_c_keeps_and_counts_what_is_done(command: Command, out: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Recognizer.transcribe_files

    def interrupted(self: Recognizer, *arguments: Any) -> Iterator[list[FileResult]]:
        for results in original(self, *arguments):
            if results[0].audio == "in/b/d.wav":
                raise KeyboardInterrupt
            yield results

    # One file in a batch, so that those before the last one are saved first.
    arguments = ["in", "--jobs", 1, "--batch-seconds", 1, "-q"]
    with monkeypatch.context() as patched:
        patched.setattr(Recognizer, "transcribe_files", interrupted)
        output, error = command(*arguments, *(["--out", "out"] if out else []), code=130)
    assert error.startswith("asr: stopped: ") and " of 3 recordings were transcribed" in error
    if not out:
        assert error.startswith("asr: stopped: 2 of 3")
        assert output == "AB\nCAB A\n"
        return
    written = command.written()
    assert {"a.txt", "b/c.txt"} <= set(written) and error.startswith(f"asr: stopped: {len(written)} of 3")
    assert "run the same command again to continue" in error
    output, _ = command(*arguments, "--out", "out")
    assert output.endswith(f", {len(written)} up to date\n")
    assert set(command.written()) == {"a.txt", "b/c.txt", "b/d.txt"}


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
@pytest.mark.parametrize(("number", "jobs"), [(signal.SIGINT, 1), (signal.SIGINT, 2), (signal.SIGTERM, 2)])
def test_a_stop_signal_ends_a_process_at_once(command: Command, number: int, jobs: int) -> None:
    sound = np.tile(spell("CAB A"), 60)
    soundfile.write("in/b/long.wav", sound, SAMPLE_RATE)
    for copy in range(40):
        os.link("in/b/long.wav", f"in/b/long-{copy}.wav")
    line = [sys.executable, "-m", "asr", *command.line("in", "--out", "out", "--jobs", jobs)]
    # A process that a shell runs in the background ignores SIGINT, and so do those it starts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(
        line, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    ) as process:
        while not Path("out/b/c.txt").exists() and process.poll() is None:
            time.sleep(0.01)
        signal.signal(signal.SIGINT, before)
        process.send_signal(number)
        begin = time.monotonic()
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert time.monotonic() - begin < 10
    done = re.search(r"stopped: (\d+) of 44 recordings were transcribed and are kept in out", error)
    # A file may have been written but not counted yet.
    assert done and len(command.written()) - 1 <= int(done[1]) <= len(command.written()) < 44
    assert error.count("\n") == 1
    assert not list(Path("out").rglob("*.part"))


def test_a_closed_pipe_ends_a_process_quietly_while_threads_compute(command: Command) -> None:
    sound = np.tile(spell("CAB A"), 60)
    for number in range(20):
        soundfile.write(f"in/b/long-{number}.wav", sound, SAMPLE_RATE)
    line = [sys.executable, "-m", "asr", *command.line("in", "--jobs", 4, "--batch-seconds", 1)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout and process.stderr
        assert process.stdout.readline() == b"AB\n"
        process.stdout.close()
        error = process.stderr.read()
    assert (process.returncode, error) == (1, b"")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["in", "--format", "txt,srt"], "several formats need --out FOLDER"),
        (["in", "--format", "vtt"], "--format vtt with 3 recordings needs --out FOLDER"),
        (["in", "--force"], "--force needs --out FOLDER"),
        (["-", "--list", "-"], "both standard input"),
        (["in", "--format", "txt,"], "'' is not one of txt, json"),
        (["in", "--jobs", "0"], "0 is not in the range x>=1"),
        ([], "Missing argument 'FILE...'"),
    ],
)
def test_options_that_exclude_each_other_are_refused(command: Command, arguments: list[str], message: str) -> None:
    output, error = command(*arguments, code=2)
    assert message in error and error.count("\n") == 1 and output == ""


def test_subtitles_of_one_recording_are_printed(command: Command) -> None:
    assert command("in/a.wav", "--format", "vtt")[0].startswith("WEBVTT\n")
    assert command("in/a.wav", "--format", "TextGrid")[0].startswith('File type = "ooTextFile"')


def test_progress_shows_files_hours_and_speed(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asr.cli.progress._INTERVAL", 0.0)
    _, error = command("in", "--jobs", 1, "--out", "out")
    assert error.splitlines()[-1].startswith("transcribe: 100%, 3 of 3 files, 0.00 hours, ")
    assert error.endswith(" × real time, 0:00 left\n")


def test_vad_leaves_out_silence(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(3)
    quiet = random.normal(0, 1e-4, 3 * SAMPLE_RATE).astype(np.float32)
    soundfile.write(tmp_path / "talk.wav", np.concatenate([quiet, spell("ABC"), quiet]), SAMPLE_RATE, subtype="FLOAT")
    line = ["transcribe", str(tmp_path / "talk.wav"), "--model", str(trained / "best.safetensors")]
    assert main([*line, "--format", "json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["text"]
    assert all(2.5 < word["start"] < word["end"] < 3.5 + len(spell("ABC")) / SAMPLE_RATE for word in row["words"])
    out = tmp_path / "out"
    assert main([*line, "--out", str(out)]) == 0
    assert main([*line, "--out", str(out), "--no-vad"]) == 0
    assert "1 transcribed" in capsys.readouterr().out.splitlines()[-1]


def test_ctm_of_files_with_the_same_name_has_two_recordings(
    trained: Path, tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a/x.wav", "b/x.wav", "b/y z.wav", "b/y_z.wav"):
        Path(name).parent.mkdir(exist_ok=True)
        shutil.copy(tones / "dev" / "dev-0.wav", name)
    command = ["transcribe", "--model", str(trained / "best.safetensors"), "--format", "ctm", "--quiet"]
    assert main([*command, "b/x.wav"]) == 0
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()} == {"x"}
    assert main([*command, "a/x.wav", "b/x.wav"]) == 0
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()} == {"a/x", "b/x"}
    assert main([*command, "a/x.wav", "b/x.wav", "--out", "out"]) == 0
    assert {Path("out", name).read_text().split()[0] for name in ("a/x.ctm", "b/x.ctm")} == {"a/x", "b/x"}
    capsys.readouterr()
    assert main([*command, "b/y z.wav", "b/y_z.wav"]) == 1
    assert "would both be recording 'y_z.wav' of a CTM; rename one" in capsys.readouterr().err
