"""The server process: uvicorn on a socket."""

import socket

import uvicorn
from fastapi import FastAPI

from asr.server.live import MESSAGE_BYTES


def open_socket(host: str, port: int) -> socket.socket:
    """Return a socket that accepts connections; port 0 is a free one. Raise OSError for an unusable address."""
    return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)


def make_server(app: FastAPI, grace: float) -> uvicorn.Server:
    """Return a server of the application, for `server.run(sockets=[open_socket(host, port)])`.

    Ctrl-C and SIGTERM end `run` once the running requests are answered, at the latest after `grace` seconds.
    """
    return uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            timeout_graceful_shutdown=round(grace),
            server_header=False,
            ws_max_size=MESSAGE_BYTES,
            ws_per_message_deflate=False,
        )
    )
