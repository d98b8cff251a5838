"""The binary file: the same model, rebuilt when the ARPA file changes, and refused when damaged."""

import os
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from asr.lm import LmError
from asr.lm.ngram import NgramModel, arpa, binary
from asr.lm.ngram.estimate import EstimateSettings, estimate
from tests.lm.samples import sentences
from tests.lm.test_ngram_arpa import same


@pytest.fixture
def model() -> NgramModel:
    return estimate(sentences(100, "abcdé"), EstimateSettings(3))


@pytest.fixture
def path(model: NgramModel, tmp_path: Path) -> Path:
    arpa.write(tmp_path / "lm.arpa", model)
    return tmp_path / "lm.arpa"


def refuse(path: Path) -> NoReturn:
    raise AssertionError(f"{path} was read")


def test_load_reads_the_binary_file_the_second_time(
    model: NgramModel, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert same(binary.load(path), model)
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["lm.arpa", "lm.arpa.bin"]
    monkeypatch.setattr(arpa, "read", refuse)
    again = binary.load(path)
    assert same(again, model)
    assert again.perplexity(["a x é"]) == model.perplexity(["a x é"])
    assert same(binary.load(binary.beside(path)), model)
    assert not again.arrays.words.flags.writeable
    # A copy of the ARPA file with another time is the same file.
    os.utime(path, (1, 1))
    assert same(binary.load(path), model)


def test_load_calls_on_build_before_writing(path: Path) -> None:
    calls: list[tuple[Path, bool]] = []
    for _ in range(2):
        binary.load(path, lambda path: calls.append((path, path.exists())))
    assert calls == [(binary.beside(path), False)]
    binary.load(binary.beside(path), refuse)


def test_load_of_a_changed_arpa_file(model: NgramModel, path: Path) -> None:
    binary.load(path)
    text = path.read_text(encoding="utf-8")
    # The size stays the same.
    path.write_text(text.replace("\ta", "\tz").replace(" a", " z"), encoding="utf-8")
    os.utime(path, (1, 1))
    assert "z" in binary.load(path).vocabulary
    assert "z" in binary.load(binary.beside(path)).vocabulary


@pytest.mark.parametrize("damage", ["cut", "flip", "header", "format", "empty", "grown"])
def test_load_rebuilds_a_damaged_file(damage: str, model: NgramModel, path: Path) -> None:
    binary.load(path)
    target = binary.beside(path)
    whole = data = bytearray(target.read_bytes())
    if damage == "cut":
        data = data[:-64]
    elif damage == "grown":
        data = data + bytes(64)
    elif damage == "empty":
        data = bytearray()
    else:
        data = bytearray(whole)
        data[{"flip": -100, "header": 40, "format": 10}[damage]] ^= 1
    target.write_bytes(data)
    with pytest.raises(LmError, match=r"lm\.arpa\.bin"):
        binary.read(target)
    assert same(binary.load(path), model)
    assert target.read_bytes() == whole


def test_read_truncated_file(path: Path) -> None:
    binary.load(path)
    target = binary.beside(path)
    whole = target.read_bytes()
    for length in range(0, len(whole), 97):
        target.write_bytes(whole[:length])
        with pytest.raises(LmError):
            binary.read(target)


@pytest.mark.parametrize("name", ["suffix", "words", "first_child", "backoffs", "counts"])
def test_read_refuses_indices_outside_the_arrays(name: str, model: NgramModel, tmp_path: Path) -> None:
    arrays, counts = model.arrays, model.counts
    if name == "counts":
        counts = (*counts[:-1], counts[-1] + 1)
    elif name == "backoffs":
        arrays = arrays._replace(backoffs=arrays.backoffs[:-1])
    else:
        values = getattr(arrays, name).copy()
        values[len(values) // 2] = 2**30
        arrays = arrays._replace(**{name: values})
    binary.write(tmp_path / "lm.bin", replace(model, counts=counts, arrays=arrays))
    with pytest.raises(LmError, match="invalid content of a binary language model"):
        binary.read(tmp_path / "lm.bin")


def test_load_from_a_folder_that_is_not_writable(
    model: NgramModel, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(binary, "open_atomic", full)
    assert same(binary.load(path), model)
    assert [entry.name for entry in path.parent.iterdir()] == ["lm.arpa"]


def test_load_of_another_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"x" * 100)
    with pytest.raises(LmError, match=r"x:1: the file ends without"):
        binary.load(path)
    with pytest.raises(LmError, match="not a binary language model"):
        binary.read(path)
    with pytest.raises(FileNotFoundError):
        binary.load(tmp_path / "missing")
