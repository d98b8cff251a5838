"""Sound files of every kind -> the same waveform; unusable files -> one line."""

import errno
import os
import re
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from asr import audio
from asr.audio import AudioError, AudioReader
from tests.conftest import SAMPLE_RATE, tone

FREQUENCY, AMPLITUDE, DURATION = 440.0, 0.5, 0.6
RATES = (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000)
OPUS_RATES = (8000, 12_000, 16_000, 24_000, 48_000)
# Format and subtype as soundfile names them, the file's suffix, its sample rates, and how exact its levels are.
LOSSLESS, LOSSY = 0.02, 0.08
FORMATS = {
    "wav-u8": ("WAV", "PCM_U8", "wav", RATES, LOSSLESS),
    "wav-16": ("WAV", "PCM_16", "wav", RATES, LOSSLESS),
    "wav-24": ("WAV", "PCM_24", "wav", RATES, LOSSLESS),
    "wav-32": ("WAV", "PCM_32", "wav", RATES, LOSSLESS),
    "wav-float": ("WAV", "FLOAT", "wav", RATES, LOSSLESS),
    "wav-double": ("WAV", "DOUBLE", "wav", RATES, LOSSLESS),
    "wav-ulaw": ("WAV", "ULAW", "wav", RATES, LOSSLESS),
    "wav-alaw": ("WAV", "ALAW", "wav", RATES, LOSSLESS),
    "wav-extensible": ("WAVEX", "PCM_16", "wav", RATES, LOSSLESS),
    "flac-16": ("FLAC", "PCM_16", "flac", RATES, LOSSLESS),
    "flac-24": ("FLAC", "PCM_24", "flac", RATES, LOSSLESS),
    "ogg-vorbis": ("OGG", "VORBIS", "ogg", RATES, LOSSY),
    "ogg-opus": ("OGG", "OPUS", "opus", OPUS_RATES, LOSSY),
    "mp3": ("MP3", "MPEG_LAYER_III", "mp3", RATES[:-1], LOSSY),
    "aiff": ("AIFF", "PCM_16", "aiff", RATES, LOSSLESS),
    "sphere": ("NIST", "PCM_16", "sph", RATES, LOSSLESS),
    "sphere-ulaw": ("NIST", "ULAW", "sph", RATES, LOSSLESS),
}
# MP3 has one channel or two.
CHANNELS = [(name, channels) for name in FORMATS for channels in range(1, 7) if name != "mp3" or channels <= 2]
NOT_AUDIO = "not a sound file of a supported format (WAV, FLAC, OGG, Opus, MP3, MP2, AIFF, AU, CAF, W64, NIST SPHERE)"


def sine(rate: int = audio.SAMPLE_RATE, duration: float = DURATION) -> NDArray[np.float64]:
    return AMPLITUDE * np.sin(2 * np.pi * FREQUENCY * np.arange(round(rate * duration)) / rate)


def write(folder: Path, name: str, samples: NDArray[np.float64], rate: int = audio.SAMPLE_RATE) -> Path:
    kind, subtype, suffix, _, _ = FORMATS[name]
    path = folder / f"{name}.{suffix}"
    soundfile.write(path, samples, rate, format=kind, subtype=subtype)
    return path


def frequency_and_amplitude(waveform: audio.Waveform) -> tuple[float, float]:
    """Return the strongest frequency in Hz and its sine's amplitude, without the codecs' first and last moments."""
    steady = waveform[1600:-1600].astype(np.float64)
    spectrum = np.abs(np.fft.rfft(steady * np.hanning(len(steady)), 1 << 16))
    return float(spectrum.argmax()) * audio.SAMPLE_RATE / (1 << 16), float(np.sqrt(2 * np.mean(steady**2)))


def assert_same_sine(waveform: audio.Waveform, tolerance: float) -> None:
    assert waveform.dtype == np.float32
    assert waveform.ndim == 1
    assert waveform.flags["C_CONTIGUOUS"]
    assert len(waveform) == pytest.approx(DURATION * audio.SAMPLE_RATE, rel=0.01)
    frequency, amplitude = frequency_and_amplitude(waveform)
    assert frequency == pytest.approx(FREQUENCY, abs=1)
    assert amplitude == pytest.approx(AMPLITUDE, rel=tolerance)


@pytest.mark.parametrize(("name", "rate"), [(name, rate) for name in FORMATS for rate in FORMATS[name][3]])
def test_load_reads_every_format_and_rate(name: str, rate: int, tmp_path: Path) -> None:
    path = write(tmp_path, name, sine(rate), rate)
    assert_same_sine(audio.load(path), FORMATS[name][4])
    header = audio.info(path)
    assert (header.sample_rate, header.channels) == (rate, 1)
    assert header.duration == pytest.approx(DURATION, rel=0.01)


@pytest.mark.parametrize(("name", "channels"), CHANNELS)
def test_load_averages_channels_in_every_format(name: str, channels: int, tmp_path: Path) -> None:
    # Opus and MP3 may rotate phases between channels; the sum of equal ones is still the sum.
    path = write(tmp_path, name, np.repeat(sine()[:, None], channels, axis=1))
    assert audio.info(path).channels == channels
    assert_same_sine(audio.load(path), 2 * FORMATS[name][4])


@pytest.mark.parametrize("channels", range(1, 7))
def test_mono_is_the_mean_of_the_channels(channels: int, tmp_path: Path) -> None:
    samples = np.random.default_rng(channels).uniform(-1, 1, (500, channels))
    path = write(tmp_path, "wav-float", samples)
    np.testing.assert_allclose(audio.load(path), samples.mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(audio.from_array(samples, audio.SAMPLE_RATE), samples.mean(axis=1), atol=1e-6)


@pytest.mark.parametrize("name", ["wav-float", "flac-16", "sphere"])
def test_load_at_the_files_rate_is_exact(name: str, tmp_path: Path) -> None:
    samples = np.round(np.random.default_rng(0).uniform(-1, 1, 1000) * 32_767) / 32_768
    np.testing.assert_array_equal(audio.load(write(tmp_path, name, samples)), samples)


def test_load_at_another_rate(tmp_path: Path) -> None:
    path = write(tmp_path, "wav-16", sine())
    assert len(audio.load(path, 8000)) == 4800
    assert len(audio.load(str(path), 48_000)) == 28_800


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64])
def test_from_array_scales_integers_by_their_range(dtype: type[np.signedinteger]) -> None:
    limits = np.iinfo(dtype)
    waveform = audio.from_array(np.array([limits.min, 0, limits.max // 2 + 1], dtype), audio.SAMPLE_RATE)
    assert waveform.tolist() == [-1.0, 0.0, 0.5]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_from_array_keeps_floating_point_samples(dtype: type[np.floating]) -> None:
    waveform = audio.from_array(np.array([-0.5, 0.25, 1.5], dtype), audio.SAMPLE_RATE)
    assert waveform.dtype == np.float32
    assert waveform.tolist() == [-0.5, 0.25, 1.5]


def test_from_array_accepts_strided_array() -> None:
    samples = np.arange(1, 11, dtype=np.float32)
    assert audio.from_array(samples[::-2], audio.SAMPLE_RATE).tolist() == [10, 8, 6, 4, 2]


# A part of a file


def ramp(folder: Path, rate: int = audio.SAMPLE_RATE) -> Path:
    """Write one second whose every sample tells where it stands."""
    return write(folder, "wav-float", np.arange(1, rate + 1) / rate, rate)


@pytest.mark.parametrize(
    ("offset", "duration", "first", "samples"),
    [
        (0, None, 1, 16_000),
        (0.25, None, 4001, 12_000),
        (0, 0.5, 1, 8000),
        (0.25, 0.5, 4001, 8000),
        (0.9999, None, 15_999, 2),
    ],
)
def test_load_selects_offset_and_duration(
    offset: float, duration: float | None, first: int, samples: int, tmp_path: Path
) -> None:
    waveform = audio.load(ramp(tmp_path), offset=offset, duration=duration)
    assert len(waveform) == samples
    assert waveform[0] * audio.SAMPLE_RATE == pytest.approx(first, abs=1e-2)


@pytest.mark.parametrize("name", ["wav-16", "flac-16", "ogg-vorbis", "sphere", "aiff"])
def test_load_selects_segment_in_every_format(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, name, sine() * np.linspace(0.1, 1, len(sine())))
    part = audio.load(path, offset=0.2, duration=0.3)
    np.testing.assert_allclose(part, audio.load(path)[3200:8000], atol=0.01)


def test_load_selects_segment_before_resampling(tmp_path: Path) -> None:
    assert len(audio.load(ramp(tmp_path, 44_100), offset=0.5, duration=0.25)) == 4000


@pytest.mark.parametrize("rounded", [0.99, 0.9999, 1.0, 1.0001, 1.01])
def test_load_with_rounded_duration_reads_to_the_end(rounded: float, tmp_path: Path) -> None:
    assert len(audio.load(ramp(tmp_path), duration=rounded)) == 16_000
    assert len(audio.load(ramp(tmp_path), offset=0.5, duration=rounded - 0.5)) == 8000


def test_load_with_shorter_duration_reads_a_segment(tmp_path: Path) -> None:
    assert len(audio.load(ramp(tmp_path), duration=0.989)) == 15_824


def message(path: Path, offset: float = 0.0, duration: float | None = None) -> str:
    """Return what loading says of a file that cannot be used, without the path it begins with."""
    with pytest.raises(AudioError) as caught:
        audio.load(path, offset=offset, duration=duration)
    said = str(caught.value)
    assert said.startswith(f"{path}: ")
    assert "\n" not in said
    return said.removeprefix(f"{path}: ")


def test_load_refuses_segment_beyond_the_end(tmp_path: Path) -> None:
    path = ramp(tmp_path)
    assert message(path, duration=1.011) == "segment 0–1.011 s exceeds the file (1.000 s)"
    assert message(path, offset=0.5, duration=0.6) == "segment 0.5–1.1 s exceeds the file (1.000 s)"
    assert message(path, offset=1.0) == "offset 1 s is not before the end of the file (1.000 s)"
    assert message(path, offset=7.5, duration=1) == "offset 7.5 s is not before the end of the file (1.000 s)"


@pytest.mark.parametrize("seconds", [-0.1, -1e-9, np.nan, np.inf, -np.inf])
def test_load_refuses_negative_and_non_finite_times(seconds: float, tmp_path: Path) -> None:
    path = ramp(tmp_path)
    assert message(path, offset=seconds) == f"offset {seconds:g} s; expected 0 or more seconds"
    assert message(path, duration=seconds) == f"duration {seconds:g} s; expected more than 0 seconds"
    assert message(path, duration=0) == "duration 0 s; expected more than 0 seconds"


# What is no sound file


def test_load_refuses_path_without_regular_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    Path("loop").symlink_to("loop")
    Path("empty.wav").touch()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        assert message(Path("socket")) == "not a regular file"
    assert message(Path("pipe")).startswith("a pipe, not a file; read it as standard input")
    assert message(Path("/dev/null")) == "not a regular file"
    assert message(tmp_path) == "a folder, not a sound file"
    assert message(Path("no.wav")) == "no such file"
    assert message(Path("empty.wav/a.wav")) == "no such file"
    assert message(Path("empty.wav")) == "the file is empty (0 bytes)"
    assert message(Path("loop")) == os.strerror(errno.ELOOP)
    assert message(Path("x" * 300)) == os.strerror(errno.ENAMETOOLONG)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.raw", "a"])
@pytest.mark.parametrize("content", [b"hello, world\n" * 100, bytes(3000), b"RIFF\xff\0\0\0WAVE", b"ID3", b"\xff\xfb"])
def test_load_refuses_file_without_audio(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert message(tmp_path / name) == NOT_AUDIO


def test_info_refuses_what_load_refuses(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"no\.wav: no such file$"):
        audio.info(tmp_path / "no.wav")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_load_refuses_unreadable_file(tmp_path: Path) -> None:
    path = ramp(tmp_path)
    path.chmod(0)
    assert message(path) == "no permission to read it"


def test_load_refuses_file_in_closed_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path, **_: bool) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    path = ramp(tmp_path)
    monkeypatch.setattr(Path, "stat", denied)
    assert message(path) == "no permission to read it"


@pytest.mark.parametrize("name", [b"caf\xc3\xa9 \xe2\x99\xab.wav", b"latin-1 \xe9.wav", b"two words.wav"])
def test_load_accepts_any_file_name(name: bytes, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(ramp(tmp_path).read_bytes())
    assert len(audio.load(path)) == 16_000


# Sound files that are damaged


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kept", [0.3, 0.5, 0.9, 1.0])
def test_load_refuses_truncated_file_in_every_format(name: str, kept: float, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.05, 48_000)
    path = write(tmp_path, name, sine(duration=3) + noise)
    content = path.read_bytes()
    path.write_bytes(content[: round(len(content) * kept) - 1])
    assert re.match(r"truncated: |damaged: ", message(path))


def test_truncated_file_error_names_both_lengths(tmp_path: Path) -> None:
    def cut(name: str, at: int) -> Path:
        path = write(tmp_path, name, sine())
        path.write_bytes(path.read_bytes()[:at])
        return path

    said = "truncated: the header announces"
    assert message(cut("wav-16", 44 + 1000)) == f"{said} 19200 bytes, the file has 1000"
    assert message(cut("sphere", 1024 + 1000)) == f"{said} 9600 samples, the file has 500"
    assert message(cut("aiff", 1000)).startswith(f"{said} 19208 bytes, ")
    assert message(cut("ogg-opus", 1000)) == "truncated: its last Ogg page is not complete"
    assert re.fullmatch(rf"{said} 9600 samples, the file has \d+", message(cut("mp3", 1000)))
    assert message(cut("flac-16", 3000)).startswith("damaged: ")


@pytest.mark.parametrize("name", [name for name in FORMATS if not name.startswith("sphere")])
def test_load_ignores_trailing_bytes(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, name, sine())
    path.write_bytes(path.read_bytes() + b"TAG" + bytes(125))
    assert_same_sine(audio.load(path), FORMATS[name][4])


def test_load_refuses_damaged_flac(tmp_path: Path) -> None:
    path = write(tmp_path, "flac-16", sine())
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 50] = bytes(50)
    path.write_bytes(content)
    assert message(path).startswith("damaged: ")


# Sound files whose writer could not know their length


def streamed_wav(folder: Path, riff: int, data: int) -> Path:
    path = write(folder, "wav-16", sine())
    content = bytearray(path.read_bytes())
    content[4:8], content[40:44] = struct.pack("<I", riff), struct.pack("<I", data)
    path.write_bytes(content)
    return path


# ffmpeg, curl | sox, arecord, GStreamer and writers that leave a template unfilled.
@pytest.mark.parametrize("riff", [0, 8, 36, 0x7FFFF024, 0x7FFFFFFF, 0xFFFFFFFF])
@pytest.mark.parametrize(
    "data", [0, 0x7FFFF000, 0x7FFFFFDB, 0x7FFFFFFF, 0x80000000, 0xFFFFFF00, 0xFFFFFFDB, 0xFFFFFFFF]
)
def test_load_reads_streamed_wav_to_its_end(riff: int, data: int, tmp_path: Path) -> None:
    path = streamed_wav(tmp_path, riff, data)
    np.testing.assert_allclose(audio.load(path), sine(), atol=1e-4)
    assert audio.info(path).duration == DURATION
    np.testing.assert_allclose(audio.load(path, offset=0.1, duration=0.2), sine()[1600:4800], atol=1e-4)


def test_load_refuses_wav_with_metadata_only(tmp_path: Path) -> None:
    path = write(tmp_path, "wav-16", np.zeros(0))
    note = b"LIST\x0e\0\0\0INFOISFT\x02\0\0\0me"
    content = bytearray(path.read_bytes() + note)
    content[4:8] = struct.pack("<I", len(content) - 8)
    path.write_bytes(content)
    assert message(path) == "0 samples"


def without_length(flac: Path) -> None:
    content = bytearray(flac.read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    flac.write_bytes(content)


def test_load_reads_streamed_flac_to_its_end(tmp_path: Path) -> None:
    path = write(tmp_path, "flac-16", sine())
    without_length(path)
    assert audio.info(path).frames == len(sine())
    np.testing.assert_allclose(audio.load(path), sine(), atol=1e-4)
    np.testing.assert_allclose(audio.load(path, offset=0.1, duration=0.2), sine()[1600:4800], atol=1e-4)


def test_load_refuses_truncated_streamed_flac(tmp_path: Path) -> None:
    path = write(tmp_path, "flac-16", sine())
    without_length(path)
    path.write_bytes(path.read_bytes()[:3000])
    assert message(path).startswith("damaged: ")


@pytest.mark.parametrize("rate", [16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("tag", [b"", b"ID3\x03\0\0\0\0\x01\x00" + b"\xff" * 128])
def test_load_reads_streamed_variable_rate_mp3_to_its_end(rate: int, channels: int, tag: bytes, tmp_path: Path) -> None:
    quiet = np.random.default_rng(0).normal(0, 0.2, 4 * rate) * np.repeat([0.01, 1, 0.05, 1], rate)
    path = write(tmp_path, "mp3", np.repeat(quiet[:, None], channels, axis=1), rate)
    content = path.read_bytes()
    # The first frame holds nothing but the length; a stream begins with the second.
    second = content.index(content[:2], 4)
    path.write_bytes(tag + content[second:])
    assert audio.info(path).duration == pytest.approx(4, abs=0.1)
    waveform = audio.load(path)
    assert len(waveform) == pytest.approx(64_000, abs=1600)
    assert np.abs(waveform[-16_000:]).mean() == pytest.approx(np.abs(waveform[17_000:32_000]).mean(), rel=0.2)


def test_load_reads_streamed_constant_rate_mp3(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    with soundfile.SoundFile(path, "w", 16_000, 1, format="MP3", bitrate_mode="CONSTANT") as sound:
        sound.write(sine(duration=4))
    content = path.read_bytes()
    path.write_bytes(content[content.index(content[:2], 4) :])
    assert audio.info(path).duration == pytest.approx(4, abs=0.1)
    assert frequency_and_amplitude(audio.load(path)) == pytest.approx((FREQUENCY, AMPLITUDE), rel=0.08)


# Lengths, rates and samples that speech does not have


@pytest.mark.parametrize("name", ["wav-16", "flac-16", "aiff", "sphere", "ogg-vorbis"])
def test_load_refuses_file_without_samples(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, name, np.zeros(0))
    assert message(path) == ("the file is empty (0 bytes)" if name == "flac-16" else "0 samples")


def test_load_refuses_more_than_a_day_unread(tmp_path: Path) -> None:
    rate, hours = 2000, 25
    path = tmp_path / "long.wav"
    soundfile.write(path, np.full(10, 0.1), rate, subtype="PCM_U8")
    content = bytearray(path.read_bytes()[:44])
    size = rate * hours * 3600
    content[4:8], content[40:44] = struct.pack("<I", size + 36), struct.pack("<I", size)
    path.write_bytes(content)
    os.truncate(path, 44 + size)  # a hole, which takes no room on the disk
    assert message(path) == "25 hours long; the limit is 24 hours"


def test_load_refuses_header_that_claims_more_than_a_day(tmp_path: Path) -> None:
    path = write(tmp_path, "flac-16", sine())
    content = bytearray(path.read_bytes())
    content[22:26] = struct.pack(">I", 16_000 * 3600 * 30)
    path.write_bytes(content)
    assert message(path) == "30 hours long; the limit is 24 hours"
    content[22:26] = struct.pack(">I", 16_000 * 3600 * 20)
    path.write_bytes(content)
    assert re.match(r"damaged: |truncated: ", message(path))


@pytest.mark.parametrize("rate", [1, 1999, 768_001, 4_000_000])
def test_rate_out_of_range_is_refused(rate: int, tmp_path: Path) -> None:
    path = write(tmp_path, "wav-16", sine(), rate)
    assert message(path) == f"{rate} Hz; speech needs 2000 to 768000 Hz"
    with pytest.raises(AudioError, match=f"^{rate} Hz; speech needs 2000 to 768000 Hz$"):
        audio.from_array(sine(), rate)


@pytest.mark.parametrize("rate", [2000, 768_000])
def test_load_accepts_lowest_and_highest_rate(rate: int, tmp_path: Path) -> None:
    assert len(audio.load(ramp(tmp_path, rate))) == 16_000


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_load_refuses_non_finite_samples(bad: float, tmp_path: Path) -> None:
    samples = np.stack([sine(), sine()], axis=1)
    samples[123, 1] = bad
    assert message(write(tmp_path, "wav-float", samples)) == "sample 123 is not a number (NaN or infinite)"


def test_load_refuses_huge_samples(tmp_path: Path) -> None:
    samples = sine()
    samples[7] = -1e30
    assert message(write(tmp_path, "wav-float", samples)) == "sample 7 is -1e+30, far outside [-1, 1]"


@pytest.mark.parametrize("samples", [np.zeros(300), np.zeros((300, 2))])
def test_load_refuses_digital_silence(samples: NDArray[np.float64], tmp_path: Path) -> None:
    silence = "digital silence: all 300 samples are 0; was the right channel or device recorded?"
    assert message(write(tmp_path, "wav-float", samples)) == silence


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (np.zeros(0), "0 samples"),
        (np.zeros((0, 2)), "0 samples"),
        (np.zeros((5, 0)), "0 samples"),
        (np.float32(1), "an array of 0 dimensions; expected (samples,) or (samples, channels)"),
        (np.ones((2, 3, 4)), "an array of 3 dimensions; expected (samples,) or (samples, channels)"),
        (np.ones((1, 16_000)), "16000 channels; expected (samples, channels), is the array transposed?"),
        (np.ones(9, np.uint8), "samples of type uint8; expected floating point or signed integers"),
        (np.ones(9, bool), "samples of type bool; expected floating point or signed integers"),
        (np.ones(9, complex), "samples of type complex128; expected floating point or signed integers"),
        (np.array(["a"]), "samples of type <U1; expected floating point or signed integers"),
        (np.array([0.1, 1e300]), "sample 1 is not a number (NaN or infinite)"),
    ],
)
def test_from_array_refuses_other_arrays(samples: NDArray[np.generic], said: str) -> None:
    with pytest.raises(AudioError) as caught:
        audio.from_array(samples, audio.SAMPLE_RATE)
    assert str(caught.value) == said


def test_from_array_refuses_less_than_one_output_sample() -> None:
    with pytest.raises(AudioError, match=r"^too short: 1 samples at 96000 Hz are less than one at 16000 Hz$"):
        audio.from_array(np.ones(1), 96_000)


# Channels that cancel each other


def stereo(factor: float, noise: float = 0.0) -> NDArray[np.float64]:
    """Return a sine, and the same times `factor` in a second channel."""
    return np.stack([sine(), factor * sine()], 1) + noise * np.random.default_rng(0).normal(size=(len(sine()), 2))


@pytest.mark.parametrize(("factor", "noise", "taken"), [(-1.0, 0.0, 1), (-0.98, 0.01, 1), (-1.1, 0.03, 2)])
def test_channels_of_opposite_polarity_are_not_averaged(
    factor: float, noise: float, taken: int, tmp_path: Path
) -> None:
    samples = stereo(factor, noise)
    path = write(tmp_path, "wav-float", samples)
    with AudioReader(path, 2000) as reader:
        waveform = reader.read()
        note = f"its channels cancel each other when averaged (opposite polarity); channel {taken} is taken"
        assert reader.notes == [note]
        np.testing.assert_array_equal(np.concatenate(list(reader.blocks())), waveform)
        assert reader.notes == [note]
    np.testing.assert_allclose(waveform, samples[:, taken - 1], atol=1e-6)
    np.testing.assert_array_equal(in_blocks(path, 3000), waveform)
    np.testing.assert_array_equal(audio.from_array(samples, audio.SAMPLE_RATE), waveform)


@pytest.mark.parametrize("factor", [0.0, 1.0, -0.3, 0.2])
def test_other_channels_are_averaged(factor: float, tmp_path: Path) -> None:
    path = write(tmp_path, "wav-float", stereo(factor, 0.01))
    with AudioReader(path) as reader:
        np.testing.assert_allclose(reader.read(), stereo(factor, 0.01).mean(axis=1), atol=1e-6)
        assert not reader.notes


def resampled_length(samples: int, rate: int) -> int:
    return (2 * samples * audio.SAMPLE_RATE + rate) // (2 * rate)


# Sound, what float32 can hold and a spectrum too, and anything at all.
elements = (st.floats(-1, 1, width=32), st.floats(-(2.0**33), 2.0**33, width=32), st.floats(width=32))
shapes = st.one_of(st.tuples(st.integers(0, 200)), st.tuples(st.integers(0, 100), st.integers(1, 3)))


@given(
    st.one_of(*(arrays.arrays(np.float32, shapes, elements=element) for element in elements)), st.sampled_from(RATES)
)
@settings(deadline=None)
def test_from_array_output_is_finite(samples: NDArray[np.float32], rate: int) -> None:
    try:
        waveform = audio.from_array(samples, rate)
    except AudioError as error:
        assert "\n" not in str(error)
    else:
        assert np.isfinite(waveform).all()
        assert len(waveform) == resampled_length(len(samples), rate)


@given(st.integers(20, 5000), st.sampled_from(RATES), st.integers(0, 1000))
@settings(deadline=None)
def test_from_array_length_is_duration_times_rate(samples: int, rate: int, seed: int) -> None:
    noise = np.random.default_rng(seed).uniform(-1, 1, samples)
    waveform = audio.from_array(noise, rate)
    assert len(waveform) == resampled_length(samples, rate)
    assert np.abs(waveform).max() < 3


@pytest.mark.parametrize(
    ("change", "rate"), [(lambda x: x, 16_000), (lambda x: audio.resample(x, 16_000, 48_000), 48_000)]
)
def test_resample_round_trip(change: Callable[[audio.Waveform], audio.Waveform], rate: int) -> None:
    original = sine().astype(np.float32)
    again = audio.resample(change(original), rate, 16_000)
    np.testing.assert_allclose(again[100:-100], original[100:-100], atol=1e-3)


# Block by block


def in_blocks(path: Path, size: int = 1000, **part: object) -> audio.Waveform:
    with AudioReader(path, size) as reader:
        return np.concatenate(list(reader.blocks(**part)))  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "rate"), [(name, rate) for name in FORMATS for rate in FORMATS[name][3][::3]])
def test_blocks_equal_load_in_every_format(name: str, rate: int, tmp_path: Path) -> None:
    noise = np.random.default_rng(rate).normal(0, 0.1, round(0.7 * rate))
    path = write(tmp_path, name, np.stack([sine(rate, 0.7) + noise, noise], axis=1), rate)
    np.testing.assert_allclose(in_blocks(path), audio.load(path), atol=1e-6)
    part = {"offset": 0.21, "duration": 0.35, "channel": 1}
    np.testing.assert_allclose(in_blocks(path, 777, **part), audio.load(path, **part), atol=1e-6)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [1, 2, 599, 600, 601])
def test_blocks_of_any_size_equal_load(size: int, tmp_path: Path) -> None:
    path = write(tmp_path, "wav-float", np.random.default_rng(1).uniform(-1, 1, 600), 44_100)
    np.testing.assert_allclose(in_blocks(path, size), audio.load(path), atol=1e-6)


def test_load_selects_channel(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, (500, 3)).astype(np.float32)
    path = write(tmp_path, "wav-float", samples.astype(np.float64))
    for channel in range(3):
        np.testing.assert_array_equal(audio.load(path, channel=channel), samples[:, channel])
    for read in (audio.load, in_blocks):
        with pytest.raises(AudioError, match=r"wav-float\.wav: no channel 4; the file has 3$"):
            read(path, channel=3)


def wrong(samples: NDArray[np.float64], at: int, value: float) -> NDArray[np.float64]:
    samples = samples.copy()
    samples[at] = value
    return samples


@pytest.mark.parametrize(
    ("samples", "rate", "part"),
    [
        (np.zeros(2500), 16_000, {}),
        (wrong(sine(), 2345, np.nan), 16_000, {}),
        (wrong(sine(), 2345, 1e30), 44_100, {}),
        (np.ones(1), 96_000, {}),
        (sine(), 16_000, {"offset": 1.0}),
        (sine(), 16_000, {"offset": 0.1, "duration": 1.0}),
    ],
)
def test_blocks_raise_the_errors_of_load(
    samples: NDArray[np.float64], rate: int, part: dict[str, float], tmp_path: Path
) -> None:
    path = write(tmp_path, "wav-float", samples, rate)
    with pytest.raises(AudioError) as of_all:
        audio.load(path, **part)  # type: ignore[arg-type]
    with pytest.raises(type(of_all.value)) as of_blocks:
        in_blocks(path, 1000, **part)
    assert str(of_blocks.value) == str(of_all.value)


def test_blocks_refuse_damaged_file(tmp_path: Path) -> None:
    path = write(tmp_path, "flac-16", np.random.default_rng(0).uniform(-1, 1, 60_000))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(AudioError, match=r"flac-16\.flac: (damaged|truncated): "):
        in_blocks(path)


# One reader, read many times


@pytest.mark.parametrize("name", FORMATS)
def test_reader_returns_the_same_samples_each_time(name: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, (40_000, 2))
    path = write(tmp_path, name, noise, 8000)
    whole, part = audio.load(path), audio.load(path, 8000, 1.23, 2.5, 1)
    with AudioReader(path, 5000) as reader:
        assert reader.info == audio.info(path)
        for _ in range(2):
            np.testing.assert_array_equal(reader.read(), whole)
            np.testing.assert_array_equal(reader.read(8000, 1.23, 2.5, 1), part)
            np.testing.assert_array_equal(np.concatenate(list(reader.blocks(8000, 1.23, 2.5, 1))), part)
        first, second = reader.blocks(8000), reader.blocks(8000)
        for one, other in zip(first, second, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["flac-16", "mp3", "wav-16"])
def test_reader_reads_streamed_file_twice(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, name, sine())
    if name == "flac-16":
        without_length(path)
    elif name == "wav-16":
        path = streamed_wav(tmp_path, 0, 0)
    with AudioReader(path) as reader:
        np.testing.assert_array_equal(reader.read(), reader.read())


def test_reader_refuses_changed_file(tmp_path: Path) -> None:
    path = write(tmp_path, "wav-16", sine())
    with AudioReader(path) as reader:
        reader.read()
        write(tmp_path, "wav-16", sine(duration=0.5))
        with pytest.raises(AudioError, match=r"wav-16\.wav: the file was changed while it was read$"):
            reader.read()


def test_reader_closes_its_file(tmp_path: Path) -> None:
    def is_open(path: Path) -> bool:
        return any(link.exists() and link.resolve() == path for link in Path("/proc/self/fd").iterdir())

    path = write(tmp_path, "wav-16", sine())
    with AudioReader(path) as reader:
        assert is_open(path)
    assert not is_open(path)
    reader.read()
    assert not is_open(path)
    blocks = reader.blocks()
    next(blocks)
    blocks.close()  # type: ignore[attr-defined]
    assert not is_open(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(AudioError, match="truncated"):
        AudioReader(path)
    assert not is_open(path)


def test_mp3_with_other_bytes_before_its_first_frame_is_read(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.mp3", tone(440, 1.0), SAMPLE_RATE)
    (tmp_path / "b.mp3").write_bytes(b"other" * 20 + (tmp_path / "a.mp3").read_bytes())
    np.testing.assert_array_equal(audio.load(tmp_path / "b.mp3"), audio.load(tmp_path / "a.mp3"))
