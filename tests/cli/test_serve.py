"""asr serve."""

import os
import re
import signal
import socket
import subprocess
import sys
from typing import Any

import pytest

from asr.cli import main
from tests.conftest import ROOT

pytest.importorskip("fastapi", reason="fastapi is not installed")
import httpx


def test_the_command_serves_until_it_is_terminated() -> None:
    command = [sys.executable, "-m", "asr", "serve", "--greedy", "--port", "0"]
    environment = os.environ | {"ASR_SERVER_TOKEN": "secret"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr
        line = process.stderr.readline()
        address = re.fullmatch(r"asr: english-small, greedy: (http://127\.0\.0\.1:\d+)/\n", line)
        assert address, line
        sample = ROOT / "data/samples/sample-02.opus"
        response = httpx.post(
            f"{address[1]}/v1/audio/transcriptions",
            files={"file": sample.read_bytes()},
            data={"model": "english-small", "response_format": "verbose_json"},
            headers={"Authorization": "Bearer secret"},
        )
        assert response.json()["language"] == "english" and response.json()["text"].startswith("THE LAST TRAIN")
        assert httpx.get(f"{address[1]}/v1/models").status_code == 401
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert process.stderr.read() == ""


def test_an_address_in_use(capsys: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as used:
        port = used.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"asr: 127.0.0.1:{port}: Address already in use") and error.count("\n") == 1


def test_an_address_of_another_machine(capsys: Any) -> None:
    assert main(["serve", "--host", "192.0.2.1"]) == 2
    assert "192.0.2.1:8000: " in capsys.readouterr().err


def test_without_the_extra(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[:2] == ["asr", "server"]]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert main(["serve"]) == 2
    assert "fastapi is missing; install the server: pip install 'asr[server]'" in capsys.readouterr().err


@pytest.mark.parametrize("origin", ["https://example.org/", "https://Example.org", "example.org", "https://a.org/path"])
def test_an_origin_that_no_browser_sends(origin: str, capsys: Any) -> None:
    assert main(["serve", "--origin", origin]) == 2
    assert f"--origin {origin}: expected SCHEME://HOST[:PORT]" in capsys.readouterr().err


def test_an_empty_token(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASR_SERVER_TOKEN", " ")
    assert main(["serve"]) == 2
    assert "ASR_SERVER_TOKEN is empty; set it to a secret" in capsys.readouterr().err
