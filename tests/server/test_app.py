"""The HTTP service, with the bundled model and greedy decoding."""

import io
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import asr
from asr.model.checkpoint import ModelFileSettings
from asr.recognition import Recognizer, TranscribeOptions
from asr.text import TextSettings
from asr.transcripts.records import FileResult
from tests.conftest import ROOT

pytest.importorskip("fastapi", reason="fastapi is not installed")
import httpx
from fastapi.testclient import TestClient

from asr.server import ServerSettings, create_app, make_server, open_socket

SAMPLE = ROOT / "data" / "samples" / "sample-01.opus"
URL = "/v1/audio/transcriptions"
SETTINGS = ServerSettings(threads=1, language="english")


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return asr.load("english-small", decoder="greedy")


@pytest.fixture(scope="module")
def expected(recognizer: Recognizer) -> Any:
    return recognizer.transcribe_file(SAMPLE, TranscribeOptions(words=True))


@pytest.fixture(scope="module")
def client(recognizer: Recognizer) -> Iterator[TestClient]:
    with TestClient(create_app(recognizer, "english-small", SETTINGS)) as one:
        yield one


def post(client: TestClient, content: bytes = SAMPLE.read_bytes(), name: str = SAMPLE.name, **fields: Any) -> Any:
    return client.post(URL, files={"file": (name, content)}, data={"model": "english-small"} | fields)


def message(response: Any) -> str:
    return str(response.json()["error"]["message"])


def test_json_and_text(client: TestClient, expected: Any) -> None:
    assert expected.text
    assert post(client).json() == {"text": expected.text}
    response = post(client, response_format="text", model="whisper-1", temperature="0", language="en", prompt="x")
    assert response.text == expected.text + "\n"
    assert response.headers["content-type"].startswith("text/plain")


def test_subtitles(client: TestClient, expected: Any) -> None:
    assert post(client, response_format="vtt").text.startswith("WEBVTT\n\n00:00:0")
    srt = post(client, response_format="srt").text
    assert srt.startswith("1\n00:00:0") and " ".join(srt.split()).endswith(expected.text.split()[-1])


@pytest.mark.parametrize(
    ("granularities", "present"),
    [([], ["segments"]), (["word"], ["words"]), (["word", "segment"], ["segments", "words"])],
)
def test_verbose_json(client: TestClient, expected: Any, granularities: list[str], present: list[str]) -> None:
    fields: dict[str, Any] = {"response_format": "verbose_json", "timestamp_granularities[]": granularities}
    body = post(client, **fields).json()
    assert (body["text"], body["task"], body["language"]) == (expected.text, "transcribe", "english")
    assert body["duration"] == pytest.approx(expected.duration, abs=0.001)
    assert sorted(set(body) & {"words", "segments"}) == present
    if "words" in present:
        assert [(one["word"], one["start"]) for one in body["words"]] == [
            (word.text, round(word.start, 3)) for word in expected.words
        ]


@contextmanager
def running(app: Any) -> Iterator[tuple[str, Any]]:
    """Run a server in a thread; yield its address and the server."""
    server, bound = make_server(app, 20), open_socket("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, args=([bound],))
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{bound.getsockname()[1]}", server
    server.should_exit = True
    thread.join()


def test_openai_client(recognizer: Recognizer, expected: Any) -> None:
    openai = pytest.importorskip("openai", reason="openai is not installed")
    with running(create_app(recognizer, "english-small", SETTINGS)) as (address, _):
        client = openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)
        with SAMPLE.open("rb") as file:
            assert client.audio.transcriptions.create(model="whisper-1", file=file).text == expected.text
        with SAMPLE.open("rb") as file:
            verbose = client.audio.transcriptions.create(
                model="english-small", file=file, response_format="verbose_json", timestamp_granularities=["word"]
            )
        assert [word.word for word in verbose.words] == [word.text for word in expected.words]
        assert "english-small" in {model.id for model in client.models.list()}
        with pytest.raises(openai.NotFoundError, match="is not served"):
            client.audio.transcriptions.create(model="other", file=("a.wav", b"x"))
        client.close()


@pytest.mark.parametrize(
    ("fields", "status", "text"),
    [
        ({"model": "large"}, 404, "model 'large' is not served; it is english-small"),
        ({"response_format": "xml"}, 400, "response_format: expected json, text, srt, verbose_json, vtt"),
        ({"timestamp_granularities[]": "frame"}, 400, "timestamp_granularities[]: expected segment or word"),
        ({"stream": "true"}, 400, "stream: transcripts are not streamed; leave it out"),
        ({"temperature": "warm"}, 400, "temperature: "),
    ],
)
def test_wrong_fields(client: TestClient, fields: dict[str, Any], status: int, text: str) -> None:
    response = post(client, **fields)
    assert response.status_code == status
    assert message(response).startswith(text)


def test_missing_file(client: TestClient) -> None:
    response = client.post(URL, data={"model": "english-small"})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "file")
    assert client.post(URL, content=b"x" * 1000).status_code == 400
    assert client.get(URL).status_code == 405


@pytest.mark.parametrize(
    ("content", "name", "text"),
    [
        (b"", "a.wav", "a.wav: the file is empty"),
        (b"no sound" * 100, "../../etc/passwd.wav", "passwd.wav: not a sound file"),
        (b"<html>" * 100, "page.m4a", "page.m4a: "),
    ],
)
def test_bad_files(client: TestClient, content: bytes, name: str, text: str) -> None:
    response = post(client, content, name)
    assert response.status_code == 400
    assert message(response).startswith(text)
    assert "upload" not in message(response) and "/" not in message(response)


def test_truncated_recordings_are_transcribed_with_a_note(client: TestClient) -> None:
    response = post(client, wave(8000)[:9000], "a.wav", response_format="verbose_json")
    assert response.status_code == 200
    assert "truncated" in response.json()["notes"][0]


def silence(seconds: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(8000 * seconds, np.int16), 8000, format="FLAC")
    return file.getvalue()


def test_digital_silence_is_no_speech_or_a_clear_error(client: TestClient) -> None:
    response = post(client, silence(2), "quiet.flac")
    assert response.status_code == 400 and "digital silence" in message(response)


def declare(flac: bytes, samples: int) -> bytes:
    """Return a FLAC file with another number of samples in its header (RFC 9639, section 8.2)."""
    fields = int.from_bytes(flac[18:26], "big")
    return flac[:18] + (fields >> 36 << 36 | samples).to_bytes(8, "big") + flac[26:]


@pytest.mark.parametrize(
    ("samples", "text"),
    [
        (0, "file: longer than 60 s: 120 s"),  # unknown: it is the rest of the file
        (80_000, "digital silence"),  # less than there is: the rest is not read
        (2**36 - 1, "hours long; the limit is 24 hours"),
        (8000 * 3600, "file: longer than 60 s: 3600 s"),
    ],
)
def test_lengths_that_are_not_those_of_the_file(recognizer: Recognizer, samples: int, text: str) -> None:
    with TestClient(create_app(recognizer, "english-small", replace(SETTINGS, seconds=60))) as client:
        response = post(client, declare(silence(120), samples), "quiet.flac")
        assert response.status_code == 400 and text in message(response)


@pytest.mark.slow
@pytest.mark.parametrize("samples", [0, 8000 * 3 * 3600, 8000 * 10])
def test_three_hours_of_silence_take_neither_memory_nor_long(client: TestClient, samples: int) -> None:
    content = declare(silence(3 * 3600), samples)
    assert len(content) < 1_000_000
    begin = time.thread_time()
    response = post(client, content, "quiet.flac")
    assert response.status_code == 400 and "digital silence" in message(response)
    assert time.thread_time() - begin < 60


def test_limits(recognizer: Recognizer, tmp_path: Path) -> None:
    settings = replace(SETTINGS, megabytes=0.01, seconds=60)
    with TestClient(create_app(recognizer, "english-small", settings)) as client:
        response = post(client, bytes(20_000), "a.wav")
        assert (response.status_code, message(response)) == (413, "the request is larger than 0.01 MB")
        response = client.post(
            URL, content=iter([bytes(6000), bytes(6000)]), headers={"content-type": "multipart/form-data; boundary=a"}
        )
        assert response.status_code == 413
        response = post(client, silence(70), "long.flac")
        assert (response.status_code, message(response)) == (400, "file: longer than 60 s: 70 s")


def test_the_description_has_all_responses_and_choices(client: TestClient) -> None:
    description = client.get("/openapi.json").json()
    responses = description["paths"][URL]["post"]["responses"]
    assert set(responses) == {"200", "4XX", "5XX"}
    assert set(responses["200"]["content"]) == {"application/json", "text/plain"}
    fields = next(one for name, one in description["components"]["schemas"].items() if "TranscriptionRequest" in name)
    assert fields["properties"]["response_format"]["enum"] == ["json", "text", "srt", "verbose_json", "vtt"]


def test_token(recognizer: Recognizer) -> None:
    with TestClient(create_app(recognizer, "english-small", replace(SETTINGS, token="sécret"))) as client:
        assert client.get("/healthz").status_code == client.get("/").status_code == 200
        assert client.get("/v1/models").status_code == post(client).status_code == 401
        assert client.get("/metrics", headers={"Authorization": "Bearer wrong"}).status_code == 401
        authorized = {b"Authorization": "Bearer sécret".encode()}
        assert client.get("/v1/models", headers=authorized).status_code == 200


def test_metrics_count_known_paths_only(client: TestClient) -> None:
    post(client)
    client.get("/no/such/path/1")
    client.get("/no/such/path/2")
    text = client.get("/metrics").text
    assert 'asr_requests_total{path="/v1/audio/transcriptions",status="200"}' in text
    assert 'asr_requests_total{path="other",status="404"} ' in text and "such" not in text


def test_pages_of_other_origins_are_refused_unless_named(recognizer: Recognizer, client: TestClient) -> None:
    origin = {"Origin": "https://example.org"}
    assert "access-control-allow-origin" not in client.get("/v1/models", headers=origin).headers
    settings = replace(SETTINGS, origins=("https://example.org",))
    with TestClient(create_app(recognizer, "english-small", settings)) as other:
        assert other.get("/v1/models", headers=origin).headers["access-control-allow-origin"] == "https://example.org"


class Slow:
    """Stands in for a recognizer that waits, and notes which files it was given together."""

    settings = ModelFileSettings(text=TextSettings("upper", " A"))

    def __init__(self) -> None:
        self.go, self.started = threading.Event(), threading.Event()
        self.batches: list[int] = []

    def transcribe_files(self, sources: list[Path], options: TranscribeOptions, on_result: Any) -> Iterator[None]:
        self.batches.append(len(sources))
        self.started.set()
        self.go.wait(20)
        for index, path in enumerate(sources):
            on_result(index, [FileResult(str(path), replace_text(path))])
            yield


def replace_text(path: Path) -> Any:
    samples, _ = soundfile.read(path)
    return asr.Transcript(str(len(samples)))


def wave(samples: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.ones(samples, np.int16), 8000, format="WAV")
    return file.getvalue()


def serve_slowly(**settings: Any) -> tuple[Slow, TestClient]:
    slow: Any = Slow()
    return slow, TestClient(create_app(slow, "slow", replace(SETTINGS, **settings)))


def test_requests_that_wait_are_computed_together_and_get_their_own_texts() -> None:
    slow, client = serve_slowly()
    with client, ThreadPoolExecutor(6) as pool:
        first = pool.submit(post, client, wave(1), model="slow")
        assert slow.started.wait(10)
        others = [pool.submit(post, client, wave(count), model="slow") for count in range(2, 6)]
        while "asr_queue_waiting 4.0" not in client.get("/metrics").text:
            pass
        slow.go.set()
        assert [one.result().json()["text"] for one in (first, *others)] == ["1", "2", "3", "4", "5"]
    assert slow.batches == [1, 4]


def test_a_full_queue_is_answered_with_503() -> None:
    slow, client = serve_slowly(waiting=1)
    with client, ThreadPoolExecutor(2) as pool:
        running = pool.submit(post, client, wave(1), model="slow")
        assert slow.started.wait(10)
        waiting = pool.submit(post, client, wave(2), model="slow")
        while "asr_queue_waiting 1.0" not in client.get("/metrics").text:
            pass
        response = post(client, wave(3), model="slow")
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        slow.go.set()
        assert (running.result().status_code, waiting.result().status_code) == (200, 200)


def test_a_transcript_that_takes_too_long_is_answered_with_504() -> None:
    slow, client = serve_slowly(timeout=0.05)
    with client:
        response = post(client, wave(1), model="slow")
        slow.go.set()
    assert (response.status_code, message(response)) == (504, "not transcribed within 0.05 seconds")


def test_requests_finish_before_the_server_stops() -> None:
    slow: Any = Slow()
    with ThreadPoolExecutor(1) as pool, running(create_app(slow, "slow", SETTINGS)) as (address, server):
        request = httpx.Client()
        sent = pool.submit(request.post, f"{address}{URL}", files={"file": ("a.wav", wave(7))}, data={"model": "slow"})
        assert slow.started.wait(10)
        server.should_exit = True
        time.sleep(0.2)
        slow.go.set()
        assert sent.result().json() == {"text": "7"}
        request.close()


def test_a_defect_is_answered_and_the_server_goes_on() -> None:
    slow, client = serve_slowly()
    slow.go.set()
    client = TestClient(client.app, raise_server_exceptions=False)
    with client:
        assert post(client, wave(1), model="slow").status_code == 200
        slow.transcribe_files = lambda *_, **__: 1 / 0  # type: ignore[assignment]
        assert post(client, wave(2), model="slow").status_code == 500
        del slow.transcribe_files
        assert post(client, wave(3), model="slow").json() == {"text": "3"}


def test_the_page_requests_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    for name in ("page.js", "page.css", "recorder.js"):
        content = client.get(f"/static/{name}")
        assert content.status_code == 200 and "http" not in content.text
    assert "http" not in page.text
