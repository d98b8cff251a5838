"""The programs of docs/export.md, and the page of docs/web/ in a browser: their texts are those of `asr`."""

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import asr
from asr import audio
from asr.scoring import score
from tests.conftest import ROOT
from tests.test_docs import blocks

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from asr.export import ExportOptions, write  # noqa: E402

BUNDLED = ROOT / "asr/recognition/bundled/english-small.safetensors"
SAMPLES = ROOT / "data/samples"
NODE_MODULES = Path(__file__).parent / "node_modules"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
INSTALL = "is not installed: npm install --prefix tests/export --no-package-lock"


def program(language: str) -> str:
    (source,) = blocks(ROOT / "docs/export.md", language)
    return source


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def need_npm(package: str) -> None:
    if not (NODE_MODULES / package).is_dir():
        pytest.skip(f"{package} {INSTALL}")


@pytest.fixture(scope="module")
def recognizer() -> Any:
    return asr.load("english-small", decoder="greedy")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the exported model, the page, a recording, and npm's packages if they are installed."""
    folder = tmp_path_factory.mktemp("export")
    write(BUNDLED, folder / "exported")
    samples, rate = soundfile.read(SAMPLES / "sample-02.opus", dtype="int16")
    soundfile.write(folder / "speech.wav", samples, rate)
    shutil.copytree(ROOT / "docs/web", folder / "docs/web")
    (folder / "docs/web/english-small.onnx").hardlink_to(folder / "exported/english-small.onnx")
    for place in (folder, folder / "docs/web"):
        (place / "node_modules").symlink_to(NODE_MODULES)
    return folder


@pytest.fixture(scope="module")
def expected(recognizer: Any) -> str:
    text: str = recognizer.transcribe_file(SAMPLES / "sample-02.opus").text
    assert text.startswith("THE LAST TRAIN TO THE CITY")
    return text


def test_python(folder: Path, expected: str) -> None:
    assert run([sys.executable, "-c", program("py")], folder) == expected


def node(folder: Path, source: str) -> str:
    if not shutil.which("node"):
        pytest.skip("node is not installed")
    need_npm("onnxruntime-node")
    (folder / "program.mjs").write_text(source)
    return run(["node", "program.mjs"], folder)


def test_javascript(folder: Path, expected: str) -> None:
    assert node(folder, program("js")) == expected


@pytest.mark.slow
def test_javascript_cuts_long_recordings_at_pauses(folder: Path, recognizer: Any) -> None:
    names = [f"sample-{number:02}.opus" for number in range(1, 8)]
    pause = np.zeros(16_000, np.float32)
    parts = [part for name in names for part in (audio.load(SAMPLES / name, 16_000), pause)]
    soundfile.write(folder / "long.wav", np.concatenate(parts), 16_000, subtype="PCM_16")
    text = node(folder, program("js").replace("speech.wav", "long.wav"))
    apart = " ".join(recognizer.transcribe_file(SAMPLES / name).text for name in names)
    # What surrounds a word changes some; without a part of the recording, a third would be missing.
    assert score([apart], [text]).wer.value < 0.2


def test_javascript_refuses_other_files(folder: Path) -> None:
    write(BUNDLED, folder / "mfcc", ExportOptions(features="mfcc"))
    good = (folder / "exported/english-small.onnx").read_bytes()
    (folder / "short.onnx").write_bytes(good[: len(good) // 2])
    (folder / "none.onnx").write_bytes(b"")
    source = program("js").partition("const recognizer")[0]
    files = ["speech.wav", "short.onnx", "none.onnx", "mfcc/english-small.onnx"]
    for name in files:
        source += (
            f"await Recognizer.load(ort, await readFile('{name}')).catch((error) => console.log(error.message));\n"
        )
    damaged = "not an ONNX file, or a truncated one"
    other = "not a file that asr export wrote"
    assert node(folder, source).splitlines() == [
        damaged,
        damaged,
        other,
        "the input is features; export without options",
    ]


def test_c(folder: Path, expected: str) -> None:
    compiler = shutil.which("cc")
    (folder / "recognize.c").write_text(program("c"))
    check = "#include <onnxruntime_c_api.h>\n"
    if (
        not compiler
        or subprocess.run([compiler, "-E", "-"], input=check, text=True, capture_output=True, check=False).returncode
    ):
        pytest.skip("no C compiler with onnxruntime_c_api.h; name the header's folder in CPATH")
    library = next((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*"), None)
    if not library:
        pytest.skip("onnxruntime has no library for C")
    warnings = ["-Wall", "-Wextra", "-Wno-unknown-pragmas", "-Werror"]
    link = [str(library), f"-Wl,-rpath,{library.parent}"]
    # The library's name within is that of the major version.
    (folder / "libonnxruntime.so.1").symlink_to(library)
    run([compiler, *warnings, "recognize.c", *link, f"-Wl,-rpath,{folder}", "-o", "recognize"], folder)
    assert run(["./recognize", "exported/english-small.onnx", "speech.wav"], folder) == expected
    done = subprocess.run(
        ["./recognize", "speech.wav", "speech.wav"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and "speech.wav" in done.stderr


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None: ...


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    handler = functools.partial(Handler, directory=folder / "docs/web")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture
def browser() -> Iterator[Any]:
    pytest.importorskip("playwright", reason="playwright is not installed")
    if not CHROMIUM:
        pytest.skip("chromium is not installed")
    need_npm("onnxruntime-web")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


def test_page(browser: Any, address: str, recognizer: Any, expected: str, tmp_path: Path) -> None:
    page = browser.new_page(viewport={"width": 900, "height": 800})
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "request", lambda one: problems.extend([] if one.url.startswith((address, "blob:", "data:")) else [one.url])
    )
    page.goto(address)
    page.wait_for_selector("#status:has-text('The model is ready.')", timeout=120_000)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.labels[0].innerText") == "Choose recordings or drop them here"
    stereo = audio.resample(audio.load(SAMPLES / "sample-03.opus", 16_000), 16_000, 44_100)
    soundfile.write(tmp_path / "stereo.wav", np.stack([stereo, stereo], axis=1), 44_100)
    (tmp_path / "notes.wav").write_text("notes")
    names = [SAMPLES / "sample-02.opus", tmp_path / "notes.wav", tmp_path / "stereo.wav"]
    page.set_input_files("#file", list(map(os.fspath, names)))
    page.wait_for_selector("#status:has-text('stereo.wav: 3.8 s of audio')", timeout=120_000)
    assert page.locator("#results h2").all_inner_texts() == [name.name for name in names]
    refusal = "This browser cannot read it as a recording."
    third = recognizer.transcribe_file(SAMPLES / "sample-03.opus").text
    assert page.locator("#results p").all_inner_texts() == [expected, refusal, third]
    if "ASR_SCREENSHOTS" in os.environ:
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.screenshot(path=Path(os.environ["ASR_SCREENSHOTS"]) / f"browser-{scheme}.png")
    assert problems == []


@pytest.mark.parametrize("missing", ["english-small.onnx", "ort.wasm.bundle.min.mjs"])
def test_page_names_a_missing_file(missing: str, browser: Any, address: str) -> None:
    page = browser.new_page()
    page.route(f"**/{missing}", lambda route: route.fulfill(status=404))
    page.goto(address)
    page.wait_for_selector("#status.error", timeout=120_000)
    assert f"{missing} is missing: " in page.inner_text("#status")
