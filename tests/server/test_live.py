"""Live sessions over WebSocket."""

import asyncio
import base64
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import asr
from asr import audio
from asr.recognition import Recognizer
from tests.conftest import ROOT, SAMPLE_RATE

pytest.importorskip("fastapi", reason="fastapi is not installed")
pytest.importorskip("websockets", reason="websockets is not installed")
import httpx
import websockets
from fastapi.testclient import TestClient
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect
from websockets.sync.client import connect

from asr.server import ServerSettings, create_app
from asr.server.live import MESSAGE_BYTES
from tests.server.test_app import running

URL = "/v1/stream"
SETTINGS = ServerSettings(threads=1, pause=20)
SAMPLE = audio.load(ROOT / "data" / "samples" / "sample-02.opus")
INTEGERS = np.round(SAMPLE * 32_767).astype("<i2")


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return asr.load("english-small", decoder="greedy")


@pytest.fixture(scope="module")
def expected(recognizer: Recognizer) -> Any:
    live = recognizer.live()
    results = live.feed(INTEGERS.astype(np.int16)) + live.finish()
    return [result for result in results if result.final]


@pytest.fixture(scope="module")
def client(recognizer: Recognizer) -> Iterator[TestClient]:
    with TestClient(create_app(recognizer, "english-small", SETTINGS)) as one:
        yield one


@pytest.fixture(scope="module")
def address(recognizer: Recognizer) -> Iterator[str]:
    settings = replace(SETTINGS, pause=0.6, sessions=2)
    with running(create_app(recognizer, "english-small", settings)) as (address, _):
        yield address


def transcribe(session: Any, content: bytes, size: int) -> list[dict[str, Any]]:
    """Send audio as Vosk's example client does, which reads an answer after each message."""
    answers = []
    for start in range(0, len(content), size):
        session.send_bytes(content[start : start + size])
        answers.append(session.receive_json())
    session.send_text('{"eof" : 1}')
    return [*answers, session.receive_json()]


def check(answers: list[dict[str, Any]], expected: Any) -> None:
    finals = [answer for answer in answers if answer.get("text")]
    assert [answer["text"] for answer in finals] == [result.text for result in expected]
    words = [word for result in expected for word in result.transcript.words]
    assert [word for answer in finals for word in answer["result"]] == [
        {"word": word.text, "start": round(word.start, 3), "end": round(word.end, 3), "conf": round(word.confidence, 4)}
        for word in words
    ]
    assert words and {"partial", "stable"} == set(answers[5])
    assert any(answer.get("partial") for answer in answers)


def test_sixteen_bit_samples_without_a_configuration(client: TestClient, expected: Any) -> None:
    with client.websocket_connect(URL) as session:
        check(transcribe(session, INTEGERS.tobytes(), 6400), expected)
        with pytest.raises(WebSocketDisconnect) as closed:
            session.receive_json()
        assert closed.value.code == 1000


def test_floating_point_and_a_configuration(client: TestClient, expected: Any) -> None:
    with client.websocket_connect(URL) as session:
        session.send_json({"config": {"sample_rate": 16000.0, "format": "f32le", "words": True, "phrase_list": []}})
        check(transcribe(session, (INTEGERS / np.float32(32_768)).astype("<f4").tobytes(), 20_000), expected)
    assert "asr_live_sessions 0.0" in client.get("/metrics").text


def test_the_client_of_vosk(address: str, expected: Any) -> None:
    # The steps of python/example/test.py of vosk-server.
    async def run() -> list[dict[str, Any]]:
        async with websockets.connect(f"{address.replace('http', 'ws')}{URL}") as websocket:
            await websocket.send('{ "config" : { "sample_rate" : 16000 } }')
            answers = []
            for start in range(0, len(INTEGERS), 3200):
                await websocket.send(INTEGERS[start : start + 3200].tobytes())
                answers.append(json.loads(await websocket.recv()))
            await websocket.send('{"eof" : 1}')
            return [*answers, json.loads(await websocket.recv())]

    check(asyncio.run(run()), expected)


def test_no_audio_and_two_utterances_in_one_message(client: TestClient) -> None:
    with client.websocket_connect(URL) as session:
        session.send_text('{"eof": 1}')
        assert session.receive_json() == {"text": "", "result": []}
    with client.websocket_connect(URL) as session:
        session.send_json({"config": {"pause": 0.5}})
        gap = np.zeros(SAMPLE_RATE, "<i2")
        session.send_bytes(np.concatenate([INTEGERS, gap, INTEGERS, gap]).tobytes())
        answer = session.receive_json()
        assert answer["text"].count("LAST TRAIN") == 2
        assert answer["result"][-1]["start"] > len(INTEGERS) / SAMPLE_RATE + 1


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (b"odd", "a message of 3 bytes is not a whole number of samples of 2 bytes"),
        ("hello", "a text message that is not JSON"),
        ("[" * 100_000, "a text message that is not JSON"),
        ("{}", 'a text message that is neither {"config": {…}} nor {"eof": 1}'),
        ("[1]", "a text message that is neither"),
        ('{"config": 5}', "a text message that is neither"),
        ('{"config": {"sample_rate": "fast"}}', "config: sample_rate: 'fast' is not a number"),
        ('{"config": {"sample_rate": NaN}}', "config: sample_rate: 'nan' is not a number"),
        ('{"config": {"sample_rate": 1%s}}' % ("0" * 400), "config: sample_rate: '1000"),
        ('{"config": {"sample_rate": 8000.5}}', "config: sample_rate: 8000.5 is not a whole number"),
        ('{"config": {"sample_rate": 1}}', "1 Hz; speech needs 2000 to 768000 Hz"),
        ('{"config": {"format": ["mp3"]}}', "config: format: "),
        ('{"config": {"pause": -1}}', "pause = -1 is not between 0.1 and 10"),
        (b"x" * (MESSAGE_BYTES + 2), "a message of more than 1048576 bytes"),
    ],
)
def test_wrong_messages_are_answered_and_end_the_session(client: TestClient, message: Any, text: str) -> None:
    with client.websocket_connect(URL) as session:
        session.send_bytes(message) if isinstance(message, bytes) else session.send_text(message)
        assert session.receive_json()["error"]["message"].startswith(text)
        with pytest.raises(WebSocketDisconnect) as closed:
            session.receive_json()
        assert closed.value.code == 1007


def test_wrong_samples_and_a_late_configuration(client: TestClient) -> None:
    with client.websocket_connect(URL) as session:
        session.send_json({"config": {"format": "f32le"}})
        session.send_bytes(np.array([0, np.nan], "<f4").tobytes())
        assert "chunk at 0.000 s: sample 1 is not a number" in session.receive_json()["error"]["message"]
    with client.websocket_connect(URL) as session:
        session.send_bytes(bytes(100))
        assert session.receive_json() == {"partial": "", "stable": ""}
        session.send_json({"config": {}})
        assert session.receive_json()["error"]["message"] == "config: the audio has begun"


def test_token(recognizer: Recognizer) -> None:
    with TestClient(create_app(recognizer, "english-small", replace(SETTINGS, token="sécret"))) as client:

        def works(**options: Any) -> bool:
            try:
                with client.websocket_connect(URL, **options) as session:
                    session.send_text('{"eof": 1}')
                    return bool(session.receive_json()["text"] == "")
            except WebSocketDenialResponse as response:
                assert response.status_code == 401
                return False

        encoded = base64.urlsafe_b64encode("sécret".encode()).decode().rstrip("=")
        assert works(headers={"Authorization": "Bearer sécret".encode()})
        assert works(subprotocols=["asr", f"bearer.{encoded}"])
        assert (
            not works() and not works(subprotocols=["asr", "bearer.x"]) and not works(subprotocols=["asr", "bearer."])
        )
        assert not works(headers={"Authorization": "Bearer other"})


def test_pages_of_other_origins_are_refused_unless_named(recognizer: Recognizer, client: TestClient) -> None:
    other = {"Origin": "https://example.org"}
    with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect(URL, headers=other):
        pass
    assert refused.value.status_code == 403
    with client.websocket_connect(URL, headers={"Origin": "http://testserver"}):
        pass
    settings = replace(SETTINGS, origins=("https://example.org",))
    with TestClient(create_app(recognizer, "a", settings)) as named, named.websocket_connect(URL, headers=other):
        pass


def test_sessions_are_limited_and_idle_ones_end(address: str) -> None:
    url = f"{address.replace('http', 'ws')}{URL}"
    with connect(url) as first, connect(url):
        with pytest.raises(websockets.exceptions.InvalidStatus) as refused, connect(url):
            pass
        assert refused.value.response.status_code == 503
        assert json.loads(first.recv(timeout=10))["error"]["message"] == "no data for 0.6 seconds"
        with pytest.raises(websockets.exceptions.ConnectionClosed) as closed:
            first.recv(timeout=10)
        assert closed.value.rcvd and closed.value.rcvd.code == 1008
    assert answers(address)


def answers(address: str) -> bool:
    """Return whether a server still answers: over HTTP, and a live session once those before have ended."""
    end = time.monotonic() + 10
    while time.monotonic() < end and "asr_live_sessions 0.0" not in httpx.get(f"{address}/metrics").text:
        time.sleep(0.05)
    with connect(f"{address.replace('http', 'ws')}{URL}") as session:
        session.send('{"eof": 1}')
        return bool(json.loads(session.recv(timeout=10)) == {"text": "", "result": []})


HANDSHAKE = (
    f"GET {URL} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
).encode()


@pytest.mark.parametrize(
    "frame",
    [
        b"\x82\x05hello",  # not masked
        b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00",  # of 2^63 - 1 bytes
        b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00",  # a length beyond that
        b"\x83\x80\x00\x00\x00\x00",  # a reserved kind
        b"\xf2\x80\x00\x00\x00\x00",  # reserved bits
        b"\x80\x80\x00\x00\x00\x00",  # continues nothing
        b"\x89\xfe\x01\x00\x00\x00\x00\x00" + bytes(256),  # a ping that is too long
        b"\x81\x82\x00\x00\x00\x00\xff\xfe",  # text that is not UTF-8
        b"\x88\x81\x00\x00\x00\x00\x01",  # a close code of one byte
        b"\x82\xfe\x10",  # cut off
        (b"\x02\xff" + (600_000).to_bytes(8, "big") + bytes(600_004)) * 1
        + b"\x80\xff"
        + (600_000).to_bytes(8, "big")
        + bytes(600_004),  # two parts of a message that is too long
    ],
    ids=range(11),
)
def test_broken_frames(address: str, frame: bytes) -> None:
    host, _, port = address.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(HANDSHAKE)
        assert connection.recv(4096).startswith(b"HTTP/1.1 101")
        try:
            connection.sendall(frame)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
        except OSError:
            pass  # the server has closed the connection
    assert answers(address)


@pytest.mark.parametrize("seed", range(5))
def test_random_bytes_and_clients_that_leave(address: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    url = f"{address.replace('http', 'ws')}{URL}"
    with connect(url) as session:
        for _ in range(10):
            session.send(random.bytes(2 * int(random.integers(0, 20_000))))
    # No session is kept for a client that does not wait for its answers.
    assert answers(address)


def test_the_event_loop_is_free_while_speech_is_decoded(address: str, recognizer: Recognizer) -> None:
    with connect(f"{address.replace('http', 'ws')}{URL}") as session:
        session.send(np.tile(INTEGERS, 5).tobytes())
        begin = time.monotonic()
        assert httpx.get(f"{address}/healthz").json() == {"status": "ok"}
        waited = time.monotonic() - begin
        session.recv(timeout=60)
        assert waited < time.monotonic() - begin
