"""Whatever is on the disk, each file gives its text or one line that names it: no traceback, no hang, no gigabytes."""

import json
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from asr.cli import main
from asr.cli.progress import one_line
from tests import hostile
from tests.hostile import TEXT, Hostile

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have other names, files and limits")
# How much more memory may be asked for than there is at the start; and seconds.
MEMORY, PATIENCE = 1 << 30, 900


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Hostile]]:
    folder = tmp_path_factory.mktemp("hostile") / "files"
    yield hostile.make(folder)
    for path in folder.rglob("closed.wav"):
        path.chmod(0o600)


@contextmanager
def bounded() -> Iterator[None]:
    """Let allocations of more than MEMORY fail, and a hang end, as tracebacks."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limits = resource.getrlimit(resource.RLIMIT_AS)

    def hang(number: int, frame: object) -> None:
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(PATIENCE)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def run(model: Path, files: list[Path], tmp_path: Path, *more: str) -> list[str]:
    """Return the command for a list of files."""
    (tmp_path / "list").write_bytes(b"\0".join(os.fsencode(path) for path in files) + b"\0")
    return ["transcribe", "--list", str(tmp_path / "list"), "--model", str(model), "--jobs", "1", *more]


@pytest.mark.parametrize("channels", ["mix", "split"])
def test_every_file_gives_text_or_one_line(
    corpus: list[Hostile], channels: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Once is enough for what differs by where it was cut.
    files = corpus if channels == "mix" else corpus[::5]
    command = run(trained / "best.safetensors", [one.path for one in files], tmp_path, "--channels", channels)
    with bounded():
        assert main([*command, "--format", "json"]) == 1
    told = capsys.readouterr()
    rows: dict[str, list[dict[str, object]]] = {}
    # Some names have what splits lines for Python, but not in JSON lines.
    for line in told.out.rstrip("\n").split("\n"):
        row = json.loads(line)
        rows.setdefault(row["audio"], []).append(row)
    lines = told.err.rstrip("\n").split("\n")
    assert all(line.startswith("asr: ") and line.isprintable() for line in lines)
    warnings = [line for line in lines if line.startswith("asr: warning: ")]
    errors = [line for line in lines if line not in warnings]
    failed = [str(one.path) for one in files if str(one.path) not in rows or "error" in rows[str(one.path)][0]]
    assert errors.pop() == f"asr: {len(failed)} of {len(files)} files could not be transcribed"
    # One line each: first of what is no recording, then of the others in their order.
    assert len(errors) == len(failed)
    assert sorted(errors) == sorted(next(line for line in errors if names(line, path)) for path in failed)
    for one in files:
        found = rows.get(str(one.path), [{"error": "no recording"}])
        assert one.readable in (None, "error" not in found[0]), (one.path.name, found[0])
        assert not one.is_cut or "error" in found[0] or any(warns(line, str(one.path)) for line in warnings)
        if one.readable:
            assert {row["text"] for row in found} == {TEXT}, one.path.name


def names(line: str, path: str) -> bool:
    return line.startswith(f"asr: {one_line(path)}: ")


def warns(line: str, path: str) -> bool:
    return line.startswith(f"asr: warning: {one_line(path)}: ")


@pytest.mark.parametrize("options", [[], ["--strict"]])
def test_cut_file_gives_a_warning_or_an_error(
    corpus: list[Hostile], options: list[str], trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for one in [one for one in corpus if one.is_cut][7::90]:
        code = main(run(trained / "best.safetensors", [one.path], tmp_path, *options))
        (line,) = capsys.readouterr().err.splitlines()
        assert (code == 0 and not options and warns(line, str(one.path))) or (code == 1 and names(line, str(one.path)))


def test_hostile_files_are_many_and_reproducible(corpus: list[Hostile], tmp_path: Path) -> None:
    assert len(corpus) >= 1000
    assert len({one.path for one in corpus}) == len(corpus)
    assert sum(one.readable is not None or one.is_cut for one in corpus) > 900
    for one, other in zip(corpus[::37], hostile.make(tmp_path / "again")[::37], strict=True):
        assert one.path.name == other.path.name and one.readable == other.readable
        if one.path.is_file():
            assert one.path.read_bytes() == other.path.read_bytes()


def test_single_file_sets_the_exit_code(
    corpus: list[Hostile], trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for one in [one for one in corpus if one.readable is not None][::60]:
        assert main(run(trained / "best.safetensors", [one.path], tmp_path)) == (0 if one.readable else 1)
        told = capsys.readouterr()
        assert told.err.count("\n") == (0 if one.readable else 1)
        assert told.out.strip() == (TEXT if one.readable else "")


def test_one_line_escapes_control_characters() -> None:
    assert one_line("a\nb\r\x1b[2Jé\u2028\udce9 \\x.wav") == "a\\nb\\r\\x1b[2Jé\\u2028\\udce9 \\x.wav"
