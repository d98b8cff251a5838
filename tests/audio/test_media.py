"""Media files, which the tests make with PyAV: the same samples at the right length, tracks, damage, nothing opened."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from asr import audio
from asr.audio import AudioError, AudioReader
from asr.cli import main
from tests.conftest import SAMPLE_RATE, spell

av = pytest.importorskip("av")

RATE, SECONDS, AMPLITUDE = 48_000, 2.0, 0.5
# Name, codec, sample rate, channels.
KINDS = [
    ("a.m4a", "aac", 44_100, 2),
    ("a.mp4", "aac", RATE, 1),
    ("a.mov", "alac", RATE, 2),
    ("a.aac", "aac", RATE, 1),
    ("a.mkv", "ac3", RATE, 6),
    ("a.mka", "pcm_s16le", RATE, 1),
    ("a.webm", "libopus", RATE, 2),
    ("a.webm", "libvorbis", RATE, 2),
    ("a.wma", "wmav2", RATE, 2),
    ("a.wmv", "wmav1", 16_000, 1),
    ("a.ac3", "ac3", RATE, 2),
    ("a.avi", "mp2", RATE, 1),
    ("a.flv", "aac", 44_100, 1),
    ("a.mpg", "mp2", RATE, 1),
    ("a.spx", "libspeex", 16_000, 1),
    ("a.wv", "wavpack", RATE, 1),
    ("a.amr", "libopencore_amrnb", 8000, 1),
    ("a.3gp", "libopencore_amrnb", 8000, 1),
    # The content counts, not the name.
    ("renamed.mp3", "aac", RATE, 1),
    ("renamed", "wmav2", RATE, 1),
]
CONTAINERS = {".mp3": "mp4", ".wmv": "asf", ".wma": "asf", "": "asf", ".m4a": "mp4", ".mka": "matroska", ".aac": "adts"}
LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}


def write(path: Path, codec: str, rate: int, channels: int, frequencies: tuple[float, ...] = (440.0,)) -> Path:
    """Write a media file whose audio tracks are tones, in English and French; skip if FFmpeg lacks the encoder."""
    try:
        av.Codec(codec, "w")
    except av.codec.codec.UnknownCodecError:
        pytest.skip(f"this PyAV cannot make {codec}")
    form = CONTAINERS.get(path.suffix, None if path.suffix != ".spx" else "ogg")
    # The index comes first, so that a file that is cut has one.
    options = {"movflags": "faststart"} if path.suffix in (".m4a", ".mov", ".mp4") else {}
    with av.open(str(path), "w", format=form, options=options) as out:
        streams = [out.add_stream(codec, rate, layout=LAYOUTS[channels]) for _ in frequencies]
        for language, stream in zip(("eng", "fra"), streams, strict=False):
            stream.metadata["language"] = language
            if codec.startswith("wma"):
                stream.bit_rate = 128_000
        for stream, frequency in zip(streams, frequencies, strict=True):
            tone = AMPLITUDE * np.sin(2 * np.pi * frequency * np.arange(round(rate * SECONDS)) / rate)
            frame = av.AudioFrame.from_ndarray(
                np.repeat(tone[None].astype(np.float32), channels, axis=0), "fltp", LAYOUTS[channels]
            )
            frame.sample_rate = rate
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                out.mux(packet)
    return path


def strongest(waveform: audio.Waveform) -> float:
    spectrum = np.abs(np.fft.rfft(waveform[1600:-1600] * np.hanning(len(waveform) - 3200), 1 << 16))
    return float(spectrum.argmax()) * SAMPLE_RATE / (1 << 16)


@pytest.mark.parametrize(("name", "codec", "rate", "channels"), KINDS)
def test_a_media_file_is_read(tmp_path: Path, name: str, codec: str, rate: int, channels: int) -> None:
    path = write(tmp_path / name, codec, rate, channels)
    with AudioReader(path) as reader:
        assert (reader.info.sample_rate, reader.info.channels) == (rate, channels)
        # Codecs add up to a few frames at the ends.
        assert reader.info.duration == pytest.approx(SECONDS, abs=0.1)
        whole = reader.read()
        again = np.concatenate(list(reader.blocks()))
        part = reader.read(offset=0.5, duration=0.5)
    assert len(whole) == pytest.approx(reader.info.duration * SAMPLE_RATE, abs=1)
    assert strongest(whole) == pytest.approx(440, abs=1)
    level = np.sqrt(2 * np.mean(whole[8000:-8000] ** 2))
    assert level == pytest.approx(AMPLITUDE, rel=0.2 if "amr" in codec or "speex" in codec else 0.05)
    np.testing.assert_allclose(again, whole, atol=1e-4)
    np.testing.assert_allclose(part[400:-400], whole[8400:15600], atol=0.02)


def test_lossless_media_have_the_exact_samples(tmp_path: Path) -> None:
    samples = (np.random.default_rng(1).uniform(-0.5, 0.5, SAMPLE_RATE) * 2**15).astype(np.int16)
    with av.open(str(tmp_path / "a.mka"), "w", format="matroska") as out:
        stream = out.add_stream("pcm_s16le", SAMPLE_RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], "s16", "mono")
        frame.sample_rate = SAMPLE_RATE
        out.mux(stream.encode(frame))
    np.testing.assert_array_equal(audio.load(tmp_path / "a.mka"), samples.astype(np.float32) / 2**15)


@pytest.fixture(scope="module")
def aac(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, audio.Waveform]:
    """A file of noise at a low bit rate, of which the decoder replaces much by noise of its own, and its samples."""
    path = tmp_path_factory.mktemp("aac") / "noise.m4a"
    noise = np.random.default_rng(0).normal(0, 0.1, (1, 3 * 44_100)).astype(np.float32)
    with av.open(str(path), "w", format="mp4") as out:
        stream = out.add_stream("aac", 44_100, layout="mono")
        stream.bit_rate = 48_000
        frame = av.AudioFrame.from_ndarray(noise, "fltp", "mono")
        frame.sample_rate = 44_100
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)
    return path, audio.load(path, 44_100)


@settings(max_examples=20, deadline=None)
@given(offset=st.floats(0, 2.7), duration=st.floats(0.05, 0.2))
def test_a_segment_has_the_samples_of_the_whole_file(
    aac: tuple[Path, audio.Waveform], offset: float, duration: float
) -> None:
    path, whole = aac
    start, count = round(offset * 44_100), round(duration * 44_100)
    np.testing.assert_array_equal(audio.load(path, 44_100, offset, duration), whole[start : start + count])


def test_a_file_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    path = write(tmp_path / "a.m4a", "aac", RATE, 1)
    before = audio.info(path)
    write(tmp_path / "b.m4a", "aac", 44_100, 1).replace(path)
    assert before.sample_rate == RATE and audio.info(path).sample_rate == 44_100


def test_the_audio_track_is_chosen(tmp_path: Path) -> None:
    path = write(tmp_path / "film.mkv", "aac", RATE, 2, (440.0, 880.0))
    for track, frequency in ((1, 440), (2, 880)):
        with AudioReader(path, track=track) as reader:
            assert strongest(reader.read()) == pytest.approx(frequency, abs=1)
    with pytest.raises(AudioError, match=r"film\.mkv: no audio track 3; the file has 2 \(1 eng, 2 fra\)$"):
        AudioReader(path, track=3)


def test_a_sound_file_has_one_track(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.full(1600, 0.5), SAMPLE_RATE)
    with pytest.raises(AudioError, match=r"a\.wav: no audio track 2; the file has 1$"):
        AudioReader(tmp_path / "a.wav", track=2)


def test_a_video_without_sound(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "mute.mp4"), "w") as out:
        stream = out.add_stream("mpeg4", 25, width=32, height=32, pix_fmt="yuv420p")
        for packet in [*stream.encode(av.VideoFrame(32, 32, "yuv420p")), *stream.encode(None)]:
            out.mux(packet)
    with pytest.raises(AudioError, match=r"mute\.mp4: has no audio track$"):
        AudioReader(tmp_path / "mute.mp4")


CUT = [
    *(("a.webm", "libopus", 1), ("a.mka", "aac", 1), ("a.wma", "wmav2", 1), ("a.wmv", "wmav1", 1)),
    *(("a.wma", "wmav2", 2), ("a.mkv", "aac", 2), ("a.mov", "alac", 1), ("a.m4a", "aac", 1), ("a.wv", "wavpack", 1)),
    *(("a.avi", "mp2", 1), ("a.flv", "aac", 1)),
]


@pytest.mark.parametrize(("name", "codec", "tracks"), CUT)
def test_a_truncated_media_file_is_read_as_far_as_it_goes(tmp_path: Path, name: str, codec: str, tracks: int) -> None:
    path = write(tmp_path / name, codec, 44_100 if name == "a.flv" else RATE, 1, (440.0,) * tracks)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(AudioError, match=rf"{name}: (truncated: the header announces \S+ \w+, the file has|damaged: )"):
        AudioReader(path)
    with AudioReader(path, strict=False) as reader:
        waveform = reader.read()
        assert reader.notes
    assert 0.5 * SAMPLE_RATE < len(waveform) < 1.5 * SAMPLE_RATE
    assert strongest(waveform) == pytest.approx(440, abs=2)


@pytest.mark.parametrize(
    "content",
    [
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.wav\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile other.wav\n",
        b"v=0\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
        b"\0\0\0\x20ftypM4A " + bytes(200),
        b"\x1aE\xdf\xa3" + bytes(200),
        b"#!AMR\n",
    ],
)
def test_playlists_and_broken_files_are_refused(tmp_path: Path, content: bytes) -> None:
    soundfile.write(tmp_path / "other.wav", np.full(1600, 0.5), SAMPLE_RATE)
    (tmp_path / "a.m4a").write_bytes(content)
    with pytest.raises(AudioError) as caught:
        AudioReader(tmp_path / "a.m4a")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'a.m4a'}: ")


def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    path = tmp_path / "long.mka"
    block = np.random.default_rng(0).integers(-9000, 9000, (1, 480_000)).astype(np.int16)
    with av.open(str(path), "w", format="matroska") as out:
        stream = out.add_stream("pcm_s16le", RATE, layout="mono")
        for number in range(90):  # 15 minutes: 173 MB as floats
            frame = av.AudioFrame.from_ndarray(block, "s16", "mono")
            frame.sample_rate, frame.pts = RATE, number * 480_000
            out.mux(stream.encode(frame))
    script = (
        "import resource, sys; from asr.audio import AudioReader, load\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "load(sys.argv[2]); before = peak(); count = sum(map(len, AudioReader(sys.argv[1]).blocks()))\n"
        "print(count, peak() - before)"
    )
    short = write(tmp_path / "short.mka", "pcm_s16le", RATE, 1)
    done = subprocess.run([sys.executable, "-c", script, path, short], capture_output=True, text=True, check=True)
    count, grown = done.stdout.split()
    assert int(count) == 900 * SAMPLE_RATE
    assert float(grown) < 40


def test_without_pyav_one_line_names_the_extra(tmp_path: Path) -> None:
    path = write(tmp_path / "talk.m4a", "aac", RATE, 1)
    script = "import sys; sys.modules['av'] = None; from asr.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", script, "transcribe", str(path), "-q"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"asr: {path}: M4A files are read with PyAV: pip install 'asr[media]'\n"


def test_transcribe_takes_the_chosen_track(tmp_path: Path, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "film.mka"
    with av.open(str(path), "w", format="matroska") as out:
        streams = [out.add_stream("pcm_s16le", SAMPLE_RATE, layout="mono") for _ in range(2)]
        for stream, text in zip(streams, ("AB", "CAB A"), strict=True):
            frame = av.AudioFrame.from_ndarray((spell(text)[None] * 32767).astype(np.int16), "s16", "mono")
            frame.sample_rate = SAMPLE_RATE
            out.mux(stream.encode(frame))
    command = ["transcribe", str(path), "--model", str(trained / "best.safetensors"), "-q"]
    assert main([*command, "--audio-track", "2"]) == 0
    assert capsys.readouterr().out == "CAB A\n"
    assert main(command) == 0
    assert capsys.readouterr().out == "AB\n"
