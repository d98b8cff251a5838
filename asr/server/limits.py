"""ASGI middleware that bounds requests: the size of a body, the time to send it, and who may send it."""

import asyncio
import base64
import secrets
import time

from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Bytes per second of a body, on average.
_SLOWEST = 1000
# Paths that need no token.
_OPEN = ("/healthz",)
# The subprotocol of live sessions. Pages cannot set headers of a WebSocket: they send the token as a second one, after
# this prefix and in base64url, as Kubernetes does.
SUBPROTOCOL, _TOKEN_PREFIX = "asr", "bearer."


def error_body(message: str, kind: str = "invalid_request_error", param: str | None = None) -> dict[str, object]:
    """Return an error as OpenAI's API writes it."""
    return {"error": {"message": message, "type": kind, "param": param, "code": None}}


class BodyLimit:
    """Refuses bodies of more than `size` bytes (413), and slow ones (408).

    Those are bodies of which nothing arrives for `pause` seconds, or less than 1 kB for each second after these.
    """

    def __init__(self, app: ASGIApp, size: int, pause: float) -> None:
        self._app, self._size, self._pause = app, size, pause

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "0")
        if not length.isdecimal() or int(length) > self._size:
            await self._too_large()(scope, receive, send)
            return
        begin, received, complete = time.monotonic(), 0, False

        async def limited() -> Message:
            nonlocal received, complete
            if complete:
                return await receive()
            left = begin + self._pause + received / _SLOWEST - time.monotonic()
            try:
                message = await asyncio.wait_for(receive(), min(self._pause, left))
            except TimeoutError:
                raise HTTPException(408, f"no data for {self._pause:g} seconds, or too little") from None
            received += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if received > self._size:
                raise HTTPException(413, self._message)
            return message

        await self._app(scope, limited, send)

    @property
    def _message(self) -> str:
        return f"the request is larger than {self._size / 1e6:g} MB"

    def _too_large(self) -> JSONResponse:
        return JSONResponse(error_body(self._message), 413, {"Connection": "close"})


class BearerToken:
    """Refuses requests without `Authorization: Bearer TOKEN` (401), except for the page itself and /healthz."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._token = app, token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        path = scope.get("path", "")
        if scope["type"] == "lifespan" or path in _OPEN or path == "/" or path.startswith("/static/"):
            await self._app(scope, receive, send)
            return
        if secrets.compare_digest(_given_token(scope), self._token):
            await self._app(scope, receive, send)
            return
        response = JSONResponse(error_body("a valid bearer token is needed"), 401, {"WWW-Authenticate": "Bearer"})
        await response(scope, receive, send)


def _given_token(scope: Scope) -> bytes:
    """Return the token of a request, empty if it has none."""
    scheme, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return given.strip().encode("latin-1")
    for name in scope.get("subprotocols", ()):
        if name.startswith(_TOKEN_PREFIX):
            encoded = name.removeprefix(_TOKEN_PREFIX).encode()
            try:
                return base64.urlsafe_b64decode(encoded + b"=" * (-len(encoded) % 4))
            except ValueError:
                return b""
    return b""
