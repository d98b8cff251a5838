import hashlib
import io
import re
import shutil
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from asr.corpora import download as fetch
from asr.corpora.download import Archive, download, unpack
from asr.corpora.manifest import CorpusError

BODY = bytes(range(256)) * 2000
NOW = (0.0, 0.0, 0.0, 0.0)
SUBSET = "dev-clean-2"
Behaviour = Callable[["Handler", int], None]


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Answers each request with the server's behaviour, and notes path and headers."""

    server: "Server"

    def do_GET(self) -> None:
        self.server.requests.append((self.path, dict(self.headers)))
        self.server.behaviour(self, len(self.server.requests))

    def log_message(self, format: str, *args: object) -> None:
        pass

    def start(self) -> int:
        """Return the offset that the request asks for."""
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(match[1]) if match else 0

    def answer(self, body: bytes, offset: int = 0, length: int | None = None, **headers: str) -> None:
        """Send body[offset:], announcing `length` bytes, the true number if not given."""
        self.send_response(206 if offset else 200)
        if offset:
            self.send_header("Content-Range", f"bytes {offset}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - offset if length is None else length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[offset:])


class Server(ThreadingHTTPServer):
    daemon_threads = False
    behaviour: Behaviour
    requests: list[tuple[str, dict[str, str]]]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server(("127.0.0.1", 0), Handler) as server:
        server.requests = []
        server.behaviour = lambda handler, count: handler.answer(BODY, handler.start())
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_download_reports_progress(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    download(
        f"{server.url}/a.bin", tmp_path / "new" / "a.bin", md5(BODY), lambda done, total: seen.append((done, total))
    )
    assert (tmp_path / "new" / "a.bin").read_bytes() == BODY
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.bin"]
    assert seen[-1] == (len(BODY), len(BODY))
    assert seen == sorted(seen)


def test_download_keeps_verified_file(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(BODY)
    download(f"{server.url}/a.bin", tmp_path / "a.bin", md5(BODY))
    assert server.requests == []


def test_download_replaces_file_with_another_checksum(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(BODY[:-1])
    download(f"{server.url}/a.bin", tmp_path / "a.bin", md5(BODY))
    assert (tmp_path / "a.bin").read_bytes() == BODY


def test_download_resumes_partial_file(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.bin.part").write_bytes(BODY[:1000])
    seen: list[int] = []
    download(f"{server.url}/a.bin", tmp_path / "a.bin", md5(BODY), lambda done, total: seen.append(total))
    assert (tmp_path / "a.bin").read_bytes() == BODY
    assert [headers.get("Range") for _, headers in server.requests] == ["bytes=1000-"]
    assert set(seen) == {len(BODY)}


def test_download_resumes_after_each_disconnect(server: Server, tmp_path: Path) -> None:
    step = 100_000

    def behaviour(handler: Handler, count: int) -> None:
        offset = handler.start()
        handler.answer(BODY[: offset + step], offset, len(BODY) - offset, ETag='"first"')

    server.behaviour = behaviour
    # More breaks than delays: what counts is the tries that bring nothing.
    download(f"{server.url}/a.bin", tmp_path / "a.bin", md5(BODY), delays=(0.0,))
    assert (tmp_path / "a.bin").read_bytes() == BODY
    assert [headers.get("Range") for _, headers in server.requests[:3]] == [None, "bytes=100000-", "bytes=200000-"]
    assert [headers.get("If-Range") for _, headers in server.requests[:3]] == [None, '"first"', '"first"']


def test_download_restarts_without_range_support(server: Server, tmp_path: Path) -> None:
    def behaviour(handler: Handler, count: int) -> None:
        handler.answer(BODY[:5000] if count == 1 else BODY, 0, len(BODY), ETag='W/"weak"')

    server.behaviour = behaviour
    download(f"{server.url}/a.bin", tmp_path / "a.bin", md5(BODY), delays=NOW)
    assert (tmp_path / "a.bin").read_bytes() == BODY
    assert server.requests[1][1]["Range"] == "bytes=5000-"
    assert "If-Range" not in server.requests[1][1]


def test_download_discards_another_range(server: Server, tmp_path: Path) -> None:
    def behaviour(handler: Handler, count: int) -> None:
        handler.answer(BODY, 7 if count == 1 else handler.start())

    server.behaviour = behaviour
    (tmp_path / "a.bin.part").write_bytes(BODY[:1000])
    download(f"{server.url}/a.bin", tmp_path / "a.bin", md5(BODY), delays=NOW)
    assert (tmp_path / "a.bin").read_bytes() == BODY


def test_download_keeps_partial_file_after_failure(server: Server, tmp_path: Path) -> None:
    server.behaviour = lambda handler, count: handler.answer(BODY, 0, len(BODY) + 10)
    with pytest.raises(CorpusError, match=r"ended after 512000 of 512010 bytes \(5 attempts\).*resumes after 512000"):
        download(f"{server.url}/a.bin", tmp_path / "a.bin", md5(BODY), delays=NOW)
    assert len(server.requests) == 5
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin.part"]


def test_download_with_short_length_fails_the_checksum(server: Server, tmp_path: Path) -> None:
    server.behaviour = lambda handler, count: handler.answer(BODY, 0, len(BODY) - 10)
    with pytest.raises(CorpusError, match=md5(BODY[:-10])):
        download(f"{server.url}/a.bin", tmp_path / "a.bin", md5(BODY), delays=NOW)
    assert list(tmp_path.iterdir()) == []


def test_download_with_wrong_checksum_leaves_nothing(server: Server, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=rf"its MD5 is {md5(BODY)}, not {md5(b'')}"):
        download(f"{server.url}/a.bin", tmp_path / "a.bin", md5(b""), delays=NOW)
    assert list(tmp_path.iterdir()) == []
    assert len(server.requests) == 1


def test_download_restarts_from_partial_file_of_another(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.bin.part").write_bytes(b"x" * 1000)
    download(f"{server.url}/a.bin", tmp_path / "a.bin", md5(BODY), delays=NOW)
    assert (tmp_path / "a.bin").read_bytes() == BODY
    assert [headers.get("Range") for _, headers in server.requests] == ["bytes=1000-", None]


@pytest.mark.parametrize("extra", [0, 10])
def test_download_with_complete_or_longer_partial_file(server: Server, tmp_path: Path, extra: int) -> None:
    def behaviour(handler: Handler, count: int) -> None:
        if handler.start() < len(BODY):
            return handler.answer(BODY, handler.start())
        handler.send_response(416)
        handler.send_header("Content-Range", f"bytes */{len(BODY)}")
        handler.send_header("Content-Length", "0")
        return handler.end_headers()

    server.behaviour = behaviour
    (tmp_path / "a.bin.part").write_bytes(BODY + b"x" * extra)
    download(f"{server.url}/a.bin", tmp_path / "a.bin", md5(BODY), delays=NOW)
    assert (tmp_path / "a.bin").read_bytes() == BODY
    assert len(server.requests) == (2 if extra else 1)


def test_download_fails_at_once_when_not_found(server: Server, tmp_path: Path) -> None:
    server.behaviour = lambda handler, count: handler.send_error(404)
    with pytest.raises(CorpusError, match=r"/a\.bin: HTTP 404 Not Found"):
        download(f"{server.url}/a.bin", tmp_path / "a.bin", md5(BODY), delays=NOW)
    assert len(server.requests) == 1
    assert list(tmp_path.iterdir()) == []


def test_download_retries_busy_server(server: Server, tmp_path: Path) -> None:
    server.behaviour = lambda handler, count: handler.send_error(503) if count < 5 else handler.answer(BODY)
    download(f"{server.url}/a.bin", tmp_path / "a.bin", md5(BODY), delays=NOW)
    assert len(server.requests) == 5


def test_download_without_server_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server(("127.0.0.1", 0), Handler) as closed:
        url = closed.url
    with pytest.raises(CorpusError, match=r"refused.*\(2 attempts\)"):
        download(f"{url}/a.bin", tmp_path / "a.bin", md5(BODY), delays=(0.0,))


def test_download_waits_for_the_delays(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(fetch, "time", SimpleNamespace(sleep=waited.append))
    server.behaviour = lambda handler, count: handler.send_error(500)
    with pytest.raises(CorpusError, match="HTTP 500"):
        download(f"{server.url}/a.bin", tmp_path / "a.bin", md5(BODY), delays=(1.0, 2.0))
    assert waited == [1.0, 2.0]


def test_download_refuses_other_schemes(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="https://"):
        download("file:///etc/passwd", tmp_path / "a.bin", md5(BODY))


def test_download_without_folder_fails(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CorpusError, match=r"a\.bin\.part: cannot be written"):
        download("http://127.0.0.1:9/a.bin", tmp_path / "file" / "a.bin", md5(BODY))


def pack(path: Path, files: dict[str, bytes], *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        for member in members:
            tar.addfile(member)
    return path


def subset_files(subset: str = SUBSET) -> dict[str, bytes]:
    folder = f"LibriSpeech/{subset}/1/2"
    return {
        "LibriSpeech/README.TXT": b"read me",
        f"{folder}/1-2.trans.txt": b"1-2-0000 YES\n",
        f"{folder}/1-2-0000.flac": bytes(50_000),
    }


def test_unpack_writes_the_tree(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    archive = pack(tmp_path / "a.tar.gz", subset_files())
    unpack(archive, tmp_path / "out", lambda done, total: seen.append((done, total)))
    assert (tmp_path / "out" / f"LibriSpeech/{SUBSET}/1/2/1-2.trans.txt").read_text() == "1-2-0000 YES\n"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["LibriSpeech"]
    assert seen
    assert all(done <= total == archive.stat().st_size for done, total in seen)


def test_unpack_adds_a_second_subset(tmp_path: Path) -> None:
    unpack(pack(tmp_path / "a.tar.gz", subset_files()), tmp_path)
    unpack(pack(tmp_path / "b.tar.gz", subset_files("test-clean")), tmp_path)
    assert {path.name for path in (tmp_path / "LibriSpeech").iterdir()} == {SUBSET, "test-clean", "README.TXT"}
    with pytest.raises(CorpusError, match=r"LibriSpeech/test-clean: already exists"):
        unpack(tmp_path / "b.tar.gz", tmp_path)


def link(kind: bytes, target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo("LibriSpeech/link")
    member.type, member.linkname = kind, target
    return member


def device() -> tarfile.TarInfo:
    member = tarfile.TarInfo("LibriSpeech/null")
    member.type = tarfile.CHRTYPE
    return member


@pytest.mark.parametrize(
    "evil",
    [
        tarfile.TarInfo("../escaped"),
        tarfile.TarInfo("LibriSpeech/../../escaped"),
        tarfile.TarInfo("/tmp/escaped"),
        link(tarfile.SYMTYPE, "../../escaped"),
        link(tarfile.SYMTYPE, "/etc"),
        link(tarfile.LNKTYPE, "../escaped"),
        device(),
    ],
    ids=["parent", "hidden-parent", "absolute", "symlink", "absolute-symlink", "hard-link", "device"],
)
def test_unpack_refuses_archive_that_leaves_the_folder(tmp_path: Path, evil: tarfile.TarInfo) -> None:
    archive = pack(tmp_path / "a.tar.gz", subset_files(), evil)
    with pytest.raises(CorpusError, match=rf"a\.tar\.gz: '{re.escape(evil.name)}'.*nothing was unpacked"):
        unpack(archive, tmp_path / "in" / "out")
    assert list((tmp_path / "in" / "out").iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} == {"a.tar.gz", "in"}


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "flipped"])
def test_unpack_of_damaged_archive_leaves_nothing(tmp_path: Path, damage: str) -> None:
    noise = b"".join(hashlib.sha256(bytes([number % 256, number // 256])).digest() for number in range(5000))
    whole = pack(tmp_path / "a.tar.gz", {**subset_files(), f"LibriSpeech/{SUBSET}/noise": noise}).read_bytes()
    flipped = whole[:-8] + bytes(4) + whole[-4:]
    broken = {"cut": whole[: len(whole) // 2], "text": b"<html>no</html>", "empty": b"", "flipped": flipped}[damage]
    (tmp_path / "a.tar.gz").write_bytes(broken)
    with pytest.raises(CorpusError, match=r"a\.tar\.gz: not a complete tar archive"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_unpack_without_archive_fails(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"none\.tar\.gz: cannot be unpacked.*No such file"):
        unpack(tmp_path / "none.tar.gz", tmp_path)


def test_unpack_replaces_leftovers_of_killed_run(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.tar.gz", subset_files())
    stale = tmp_path / ".a.tar.gz.unpacking" / "LibriSpeech" / "stale"
    stale.mkdir(parents=True)
    unpack(archive, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"a.tar.gz", "LibriSpeech"}
    assert not (tmp_path / "LibriSpeech" / "stale").exists()


@pytest.fixture
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A small archive in the place of the real dev-clean-2."""
    data = pack(tmp_path / "source.tar.gz", subset_files()).read_bytes()
    (tmp_path / "source.tar.gz").unlink()
    monkeypatch.setitem(fetch.ARCHIVES, SUBSET, Archive(31, len(data), md5(data)))
    return data


def test_librispeech_downloads_unpacks_and_cleans_up(server: Server, tmp_path: Path, packed: bytes) -> None:
    server.behaviour = lambda handler, count: handler.answer(packed, handler.start())
    seen: list[int] = []
    folder = fetch.download_librispeech(SUBSET, tmp_path / "data", lambda done, total: seen.append(total), [server.url])
    assert folder == tmp_path / "data" / "LibriSpeech" / SUBSET
    assert (folder / "1" / "2" / "1-2-0000.flac").stat().st_size == 50_000
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["LibriSpeech"]
    assert [path for path, _ in server.requests] == [f"/31/{SUBSET}.tar.gz"]
    assert set(seen) == {len(packed)}


def test_librispeech_keeps_existing_subset(server: Server, tmp_path: Path, packed: bytes) -> None:
    (tmp_path / "LibriSpeech" / SUBSET).mkdir(parents=True)
    for root in (tmp_path, tmp_path / "LibriSpeech"):
        assert fetch.download_librispeech(SUBSET, root, None, [server.url]) == tmp_path / "LibriSpeech" / SUBSET
    assert server.requests == []


def test_librispeech_tries_the_next_mirror(server: Server, tmp_path: Path, packed: bytes) -> None:
    def behaviour(handler: Handler, count: int) -> None:
        if handler.path.startswith("/first/"):
            return handler.send_error(404)
        return handler.answer(packed)

    server.behaviour = behaviour
    assert fetch.download_librispeech(SUBSET, tmp_path, None, [f"{server.url}/first", f"{server.url}/second"]).is_dir()


def test_librispeech_error_names_mirrors_and_manual_way(server: Server, tmp_path: Path, packed: bytes) -> None:
    server.behaviour = lambda handler, count: handler.send_error(404)
    with pytest.raises(CorpusError) as error:
        fetch.download_librispeech(SUBSET, tmp_path, None, [f"{server.url}/first", f"{server.url}/second"])
    for part in ("/first/31/", "/second/31/", "HTTP 404", f"put it at {tmp_path / SUBSET}.tar.gz"):
        assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_librispeech_uses_existing_archive(tmp_path: Path, packed: bytes) -> None:
    (tmp_path / f"{SUBSET}.tar.gz").write_bytes(packed)
    assert fetch.download_librispeech(SUBSET, tmp_path, None, ["http://127.0.0.1:9"], NOW).is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["LibriSpeech"]


def test_librispeech_refuses_archive_without_subset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = pack(tmp_path / f"{SUBSET}.tar.gz", {"other/file": b""})
    monkeypatch.setitem(fetch.ARCHIVES, SUBSET, Archive(31, 1, md5(archive.read_bytes())))
    with pytest.raises(CorpusError, match=f"no LibriSpeech/{SUBSET} in it"):
        fetch.download_librispeech(SUBSET, tmp_path, None, ["http://127.0.0.1:9"], NOW)


def test_librispeech_checks_free_space_first(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bytes
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10_000_000_000))
    with pytest.raises(CorpusError, match=r"10\.0 GB are free, train-clean-360\.tar\.gz .* need 50\.7 GB"):
        fetch.download_librispeech("train-clean-360", tmp_path / "new", None, [server.url])
    assert server.requests == []
    assert not (tmp_path / "new").exists()


def test_librispeech_refuses_unofficial_subset(tmp_path: Path) -> None:
    for archive in fetch.ARCHIVES.values():
        assert re.fullmatch("[0-9a-f]{32}", archive.md5)
    with pytest.raises(CorpusError, match=r"'train' cannot be downloaded; available are dev-clean, "):
        fetch.download_librispeech("train", tmp_path)
