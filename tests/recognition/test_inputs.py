"""Finding recordings: files, folders, patterns and lists."""

import os
import re
import sys
from pathlib import Path

import pytest

from asr.audio import MEDIA_SUFFIXES, SUFFIXES
from asr.recognition.inputs import Inputs, ListError, find_inputs, read_list


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


@pytest.mark.parametrize("name", ["in", "in/*"])
def test_media_files_are_taken_unless_they_were_converted(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asr.recognition.inputs.SUFFIXES", {*SUFFIXES, *MEDIA_SUFFIXES})
    make(folder, "in/x.m4a", "in/y.MP4", "in/deep/e.webm")
    inputs = find_inputs([name])
    # There is an MP3 file of e.webm.
    assert sorted(outputs(inputs)) == ["c.v1", "deep/e", "x", "y"]
    assert inputs.problems == []


@pytest.mark.parametrize("name", ["in", "in/*"])
def test_media_files_are_reported_without_pyav(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asr.recognition.inputs.SUFFIXES", SUFFIXES - MEDIA_SUFFIXES)
    make(folder, "in/x.m4a", "in/y.MP4", "in/deep/e.webm", "in/cover.jpg", *(f"in/{number}.txt" for number in range(5)))
    inputs = find_inputs([name])
    assert outputs(inputs) == ["c.v1", "deep/e"]
    # There is an MP3 file of e.webm.
    assert inputs.problems == [
        f"{name}: 2 files left out (x.m4a, y.MP4): their formats are read with PyAV: pip install 'asr[media]'"
    ]
    (note,) = inputs.notes
    assert re.fullmatch(rf"{re.escape(name)}: 7 files left out \(.*, …\): their names are not those of .*", note)


def test_a_folder_without_other_files_has_no_note(folder: Path) -> None:
    inputs = find_inputs(["in", "b.wav"])
    assert (inputs.problems, inputs.notes) == ([], [])


def test_part_of_a_pattern_that_exists_is_no_pattern(folder: Path) -> None:
    make(folder, "[2024] t/a.wav", "[2024] t/x[1]/b.wav", "2/c.wav")
    assert outputs(find_inputs(["[2024] t/*.wav"])) == ["a"]
    assert outputs(find_inputs(["[2024] t/x[1]/*"])) == ["b"]
    assert outputs(find_inputs([str(folder / "[2024] t" / "**")])) == ["a", "x[1]/b"]
    assert outputs(find_inputs(["[2]/*"])) == ["2/c"]


def test_urls_are_problems(folder: Path) -> None:
    url = "https://example.org/a.wav"
    inputs = find_inputs(["b.wav", url, "s3://a/b.wav"], ["in/c.v1.ogg", "file:///a.wav"])
    assert outputs(inputs) == ["b", "c.v1"]
    assert [problem.partition(": a URL, not a file; ")[0] for problem in inputs.problems] == [
        url,
        "s3://a/b.wav",
        "file:///a.wav",
    ]


def test_outputs_of_a_list_are_relative_to_its_common_folder(folder: Path) -> None:
    assert outputs(find_inputs([], ["in/c.v1.ogg", "in/deep/e.mp3"])) == ["c.v1", "deep/e"]
    assert outputs(find_inputs([], ["in", "b.wav"])) == ["in/c.v1", "in/deep/e", "b"]
    assert outputs(find_inputs([], ["*.wav"])) == ["*"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_read_list_with_a_byte_order_mark(encoding: str) -> None:
    assert read_list("a.wav\r\né.wav\r\n".encode(encoding)) == ["a.wav", "é.wav"]


def test_read_list_refuses_other_encodings() -> None:
    with pytest.raises(ListError, match="looks like UTF-16 without a byte order mark; save it as UTF-8"):
        read_list("a.wav\nb.wav\n".encode("utf-16-le"))
    with pytest.raises(ListError, match="not UTF-16, as its first bytes say; save it as UTF-8"):
        read_list(b"\xff\xfea\0\0\xd8b\0")


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
