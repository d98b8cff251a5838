"""asr serve: an HTTP service with an OpenAI-compatible API and a web page."""

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from asr.cli import options
from asr.cli.decoding import DecodingOptions, decoding
from asr.cli.progress import Display

# The environment variable of the token: other users of a machine see a command's arguments.
TOKEN = "ASR_SERVER_TOKEN"  # noqa: S105
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\sA-Z]+")


@click.command(cls=options.Command, short_help="Serve transcription over HTTP.")
@options.model_or_default
@click.option("--host", default="127.0.0.1", show_default=True, help="Address; 0.0.0.0 is every network.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="Port; 0 is a free one.")
@click.option("--max-megabytes", type=options.POSITIVE_FLOAT, default=200, show_default=True, help="Largest request.")
@click.option(
    "--max-seconds", type=options.POSITIVE_FLOAT, default=14_400, show_default=True, help="Longest recording."
)
@click.option(
    "--queue",
    type=options.POSITIVE_INT,
    default=64,
    show_default=True,
    help="Recordings that may wait; more are answered with 503.",
)
@click.option(
    "--timeout",
    type=options.POSITIVE_FLOAT,
    default=600,
    show_default=True,
    help="Seconds from the end of an upload to its transcript.",
)
@click.option(
    "--sessions",
    type=options.POSITIVE_INT,
    default=32,
    show_default=True,
    help="Live sessions at once; more are answered with 503.",
)
@click.option("--threads", type=options.POSITIVE_INT, help="Transcribing threads.  [default: number of cores]")
@click.option("--origin", multiple=True, metavar="URL", help="Let web pages of this origin use the API (CORS).")
@decoding
@options.device
def serve(model: Path, host: str, port: int, decoding: DecodingOptions, device: str | None, **values: Any) -> int:
    """Serve an API for recordings, compatible with OpenAI's, at http://HOST:PORT/v1/audio/transcriptions, and one for
    live speech, compatible with Vosk's server, at ws://HOST:PORT/v1/stream.

    The page at http://HOST:PORT/ transcribes a file or speech. /docs describes the API, /metrics has figures for
    Prometheus, and /healthz says whether the server runs.

    If the environment variable ASR_SERVER_TOKEN is set, clients must send it as a bearer token. Ctrl-C and SIGTERM let
    the running requests finish.
    """
    try:
        from asr.server import ServerSettings, create_app, make_server, open_socket
    except ModuleNotFoundError as error:
        raise click.UsageError(f"{error.name} is missing; install the server: pip install 'asr[server]'") from error
    from asr import recognition

    for origin in values["origin"]:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise click.UsageError(f"--origin {origin}: expected SCHEME://HOST[:PORT] in small letters, without a path")
    named = options.bundle()
    name = named.name if named else model.stem
    settings = ServerSettings(
        megabytes=values["max_megabytes"],
        seconds=values["max_seconds"],
        waiting=values["queue"],
        timeout=values["timeout"],
        sessions=values["sessions"],
        threads=values["threads"] or os.cpu_count() or 1,
        token=_token(),
        origins=values["origin"],
        language=named.facts.get("language", "").lower() if named else "",
    )
    try:
        bound = open_socket(host, port)  # before the model is loaded, which takes seconds
    except OSError as error:
        raise click.UsageError(f"{host}:{port}: {error.strerror}; choose another --host or --port") from error
    with Display(quiet=False) as display:
        recognizer, description = decoding.apply(recognition.load(model, device or "cpu"), display)
    shown = f"[{host}]" if ":" in host else host
    click.echo(f"asr: {name}, {description}: http://{shown}:{bound.getsockname()[1]}/", err=True)
    server = make_server(create_app(recognizer, name, settings), settings.timeout)
    # The server raises the signal that stopped it once more, after its last answer.
    with suppress(KeyboardInterrupt):
        server.run(sockets=[bound])
    return 0


def _token() -> str:
    """Return the token that clients must send, "" if they need none. Raises UsageError if it is set but empty."""
    token = os.environ.get(TOKEN, "").strip()
    if TOKEN in os.environ and not token:
        raise click.UsageError(f"{TOKEN} is empty; set it to a secret, or unset it to serve without a token")
    return token
