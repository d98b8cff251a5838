"""Every command in-process: what it prints where, what it writes, how it ends."""

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from asr.cli import experiments, main
from asr.cli.progress import Display
from asr.model import checkpoint
from asr.version import __version__
from tests.conftest import write_corpus


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"asr {__version__}\n"
    for command in (
        [],
        ["prepare"],
        ["prepare", "an4"],
        ["doctor"],
        ["train"],
        ["transcribe"],
        ["evaluate"],
        ["score"],
        ["compare"],
        ["inspect"],
        ["lm"],
        ["tune"],
        ["models"],
        ["models", "pack"],
    ):
        assert main([*command, "--help"]) == 0
        assert "Usage: asr" in capsys.readouterr().out


def test_no_command_shows_the_help_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "Commands:" in capsys.readouterr().out


def test_transcribe_writes_one_line_per_file(trained: Path, tones: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(trained / "best.safetensors")
    files = [str(tones / "dev" / f"dev-{number}.wav") for number in range(3)]
    assert main(["transcribe", *files, "--model", model]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    texts = output.out.splitlines()
    assert len(texts) == 3 and all(texts)
    assert main(["transcribe", *files, "--model", model, "--format", "json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["text"] for row in rows] == texts
    assert [row["audio"] for row in rows] == files


def test_transcribe_continues_after_bad_file(trained: Path, tones: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = str(tones / "dev" / "dev-0.wav"), str(tones / "dev.jsonl")
    other = str(tones / "dev" / "dev-1.wav")
    assert main(["transcribe", good, bad, other, "--model", str(trained / "best.safetensors")]) == 1
    output = capsys.readouterr()
    lines = output.out.split("\n")
    assert lines[0] and not lines[1] and lines[2]
    assert "dev.jsonl: not a sound file" in output.err
    assert "1 of 3 files could not be transcribed" in output.err


def test_evaluate_prints_and_writes_the_report(
    trained: Path, tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    arguments = [
        "evaluate",
        str(tones / "dev.jsonl"),
        "--model",
        str(trained / "best.safetensors"),
        "--json",
        str(report),
    ]
    assert main(arguments) == 0
    output = capsys.readouterr()
    assert "WER" in output.out and "95 % interval" in output.out
    assert output.err == ""
    body = json.loads(report.read_text())
    assert body["utterances"] == 12
    assert body["facts"]["normaliser"] == "upper"


def test_inspect_lists_parameters_with_descriptions(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(trained / "best.safetensors")]) == 0
    lines = capsys.readouterr().out.splitlines()
    found = {line.split("  ")[0].rstrip(): " ".join(line.split()) for line in lines}
    assert found["layers.0.recurrence.weight_hh_l0_reverse"].endswith(
        "96 x 32 hidden-to-hidden weights, layer 1 backward"
    )
    assert found["output.weight"].endswith("5 x 64 hidden-to-output weights")
    assert 'alphabet = " ABC"' in lines


def test_train_writes_a_run_and_prints_it(tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    arguments = ["train", str(tones / "tiny.toml"), "--train", str(tones / "train.jsonl")]
    arguments += ["--dev", str(tones / "dev.jsonl"), "--out", str(out), "--epochs", "2", "--seed", "7"]
    arguments += ["--set", "model.hidden=16", "--set", "training.clip = 1"]
    assert main(arguments) == 0
    output = capsys.readouterr()
    assert output.out.startswith(f"best model: {out / 'best.safetensors'} (epoch ")
    assert "epoch 2/2: loss " in output.err
    contents = checkpoint.inspect(out / "last.safetensors")
    recipe = contents.card["recipe"]["training"]
    assert (recipe["epochs"], recipe["seed"], recipe["clip"]) == (2, 7, 1.0)
    assert contents.settings.model.hidden == 16
    before = (out / "last.safetensors").read_bytes()
    # Given again, the command finds the run finished.
    assert main([*arguments, "--quiet"]) == 0
    assert capsys.readouterr().out == output.out
    assert (out / "last.safetensors").read_bytes() == before
    assert main([*arguments, "--overwrite", "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_dropped_utterances_are_reported_when_quiet(tones: Path, tmp_path: Path) -> None:
    rows = (tones / "train.jsonl").read_text().splitlines()
    rows[0] = json.dumps(json.loads(rows[0]) | {"text": "ABC" * 50})
    # Beside the others, whose audio paths are relative.
    (tones / "long.jsonl").write_text("\n".join(rows))
    arguments = ["train", str(tones / "tiny.toml"), "--train", str(tones / "long.jsonl"), "--quiet", "--epochs", "1"]
    arguments += ["--dev", str(tones / "dev.jsonl"), "--out", str(tmp_path)]
    # A process of its own: pytest takes over logging in this one.
    done = subprocess.run([sys.executable, "-m", "asr", *arguments], capture_output=True, text=True, check=True)
    assert done.stderr.count("dropped 1 of 60 utterances") == 1
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_stop_signal_saves_the_run_and_prints_the_command(number: int, tones: Path, tmp_path: Path) -> None:
    arguments = ["train", str(tones / "tiny.toml"), "--train", str(tones / "train.jsonl"), "--epochs", "30"]
    arguments += ["--dev", str(tones / "dev.jsonl"), "--out", str(tmp_path / "a run")]
    command = [sys.executable, "-m", "asr", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not (tmp_path / "a run/best.safetensors").exists() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(number)
        out, error = process.communicate(timeout=60)
    assert process.returncode == 0, error
    first, second = out.splitlines()
    assert first.startswith(f"stopped and saved; the best model so far is {tmp_path / 'a run/best.safetensors'}")
    assert shlex.split(second) == ["asr", *arguments]
    assert "stopping after this step" in error
    # One more epoch is enough to test that the command resumes the run.
    place = arguments.index("--epochs") + 1
    assert main([*arguments[:place], "2", *arguments[place + 1 :], "--resume", "--quiet"]) == 1
    rows = (tmp_path / "a run/train.jsonl").read_text().splitlines()
    arguments[place] = str(len(rows) + 1)
    assert main([*arguments, "--override", "--resume", "--quiet"]) == 0
    assert len((tmp_path / "a run/train.jsonl").read_text().splitlines()) == len(rows) + 1


def test_train_writes_tensorboard_scalars(tones: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    arguments = ["train", str(tones / "tiny.toml"), "--train", str(tones / "train.jsonl"), "--epochs", "1", "--quiet"]
    command = [sys.executable, "-m", "asr", *arguments, "--dev", str(tones / "dev.jsonl"), "--out", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    [events] = (tmp_path / "tensorboard").iterdir()
    assert b"dev WER" in events.read_bytes()


def test_shards_are_written_indexed_and_trained_on(
    tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "shards"
    command = ["prepare", "shard", str(tones / "train.jsonl"), "--out", str(folder), "--megabytes", "1", "--quiet"]
    assert main(command) == 0
    assert re.search(r"shards\.jsonl: \d shards, 60 utterances, 0\.02 hours", capsys.readouterr().out)
    tars = sorted(map(str, folder.glob("*.tar")))
    index = tmp_path / "index.jsonl"
    assert main(["prepare", "index", *tars, "--out", str(index), "--quiet"]) == 0
    data = ["--train", str(index), "--dev", str(tones / "dev.jsonl"), "--out", str(tmp_path / "run")]
    assert main(["train", str(tones / "tiny.toml"), *data, "--epochs", "1", "--quiet"]) == 0
    assert "best model: " in capsys.readouterr().out


def test_prepare_writes_manifests(tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_corpus(tmp_path, "clips", ["A B", "C"])
    table = tmp_path / "mine.csv"
    table.write_text("audio,text\nclips/clips-0.wav,a b\nclips/clips-1.wav,c\n")
    assert main(["prepare", "table", str(table), "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'out' / 'mine.jsonl'}: 2 utterances, 0.00 hours")
    assert main(["doctor", str(tmp_path / "out" / "mine.jsonl"), "--recipe", str(tones / "tiny.toml")]) == 0
    output = capsys.readouterr().out
    assert output.endswith("no problem prevents training\n")
    assert "\nbeam search: " in output


def test_doctor_exits_1_when_training_would_fail(
    trained: Path, tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_corpus(tmp_path, "clips", ["A", "B"] * 4)
    path.write_text(path.read_text().replace('"A"', '"X"').replace('"B"', '"Y"'))
    assert main(["doctor", str(path), "--model", str(trained / "best.safetensors")]) == 1
    output = capsys.readouterr().out
    assert "error: characters, 8 rows" in output
    assert "… and 3 more (--all shows them)" in output
    assert output.endswith("training would fail\n")
    assert main(["doctor", str(path), "--all"]) == 0


def test_defect_raises_traceback(monkeypatch: pytest.MonkeyPatch, trained: Path) -> None:
    def broken(path: object) -> object:
        raise ValueError("a defect of the program")

    monkeypatch.setattr(checkpoint, "inspect", broken)
    with pytest.raises(ValueError, match="a defect"):
        main(["inspect", str(trained / "best.safetensors")])


def test_unexpected_end_of_file_raises_traceback(monkeypatch: pytest.MonkeyPatch, trained: Path) -> None:
    def broken(path: object) -> object:
        raise EOFError("a defect of the program")

    monkeypatch.setattr(checkpoint, "inspect", broken)
    with pytest.raises(EOFError, match="a defect"):
        main(["inspect", str(trained / "best.safetensors")])


def test_progress_is_plain_lines_without_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asr.cli.progress._INTERVAL", 0.0)
    with Display() as display:
        display.update("read", 1, 4, "files")
        display.update("read", 2, 4, "files")
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.splitlines()[-1].startswith("read: 50%, ")
    with Display(quiet=True) as display:
        display.update("read", 1, 4, "files")
        display.say("hello")
    assert capsys.readouterr().err == ""


def test_progress_is_a_bar_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with Display() as display:
        display.update("read", 1, 4, "files", "loss 1.0")
        display.say("a line that stays")
    assert "read" in capsys.readouterr().err


def test_the_command_that_resumes_deletes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["asr", "train", "a b.toml", "--overwrite", "--out", "run"])
    assert experiments.resume_command() == "asr train 'a b.toml' --out run"
