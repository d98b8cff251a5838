"""Recognition without torch, librosa and SciPy, and the light installation."""

import json
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import asr
from tests.conftest import ROOT

# What the light installation lacks.
MISSING = ("torch", "torchaudio", "librosa", "scipy", "sklearn", "joblib", "jiwer", "jinja2", "onnx", "onnxruntime")
SAMPLE = "data/samples/sample-01.opus"
BLOCK = f"""
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {MISSING!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
"""


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code in a new process in which the packages are missing."""
    command = [sys.executable, "-c", BLOCK + code, *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


MAIN = "import sys; from asr.cli import main; code = main(sys.argv[1:])\n"
LOADED = f"print(sorted({set(MISSING)!r} & {{name.partition('.')[0] for name in sys.modules}}), code)"


@pytest.mark.parametrize("options", [["--greedy"], ["--format", "json", "--beam-width", "20"], ["--device", "auto"]])
def test_transcribe_imports_none_of_the_packages_for_training(options: list[str]) -> None:
    saved = json.loads((ROOT / "tests/saved/english-small.json").read_text(encoding="utf-8"))[SAMPLE]
    done = run(MAIN + LOADED, "transcribe", SAMPLE, "-q", *options)
    text, imported = done.stdout.strip().splitlines()
    assert imported == "[] 0", done.stderr
    assert text == saved["greedy"]["text"] if options == ["--greedy"] else "BREAD AND MILK" in text


def test_a_stream_and_an_array_need_none_of_them(streaming: Path, tones: Path) -> None:
    code = """
import asr, soundfile
recognizer = asr.load(sys.argv[1])
waveform, rate = soundfile.read(sys.argv[2], dtype="float32")
stream = recognizer.stream(rate, words=True)
stream.feed(waveform)
print(stream.finish().text == recognizer.transcribe(waveform, rate).text, recognizer.transcribe_file(sys.argv[2]).text)
code = 0
"""
    done = run(code + LOADED, str(streaming), str(tones / "dev/dev-0.wav"))
    equal, imported = done.stdout.splitlines()
    assert equal.startswith("True ") and len(equal) > len("True ")
    assert imported == "[] 0", done.stderr


def test_commands_that_need_a_missing_package_name_it(tones: Path, tmp_path: Path) -> None:
    for arguments, package, extra in (
        (["train", str(tones / "tiny.toml"), "--train", str(tones / "train.jsonl")], "", "asr"),
        (["export", "english-small", "--out", str(tmp_path)], "onnx", "'asr[export]'"),
    ):
        more = ["--dev", str(tones / "dev.jsonl"), "--out", str(tmp_path / "run")] if not package else []
        done = run(MAIN + "sys.exit(code)", *arguments, *more)
        assert done.returncode == 1
        message = done.stderr.splitlines()[-1]
        assert message.startswith(f"asr: this command needs the package {package}")
        assert message.endswith(f", which is not installed: pip install {extra}")
    done = run(MAIN + "sys.exit(code)", "transcribe", SAMPLE, "--device", "cuda")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("asr: device cuda needs PyTorch, which is not installed")


def test_dependencies_of_the_light_installation_are_those_of_the_full_one() -> None:
    light, full = (
        tomllib.loads((ROOT / name).read_text(encoding="utf-8"))["project"]
        for name in ("runtime/pyproject.toml", "pyproject.toml")
    )
    assert set(light["dependencies"]) < set(full["dependencies"])
    assert light["requires-python"] == full["requires-python"]
    assert not [name for name in light["dependencies"] if name.startswith(MISSING)]


def cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def test_a_transcript_costs_no_more_beside_a_busy_process() -> None:
    recognizer = asr.load("english-small", decoder="greedy")
    waveform = np.random.default_rng(1).normal(0, 0.1, 80_000).astype(np.float32)
    options = asr.TranscribeOptions(vad=False)
    recognizer.transcribe(waveform, options=options)
    alone = min(cpu_seconds(lambda: recognizer.transcribe(waveform, options=options)) for _ in range(5))
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        beside = min(cpu_seconds(lambda: recognizer.transcribe(waveform, options=options)) for _ in range(5))
    finally:
        for process in busy:
            process.kill()
            process.wait()
    # Threads that wait actively multiply it; the caches and hyper-threads that are shared cost less.
    assert beside < 3 * alone
