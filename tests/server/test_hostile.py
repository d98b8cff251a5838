"""Requests that a server must survive: wrong lengths, slow and broken uploads, random bytes."""

import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="fastapi is not installed")
import httpx

from asr.server import ServerSettings, create_app
from tests.server.test_app import URL, Slow, running, wave

HEAD = "POST {url} HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=xx\r\n"
FORM = (
    b'--xx\r\nContent-Disposition: form-data; name="model"\r\n\r\nslow\r\n'
    b'--xx\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n\r\n%s\r\n--xx--\r\n'
)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    recognizer: Any = Slow()
    recognizer.go.set()
    settings = ServerSettings(threads=1, megabytes=1.0, pause=0.3)
    with running(create_app(recognizer, "slow", settings)) as (address, _):
        yield address


def send(address: str, *parts: bytes, wait: float = 0.0) -> bytes:
    """Send bytes over a connection of their own, and return the answer."""
    host, _, port = address.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(wait)
        connection.settimeout(5)
        answer = b""
        with suppress(OSError):
            # The head and the body may come one after the other.
            while (part := connection.recv(65536)) and not (answer := answer + part).endswith(b"}"):
                pass
        return answer


def head(*lines: str) -> bytes:
    return (HEAD.format(url=URL) + "".join(f"{line}\r\n" for line in lines) + "\r\n").encode()


def works(address: str) -> bool:
    response = httpx.post(f"{address}{URL}", files={"file": ("a.wav", wave(5))}, data={"model": "slow"})
    return bool(response.json() == {"text": "5"})


def test_a_declared_length_beyond_the_limit_is_refused_before_the_body(address: str) -> None:
    answer = send(address, head("Content-Length: 10000000000"))
    assert answer.startswith(b"HTTP/1.1 413") and b"larger than 1 MB" in answer
    assert works(address)


@pytest.mark.parametrize("length", ["-5", "1e3", "99999999999999999999999999", "0x10"])
def test_other_lengths_are_refused(address: str, length: str) -> None:
    assert send(address, head(f"Content-Length: {length}")).split(b" ")[1] in (b"400", b"413")
    assert works(address)


def test_a_chunked_body_beyond_the_limit_is_refused(address: str) -> None:
    chunk = b"%x\r\n%s\r\n" % (500_000, bytes(500_000))
    start = FORM.partition(b"%s\r\n--xx--")[0] % b"a.wav"
    answer = send(
        address, head("Transfer-Encoding: chunked"), b"%x\r\n%s\r\n" % (len(start), start), chunk, chunk, chunk
    )
    assert answer.startswith(b"HTTP/1.1 413")
    assert works(address)


def test_a_client_that_stops_sending_is_refused(address: str) -> None:
    begin = time.monotonic()
    answer = send(address, head("Content-Length: 5000"), b"--xx\r\n")
    assert answer.startswith(b"HTTP/1.1 408") and time.monotonic() - begin < 4
    assert works(address)


def test_a_client_that_sends_too_slowly_is_refused(address: str) -> None:
    host, _, port = address.removeprefix("http://").partition(":")
    answer = b""
    with socket.create_connection((host, int(port)), timeout=0.1) as connection:
        connection.sendall(head("Content-Length: 5000") + b"--xx\r\n")
        for _ in range(100):
            connection.sendall(b"a")
            with suppress(TimeoutError):
                answer = connection.recv(65536)
                break
    assert answer.startswith(b"HTTP/1.1 408")
    assert works(address)


def test_a_client_that_leaves_costs_nothing(address: str, tmp_path: Path) -> None:
    host, _, port = address.removeprefix("http://").partition(":")
    for _ in range(20):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(head("Content-Length: 5000") + b"--xx\r\nContent-Disposition: form-data")
    assert works(address)


@pytest.mark.parametrize(
    "name",
    [b"../../../../tmp/evil.wav", b"/etc/passwd", b"a\0b.wav", b"", b".", b"x" * 5000 + b".wav", b"\xff\xfe.wav"],
)
def test_file_names_are_not_used(address: str, name: bytes) -> None:
    body = FORM % (name, wave(6))
    answer = send(address, head(f"Content-Length: {len(body)}", "Connection: close"), body)
    assert answer.split(b" ")[1] in (b"200", b"400")
    assert works(address)
    assert not Path("/tmp/evil.wav").exists()


@pytest.mark.parametrize("seed", range(20))
def test_random_bodies_are_answered_with_4xx(address: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    body = bytearray(FORM % (b"a.wav", wave(50)))
    for place in random.integers(0, len(body), 12):
        body[place] = random.integers(256)
    body = body[: random.integers(1, len(body) + 1)]
    answer = send(address, head(f"Content-Length: {len(body)}", "Connection: close"), bytes(body))
    assert answer.split(b" ")[1][:1] in (b"2", b"4")
    assert works(address)


def test_random_requests_are_survived(address: str) -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        send(address, random.bytes(300) + b"\r\n\r\n")
    assert works(address)
