"""Atomic writes, folder locks and UTF-8 text."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.files import (
    EncodingError,
    JsonLineError,
    LockedError,
    TableError,
    decode_utf8,
    lock_folder,
    open_atomic,
    parse_json_object,
    read_cells,
    read_utf8,
    remove_files,
    remove_partial,
    utf8_lines,
    write_text,
)

ROOT = Path(__file__).resolve().parent.parent


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_open_atomic_writes_the_file(tmp_path: Path) -> None:
    with open_atomic(tmp_path / "a") as out:
        out.write(b"one")
        out.write(b"two")
    assert (tmp_path / "a").read_bytes() == b"onetwo"
    assert names(tmp_path) == ["a"]


def test_open_atomic_keeps_old_file_until_the_end(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with open_atomic(tmp_path / "a") as out:
        out.write(b"new")
        out.flush()
        assert (tmp_path / "a").read_bytes() == b"old"
        [part] = tmp_path.glob("*.part")
        assert part.read_bytes() == b"new"
    assert (tmp_path / "a").read_bytes() == b"new"


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt(), ValueError("x")])
def test_open_atomic_keeps_old_file_on_error(failure: BaseException, there: bool, tmp_path: Path) -> None:
    if there:
        (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(type(failure)) as caught, open_atomic(tmp_path / "a") as out:
        out.write(b"half")
        raise failure
    assert caught.value is failure
    assert names(tmp_path) == (["a"] if there else [])
    assert not there or (tmp_path / "a").read_bytes() == b"old"


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_open_atomic_keeps_old_file_on_late_error(broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "a").write_bytes(b"old")
    monkeypatch.setattr(os if broken == "fsync" else Path, broken, full)
    with pytest.raises(OSError, match="No space left"), open_atomic(tmp_path / "a") as out:
        out.write(b"new")
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_open_atomic_syncs_before_renaming(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    fsync, replace = os.fsync, Path.replace

    def watched_fsync(number: int) -> None:
        fsync(number)
        synced.append(os.fstat(number).st_size)

    def watched_replace(part: Path, target: Path) -> Path:
        assert synced == [part.stat().st_size] == [3]
        return replace(part, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(Path, "replace", watched_replace)
    with open_atomic(tmp_path / "a") as out:
        out.write(b"new")
    assert synced == [3]


def test_open_atomic_follows_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "real")
    with open_atomic(tmp_path / "link") as out:
        out.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "disk" / "real").read_bytes() == b"new"
    assert names(tmp_path / "disk") == ["real"]


def test_open_atomic_in_two_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_atomic(tmp_path / "a") as first:
        first.write(b"first, ")
        with monkeypatch.context() as other:
            other.setattr(os, "getpid", lambda: 2**22)
            with open_atomic(tmp_path / "a") as second:
                assert len(names(tmp_path)) == 2
                second.write(b"second")
        assert (tmp_path / "a").read_bytes() == b"second"
        first.write(b"whole")
    assert (tmp_path / "a").read_bytes() == b"first, whole"
    assert names(tmp_path) == ["a"]


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX's")
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_open_atomic_uses_default_permissions(mask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        with open_atomic(tmp_path / "a") as out:
            out.write(b"new")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == mode


def test_open_atomic_leaves_nothing_on_failure(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), open_atomic(tmp_path / "none" / "a"):
        pytest.fail("there is no folder")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError), open_atomic(tmp_path / "folder") as out:
        out.write(b"new")
    assert names(tmp_path) == ["folder"]


# One writer


def test_lock_folder_excludes_other_writers(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib; from asr.files import LockedError, lock_folder\n"
        "try:\n    with lock_folder(pathlib.Path(sys.argv[1])): print('free')\n"
        "except LockedError as error: print(error)"
    )

    def other() -> str:
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    with lock_folder(tmp_path):
        assert other() == f"{tmp_path}: another process is writing to it; wait for it, or stop it"
    assert other() == "free"
    with pytest.raises(LockedError), lock_folder(tmp_path), lock_folder(tmp_path):
        pytest.fail("there are two")
    with lock_folder(tmp_path):  # an error has let go of it
        pass


def test_remove_partial_deletes_temporary_files_only(tmp_path: Path) -> None:
    for name in ("a.txt.1.part", "a.txt", "b.txt.2.part", "a.txt.part"):
        (tmp_path / name).write_bytes(b"x")
    remove_partial(tmp_path, "a.txt")
    assert names(tmp_path) == ["a.txt", "a.txt.part", "b.txt.2.part"]


def test_remove_files_keeps_other_files(tmp_path: Path) -> None:
    for name in ("000001.safetensors", "000002.safetensors.77.part", "mine.safetensors", "big.tar.gz.part"):
        (tmp_path / name).write_text("x")
    remove_files(tmp_path, "0*.safetensors")
    assert {path.name for path in tmp_path.iterdir()} == {"mine.safetensors", "big.tar.gz.part"}
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "000001.safetensors").write_text("x")
    remove_files(tmp_path / "own", "0*.safetensors")
    assert not (tmp_path / "own").exists()
    remove_files(tmp_path / "nowhere", "*")


def test_open_atomic_error_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught, open_atomic(tmp_path / "a.json"):
        raise OSError(28, "No space left on device")
    assert caught.value.filename == str(tmp_path / "a.json")


def test_write_text_creates_folders(tmp_path: Path) -> None:
    write_text(tmp_path / "deep" / "er" / "a.txt", "É \ud800")
    assert (tmp_path / "deep" / "er" / "a.txt").read_text(encoding="utf-8") == "É \\ud800"
    assert len(list((tmp_path / "deep" / "er").iterdir())) == 1


def test_write_text_to_device(tmp_path: Path) -> None:
    (tmp_path / "null").symlink_to("/dev/null")
    write_text(tmp_path / "null", "text")
    assert Path("/dev/null").is_char_device()


# UTF-8


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_decode_utf8_names_file_line_and_byte(mark: bytes) -> None:
    assert decode_utf8("a.txt", mark + "é\n".encode()) == "é\n"
    expected = r"^a\.txt, line 2: not UTF-8 \(byte 3 is 0xE9\); save the file as UTF-8$"
    with pytest.raises(EncodingError, match=expected):
        decode_utf8("a.txt", mark + b"one\ntw\xe9\nthree")
    with pytest.raises(EncodingError, match=expected):
        list(utf8_lines("a.txt", [mark + b"one", b"tw\xe9", b"three"]))
    with pytest.raises(EncodingError, match=r"^a\.txt, line 1: not UTF-8 \(byte 1 is 0xFF\)"):
        decode_utf8("a.txt", mark + b"\xff")


def test_read_utf8_strips_the_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo")
    assert read_utf8(tmp_path / "a.txt") == "one\r\ntwo"
    assert list(utf8_lines("a", [b"\xef\xbb\xbfone", b"two"])) == [(1, "one"), (2, "two")]


# JSON lines


def test_parse_json_object() -> None:
    assert parse_json_object(' {"id": "a", "words": [1]} ') == {"id": "a", "words": [1]}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id" "a"}', r"not JSON: Expecting ':' delimiter at column 7"),
        ("", r"not JSON: Expecting value at column 1"),
        ("[1]", r"not a JSON object \{…\}"),
        ("1" * 5000, r"not JSON: Exceeds the limit"),
        ("[" * 100_000, r"not JSON: maximum recursion"),
    ],
)
def test_parse_json_object_refuses_other_lines(line: str, message: str) -> None:
    with pytest.raises(JsonLineError, match=message):
        parse_json_object(line)


@given(st.text(max_size=30) | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(json.dumps))
def test_parse_json_object_raises_no_other_error(line: str) -> None:
    try:
        assert isinstance(parse_json_object(line), dict)
    except JsonLineError as error:
        assert str(error)


# Cells


def test_read_cells_unquotes_and_numbers_rows() -> None:
    rows = [(1, ["a", 'b, "c"']), (3, ["d\ne", ""])]
    assert list(read_cells("t.csv", "a, b\r\n", ",")) == [(1, ["a", "b"])]
    assert list(read_cells("t.csv", 'a,"b, ""c"""\n,\n"d\ne",\n', ",")) == rows
    assert list(read_cells("t.tsv", 'a\t"b, ""c"""\nx "y"\tz', "\t")) == [(1, ["a", 'b, "c"']), (2, ['x "y"', "z"])]


def test_read_cells_names_the_row_that_is_not_closed() -> None:
    with pytest.raises(TableError, match=r"^t\.csv, row 2: unexpected end of data; quote cells that contain , or"):
        list(read_cells("t.csv", 'a,b\n"c,d', ","))


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="the system has no /dev/stdout")
@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
@pytest.mark.parametrize("mode", ["w", "a"])
def test_the_file_behind_a_descriptor_is_not_replaced(name: str, mode: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/stdout")
    (tmp_path / "log").write_text("before\n")
    (tmp_path / "other").hardlink_to(tmp_path / "log")
    script = (
        "import sys, pathlib; from asr.files import write_text\n"
        "print('first'); write_text(pathlib.Path(sys.argv[1]), 'text\\n'); print('last')"
    )
    path = str(tmp_path / "link") if name == "link" else name
    with (tmp_path / "log").open(mode) as log:
        subprocess.run([sys.executable, "-c", script, path], cwd=ROOT, stdout=log, check=True)
    expected = ("before\n" if mode == "a" else "") + "first\ntext\nlast\n"
    assert (tmp_path / "log").read_text() == (tmp_path / "other").read_text() == expected
    assert names(tmp_path) == ["link", "log", "other"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with subprocess.Popen(["cat", str(tmp_path / "pipe")], stdout=subprocess.PIPE) as reader:
        with open_atomic(tmp_path / "pipe") as out:
            out.write(b"text")
        assert reader.communicate()[0] == b"text"
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert names(tmp_path) == ["pipe"]
