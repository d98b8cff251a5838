"""The server process: uvicorn on a socket."""

import socket

import uvicorn
from fastapi import FastAPI


def make_server(app: FastAPI, host: str, port: int, grace: float) -> tuple[uvicorn.Server, socket.socket]:
    """Return a server of the application, and the socket to run it on: `server.run(sockets=[socket])`.

    Port 0 is a free one. Ctrl-C and SIGTERM end `run` once the running requests are answered, at the latest after
    `grace` seconds. Raise OSError for an address that cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.create_server((host, port), family=family)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=round(grace), server_header=False)
    return uvicorn.Server(config), bound
