"""asr prepare synthesize, run in-process: files, output, exit codes; and that it needs the extra for Kokoro only."""

import gzip
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from asr.cli import main
from asr.corpora import manifest
from tests.conftest import ROOT

SPEAK = """
import os, signal, sys, wave
text = sys.stdin.read()
if "tree" in text:
    sys.exit("no such word")
if "Stop" in text:
    os.kill(os.getppid(), signal.SIGINT)
with wave.open(sys.stdout.buffer, "wb") as out:
    out.setparams((1, 2, 8000, 0, "NONE", ""))
    out.writeframes(bytes(ord(text[i % len(text)]) for i in range(16000 if "short" in text else 32000)))
"""


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """The arguments of a run that speaks four lines."""
    (tmp_path / "speak.py").write_text(SPEAK)
    lines = ["A bird, here.", "A tree?", "Two birds & 2 cats", "x" * 301]
    (tmp_path / "text.txt.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    command = f"{sys.executable} {tmp_path / 'speak.py'}"
    out = str(tmp_path / "out")
    return [
        "prepare",
        "synthesize",
        str(tmp_path / "text.txt.gz"),
        "--out",
        out,
        "--hours",
        "0.002",
        "--command",
        command,
    ]


def test_manifest_and_summary(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments, "--normaliser", "librispeech", "--jobs", "2", "-q"]) == 0
    output = capsys.readouterr()
    path = tmp_path / "out" / "manifest.jsonl"
    assert output.out == f"{path}: 4 utterances, 0.00 hours, 1 speakers\n"
    assert {row.text for row in manifest.read(path)} == {"A BIRD HERE", "TWO BIRDS AND TWO CATS"}
    *failures, first, second = output.err.splitlines()
    assert failures and all(
        line == f"'A TREE': {Path(sys.executable).stem}: exit code 1: no such word" for line in failures
    )
    assert {first, second} == {"1 skipped: text too long", f"{len(failures)} skipped: failed"}


def test_skipped_utterances_name_the_option(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.txt.gz").write_bytes(gzip.compress(b"A bird.\nA short one."))
    assert main([*arguments, "-q"]) == 0
    assert re.fullmatch(r"\d skipped: shorter than 2 s \(--min-duration\)\n", capsys.readouterr().err)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT cannot be sent to a process there")
def test_interrupted_run_continues(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.txt.gz").write_bytes(gzip.compress(b"Stop.\nA bird.\nA cat."))
    # A shell in the background ignores it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert main([*arguments, "-q", "--jobs", "1"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    hint = r"0\.00\d hours are done; the same command continues, .*--hours .*\s+asr: stopped\n"
    assert re.search(hint, capsys.readouterr().err)
    assert not (tmp_path / "out" / "manifest.jsonl").exists()
    (tmp_path / "speak.py").write_text(SPEAK.replace("Stop", "Never"))
    assert main([*arguments, "-q", "--jobs", "1"]) == 0
    assert len(manifest.read(tmp_path / "out" / "manifest.jsonl")) == 4


def test_help_names_the_extra(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", "synthesize", "--help"]) == 0
    assert "asr[tts]" in capsys.readouterr().out


def test_kokoro_without_the_extra_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("A bird.")
    files = [str(tmp_path / name) for name in ("model.onnx", "vocab.json")]
    for name in files:
        Path(name).write_bytes(b"")
    code = (
        "import sys; sys.modules['onnxruntime'] = None; from asr.cli import main; "
        f"sys.exit(main(['prepare', 'synthesize', {str(tmp_path / 'text.txt')!r}, '--out', {str(tmp_path / 'out')!r}, "
        f"'--hours', '1', '--kokoro', {files[0]!r}, '--kokoro-voices', {str(tmp_path)!r}, "
        f"'--kokoro-vocabulary', {files[1]!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("asr: Kokoro needs more packages (") and "pip install 'asr[tts]'" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        (["--command", ""], "the command is empty"),
        (["--command", "no-such-program"], "there is no program 'no-such-program'"),
        (["--voices", "a,b"], "write {voice} in the command"),
        (["--exclude-voices", "a"], "--exclude-voices needs --kokoro"),
        (["--hours", "0"], "--hours"),
        (["--hours", "nan"], "'nan' is not a finite number"),
        (["--hours", "inf"], "'inf' is not a finite number"),
        (["--min-duration", "20"], "durations from 20 to 15 s are impossible"),
        (["--max-duration", "nan"], "'nan' is not a finite number"),
        (["--format", "mp3"], "--format"),
    ],
)
def test_unusable_option_is_one_line(
    changed: list[str], problem: str, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if changed[0] in arguments:
        arguments[arguments.index(changed[0]) + 1] = changed[1]
        changed = []
    assert main([*arguments, *changed]) in (1, 2)
    output = capsys.readouterr()
    assert output.err.count("\n") == 1 and problem in output.err and not output.out
    assert not (tmp_path / "out" / "manifest.jsonl").exists()


def test_synthesizer_is_required(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments[:-2]) == 2
    assert "give either --command or --kokoro" in capsys.readouterr().err
    assert main([*arguments[:-2], "--kokoro", arguments[2]]) == 2
    assert "Kokoro needs --kokoro, --kokoro-voices and --kokoro-vocabulary" in capsys.readouterr().err


def test_text_without_sentences_is_one_line(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.txt.gz").write_bytes(b"\n\n")
    assert main(arguments) == 1
    assert capsys.readouterr().err == f"asr: {tmp_path / 'text.txt.gz'}: no sentences\n"


def test_failing_command_stops_the_run(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "speak.py").write_text("import sys; sys.exit('no licence')")
    assert main([*arguments, "-j", "1"]) == 1
    *failures, last = capsys.readouterr().err.splitlines()
    assert len(failures) == 10
    assert last.startswith("asr: 10 texts in a row failed, the last with: ") and last.endswith(": no licence")
