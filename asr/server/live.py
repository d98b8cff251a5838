"""Live transcription over WebSocket: samples in, partial and final results out, also as Vosk's server has them."""

import asyncio
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from fastapi import WebSocket, WebSocketDisconnect
from starlette.responses import JSONResponse

from asr.errors import AsrError
from asr.recognition import Recognizer
from asr.recognition.live import LiveOptions, LiveResult, LiveTranscriber
from asr.server.limits import SUBPROTOCOL, error_body

# The largest message, in bytes: some seconds of audio.
MESSAGE_BYTES = 1 << 20
_FORMATS: dict[str, np.dtype[Any]] = {"s16le": np.dtype("<i2"), "f32le": np.dtype("<f4")}
_SAMPLE_RATE, _FORMAT = 16_000, "s16le"
# Codes with which a connection is closed (RFC 6455, section 7.4.1).
_DONE, _WRONG, _IDLE = 1000, 1007, 1008


class MessageError(AsrError):
    """A message that the protocol does not have."""


class _Session:
    """One session: answers the messages of a client. `ended`: the client has sent the end of its audio."""

    def __init__(self, recognizer: Recognizer) -> None:
        self.ended = False
        self._recognizer = recognizer
        self._live: LiveTranscriber | None = None
        self._rate, self._format, self._options = _SAMPLE_RATE, _FORMATS[_FORMAT], LiveOptions()
        self._partial: LiveResult | None = None
        # Seconds by which computing takes longer than the audio; partial results wait until it has caught up.
        self._behind = 0.0

    @property
    def seconds(self) -> float:
        """Return how much audio was received, in seconds."""
        return self._live.seconds if self._live else 0.0

    def answer(self, message: str | bytes) -> dict[str, Any] | None:
        """Return the answer to a message; a configuration has none. Raise AsrError."""
        if isinstance(message, bytes):
            return self._add(message)
        try:
            fields = json.loads(message)
        except (ValueError, RecursionError) as error:
            raise MessageError("a text message that is not JSON") from error
        if isinstance(fields, dict) and isinstance(fields.get("config"), dict):
            self._configure(fields["config"])
            return None
        if isinstance(fields, dict) and fields.get("eof"):
            self.ended = True
            return _final(self._live.finish() if self._live else [])
        raise MessageError('a text message that is neither {"config": {…}} nor {"eof": 1}')

    def _configure(self, fields: dict[str, Any]) -> None:
        if self.seconds:
            raise MessageError("config: the audio has begun")
        rate = _number(fields, "sample_rate", _SAMPLE_RATE)
        if rate % 1:
            raise MessageError(f"config: sample_rate: {rate} is not a whole number")
        name = str(fields.get("format", _FORMAT))
        if name not in _FORMATS:
            raise MessageError(f"config: format: {name[:40]!r} is not one of {', '.join(_FORMATS)}")
        pause, longest = (_number(fields, key, getattr(self._options, key)) for key in ("pause", "longest"))
        self._options = LiveOptions(pause, longest)
        self._rate, self._format = int(rate), _FORMATS[name]
        self._live = self._start()

    def _start(self) -> LiveTranscriber:
        return self._recognizer.live(self._rate, self._options)

    def _add(self, data: bytes) -> dict[str, Any]:
        size = self._format.itemsize
        if len(data) % size:
            raise MessageError(f"a message of {len(data)} bytes is not a whole number of samples of {size} bytes")
        self._live = self._live or self._start()
        samples = np.frombuffer(data, self._format).astype(self._format.newbyteorder("="))
        begin = time.perf_counter()
        results = self._live.feed(samples, partial=self._behind <= 0)
        self._behind = max(0.0, self._behind + time.perf_counter() - begin - len(samples) / self._rate)
        finals = [result for result in results if result.final]
        if results:
            self._partial = None if results[-1].final else results[-1]
        return _final(finals) if finals else _partial(self._partial)


def _number(fields: dict[str, Any], key: str, default: float) -> float:
    value = fields.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e9:
        raise MessageError(f"config: {key}: {str(value)[:40]!r} is not a number")
    return value


def _partial(result: LiveResult | None) -> dict[str, Any]:
    return {"partial": result.text, "stable": result.stable} if result else {"partial": "", "stable": ""}


def _final(results: list[LiveResult]) -> dict[str, Any]:
    """Return final results as one, as Vosk's server writes it."""
    words = [
        {"word": word.text, "start": round(word.start, 3), "end": round(word.end, 3), "conf": round(word.confidence, 4)}
        for result in results
        for word in result.transcript.words
    ]
    return {"text": " ".join(result.text for result in results if result.text), "result": words}


class LiveService:
    """Serves live sessions, at most `limit` at once, on `threads` threads.

    `idle`: seconds without a message, or without reading an answer, after which a session ends. `origins`: pages of
    these origins may connect, besides the server's own.
    """

    def __init__(self, recognizer: Recognizer, limit: int, threads: int, idle: float, origins: tuple[str, ...]) -> None:
        self._recognizer = recognizer
        self._limit, self._idle, self._origins = limit, idle, origins
        self._threads = ThreadPoolExecutor(threads, "live")
        self._count = 0

    def __len__(self) -> int:
        """Return how many sessions run."""
        return self._count

    def close(self) -> None:
        """Stop the threads."""
        self._threads.shutdown()

    async def serve(self, websocket: WebSocket, on_audio: Callable[[float], None]) -> None:
        """Serve one session. `on_audio` is called with the seconds of its audio at the end."""
        refusal = self._refusal(websocket)
        if refusal:
            await websocket.send_denial_response(refusal)
            return
        self._count += 1
        session = _Session(self._recognizer)
        try:
            await websocket.accept(SUBPROTOCOL if SUBPROTOCOL in websocket.scope["subprotocols"] else None)
            await self._run(websocket, session)
        except WebSocketDisconnect:
            pass
        finally:
            self._count -= 1
            on_audio(session.seconds)

    def _refusal(self, websocket: WebSocket) -> JSONResponse | None:
        # Browsers let pages of any origin connect; CORS does not apply.
        origin = websocket.headers.get("origin")
        own = origin is None or urlsplit(origin).netloc == websocket.headers.get("host")
        if not own and origin not in self._origins:
            return JSONResponse(error_body("pages of this origin may not connect"), 403)
        if self._count >= self._limit:
            body = error_body("too many live sessions; try again", "server_error")
            return JSONResponse(body, 503, {"Retry-After": "10"})
        return None

    async def _run(self, websocket: WebSocket, session: _Session) -> None:
        loop = asyncio.get_running_loop()
        try:
            while not session.ended:
                message = await asyncio.wait_for(websocket.receive(), self._idle)
                if message["type"] == "websocket.disconnect":
                    return
                data: bytes | None = message.get("bytes")
                content: str | bytes = message["text"] if data is None else data
                if len(content) > MESSAGE_BYTES:
                    raise MessageError(f"a message of more than {MESSAGE_BYTES} bytes")
                answer = await loop.run_in_executor(self._threads, session.answer, content)
                if answer is not None:
                    await asyncio.wait_for(websocket.send_json(answer, "text"), self._idle)
            await websocket.close(_DONE)
        except TimeoutError:
            await self._fail(websocket, f"no data for {self._idle:g} seconds", _IDLE)
        except AsrError as error:
            await self._fail(websocket, str(error), _WRONG)

    async def _fail(self, websocket: WebSocket, message: str, code: int) -> None:
        with suppress(TimeoutError):  # it does not read
            await asyncio.wait_for(websocket.send_json(error_body(message)), self._idle)
        await websocket.close(code)
