"""asr transcribe --channels and --batch-seconds, progress within a long file, and messages of libraries."""

import csv
import io
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.cli import main
from asr.cli.progress import Display, libraries_silent
from asr.recognition.output_folder import STATE
from asr.transcripts import read
from tests.conftest import SAMPLE_RATE, random_texts, spell


@dataclass(frozen=True)
class Command:
    """asr transcribe --channels split, run in a folder with a stereo and a mono recording."""

    model: Path
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: object, code: int = 0) -> tuple[str, str]:
        """Run the command; return stdout and stderr."""
        line = ["transcribe", *map(str, arguments), "--model", str(self.model), "--channels", "split"]
        assert main(line) == code
        output = self.capsys.readouterr()
        return output.out, output.err

    def written(self) -> dict[str, str]:
        """Return the files of the output folder and their content."""
        paths = sorted(path for path in Path("out").rglob("*") if path.is_file() and path.name != STATE)
        return {str(path.relative_to("out")): path.read_text() for path in paths}


def write(name: str, *texts: str) -> None:
    channels = [spell(text) for text in texts]
    size = max(map(len, channels))
    soundfile.write(
        name, np.stack([np.pad(channel, (0, size - len(channel))) for channel in channels], axis=1), SAMPLE_RATE
    )


@pytest.fixture
def command(
    tmp_path: Path, trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Command:
    monkeypatch.chdir(tmp_path)
    write("call.wav", "AB CA", "BB")
    write("note.wav", "CAB")
    return Command(trained / "best.safetensors", capsys)


def test_lines_have_file_channel_and_text(command: Command) -> None:
    output, error = command("call.wav", "note.wav")
    assert (output, error) == ("call.wav\t1\tAB CA\ncall.wav\t2\tBB\nnote.wav\t1\tCAB\n", "")
    assert command("call.wav", "note.wav", "--batch-seconds", 1, "--jobs", 1)[0] == output


def test_objects_and_tables_have_the_channel(command: Command) -> None:
    rows = [json.loads(line) for line in command("call.wav", "note.wav", "--format", "json")[0].splitlines()]
    assert [(row["audio"], row["channel"], row["text"]) for row in rows] == [
        ("call.wav", 1, "AB CA"),
        ("call.wav", 2, "BB"),
        ("note.wav", 1, "CAB"),
    ]
    table = list(csv.DictReader(io.StringIO(command("call.wav", "note.wav", "--format", "tsv")[0]), delimiter="\t"))
    assert [(row["audio"], row["channel"], row["text"]) for row in table] == [
        ("call.wav", "1", "AB CA"),
        ("call.wav", "2", "BB"),
        ("note.wav", "1", "CAB"),
    ]
    grid = command("call.wav", "--format", "textgrid")[0]
    assert [line.split('"')[1] for line in grid.splitlines() if "name =" in line] == [
        *("segments 1", "words 1", "segments 2", "words 2"),
    ]


def test_asr_score_reads_the_channels_of_a_ctm(command: Command) -> None:
    Path("call.ctm").write_text(command("call.wav", "--format", "ctm")[0])
    rows = read(Path("call.ctm")).rows
    assert {row.id: row.text for row in rows} == {"call-1": "AB CA", "call-2": "BB"}


def test_out_writes_a_file_for_each_channel_or_one_for_all(command: Command) -> None:
    assert command("call.wav", "note.wav", "--out", "out", "--format", "txt,json,srt,ctm,textgrid")[0].startswith(
        "out: 2 "
    )
    written = command.written()
    assert set(written) == {
        *("call.1.txt", "call.2.txt", "call.1.json", "call.2.json", "call.1.srt", "call.2.srt"),
        *("call.ctm", "call.TextGrid", "note.1.txt", "note.1.json", "note.1.srt", "note.ctm", "note.TextGrid"),
    }
    assert [written["call.1.txt"], written["call.2.txt"], written["note.1.txt"]] == ["AB CA\n", "BB\n", "CAB\n"]
    assert json.loads(written["call.2.json"])["channel"] == 2
    assert [line.split()[:2] for line in written["call.ctm"].splitlines()] == [["call", "1"]] * 2 + [["call", "2"]]


def test_transcripts_of_channels_up_to_date_are_skipped(command: Command) -> None:
    def again(*more: object) -> str:
        return command("call.wav", "note.wav", "--out", "out", "-q", *more)[0].removeprefix("out: ").split(" (")[0]

    assert again() == "2 transcribed"
    assert again() == "0 transcribed"
    assert again("--batch-seconds", 7) == "0 transcribed"
    Path("out/call.2.txt").unlink()
    assert again() == "1 transcribed"
    assert command.written()["call.2.txt"] == "BB\n"
    write("call.wav", "CC")
    assert again() == "1 transcribed"
    assert {name: text for name, text in command.written().items() if "call" in name} == {"call.1.txt": "CC\n"}
    # The transcript of averaged channels has another name.
    assert main(["transcribe", "call.wav", "--model", str(command.model), "--out", "out", "-q"]) == 0
    assert set(command.written()) == {"call.1.txt", "call.txt", "note.1.txt"}


def test_channel_files_of_other_origin_are_not_replaced(command: Command) -> None:
    Path("out").mkdir()
    Path("out/call.2.txt").write_text("mine")
    assert (
        "call.2.txt: already exists and was not written by an earlier run"
        in command("call.wav", "--out", "out", code=1)[1]
    )
    assert command.written() == {"call.2.txt": "mine"}
    command("call.wav", "--out", "out", "--force")
    assert command.written() == {"call.1.txt": "AB CA\n", "call.2.txt": "BB\n"}
    Path("out/call.ctm").write_text("mine")
    assert (
        "call.ctm: already exists and was not written by an earlier run"
        in command("call.wav", "--out", "out", "--format", "ctm", code=1)[1]
    )


def test_channels_of_standard_input(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path("call.wav").read_bytes())))
    command("-", "--out", "out")
    assert command.written() == {"stdin.1.txt": "AB CA\n", "stdin.2.txt": "BB\n"}


def test_a_bad_file_among_channels(command: Command) -> None:
    Path("a\tb.wav").write_text("hello")
    output, error = command("call.wav", "a\tb.wav", "note.wav", code=1)
    assert output == "call.wav\t1\tAB CA\ncall.wav\t2\tBB\na\\tb.wav\t\t\nnote.wav\t1\tCAB\n"
    assert error.startswith("asr: a") and error.count("\n") == 2
    row = json.loads(command("a\tb.wav", "--format", "json", code=1)[0])
    assert set(row) == {"audio", "error"}
    command("a\tb.wav", "note.wav", "--out", "out", code=1)
    assert command.written() == {"note.1.txt": "CAB\n"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--channels", "both"], "'both' is not one of 'mix', 'split'"),
        (["--format", "srt"], "--format srt with --channels split needs --out FOLDER"),
        (["--batch-seconds", "0"], "0 is not in the range 1<=x<=3600"),
        (["--batch-seconds", "nan"], "'nan' is not a valid integer"),
        (["--stream"], "--channels cannot be used with --stream"),
    ],
)
def test_bad_values_print_one_line(command: Command, arguments: list[str], message: str) -> None:
    order = ["--channels", "split"] if arguments[0] != "--channels" else []
    assert main(["transcribe", "call.wav", "--model", str(command.model), *order, *arguments]) == 2
    error = command.capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_progress_is_shown_within_a_long_file(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write("long.wav", np.tile(spell(" ".join(random_texts(40, 3))), 3), SAMPLE_RATE)
    assert soundfile.info("long.wav").duration > 120
    shown: list[tuple[float, str]] = []

    def update(self: Display, title: str, done: float, total: float, unit: str = "", note: str = "") -> None:
        shown.append((done / total, note))

    monkeypatch.setattr(Display, "update", update)
    assert main(["transcribe", "long.wav", "note.wav", "--jobs", "2", "--model", str(command.model)]) == 0
    shares = [share for share, _ in shown]
    assert len(shares) > 10 and shares[-1] == 1.0
    before = [note for _, note in shown if note.startswith("0 of 2 files")]
    assert any(not note.startswith("0 of 2 files, 0.00 hours, 0 ×") for note in before)


def test_evaluate_does_not_depend_on_batch_seconds(command: Command, tones: Path) -> None:
    reports = []
    for seconds in (1, 600):
        line = ["evaluate", str(tones / "dev.jsonl"), "--model", str(command.model), "-q", "--json", "r.json"]
        assert main([*line, "--batch-seconds", str(seconds)]) == 0
        reports.append(json.loads(Path("r.json").read_text()))
    texts = [[row["hypothesis"] for row in report["utterance_scores"]] for report in reports]
    assert texts[0] == texts[1] and len(texts[0]) == 12
    command.capsys.readouterr()
    assert main([*line, "--batch-seconds", "9999"]) == 2
    assert "9999 is not in the range" in command.capsys.readouterr().err


def test_messages_of_libraries_are_discarded(trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path, missing = tmp_path / "damaged.mp3", tmp_path / "no.wav"
    soundfile.write(path, np.tile(spell("ABC"), 4), SAMPLE_RATE)
    content = bytearray(path.read_bytes())
    content[2500:2600] = bytes(100)
    path.write_bytes(content)
    model = str(trained / "best.safetensors")
    assert main(["transcribe", str(path), str(missing), "--model", model, "-q"]) == 1
    assert capfd.readouterr().err == f"asr: {missing}: no such file\n"
    with libraries_silent():
        os.write(2, b"from a library")
        print("from Python", file=sys.stderr)
    os.write(2, b"another")
    output = capfd.readouterr().err
    assert "from Python" in output and "another" in output and "from a library" not in output
