"""The web page, in a browser with a microphone that plays a file."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile

import asr
from tests.conftest import ROOT

pytest.importorskip("fastapi", reason="fastapi is not installed")
pytest.importorskip("playwright", reason="playwright is not installed")

from asr.scoring import score
from asr.server import ServerSettings, create_app
from tests.server.test_app import running

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SAMPLES = ROOT / "data" / "samples"
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed")


@pytest.fixture(scope="module")
def recognizer() -> Any:
    return asr.load("english-small", decoder="greedy")


@pytest.fixture
def tab(recognizer: Any, tmp_path: Path) -> Iterator[Any]:
    yield from open_page(recognizer, tmp_path)


def open_page(recognizer: Any, tmp_path: Path, token: str = "") -> Iterator[Any]:
    """Open the page; fail at the end if it logged anything or requested anything from elsewhere."""
    from playwright.sync_api import sync_playwright

    samples, rate = soundfile.read(SAMPLES / "sample-02.opus", dtype="int16")
    soundfile.write(tmp_path / "speech.wav", samples, rate)
    problems: list[str] = []
    options = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    options.append(f"--use-file-for-fake-audio-capture={tmp_path / 'speech.wav'}%noloop")
    app = create_app(recognizer, "english-small", ServerSettings(threads=1, token=token))
    with running(app) as (address, _), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        page = browser.new_page()
        # Chromium itself logs an answer of 400, which a file without sound has.
        page.on("console", lambda one: problems.extend([] if "status of 400" in one.text else [one.text]))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "request", lambda one: problems.extend([] if one.url.startswith((address, "blob:", "data:")) else [one.url])
        )
        page.goto(address)
        yield page
        browser.close()
    assert problems == []


def test_a_file_is_transcribed_played_and_saved(tab: Any, recognizer: Any) -> None:
    expected = recognizer.transcribe_file(SAMPLES / "sample-03.opus").text
    tab.set_input_files("#file", os.fspath(SAMPLES / "sample-03.opus"))
    tab.wait_for_selector("#result:not([hidden])")
    assert tab.inner_text("#text").split() == expected.split()
    tab.locator(".word").nth(3).click()
    tab.wait_for_selector(".word.now")
    with tab.expect_download() as download:
        tab.get_by_text("Download srt").click()
    assert download.value.suggested_filename == "sample-03.srt"
    assert Path(download.value.path()).read_text().startswith("1\n00:00:00,")


def test_speech_has_live_captions_and_is_transcribed(tab: Any, recognizer: Any) -> None:
    tab.click("#speak")
    tab.wait_for_selector("#saying:has-text('THE LAST')")
    # At the pause, the caption is final. Where the browser's recording begins varies, and so do some letters.
    tab.wait_for_selector("#said:has-text('THE LAST TRAIN')")
    expected = recognizer.transcribe_file(SAMPLES / "sample-02.opus").text
    assert score([expected], [tab.inner_text("#said")]).cer.value < 0.2
    if "ASR_SCREENSHOTS" in os.environ:
        tab.screenshot(path=Path(os.environ["ASR_SCREENSHOTS"]) / "captions.png")
    assert tab.is_visible("#captions") and tab.is_hidden("#result")
    tab.click("#speak")
    tab.wait_for_selector("#result:not([hidden])")
    assert tab.inner_text("#text").startswith("THE LAST TRAIN")
    assert tab.is_hidden("#captions") and "s, confidence" in tab.locator(".word").first.get_attribute("title")


def test_speech_is_transcribed_without_a_websocket(tab: Any) -> None:
    tab.evaluate("delete window.WebSocket")
    tab.click("#speak")
    tab.wait_for_timeout(3000)
    tab.click("#speak")
    tab.wait_for_selector("#result:not([hidden])")
    assert tab.inner_text("#text").startswith("THE LAST TRAIN")


def test_speech_has_captions_with_a_token(recognizer: Any, tmp_path: Path) -> None:
    for page in open_page(recognizer, tmp_path, token="sécret"):
        page.click("summary")
        page.fill("#token", "sécret")
        page.click("#speak")
        page.wait_for_selector("#saying:has-text('THE LAST')")


def test_a_file_without_sound_has_a_message(tab: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.wav").write_text("notes")
    tab.set_input_files("#file", os.fspath(tmp_path / "notes.wav"))
    tab.wait_for_selector("#status.error")
    assert tab.inner_text("#status").startswith("notes.wav: not a sound file")
