"""asr export, and asr inspect of its files."""

from pathlib import Path

import pytest

from asr.cli import main

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def test_export_and_inspect(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = trained / "best.safetensors"
    assert main(["export", str(model), "--out", str(tmp_path), "--quantize", "int8"]) == 0
    path = tmp_path / "best.int8.onnx"
    output = capsys.readouterr()
    assert output.out == f"{path}: {path.stat().st_size / 1e6:.1f} MB\n" and output.err == ""
    assert main(["inspect", str(path)]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"{path}: ONNX, schema 1, input waveform, weights int8, ")
    assert main(["inspect", str(model)]) == 0
    of_model = capsys.readouterr().out
    assert shown.splitlines()[1:] == of_model[: of_model.index("\n[parameters]")].splitlines()[1:]


def test_unusable_arguments(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(trained / "best.safetensors")
    (tmp_path / "file").touch()
    assert main(["export", model, "--out", str(tmp_path / "file")]) == 2
    assert main(["export", model, "--out", str(tmp_path / "file" / "below")]) == 1
    assert main(["export", str(trained / "train.jsonl"), "--out", str(tmp_path)]) == 1
    assert main(["export", model, "--out", str(tmp_path), "--stream"]) == 1
    assert main(["inspect", str(tmp_path / "none.onnx")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5 and all(line.startswith("asr: ") for line in lines)
    assert not list(tmp_path.glob("*.onnx"))
