"""The application: its routes, limits and metrics."""

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Annotated, Any

from fastapi import FastAPI, Form, HTTPException, Request, Response, UploadFile, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException as StarletteHTTPException

from asr import audio
from asr.recognition import Recognizer, TranscribeOptions
from asr.recognition.streaming import check_audio
from asr.server import responses
from asr.server.batching import QueueFullError, TranscriptionQueue
from asr.server.limits import BearerToken, BodyLimit, error_body
from asr.server.live import LiveService
from asr.transcripts.records import FileResult
from asr.version import __version__

_STATIC = Path(__file__).parent / "static"
# Clients of OpenAI's API send this name unless another is given.
ALIAS = "whisper-1"
_RETRY_SECONDS = 1
# The page needs its own script and style, sound that was chosen in it, and nothing else.
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; media-src 'self' blob:; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class ServerSettings:
    """What a server accepts.

    `megabytes`: the size of a request. `seconds`: the duration of a recording. `waiting`: how many recordings may wait.
    `timeout`: seconds from the end of an upload to its transcript. `sessions`: how many live sessions may run at once.
    `pause`: seconds without data during an upload or a live session.
    `threads`: how many threads transcribe. `token`: clients must send it as a bearer token. `origins`: web pages of
    these origins may use the API. `language`: of the model, as responses name it.
    """

    megabytes: float = 200.0
    seconds: float = 4 * 3600.0
    waiting: int = 64
    timeout: float = 600.0
    sessions: int = 32
    pause: float = 30.0
    threads: int = os.cpu_count() or 1
    token: str = ""
    origins: tuple[str, ...] = ()
    language: str = ""


class TranscriptionRequest(BaseModel):
    """The fields of a request, those of OpenAI's API."""

    file: UploadFile = Field(description="A sound file")
    model: str = Field(description=f"The served model, or {ALIAS} for the same")
    response_format: str = Field("json", json_schema_extra={"enum": list(responses.FORMATS)})
    granularities: list[str] = Field(
        [],
        alias="timestamp_granularities[]",
        description="segment (default), word",
        json_schema_extra={"items": {"type": "string", "enum": list(responses.GRANULARITIES)}},
    )
    stream: bool = Field(False, description="Only false", json_schema_extra={"enum": [False]})
    language: str = Field("", description="Accepted; a model has one language")
    prompt: str = Field("", description="Accepted; has no effect")
    temperature: float = Field(0.0, description="Accepted; has no effect")


class ErrorDetails(BaseModel):
    """Why a request failed; `param` is the field at fault."""

    message: str
    type: str
    param: str | None
    code: None


class ErrorBody(BaseModel):
    """An error, as OpenAI's API writes it."""

    error: ErrorDetails


# What the API's description says of errors.
_RESPONSES: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorBody, "description": "The request is wrong"},
    "5XX": {"model": ErrorBody, "description": "The server is busy, or the request took too long"},
}


class RequestError(HTTPException):
    """A request that cannot be fulfilled; `param` is the field at fault."""

    def __init__(self, param: str, message: str, status: int = 400) -> None:
        super().__init__(status, message)
        self.param = param


class _Metrics:
    def __init__(self, queue: TranscriptionQueue) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter("asr_requests", "Requests", ["path", "status"], registry=registry)
        self.latency = Histogram("asr_request_seconds", "Seconds from request to response", ["path"], registry=registry)
        self.audio = Counter("asr_audio_seconds", "Seconds of audio transcribed", registry=registry)
        self.live = Gauge("asr_live_sessions", "Live sessions", registry=registry)
        Gauge("asr_queue_waiting", "Recordings that wait", registry=registry).set_function(lambda: len(queue))

    async def measure(self, request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        """Count a request and measure its time."""
        begin = time.perf_counter()
        response = await call_next(request)
        # Only paths that exist: a label for each path that someone tries would fill the memory.
        path = getattr(request.scope.get("route"), "path", "other")
        self.requests.labels(path, str(response.status_code)).inc()
        self.latency.labels(path).observe(time.perf_counter() - begin)
        return response


class _Service:
    """The handlers of the routes."""

    def __init__(self, recognizer: Recognizer, name: str, settings: ServerSettings) -> None:
        check_audio(recognizer.settings)
        self._names = (name, ALIAS)
        self._settings = settings
        self.queue = TranscriptionQueue(recognizer, settings.waiting, settings.threads)
        self.metrics = _Metrics(self.queue)
        self.live = LiveService(recognizer, settings.sessions, settings.threads, settings.pause, settings.origins)
        self.metrics.live.set_function(lambda: len(self.live))

    async def page(self) -> FileResponse:
        """Return the web page."""
        return FileResponse(_STATIC / "index.html", headers=_PAGE_HEADERS)

    async def health(self) -> dict[str, str]:
        """Return whether the server runs."""
        return {"status": "ok"}

    async def prometheus(self) -> Response:
        """Return metrics in Prometheus' text format."""
        return Response(generate_latest(self.metrics.registry), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def models(self) -> dict[str, Any]:
        """Return the names that a request may give as its model."""
        rows = [{"id": name, "object": "model", "created": 0, "owned_by": "asr"} for name in self._names]
        return {"object": "list", "data": rows}

    async def transcriptions(self, request: Annotated[TranscriptionRequest, Form()]) -> Response:
        """Transcribe a sound file, as OpenAI's API does."""
        granularities = tuple(request.granularities or ("segment",))
        self._check(request, granularities)
        options = TranscribeOptions(words=request.response_format in responses.TIMED)
        result = await self._transcribe(request.file, options)
        if result.transcript:
            self.metrics.audio.inc(result.transcript.duration)
        if request.response_format == "json":
            return JSONResponse({"text": result.text})
        if request.response_format == "verbose_json":
            return JSONResponse(responses.verbose(result, self._settings.language, granularities))
        return PlainTextResponse(responses.as_text(result, request.response_format))

    async def stream(self, websocket: WebSocket) -> None:
        """Transcribe speech as it arrives."""
        await self.live.serve(websocket, self.metrics.audio.inc)

    def _check(self, request: TranscriptionRequest, granularities: tuple[str, ...]) -> None:
        if request.model not in self._names:
            raise RequestError("model", f"model {request.model!r} is not served; it is {self._names[0]}", 404)
        if request.response_format not in responses.FORMATS:
            raise RequestError("response_format", f"response_format: expected {', '.join(responses.FORMATS)}")
        if not set(granularities) <= set(responses.GRANULARITIES):
            raise RequestError("timestamp_granularities[]", "timestamp_granularities[]: expected segment or word")
        if request.stream:
            raise RequestError("stream", "stream: transcripts are not streamed; leave it out")

    async def _transcribe(self, file: UploadFile, options: TranscribeOptions) -> FileResult:
        """Return the result of an upload, which lies in a temporary folder meanwhile. Raise HTTPException."""
        settings = self._settings
        with tempfile.TemporaryDirectory(prefix="asr-serve-", ignore_cleanup_errors=True) as folder:
            # Nothing of the client's name but a known suffix, by which libsndfile recognises some MP3 files.
            suffix = PurePath(file.filename or "").suffix.lower()
            path = Path(folder) / f"upload{suffix if suffix in audio.SUFFIXES else ''}"
            await run_in_threadpool(_copy, file, path)
            try:
                duration = await run_in_threadpool(_duration, path)
                if duration > settings.seconds:
                    raise RequestError("file", f"file: longer than {settings.seconds:g} s: {duration:.0f} s")
                future = self.queue.submit(path, options)
            except audio.AudioError as error:
                raise _bad_file(str(error), path, file) from error
            except QueueFullError as error:
                headers = {"Retry-After": str(_RETRY_SECONDS)}
                raise HTTPException(503, "too many recordings wait; try again", headers) from error
            try:
                result = await asyncio.wait_for(asyncio.wrap_future(future), settings.timeout)
            except TimeoutError as error:
                raise HTTPException(504, f"not transcribed within {settings.timeout:g} seconds") from error
            if result.error:
                raise _bad_file(result.error, path, file)
            return result


def _duration(path: Path) -> float:
    with audio.AudioReader(path, strict=False) as reader:
        return reader.info.duration


def _copy(file: UploadFile, path: Path) -> None:
    with path.open("wb") as out:
        shutil.copyfileobj(file.file, out)


def _bad_file(message: str, path: Path, file: UploadFile) -> RequestError:
    name = PurePath(file.filename or "file").name[:100]
    return RequestError("file", message.replace(str(path), name))


def create_app(recognizer: Recognizer, name: str, settings: ServerSettings = ServerSettings()) -> FastAPI:
    """Return the application (ASGI) that serves a recognizer as the model `name`.

    Its threads start at once, and stop at the end of the application's lifespan, after the running requests.
    """
    service = _Service(recognizer, name, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(service.queue.close)
        await run_in_threadpool(service.live.close)

    app = FastAPI(title="asr", version=__version__, description="Speech recognition", lifespan=lifespan)
    app.add_middleware(BodyLimit, size=round(settings.megabytes * 1e6), pause=settings.pause)
    if settings.token:
        app.add_middleware(BearerToken, token=settings.token)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=list(settings.origins), allow_methods=["*"], allow_headers=["*"]
        )
    app.middleware("http")(service.metrics.measure)
    app.add_exception_handler(StarletteHTTPException, _failed)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_api_route("/", service.page, include_in_schema=False)
    app.add_api_route("/healthz", service.health)
    app.add_api_route("/metrics", service.prometheus, response_class=PlainTextResponse)
    app.add_api_route("/v1/models", service.models, responses=_RESPONSES)
    app.add_api_route(
        "/v1/audio/transcriptions",
        service.transcriptions,
        methods=["POST"],
        response_model=None,
        responses=_RESPONSES | {200: {"description": "The transcript", "content": {"text/plain": {}}}},
    )
    app.add_api_websocket_route("/v1/stream", service.stream)
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")
    return app


async def _failed(_: Request, error: Any) -> JSONResponse:
    """Return an error as OpenAI's API writes it."""
    kind = "invalid_request_error" if error.status_code < 500 else "server_error"
    body = error_body(str(error.detail), kind, getattr(error, "param", None))
    return JSONResponse(body, error.status_code, error.headers)


async def _invalid(_: Request, error: Any) -> JSONResponse:
    first = error.errors()[0]
    param = ".".join(str(part) for part in first["loc"][1:])
    return JSONResponse(error_body(f"{param}: {first['msg']}", param=param), 400)
