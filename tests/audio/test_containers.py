"""Lengths in headers, joined files, truncated and damaged files, and codecs that cannot seek."""

import io
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asr import audio
from asr.audio import AudioError, AudioReader, containers
from tests.conftest import SAMPLE_RATE, tone


def is_truncated(path: Path) -> bool:
    with path.open("rb") as file:
        return containers.is_truncated_ogg(file)


def parts(path: Path) -> list[containers.Part]:
    with path.open("rb", buffering=0) as file, containers.open_file(path) as sound:
        return containers.parts(path, file, sound)


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg", "aiff"])
def test_parts_of_complete_file_are_one(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, tone(440, 1.0), SAMPLE_RATE)
    (part,) = parts(path)
    assert (part.plain, part.frames, part.fault) == (True, SAMPLE_RATE, "")


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
def test_spliced_file_reads_as_its_pieces(place: int, content: bytes, size: int, tmp_path: Path) -> None:
    original = bytes(range(50))
    (tmp_path / "a").write_bytes(original)
    pieces: list[bytes | range] = [range(place), content, range(place + len(content), 50)]
    expected = original[:place] + content + original[place + len(content) :]
    with io.BufferedReader(containers.SplicedFile(tmp_path / "a", pieces)) as spliced:
        assert b"".join(iter(lambda: spliced.read(size), b"")) == expected
        assert spliced.seek(-3, 2) == spliced.tell() == 47
        assert spliced.read(9) == expected[47:]


def test_parts_give_unfinished_wav_its_length(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(440, 1.0), SAMPLE_RATE)
    content = bytearray(path.read_bytes())
    place = content.index(b"data") + 4
    content[place : place + 4] = bytes(4)
    path.write_bytes(content)
    (part,) = parts(path)
    assert (part.plain, part.frames) == (False, SAMPLE_RATE)
    with part.open() as sound:
        assert sound.frames == SAMPLE_RATE


# Joined files

# The format and subtype as soundfile names them, and the suffix.
JOINED = {
    "mp3": ("MP3", "MPEG_LAYER_III", "mp3"),
    "vorbis": ("OGG", "VORBIS", "ogg"),
    "opus": ("OGG", "OPUS", "opus"),
    "flac": ("FLAC", "PCM_16", "flac"),
    "wav": ("WAV", "PCM_16", "wav"),
    "aiff": ("AIFF", "PCM_16", "aiff"),
    "rf64": ("RF64", "PCM_16", "wav"),
    "au": ("AU", "PCM_16", "au"),
}


def encoded(folder: Path, name: str, samples: np.ndarray, rate: int = SAMPLE_RATE) -> bytes:
    kind, subtype, suffix = JOINED[name]
    path = folder / f"part.{suffix}"
    soundfile.write(path, samples, rate, format=kind, subtype=subtype)
    return path.read_bytes()


def without_xing(mp3: bytes) -> bytes:
    """Return an MP3 file without its first frame, which has nothing but the length."""
    return mp3[mp3.index(mp3[:2], 4) :]


@pytest.mark.parametrize("name", ["wav", "flac", "vorbis"])
def test_thousands_of_joined_headers_are_damage(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "_MOST_PARTS", 20)
    path = tmp_path / f"many.{JOINED[name][2]}"
    path.write_bytes(25 * encoded(tmp_path, name, tone(400, 0.05)))
    with pytest.raises(audio.AudioError, match="not a sound file" if name == "wav" else "more than 20 joined files"):
        audio.load(path)


@pytest.mark.parametrize("name", JOINED)
def test_joined_files_are_read_one_after_the_other(name: str, tmp_path: Path) -> None:
    tones = [tone(400, 1.0), tone(900, 0.7), tone(1800, 1.3)]
    path = tmp_path / f"joined.{JOINED[name][2]}"
    contents = [encoded(tmp_path, name, samples) for samples in tones]
    expected = []
    for content in contents:
        path.write_bytes(content)
        expected.append(audio.load(path))
    path.write_bytes(b"".join(contents))
    with AudioReader(path) as reader:
        waveform = reader.read()
        assert reader.info.frames == len(waveform) == SAMPLE_RATE * 3
        assert not reader.notes
        np.testing.assert_allclose(waveform, np.concatenate(expected), atol=1e-6)
        np.testing.assert_array_equal(np.concatenate(list(reader.blocks())), waveform)
        part = reader.read(offset=0.9, duration=0.9)
        np.testing.assert_allclose(part[:1000], expected[0][-1600:-600], atol=0.01)
        np.testing.assert_allclose(part[1600:12_800], expected[1], atol=0.01)


def test_signature_within_a_flac_file_does_not_divide_it(tmp_path: Path) -> None:
    # Noise is stored as it is: its samples spell the signature of FLAC and the header of its first block.
    samples = np.random.default_rng(0).integers(-32_768, 32_767, 4 * SAMPLE_RATE).astype(np.int16)
    samples[30_000:30_004] = np.frombuffer(b"fLaC\0\0\0\x22", ">i2")
    path = tmp_path / "a.flac"
    soundfile.write(path, samples, SAMPLE_RATE)
    assert path.read_bytes().count(b"fLaC\0\0\0\x22") == 2
    (part,) = parts(path)
    assert (part.plain, part.frames, part.fault) == (True, 4 * SAMPLE_RATE, "")


@pytest.mark.parametrize(
    "tags", [(b"", b""), (b"TAG" + bytes(125), b"ID3\x04\0\0\0\0\x02\x01" + b"\xff\xfb" * 128 + b"x")]
)
def test_joined_mp3_without_lengths_is_read_whole(tags: tuple[bytes, bytes], tmp_path: Path) -> None:
    whole = encoded(tmp_path, "mp3", tone(400, 1.0))
    # Two streams, then one with its length, each with tags around it.
    path = tmp_path / "a.mp3"
    path.write_bytes(without_xing(whole) + tags[0] + tags[1] + without_xing(whole) + tags[0] + tags[1] + whole)
    assert audio.info(path).duration == pytest.approx(3, abs=0.25)
    assert len(audio.load(path)) == audio.info(path).frames


def test_joined_files_of_other_rates_are_left_out_with_a_note(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(encoded(tmp_path, "wav", tone(400, 1.0)) + encoded(tmp_path, "wav", tone(400, 1.0), 8000))
    note = "joined files: what follows 1.0 s has 8000 Hz and 1 channels, not 16000 Hz and 1 channels, and is left out"
    with pytest.raises(AudioError, match=re.escape(f"a.wav: {note}")):
        AudioReader(path)
    with AudioReader(path, strict=False) as reader:
        assert len(reader.read()) == SAMPLE_RATE
        assert reader.notes == [note]


# Codecs whose length is estimated, or that cannot seek


@pytest.mark.parametrize(
    ("rate", "channels"), [(44_100, 1), (48_000, 2), (32_000, 1), (22_050, 2), (16_000, 1), (8000, 1)]
)
@pytest.mark.parametrize("compression", [0.0, 0.5, 0.9])
def test_mp3_without_its_length_is_read_whole(rate: int, channels: int, compression: float, tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    with soundfile.SoundFile(
        path, "w", rate, channels, format="MP3", bitrate_mode="CONSTANT", compression_level=compression
    ) as sound:
        sound.write(np.repeat(tone(440, 10.0, rate)[:, None], channels, axis=1))
    path.write_bytes(without_xing(path.read_bytes()))
    with AudioReader(path) as reader:
        assert reader.info.duration == pytest.approx(10, abs=0.2)
        assert len(reader.read(rate)) == reader.info.frames


@pytest.mark.parametrize("subtype", ["GSM610", "IMA_ADPCM", "MS_ADPCM", "G721_32", "NMS_ADPCM_16"])
def test_wav_of_any_codec_is_read_whole_and_in_part(subtype: str, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(440, 3.0, 8000), 8000, format="WAV", subtype=subtype)
    with AudioReader(path, 1000) as reader:
        waveform = reader.read(8000)
        assert len(waveform) == reader.info.frames == pytest.approx(24_000, abs=2000)
        np.testing.assert_array_equal(np.concatenate(list(reader.blocks(8000))), waveform)
        part = reader.read(8000, offset=1.0, duration=0.5)
        np.testing.assert_allclose(part, waveform[8000:12_000], atol=0.02)


def test_mp3_in_wav_is_read_whole(tmp_path: Path) -> None:
    frames = without_xing(encoded(tmp_path, "mp3", tone(440, 3.0)))
    header = struct.pack("<HHIIHHHHIHHH", 0x55, 1, SAMPLE_RATE, 3000, 1, 0, 12, 1, 2, 216, 1, 1105)
    chunks = [(b"fmt ", header), (b"fact", struct.pack("<I", 3 * SAMPLE_RATE + 5000)), (b"data", frames)]
    body = b"WAVE" + b"".join(
        name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for name, data in chunks
    )
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    with AudioReader(path) as reader:
        assert reader.info.duration == pytest.approx(3, abs=0.2)
        assert len(reader.read()) == reader.info.frames


# Truncated and damaged files


@pytest.mark.parametrize("name", JOINED)
def test_truncated_file_is_read_as_far_as_it_goes(name: str, tmp_path: Path) -> None:
    noise = tone(440, 4.0) + np.random.default_rng(0).normal(0, 0.05, 4 * SAMPLE_RATE).astype(np.float32)
    content = encoded(tmp_path, name, noise)
    path = tmp_path / f"a.{JOINED[name][2]}"
    path.write_bytes(content[: len(content) * 3 // 4])
    with pytest.raises(AudioError, match=r"truncated|damaged"):
        audio.load(path)
    with AudioReader(path, strict=False) as reader:
        waveform = reader.read()
        assert len(waveform) == reader.info.frames == pytest.approx(2.5 * SAMPLE_RATE, rel=0.3)
        assert re.match("truncated|damaged", reader.notes[0])
        assert len(reader.notes) == 1
        np.testing.assert_array_equal(np.concatenate(list(reader.blocks())), waveform)
    with AudioReader(path, 999, strict=False) as reader:
        blocks = np.concatenate(list(reader.blocks()))
        assert len(blocks) == reader.info.frames
        np.testing.assert_allclose(blocks, waveform[: len(blocks)], atol=1e-6)


def test_wav_that_lacks_a_few_samples_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(encoded(tmp_path, "wav", tone(440, 1.0))[:-44])
    with AudioReader(path, strict=False) as reader:
        assert len(reader.read()) == SAMPLE_RATE - 22
        assert reader.notes == ["truncated: the header announces 32000 bytes, the file has 31956"]


def test_w64_that_lacks_a_few_samples_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.w64"
    soundfile.write(path, tone(440, 1.0), SAMPLE_RATE)
    path.write_bytes(path.read_bytes()[:-44])
    with AudioReader(path, strict=False) as reader:
        assert len(reader.read()) == SAMPLE_RATE - 22
        assert reader.notes == ["truncated: the header announces 32104 bytes, the file has 32060"]


def test_truncated_flac_without_a_length_is_read(tmp_path: Path) -> None:
    content = bytearray(encoded(tmp_path, "flac", tone(440, 3.0)))
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path = tmp_path / "a.flac"
    picture = b"ID3\x04\0\0\0\x08\0\0" + bytes(8 << 14)  # a tag before the signature
    path.write_bytes(picture + content[: len(content) * 3 // 4])
    with AudioReader(path, strict=False) as reader:
        assert len(reader.read()) == reader.info.frames == pytest.approx(2.25 * SAMPLE_RATE, rel=0.2)
        assert reader.notes == ["damaged: flac decoder lost sync"]


def test_mp3_with_damaged_bytes_is_read_around_them(tmp_path: Path) -> None:
    content = bytearray(encoded(tmp_path, "mp3", tone(440, 6.0)))
    middle = len(content) // 2
    content[middle : middle + 600] = np.random.default_rng(0).bytes(600)
    path = tmp_path / "a.mp3"
    path.write_bytes(content)
    with pytest.raises(AudioError, match=r"a\.mp3: damaged: \d+ bytes at byte \d+ are not MPEG frames$"):
        audio.load(path)
    with AudioReader(path, strict=False) as reader:
        waveform = reader.read()
        assert len(waveform) == pytest.approx(6 * SAMPLE_RATE, abs=0.5 * SAMPLE_RATE)
        assert np.abs(waveform[-SAMPLE_RATE:]).max() > 0.2
        assert len(reader.notes) == 1


def test_error_of_a_library_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(encoded(tmp_path, "wav", tone(440, 1.0)))

    def fail(*arguments: object, **options: object) -> None:
        raise IndexError("out of range")

    monkeypatch.setattr(soundfile.SoundFile, "read", fail)
    with pytest.raises(AudioError, match=r"a\.wav: cannot be decoded: IndexError: out of range$"):
        audio.load(path)
