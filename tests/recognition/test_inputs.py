"""Finding recordings: files, folders, patterns and lists."""

import os
import sys
from pathlib import Path

import pytest

from asr.recognition.inputs import Inputs, find_inputs, read_list


def make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def outputs(inputs: Inputs) -> list[str]:
    return [str(file.output) for file in inputs.files]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make(tmp_path, "b.wav", "a.FLAC", "notes.txt", ".hidden.wav", "in/c.v1.ogg", "in/.cache/d.wav", "in/deep/e.mp3")
    return tmp_path


def test_a_folder_is_searched_in_order(folder: Path) -> None:
    inputs = find_inputs(["."])
    assert [str(file.path) for file in inputs.files] == ["a.FLAC", "b.wav", "in/c.v1.ogg", "in/deep/e.mp3"]
    assert outputs(inputs) == ["a", "b", "in/c.v1", "in/deep/e"]
    assert outputs(find_inputs([str(folder / "in")])) == ["c.v1", "deep/e"]
    assert not inputs.problems


def test_a_file_is_taken_whatever_its_name(folder: Path) -> None:
    assert outputs(find_inputs(["in/c.v1.ogg", ".hidden.wav", "notes.txt", "no.wav", "in/no/", "no/.."])) == [
        "c.v1",
        ".hidden",
        "notes",
        "no",
        "no",
        folder.name,
    ]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.wav", ["b"]),
        ("*", ["a", "b", "c.v1", "deep/e"]),
        ("**/*.ogg", ["in/c.v1"]),
        ("in/**", ["c.v1", "deep/e"]),
        ("in/*/*.mp3", ["deep/e"]),
        ("[ab].*", ["a", "b"]),
        ("*.txt", ["notes"]),
        ("i?", ["in/c.v1", "in/deep/e"]),
    ],
)
def test_a_pattern_gives_its_matches(folder: Path, pattern: str, expected: list[str]) -> None:
    names = outputs(find_inputs([pattern]))
    if pattern == "*":
        expected = ["a", "b", "in/c.v1", "in/deep/e"]
    assert names == expected


def test_an_existing_file_that_looks_like_a_pattern_is_a_file(folder: Path) -> None:
    make(folder, "x[1].wav")
    assert outputs(find_inputs(["x[1].wav"])) == ["x[1]"]


def test_each_file_is_taken_once(folder: Path) -> None:
    (folder / "link.wav").symlink_to("b.wav")
    inputs = find_inputs(["b.wav", "./b.wav", str(folder / "b.wav"), "link.wav", ".", "*.wav"], ["in/../b.wav"])
    assert [str(file.path) for file in inputs.files] == ["b.wav", "a.FLAC", "in/c.v1.ogg", "in/deep/e.mp3"]


def test_a_loop_of_links_is_searched_once(folder: Path) -> None:
    (folder / "in" / "loop").symlink_to(folder)
    (folder / "in" / "self.wav").symlink_to("self.wav")
    assert outputs(find_inputs(["in"])) == ["c.v1", "self", "deep/e", "loop/a", "loop/b"]


def test_a_name_without_a_recording_is_a_problem(folder: Path) -> None:
    (folder / "empty").mkdir()
    inputs = find_inputs(["empty", "*.nothing", "", "b.wav"])
    assert outputs(inputs) == ["b"]
    assert [problem.split(":")[0] for problem in inputs.problems] == ["empty", "*.nothing", "''"]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read all")
def test_a_folder_that_cannot_be_read_is_a_problem(folder: Path) -> None:
    (folder / "in" / "deep").chmod(0)
    inputs = find_inputs(["in"])
    (folder / "in" / "deep").chmod(0o755)
    assert outputs(inputs) == ["c.v1"]
    assert inputs.problems == ["in/deep: Permission denied"]


def test_outputs_of_a_list_are_relative_to_its_common_folder(folder: Path) -> None:
    assert outputs(find_inputs([], ["in/c.v1.ogg", "in/deep/e.mp3"])) == ["c.v1", "deep/e"]
    assert outputs(find_inputs([], ["in", "b.wav"])) == ["in/c.v1", "in/deep/e", "b"]
    assert outputs(find_inputs([], ["*.wav"])) == ["*"]


def test_read_list_splits_lines_or_nul() -> None:
    assert read_list(b"a.wav\r\n\n b c.wav\n\xe9.wav") == ["a.wav", " b c.wav", "\udce9.wav"]
    assert read_list(b"a\nb.wav\0c.wav\0") == ["a\nb.wav", "c.wav"]
    assert read_list(b"") == []


@pytest.mark.skipif(sys.platform != "linux", reason="other systems want names to be text")
def test_names_that_are_not_utf8_are_found(folder: Path) -> None:
    make(folder, "odd/a\nb.wav", "odd/\udce9.wav")
    assert outputs(find_inputs(["odd"])) == ["a\nb", "\udce9"]
    assert outputs(find_inputs(["odd/*.wav"])) == ["a\nb", "\udce9"]


def test_a_dash_is_standard_input_unless_it_is_a_path(folder: Path) -> None:
    make(folder, "-")
    first, second = find_inputs(["-", "./-", "-"]).files
    assert (str(first.path), str(first.output)) == ("-", "stdin")
    assert second.path == folder / "-"
