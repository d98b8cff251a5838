"""Files that somebody's disk may hold under the name of a recording: some 1,300 of them, the same every time."""

import os
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from asr.audio import AudioError
from tests.conftest import SAMPLE_RATE, spell

TEXT = "AB"
# The container as soundfile names it, its subtype, and the suffix.
CONTAINERS = {
    "wav": ("WAV", "PCM_16", ".wav"),
    "float": ("WAV", "FLOAT", ".wav"),
    "extensible": ("WAVEX", "PCM_16", ".wav"),
    "flac": ("FLAC", "PCM_16", ".flac"),
    "vorbis": ("OGG", "VORBIS", ".ogg"),
    "opus": ("OGG", "OPUS", ".opus"),
    "mp3": ("MP3", "MPEG_LAYER_III", ".mp3"),
    "aiff": ("AIFF", "PCM_16", ".aiff"),
    "sphere": ("NIST", "PCM_16", ".sph"),
}
SIZES = (0, 1, 7, 44, 2**16, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1)
# What a header may claim of channels, bits and the like.
NUMBERS = (0, 1, 2, 3, 7, 200, 255, 1024, 32_767, 65_535)
# Begins as these do, and is something else.
OTHERS = {
    "text": b"AB\n",
    "long-text": b"not a recording at all\n" * 999,
    "page": b"<!doctype html><title>404 Not Found</title>",
    "object": b'{"error": "not found"}',
    "zip": b"PK\x03\x04" + bytes(200),
    "gzip": b"\x1f\x8b\x08" + bytes(200),
    "program": b"\x7fELF\x02\x01\x01" + bytes(200),
    "picture": b"\x89PNG\r\n\x1a\n" + bytes(200),
    "video": b"\0\0\0\x20ftypisom" + bytes(200),
    "matroska": b"\x1aE\xdf\xa3" + bytes(200),
    "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
    "zeros": bytes(5000),
    "ones": b"\xff" * 5000,
    "sync": b"\xff\xfb\x90\x00" * 999,
    "tag": b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + bytes(100),
    "riff": b"RIFF\xff\xff\xff\xffWAVE",
    "riffs": b"RIFF\x04\0\0\0WAVE" * 300,
    "no-format": b"RIFF\x24\0\0\0WAVEdata\x10\0\0\0" + bytes(16),
    "form": b"FORM\xff\xff\xff\xffAIFFCOMM\0\0\0\0",
    "flac": b"fLaC\x80\xff\xff\xff" + bytes(100),
    "pages": (b"OggS" + bytes(22) + b"\xff" + b"\xff" * 255) * 9,
    "sphere": b"NIST_1A\n   9999999\n" + bytes(100),
}


@dataclass(frozen=True)
class Hostile:
    """A file and what is to come of it: True for its text, False for an error, None for either.

    `is_cut`: its end is missing, so that it gives an error, or what can be read and a warning.
    """

    path: Path
    readable: bool | None = None
    is_cut: bool = False


def encoded(folder: Path, name: str, samples: NDArray[np.floating], rate: int = SAMPLE_RATE) -> bytes:
    """Return the bytes of a sound file, without what its writer takes from clock and chance."""
    kind, subtype, suffix = CONTAINERS[name]
    path = folder / f"whole{suffix}"
    soundfile.write(path, samples, rate, format=kind, subtype=subtype)
    content = bytearray(path.read_bytes())
    path.unlink()
    if b"PEAK" in content:
        time = content.index(b"PEAK") + 12
        content[time : time + 4] = bytes(4)
    place = content.find(b"OggS")
    while place >= 0:
        end = content.find(b"OggS", place + 4)
        # The number of the stream, and the page's checksum, of which it is a part.
        content[place + 14 : place + 18], content[place + 22 : place + 26] = bytes(4), bytes(4)
        checksum = _checksum(content[place : end if end > 0 else len(content)])
        content[place + 22 : place + 26] = struct.pack("<I", checksum)
        place = end
    return bytes(content)


def _checksum(page: bytes | bytearray) -> int:
    """Return the CRC of an Ogg page (RFC 3533: 0x04c11db7, nothing reflected)."""
    value = 0
    for byte in page:
        value = value << 8 & 0xFFFFFFFF ^ _TABLE[value >> 24 ^ byte]
    return value


def _table() -> list[int]:
    found = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = value << 1 & 0xFFFFFFFF ^ (0x04C11DB7 if value >> 31 else 0)
        found.append(value)
    return found


_TABLE = _table()


def wav(
    form: int = 1, channels: int = 1, rate: int = SAMPLE_RATE, bits: int = 16, align: int = 2, data: bytes = b""
) -> bytes:
    """Return a WAV file of that header, right or wrong."""
    header = struct.pack("<HHIIHH", form, channels & 0xFFFF, rate, rate * 2 & 0xFFFFFFFF, align & 0xFFFF, bits)
    chunks = b"fmt " + struct.pack("<I", len(header)) + header + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def make(folder: Path) -> list[Hostile]:
    """Write all files below a folder that is not there yet."""
    folder.mkdir()
    found: list[Hostile] = []
    for part in (_cut, _sizes, _headers, _samples, _foreign, _misnamed, _no_files, _odd_names):
        below = folder / part.__name__.strip("_")
        below.mkdir()
        found += part(below)
    return found


def _put(path: Path, content: bytes, readable: bool | None = None) -> Hostile:
    path.write_bytes(content)
    return Hostile(path, readable)


def _whole(folder: Path) -> Iterator[tuple[str, str, bytes]]:
    for name, (_, _, suffix) in CONTAINERS.items():
        yield name, suffix, encoded(folder, name, spell(TEXT))


def _cut(folder: Path) -> Iterator[Hostile]:
    """Yield the first 100 ends of a header, and some later ones."""
    for name, suffix, content in _whole(folder):
        yield _put(folder / f"{name}{suffix}", content, True)
        for end in (*range(100), *range(200, len(content), len(content) // 8)):
            path = _put(folder / f"{name}-{end}{suffix}", content[:end]).path
            yield Hostile(path, None if end else False, is_cut=True)


def _sizes(folder: Path) -> Iterator[Hostile]:
    """Yield files whose chunks, blocks and tags are of other sizes than their headers say."""
    for name, place, order in (
        *(("wav", 4, "<I"), ("wav", 16, "<I"), ("wav", 40, "<I"), ("aiff", 4, ">I"), ("aiff", 16, ">I")),
        *(("flac", 4, ">I"), ("flac", 18, ">I"), ("flac", 22, ">I"), ("vorbis", 24, "<I"), ("opus", 24, "<I")),
    ):
        content = encoded(folder, name, spell(TEXT))
        for size in SIZES:
            changed = content[:place] + struct.pack(order, size) + content[place + 4 :]
            yield _put(folder / f"{name}-{place}-{size}{CONTAINERS[name][2]}", changed)
    sphere = encoded(folder, "sphere", spell(TEXT))
    for field in (b"sample_count", b"channel_count", b"sample_rate", b"sample_n_bytes"):
        for number in (b"-1", b"0", b"999999999", b"99999999999999999999", b"x"):
            start = sphere.index(field + b" -i ") + len(field) + 4
            end = sphere.index(b"\n", start)
            changed = (sphere[:start] + number + sphere[end:])[: len(sphere)]
            yield _put(folder / f"{field.decode()}-{number.decode()}.sph", changed)
    mp3 = encoded(folder, "mp3", spell(TEXT))
    place = max(mp3.find(b"Xing"), mp3.find(b"Info"))
    for size in SIZES:
        tag = b"ID3\x03\0\0" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
        yield _put(folder / f"tag-{size}.mp3", tag + mp3)
        yield _put(folder / f"frames-{size}.mp3", mp3[: place + 8] + struct.pack(">I", size) + mp3[place + 12 :])


def _headers(folder: Path) -> Iterator[Hostile]:
    """Yield WAV files whose formats, channels, bits, alignments and rates are absurd."""
    data = (spell(TEXT) * 32_767).astype("<i2").tobytes()
    yield _put(folder / "right.wav", wav(data=data), True)
    for number in NUMBERS:
        yield _put(folder / f"form-{number}.wav", wav(form=number, data=data))
        yield _put(folder / f"channels-{number}.wav", wav(channels=number, align=2 * number, data=data))
        yield _put(folder / f"bits-{number}.wav", wav(bits=number, data=data))
        yield _put(folder / f"align-{number}.wav", wav(align=number, data=data))
    for rate in (0, 1, 1999, 768_001, 4_000_000, 2**31 - 1, 2**32 - 1):
        yield _put(folder / f"rate-{rate}.wav", wav(rate=rate, data=data), False)
    flac = encoded(folder, "flac", spell(TEXT))
    for rate in (0, 1, 655_350, 0xFFFFF):
        # The rate is the 20 bits from byte 18 on, the channels are the next 3.
        changed = (rate << 4 | flac[20] & 0x0F).to_bytes(3, "big")
        yield _put(folder / f"rate-{rate}.flac", flac[:18] + changed + flac[21:], None if rate == 655_350 else False)
    yield _put(folder / "chunks.wav", wav(data=data)[:12] + b"junk\0\0\0\0" * 5000 + wav(data=data)[12:])
    yield _put(folder / "twice.wav", wav(data=data) * 2)
    yield _put(folder / "backwards.wav", wav(data=data)[:12] + wav(data=data)[36:] + wav(data=data)[12:36])


def _samples(folder: Path) -> Iterator[Hostile]:
    """Yield files of no sample, of one, of 200 channels, and of samples that are no numbers."""
    for name, (_, _, suffix) in CONTAINERS.items():
        for count in (0, 1):
            content = encoded(folder, name, np.full(count, 0.5))
            yield _put(folder / f"{name}-{count}{suffix}", content, False if count == 0 else None)
    for name in ("wav", "float", "sphere"):
        content = encoded(folder, name, np.repeat(spell(TEXT)[:, None], 200, axis=1))
        yield _put(folder / f"{name}-200-channels{CONTAINERS[name][2]}", content, True if name != "sphere" else None)
    for value in (np.nan, np.inf, -np.inf, 1e30, 3e38):
        for where in (0, 100, -1):
            samples = spell(TEXT).copy()
            samples[where] = value
            yield _put(folder / f"{value}-{where}.wav", encoded(folder, "float", samples), False)
    for value in (0.0, 1e-40):
        yield _put(folder / f"all-{value}.wav", encoded(folder, "float", np.full(5000, value)), None)
    for rate in (2000, 3000, 11_025, 768_000):
        yield _put(folder / f"short-{rate}.wav", encoded(folder, "wav", np.full(3, 0.5), rate))


def _foreign(folder: Path) -> Iterator[Hostile]:
    """Yield what is no sound, under names of sound."""
    for name, content in OTHERS.items():
        for suffix in (".wav", ".flac", ".ogg", ".mp3"):
            yield _put(folder / f"{name}{suffix}", content, False)
    random = np.random.default_rng(1)
    for number in range(40):
        yield _put(folder / f"noise-{number}.wav", random.bytes(int(random.integers(1, 3000))))
    yield _put(folder / "empty.wav", b"", False)


def _misnamed(folder: Path) -> Iterator[Hostile]:
    """Yield sound under the names of other sound."""
    for name, _, content in _whole(folder):
        for suffix in (".wav", ".flac", ".ogg", ".mp3", ".sph", ".txt", ".raw", ""):
            yield _put(folder / f"{name}-as{suffix}", content, True)


def _no_files(folder: Path) -> Iterator[Hostile]:
    """Yield what is no regular file, or none at all."""
    yield Hostile(folder / "missing.wav", False)
    (folder / "folder.wav").mkdir()
    yield Hostile(folder / "folder.wav", False)
    for name, target in (("loop", "loop.wav"), ("ping", "pong.wav"), ("pong", "ping.wav"), ("dangling", "no.wav")):
        (folder / f"{name}.wav").symlink_to(target)
        yield Hostile(folder / f"{name}.wav", False)
    (folder / "device.wav").symlink_to("/dev/zero")
    yield Hostile(folder / "device.wav", False)
    yield Hostile(_put(folder / "file.wav", b"x").path / "below.wav", False)
    os.mkfifo(folder / "pipe.wav")
    yield Hostile(folder / "pipe.wav", False)
    # Names of sockets are short.
    here = Path.cwd()
    os.chdir(folder)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket.wav")
    os.chdir(here)
    yield Hostile(folder / "socket.wav", False)
    closed = _put(folder / "closed.wav", wav(data=b"\x01\x02" * 9999), False if os.geteuid() else None)
    closed.path.chmod(0)
    yield closed


def _odd_names(folder: Path) -> Iterator[Hostile]:
    """Yield names with line feeds, escapes, and bytes that are no UTF-8; each once readable and once not."""
    content = encoded(folder, "wav", spell(TEXT))
    odd = [
        "a\nb",
        "a\r\nb",
        "a\tb",
        "a b",
        "\x1b[2J\x1b[31m",
        "\x07",
        "\udce9",
        "\udcff\udcfe",
        "é",
        "\u202etxt",
        "\u2028",
    ]
    for name in (
        *odd,
        "\x85",
        "-",
        "--help",
        "*",
        "[a]",
        "?",
        "'",
        '"',
        "\\n",
        "%s",
        "{0}",
        "$(x)",
        "x" * 240,
        "asr: a",
    ):
        yield _put(folder / f"{name}.wav", content, True)
        yield _put(folder / f"{name}!.wav", b"", False)


# How a sound file may be damaged.
KINDS = ("flip", "set", "cut", "drop", "insert", "repeat", "size", "big-size", "header")


@dataclass(frozen=True)
class Change:
    """One damage: of which kind, where (a share of the file), and what is written there."""

    kind: str
    where: float
    value: int


def changed(content: bytes, changes: Sequence[Change]) -> bytes:
    """Return a file with damages, one after the other."""
    for one in changes:
        content = _changed(content, one)
    return content


def _changed(content: bytes, change: Change) -> bytes:
    if not content:
        return content
    # Headers are short: some kinds change the first bytes only.
    early = change.kind in ("size", "big-size", "header")
    place, value = int(change.where * (min(len(content), 120) if early else len(content))), change.value
    before, after = content[:place], content[place:]
    number = value if value % 2 else SIZES[value // 2 % len(SIZES)]
    made: dict[str, Callable[[], bytes]] = {
        "flip": lambda: bytes([after[0] ^ 1 << value % 8]) + after[1:],
        "set": lambda: bytes([value % 256]) + after[1:],
        "header": lambda: bytes([value % 256]) + after[1:],
        "cut": lambda: b"",
        "drop": lambda: after[1 + value % 300 :],
        "insert": lambda: np.random.default_rng(value).bytes(1 + value % 300) + after,
        "repeat": lambda: after[: value % 5000] + after,
        "size": lambda: struct.pack("<I", number) + after[4:],
        "big-size": lambda: struct.pack(">I", number) + after[4:],
    }
    return before + made[change.kind]()


def outcome(path: Path, load: Callable[[Path], NDArray[np.float32]]) -> str:
    """Return what reading a file came to: "read", or what the one line says; anything else is an AssertionError."""
    try:
        waveform = load(path)
    except AudioError as error:
        said = str(error)
        assert said.startswith(f"{path}: ") and said.isprintable(), said
        return said.removeprefix(f"{path}: ")
    assert waveform.dtype == np.float32 and waveform.ndim == 1 and len(waveform)
    assert np.isfinite(waveform).all()
    return "read"
