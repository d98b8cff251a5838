"""Files, folders, patterns and lists -> recordings."""

import os
import sys
from pathlib import Path

import pytest

from asr.recognition.inputs import Found, gather, read_list


def make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def places(found: Found) -> list[str]:
    return [str(one.place) for one in found.recordings]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make(tmp_path, "b.wav", "a.FLAC", "notes.txt", ".hidden.wav", "in/c.v1.ogg", "in/.cache/d.wav", "in/deep/e.mp3")
    return tmp_path


def test_a_folder_is_all_in_it_in_order(here: Path) -> None:
    found = gather(["."])
    assert [str(one.path) for one in found.recordings] == ["a.FLAC", "b.wav", "in/c.v1.ogg", "in/deep/e.mp3"]
    assert places(found) == ["a", "b", "in/c.v1", "in/deep/e"]
    assert places(gather([str(here / "in")])) == ["c.v1", "deep/e"]
    assert not found.problems


def test_a_file_is_itself_whatever_its_name(here: Path) -> None:
    assert places(gather(["in/c.v1.ogg", ".hidden.wav", "notes.txt", "no.wav", "in/no/", "no/.."])) == [
        "c.v1",
        ".hidden",
        "notes",
        "no",
        "no",
        here.name,
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
def test_a_pattern_is_what_it_matches(here: Path, pattern: str, expected: list[str]) -> None:
    found = places(gather([pattern]))
    if pattern == "*":
        expected = ["a", "b", "in/c.v1", "in/deep/e"]
    assert found == expected


def test_a_name_that_looks_like_a_pattern_is_a_name(here: Path) -> None:
    make(here, "x[1].wav")
    assert places(gather(["x[1].wav"])) == ["x[1]"]


def test_each_file_is_found_once(here: Path) -> None:
    (here / "link.wav").symlink_to("b.wav")
    found = gather(["b.wav", "./b.wav", str(here / "b.wav"), "link.wav", ".", "*.wav"], ["in/../b.wav"])
    assert [str(one.path) for one in found.recordings] == ["b.wav", "a.FLAC", "in/c.v1.ogg", "in/deep/e.mp3"]


def test_a_loop_of_links_is_walked_once(here: Path) -> None:
    (here / "in" / "loop").symlink_to(here)
    (here / "in" / "self.wav").symlink_to("self.wav")
    assert places(gather(["in"])) == ["c.v1", "self", "deep/e", "loop/a", "loop/b"]


def test_what_finds_nothing_is_a_problem_and_the_rest_is_found(here: Path) -> None:
    (here / "empty").mkdir()
    found = gather(["empty", "*.nothing", "", "b.wav"])
    assert places(found) == ["b"]
    assert [problem.split(":")[0] for problem in found.problems] == ["empty", "*.nothing", "''"]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read all")
def test_a_folder_that_cannot_be_read_is_a_problem(here: Path) -> None:
    (here / "in" / "deep").chmod(0)
    found = gather(["in"])
    (here / "in" / "deep").chmod(0o755)
    assert places(found) == ["c.v1"]
    assert found.problems == ["in/deep: Permission denied"]


def test_a_list_mirrors_from_the_folder_that_all_of_it_is_in(here: Path) -> None:
    assert places(gather([], ["in/c.v1.ogg", "in/deep/e.mp3"])) == ["c.v1", "deep/e"]
    assert places(gather([], ["in", "b.wav"])) == ["in/c.v1", "in/deep/e", "b"]
    assert places(gather([], ["*.wav"])) == ["*"]


def test_a_list_has_lines_or_zeros_and_any_bytes() -> None:
    assert read_list(b"a.wav\r\n\n b c.wav\n\xe9.wav") == ["a.wav", " b c.wav", "\udce9.wav"]
    assert read_list(b"a\nb.wav\0c.wav\0") == ["a\nb.wav", "c.wav"]
    assert read_list(b"") == []


@pytest.mark.skipif(sys.platform != "linux", reason="other systems want names to be text")
def test_names_need_not_be_text(here: Path) -> None:
    make(here, "odd/a\nb.wav", "odd/\udce9.wav")
    assert places(gather(["odd"])) == ["a\nb", "\udce9"]
    assert places(gather(["odd/*.wav"])) == ["a\nb", "\udce9"]


def test_a_dash_is_standard_input_and_a_file_of_that_name_is_not(here: Path) -> None:
    make(here, "-")
    first, second = gather(["-", "./-", "-"]).recordings
    assert (str(first.path), str(first.place)) == ("-", "stdin")
    assert second.path == here / "-"
