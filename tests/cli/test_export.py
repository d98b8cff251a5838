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
    model, file, exported = trained / "best.safetensors", tmp_path / "file", tmp_path / "exported.onnx"
    file.touch()
    exported.write_bytes(b"\x08\x08")
    (tmp_path / "best.onnx").mkdir()
    none, other = tmp_path / "none.onnx", trained / "train.jsonl"
    broken = "not a safetensors file, or a truncated one"
    for code, says, arguments in [
        (2, f"Directory '{file}' is a file; see asr export --help", ["export", model, "--out", file]),
        (1, f"{file}/below: Not a directory", ["export", model, "--out", file / "below"]),
        (1, f"{tmp_path}/best.onnx: Is a directory", ["export", model, "--out", tmp_path]),
        (1, f"{other}: {broken}", ["export", other, "--out", tmp_path]),
        (1, f"{exported}: {broken}; give the model file, not its ONNX file", ["export", exported, "--out", tmp_path]),
        (1, f"{exported}: {broken}; give the model file, not", ["transcribe", file, "--model", exported, "--greedy"]),
        (1, "needs the whole recording, so it has no steps;", ["export", model, "--out", tmp_path, "--stream"]),
        (2, f"File '{none}' does not exist", ["inspect", none]),
        (1, f"{exported}: an ONNX file, but not one that asr export wrote", ["inspect", exported]),
    ]:
        assert main(list(map(str, arguments))) == code
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("asr: ") and says in line
    assert {path.name for path in tmp_path.iterdir()} == {"file", "exported.onnx", "best.onnx"}


@pytest.mark.skipif(not Path("/sys").is_dir(), reason="/sys, which nobody may write to, is Linux's")
def test_a_folder_without_permission(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(trained / "best.safetensors"), "--out", "/sys"]) == 1
    assert capsys.readouterr().err in [
        f"asr: /sys/best.onnx: {why}\n" for why in ("Permission denied", "Read-only file system")
    ]
