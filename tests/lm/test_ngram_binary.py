"""The compact file: the same model, made anew when the ARPA changes, and never trusted when damaged."""

import os
from pathlib import Path
from typing import NoReturn

import pytest

from asr.lm import LmError
from asr.lm.ngram import NgramModel, arpa, binary
from asr.lm.ngram.estimate import EstimateSettings, estimate
from tests.lm.test_ngram import sentences
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


def test_the_second_load_takes_the_compact_file(model: NgramModel, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert same(binary.load(path), model)
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["lm.arpa", "lm.arpa.bin"]
    monkeypatch.setattr(arpa, "read", refuse)
    again = binary.load(path)
    assert same(again, model)
    assert again.score(["a", "x", "é"]) == model.score(["a", "x", "é"])
    assert same(binary.load(binary.beside(path)), model)
    assert not again.arrays.words.flags.writeable
    # A copy of the ARPA with a new time is the same ARPA.
    os.utime(path, (1, 1))
    assert same(binary.load(path), model)


def test_the_caller_is_told_before_the_compact_file_is_made(path: Path) -> None:
    told: list[tuple[Path, bool]] = []
    for _ in range(2):
        binary.load(path, lambda compact: told.append((compact, compact.exists())))
    assert told == [(binary.beside(path), False)]
    binary.load(binary.beside(path), refuse)


def test_a_changed_arpa_is_read_again(model: NgramModel, path: Path) -> None:
    binary.load(path)
    text = path.read_text(encoding="utf-8")
    # Of the same length, so that the size says nothing.
    path.write_text(text.replace("\ta", "\tz").replace(" a", " z"), encoding="utf-8")
    os.utime(path, (1, 1))
    assert "z" in binary.load(path).vocabulary
    assert "z" in binary.load(binary.beside(path)).vocabulary


@pytest.mark.parametrize("damage", ["cut", "flip", "header", "format", "empty", "grown"])
def test_a_damaged_compact_file_is_refused_and_made_again(damage: str, model: NgramModel, path: Path) -> None:
    binary.load(path)
    compact = binary.beside(path)
    whole = data = bytearray(compact.read_bytes())
    if damage == "cut":
        data = data[:-64]
    elif damage == "grown":
        data = data + bytes(64)
    elif damage == "empty":
        data = bytearray()
    else:
        data = bytearray(whole)
        data[{"flip": -100, "header": 40, "format": 10}[damage]] ^= 1
    compact.write_bytes(data)
    with pytest.raises(LmError, match=r"lm\.arpa\.bin"):
        binary.read(compact)
    assert same(binary.load(path), model)
    assert compact.read_bytes() == whole


def test_any_cut_is_refused(path: Path) -> None:
    binary.load(path)
    compact = binary.beside(path)
    whole = compact.read_bytes()
    for length in range(0, len(whole), 97):
        compact.write_bytes(whole[:length])
        with pytest.raises(LmError):
            binary.read(compact)


def test_a_folder_that_cannot_be_written_to_goes_without(
    model: NgramModel, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(binary, "whole", full)
    assert same(binary.load(path), model)
    assert [entry.name for entry in path.parent.iterdir()] == ["lm.arpa"]


def test_a_file_that_is_neither_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"x" * 100)
    with pytest.raises(LmError, match=r"x:1: the file ends without"):
        binary.load(path)
    with pytest.raises(LmError, match="not a compact language model"):
        binary.read(path)
    with pytest.raises(FileNotFoundError):
        binary.load(tmp_path / "missing")
