"""asr transcribe --channels and --batch-seconds, and the progress within a long file."""

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
class Desk:
    """The command in a folder with a call of two channels, a note of one, and what comes of them."""

    model: Path
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: object, code: int = 0) -> tuple[str, str]:
        command = ["transcribe", *map(str, arguments), "--model", str(self.model), "--channels", "split"]
        assert main(command) == code
        told = self.capsys.readouterr()
        return told.out, told.err

    def made(self) -> dict[str, str]:
        found = sorted(path for path in Path("out").rglob("*") if path.is_file() and path.name != STATE)
        return {str(path.relative_to("out")): path.read_text() for path in found}


def write(name: str, *texts: str) -> None:
    channels = [spell(text) for text in texts]
    size = max(map(len, channels))
    soundfile.write(name, np.stack([np.pad(one, (0, size - len(one))) for one in channels], axis=1), SAMPLE_RATE)


@pytest.fixture
def desk(tmp_path: Path, trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.chdir(tmp_path)
    write("call.wav", "AB CA", "BB")
    write("note.wav", "CAB")
    return Desk(trained / "best.safetensors", capsys)


def test_lines_tell_file_and_channel(desk: Desk) -> None:
    told, error = desk("call.wav", "note.wav")
    assert (told, error) == ("call.wav\t1\tAB CA\ncall.wav\t2\tBB\nnote.wav\t1\tCAB\n", "")
    assert desk("call.wav", "note.wav", "--batch-seconds", 1, "--jobs", 1)[0] == told


def test_objects_and_tables_tell_the_channel(desk: Desk) -> None:
    rows = [json.loads(line) for line in desk("call.wav", "note.wav", "--format", "json")[0].splitlines()]
    assert [(row["audio"], row["channel"], row["text"]) for row in rows] == [
        ("call.wav", 1, "AB CA"),
        ("call.wav", 2, "BB"),
        ("note.wav", 1, "CAB"),
    ]
    table = list(csv.DictReader(io.StringIO(desk("call.wav", "note.wav", "--format", "tsv")[0]), delimiter="\t"))
    assert [(row["audio"], row["channel"], row["text"]) for row in table] == [
        ("call.wav", "1", "AB CA"),
        ("call.wav", "2", "BB"),
        ("note.wav", "1", "CAB"),
    ]
    grid = desk("call.wav", "--format", "textgrid")[0]
    assert [line.split('"')[1] for line in grid.splitlines() if "name =" in line] == [
        *("segments 1", "words 1", "segments 2", "words 2"),
    ]


def test_asr_score_reads_the_channels_of_a_ctm(desk: Desk) -> None:
    Path("call.ctm").write_text(desk("call.wav", "--format", "ctm")[0])
    found = read(Path("call.ctm"))
    assert {one.id: one.text for one in found} == {"call-1": "AB CA", "call-2": "BB"}


def test_files_of_each_channel_or_one_of_all(desk: Desk) -> None:
    assert desk("call.wav", "note.wav", "--out", "out", "--format", "txt,json,srt,ctm,textgrid")[0].startswith(
        "out: 2 "
    )
    made = desk.made()
    assert set(made) == {
        *("call.1.txt", "call.2.txt", "call.1.json", "call.2.json", "call.1.srt", "call.2.srt"),
        *("call.ctm", "call.TextGrid", "note.1.txt", "note.1.json", "note.1.srt", "note.ctm", "note.TextGrid"),
    }
    assert [made["call.1.txt"], made["call.2.txt"], made["note.1.txt"]] == ["AB CA\n", "BB\n", "CAB\n"]
    assert json.loads(made["call.2.json"])["channel"] == 2
    assert [line.split()[:2] for line in made["call.ctm"].splitlines()] == [["call", "1"]] * 2 + [["call", "2"]]


def test_what_is_done_is_known_channel_by_channel(desk: Desk) -> None:
    def again(*more: object) -> str:
        return desk("call.wav", "note.wav", "--out", "out", "-q", *more)[0].removeprefix("out: ").split(" (")[0]

    assert again() == "2 transcribed"
    assert again() == "0 transcribed"
    assert again("--batch-seconds", 7) == "0 transcribed"
    Path("out/call.2.txt").unlink()
    assert again() == "1 transcribed"
    assert desk.made()["call.2.txt"] == "BB\n"
    write("call.wav", "CC")
    assert again() == "1 transcribed"
    assert {name: text for name, text in desk.made().items() if "call" in name} == {"call.1.txt": "CC\n"}
    # Mixed is another way, of other files.
    assert main(["transcribe", "call.wav", "--model", str(desk.model), "--out", "out", "-q"]) == 0
    assert set(desk.made()) == {"call.1.txt", "call.txt", "note.1.txt"}


def test_files_of_others_are_safe(desk: Desk) -> None:
    Path("out").mkdir()
    Path("out/call.2.txt").write_text("mine")
    assert "call.2.txt: there already, and not made by an earlier run" in desk("call.wav", "--out", "out", code=1)[1]
    assert desk.made() == {"call.2.txt": "mine"}
    desk("call.wav", "--out", "out", "--force")
    assert desk.made() == {"call.1.txt": "AB CA\n", "call.2.txt": "BB\n"}
    Path("out/call.ctm").write_text("mine")
    assert "call.ctm: there already" in desk("call.wav", "--out", "out", "--format", "ctm", code=1)[1]


def test_standard_input_has_channels(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path("call.wav").read_bytes())))
    desk("-", "--out", "out")
    assert desk.made() == {"stdin.1.txt": "AB CA\n", "stdin.2.txt": "BB\n"}


def test_a_bad_file_among_channels(desk: Desk) -> None:
    Path("a\tb.wav").write_text("hello")
    told, error = desk("call.wav", "a\tb.wav", "note.wav", code=1)
    assert told == "call.wav\t1\tAB CA\ncall.wav\t2\tBB\na\\tb.wav\t\t\nnote.wav\t1\tCAB\n"
    assert error.startswith("asr: a") and error.count("\n") == 2
    row = json.loads(desk("a\tb.wav", "--format", "json", code=1)[0])
    assert set(row) == {"audio", "error"}
    desk("a\tb.wav", "note.wav", "--out", "out", code=1)
    assert desk.made() == {"note.1.txt": "CAB\n"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--channels", "both"], "'both' is not one of 'mix', 'split'"),
        (["--format", "srt"], "--format srt with --channels split needs --out FOLDER"),
        (["--batch-seconds", "0"], "0 is not in the range 1<=x<=3600"),
        (["--batch-seconds", "nan"], "'nan' is not a valid integer"),
        (["--stream"], "--channels does not go with --stream"),
    ],
)
def test_bad_values_get_one_line(desk: Desk, arguments: list[str], says: str) -> None:
    order = ["--channels", "split"] if arguments[0] != "--channels" else []
    assert main(["transcribe", "call.wav", "--model", str(desk.model), *order, *arguments]) == 2
    error = desk.capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_the_bar_moves_within_a_long_file(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write("long.wav", np.tile(spell(" ".join(random_texts(40, 3))), 3), SAMPLE_RATE)
    assert soundfile.info("long.wav").duration > 120
    shown: list[tuple[float, str]] = []

    def update(self: Display, title: str, done: float, total: float, unit: str = "", note: str = "") -> None:
        shown.append((done / total, note))

    monkeypatch.setattr(Display, "update", update)
    assert main(["transcribe", "long.wav", "note.wav", "--jobs", "2", "--model", str(desk.model)]) == 0
    shares = [share for share, _ in shown]
    assert len(shares) > 10 and shares[-1] == 1.0
    before = [note for _, note in shown if note.startswith("0 of 2 files")]
    assert any(not note.startswith("0 of 2 files, 0.00 hours, 0 ×") for note in before)


def test_asr_evaluate_batches_as_told(desk: Desk, tones: Path) -> None:
    reports = []
    for seconds in (1, 600):
        command = ["evaluate", str(tones / "dev.jsonl"), "--model", str(desk.model), "-q", "--json", "r.json"]
        assert main([*command, "--batch-seconds", str(seconds)]) == 0
        reports.append(json.loads(Path("r.json").read_text()))
    texts = [[row["hypothesis"] for row in report["utterance_scores"]] for report in reports]
    assert texts[0] == texts[1] and len(texts[0]) == 12
    desk.capsys.readouterr()
    assert main([*command, "--batch-seconds", "9999"]) == 2
    assert "9999 is not in the range" in desk.capsys.readouterr().err


def test_libraries_say_nothing_of_damaged_mp3s(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path, missing = tmp_path / "damaged.mp3", tmp_path / "no.wav"
    soundfile.write(path, np.tile(spell("ABC"), 4), SAMPLE_RATE)
    content = bytearray(path.read_bytes())
    content[2000:2100] = bytes(100)
    path.write_bytes(content)
    model = str(trained / "best.safetensors")
    assert main(["transcribe", str(path), str(missing), "--model", model, "-q"]) == 1
    assert capfd.readouterr().err == f"asr: {missing}: no such file\n"
    with libraries_silent():
        os.write(2, b"a word of a library")
        print("a word of ours", file=sys.stderr)
    os.write(2, b"another")
    told = capfd.readouterr().err
    assert "a word of ours" in told and "another" in told and "library" not in told
