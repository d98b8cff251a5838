"""Lengths in headers, truncated Ogg files, and files with replaced bytes."""

from pathlib import Path

import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asr.audio import containers
from tests.conftest import SAMPLE_RATE, tone


def is_truncated(path: Path) -> bool:
    with path.open("rb") as file:
        return containers.is_truncated_ogg(file)


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg", "aiff"])
def test_with_length_returns_none_for_complete_file(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, tone(440, 1.0), SAMPLE_RATE)
    with soundfile.SoundFile(path) as sound:
        assert containers.with_length(path, sound) is None
    assert not is_truncated(path)


def test_is_truncated_ogg_finds_incomplete_last_page(tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    soundfile.write(path, tone(440, 3.0), SAMPLE_RATE)
    whole = path.read_bytes()
    last = whole.rfind(b"OggS")
    for end in (last + 4, last + 20, last + 30, len(whole) - 1):
        path.write_bytes(whole[:end])
        assert is_truncated(path)
    path.write_bytes(whole[:last])
    assert not is_truncated(path)


@given(place=st.integers(0, 40), content=st.binary(max_size=10), size=st.integers(1, 50))
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_patched_file_replaces_bytes_at_any_position(place: int, content: bytes, size: int, tmp_path: Path) -> None:
    original = bytes(range(50))
    (tmp_path / "a").write_bytes(original)
    mended = containers.PatchedFile(tmp_path / "a", place, content)
    expected = original[:place] + content + original[place + len(content) :]
    read = b"".join(iter(lambda: mended.read(size), b""))
    assert read == expected
    assert mended.seek(-3, 2) == mended.tell() == 47
    assert mended.read() == expected[47:]


def test_with_length_opens_unfinished_wav(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(440, 1.0), SAMPLE_RATE)
    content = bytearray(path.read_bytes())
    place = content.index(b"data") + 4
    content[place : place + 4] = bytes(4)
    path.write_bytes(content)
    with soundfile.SoundFile(path) as sound:
        assert sound.frames == 0
        mended = containers.with_length(path, sound)
    assert mended is not None
    with mended() as sound:
        assert sound.frames == SAMPLE_RATE
