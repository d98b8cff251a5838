"""Sound files and arrays -> mono float32 waveforms at the model's sample rate."""

import io
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
LOWEST_RATE, HIGHEST_RATE = 2_000, 768_000
LONGEST = 24 * 3600.0
# libsndfile's limit; more "channels" are samples.
_MOST_CHANNELS = 1024
_ROUNDING = 0.010
# Far above integers written as floats, far below where the power of a spectrum overflows float32.
_LOUDEST = 1e10
_NOT_AUDIO = "not a sound file that can be read; WAV, FLAC, OGG, Opus, MP3, AIFF and NIST SPHERE can"
_BLOCK = 1 << 16
# What libsndfile says of a FLAC file that does not state its length.
_ENDLESS = 0x7FFFFFFFFFFFFFFF
# An Ogg page: a header of 27 bytes, the count of segments as its last; their sizes; at most 255 segments of 255 bytes.
_OGG_HEADER, _OGG_PAGE = 27, 27 + 255 + 255 * 255
# MPEG layer III, by the header's index: kbit/s of version 1 and of versions 2 and 2.5, Hz of version 1.
_MPEG1_KILOBITS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG2_KILOBITS = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_MPEG1_RATES = (44_100, 48_000, 32_000)

Waveform = NDArray[np.float32]


class AudioError(ValueError):
    """A recording that cannot be used; the message names the file and what is wrong with it."""


@dataclass(frozen=True)
class AudioInfo:
    """What the header of a sound file says; `duration` in seconds."""

    sample_rate: int
    channels: int
    frames: int

    @property
    def duration(self) -> float:
        """Return the length in seconds."""
        return self.frames / self.sample_rate


@contextmanager
def _open(path: Path) -> Iterator[soundfile.SoundFile]:
    try:
        _check_file(path)
        # A name need not be text on Unix; on Windows it is.
        sound = soundfile.SoundFile(path if os.name == "nt" else os.fsencode(path))
        whole = _with_length(path, sound)
        if whole is not None:
            sound.close()
            sound = soundfile.SoundFile(whole)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise AudioError(f"{path}: no such file") from error
    except PermissionError as error:
        raise AudioError(f"{path}: no permission to read it") from error
    except OSError as error:
        raise AudioError(f"{path}: {error.strerror or error}") from error
    except (RuntimeError, TypeError, UnicodeError) as error:
        raise AudioError(f"{path}: {_NOT_AUDIO}") from error
    with sound:
        _check_header(path, sound)
        yield sound


def _check_file(path: Path) -> None:
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise AudioError(f"{path}: a folder, not a sound file")
    if not stat.S_ISREG(status.st_mode):
        raise AudioError(f"{path}: not a regular file")
    if status.st_size == 0:
        raise AudioError(f"{path}: the file is empty (0 bytes)")
    with path.open("rb") as file:
        if file.read(4) != b"OggS":
            return
        # libsndfile drops a page that is cut off, up to seconds of sound, without a word.
        file.seek(max(0, status.st_size - _OGG_PAGE))
        end = file.read()
    page = end[end.rfind(b"OggS") :]
    sizes = page[_OGG_HEADER : _OGG_HEADER + page[_OGG_HEADER - 1]] if len(page) >= _OGG_HEADER else b""
    if len(page) < _OGG_HEADER or len(page) < _OGG_HEADER + page[_OGG_HEADER - 1] + sum(sizes):
        raise AudioError(f"{path}: truncated: its last Ogg page is cut off")


def _with_length(path: Path, sound: soundfile.SoundFile) -> io.BytesIO | None:
    """Return the file with its length put into its header, where it was streamed (by ffmpeg to a pipe, say) without.

    None: its header is good as it is.
    """
    if sound.format in ("WAV", "WAVEX") and sound.frames == 0:
        return _wav_with_length(bytearray(path.read_bytes()))
    if sound.format == "FLAC" and sound.frames == _ENDLESS:
        content = bytearray(path.read_bytes())
        # STREAMINFO is the first block; the count of samples are 36 bits from the middle of its byte 13 on.
        place = content.index(b"fLaC") + 8 + 13
        length = (content[place] & 0xF0) << 32 | _decoded_length(path, sound)
        content[place : place + 5] = length.to_bytes(5, "big")
        return io.BytesIO(content)
    # Where an MP3 file does not state its length, libsndfile takes the first frame's bit rate for that of all.
    if sound.format == "MP3" and re.search(r"bitrate mode\s*: constant", sound.extra_info):
        return _mp3_with_length(path.read_bytes(), sound.frames)
    return None


def _decoded_length(path: Path, sound: soundfile.SoundFile) -> int:
    # soundfile would seek to the end of what it read, which libsndfile refuses where it does not know the end.
    sound.seekable = lambda: False
    length = 0
    try:
        while count := len(sound.read(_BLOCK, dtype="int16", always_2d=True)):
            length += count
    except RuntimeError as error:
        raise AudioError(f"{path}: damaged: {str(error).rstrip('.')}") from error
    return length


def _wav_with_length(content: bytearray) -> io.BytesIO | None:
    place, data = 12, 0
    while place + 8 <= len(content):
        if content[place : place + 4] == b"data":
            data = data or place
        size = int.from_bytes(content[place + 4 : place + 8], "little")
        place += 8 + size + size % 2
    if not data or 0 <= place - len(content) <= 1:  # chunks that fill the file: it is finished, and empty
        return None
    content[data + 4 : data + 8] = b"\xff" * 4
    return io.BytesIO(content)


def _mp3_with_length(content: bytes, expected: int) -> io.BytesIO | None:
    frames = _mp3_frames(content)
    first = next(frames, None)
    if first is None:
        return None
    version1, mono = content[first + 1] & 0x08 != 0, content[first + 3] >> 6 == 3
    # The Xing header stands behind the side information of a frame that is otherwise silent.
    place = 4 + ((17 if mono else 32) if version1 else (9 if mono else 17))
    if content[first + place : first + place + 4] in (b"Xing", b"Info"):
        return None
    following = list(frames)
    count = 1 + len(following)
    if not following or abs(count * (1152 if version1 else 576) - expected) <= 2 * 1152:
        return None
    header = content[first : first + 4] + bytes(place - 4) + b"Xing" + (1).to_bytes(4, "big") + count.to_bytes(4, "big")
    return io.BytesIO(header.ljust(following[0] - first, b"\0") + content[first:])


def _mp3_frames(content: bytes) -> Iterator[int]:
    """Yield the place of each MPEG layer III frame."""
    place = 0
    if content[:3] == b"ID3":
        # The tag's size: four bytes of seven bits.
        place = 10 + sum(byte << shift for byte, shift in zip(content[6:10], (21, 14, 7, 0), strict=True))
    while place + 4 <= len(content):
        _, kind, rates, _ = content[place : place + 4]
        version, layer, index = kind >> 3 & 3, kind >> 1 & 3, rates >> 2 & 3
        good = content[place] == 0xFF and kind >= 0xE0 and layer == 1 and version != 1
        if not good or index == 3 or not 0 < rates >> 4 < 15:
            place += 1
            continue
        kilobits = (_MPEG1_KILOBITS if version == 3 else _MPEG2_KILOBITS)[rates >> 4]
        rate = _MPEG1_RATES[index] >> {3: 0, 2: 1, 0: 2}[version]
        size = (144 if version == 3 else 72) * kilobits * 1000 // rate + (rates >> 1 & 1)
        yield place
        place += size


def _check_header(path: Path, sound: soundfile.SoundFile) -> None:
    if not LOWEST_RATE <= sound.samplerate <= HIGHEST_RATE:
        raise AudioError(f"{path}: {sound.samplerate} Hz; speech needs {LOWEST_RATE} to {HIGHEST_RATE} Hz")
    if sound.frames <= 0:
        raise AudioError(f"{path}: 0 samples")
    if sound.frames > LONGEST * sound.samplerate:
        hours = sound.frames / sound.samplerate / 3600
        raise AudioError(f"{path}: {hours:.0f} hours long; at most {LONGEST / 3600:.0f} can be read at once")
    # libsndfile notes in its log, as "data : 32000 (should be 15956)", that fewer bytes follow than the header claims.
    sizes = re.findall(r"^\s*(?:data|SSND|Data Size)\s*:\s*(\d+)\s*\(should be (\d+)", sound.extra_info, re.M)
    for declared, actual in sizes:
        if int(declared) > int(actual) and not _is_unknown(int(declared)):
            raise AudioError(f"{path}: truncated: the header announces {declared} bytes of samples, {actual} are there")
    if sound.format == "NIST":
        with path.open("rb") as file:
            count = re.search(rb"^sample_count -i (\d+)", file.read(1024), re.M)
        if count and int(count[1]) > sound.frames:
            raise AudioError(
                f"{path}: truncated: the header announces {int(count[1])} samples, {sound.frames} are there"
            )


def _is_unknown(size: int) -> bool:
    """Tell the sizes that streaming writers leave: just under 2 or 4 GiB (whole blocks, less the header)."""
    return 2**31 - _BLOCK <= size <= 2**31 or size >= 2**32 - _BLOCK


def info(path: str | Path) -> AudioInfo:
    """Read the header of a sound file. Raises AudioError."""
    with _open(Path(path)) as sound:
        return AudioInfo(sound.samplerate, sound.channels, sound.frames)


def load(
    path: str | Path, sample_rate: int = SAMPLE_RATE, offset: float = 0.0, duration: float | None = None
) -> Waveform:
    """Read a sound file as a mono waveform, float32 (samples,), at `sample_rate` Hz.

    Channels are averaged. `offset` and `duration` (seconds) choose a part; a duration that differs from what is left of
    the file by no more than 10 ms, as rounding makes it, means all of it. Raises AudioError for a file that is
    missing, empty, truncated, silent, too long or not audio.
    """
    path = Path(path)
    with _open(path) as sound:
        start = round(offset * sound.samplerate)
        if start >= sound.frames:
            seconds = sound.frames / sound.samplerate
            raise AudioError(f"{path}: offset {offset:g} s lies behind its end ({seconds:.3f} s)")
        left = sound.frames - start
        wanted = left if duration is None else round(duration * sound.samplerate)
        if abs(wanted - left) <= _ROUNDING * sound.samplerate:
            wanted = left
        if wanted > left:
            raise AudioError(
                f"{path}: {duration:g} s from {offset:g} s on are wanted, {left / sound.samplerate:.3f} s are there"
            )
        try:
            if start:
                sound.seek(start)
            samples = sound.read(wanted, dtype="float32", always_2d=True)
        except RuntimeError as error:
            raise AudioError(f"{path}: damaged: {str(error).rstrip('.')}") from error
        if len(samples) < wanted:
            raise AudioError(f"{path}: truncated: {start + len(samples)} of {sound.frames} samples are there")
        rate = sound.samplerate
    try:
        return from_array(samples, rate, sample_rate)
    except AudioError as error:
        raise AudioError(f"{path}: {error}") from None


def from_array(samples: NDArray[np.generic], rate: int, sample_rate: int = SAMPLE_RATE) -> Waveform:
    """Turn an array (samples,) or (samples, channels) at `rate` Hz into a mono float32 waveform at `sample_rate` Hz.

    Integers are scaled by their type's range to [-1, 1]. Raises AudioError for an array that is empty, transposed,
    digital silence, or has samples that are NaN, infinite or absurdly large, and for an absurd rate.
    """
    array = np.asarray(samples)
    if array.ndim not in (1, 2):
        raise AudioError(f"an array of {array.ndim} dimensions; (samples,) or (samples, channels) is meant")
    if array.size == 0:
        raise AudioError("0 samples")
    if array.ndim == 2 and array.shape[1] > _MOST_CHANNELS:
        raise AudioError(f"{array.shape[1]} channels; (samples, channels) is meant, is the array transposed?")
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise AudioError(f"{rate} Hz; speech needs {LOWEST_RATE} to {HIGHEST_RATE} Hz")
    if array.dtype.kind == "i":
        array = array.astype(np.float32) / np.float32(-float(np.iinfo(array.dtype).min))
    elif array.dtype.kind != "f":
        raise AudioError(f"samples of type {array.dtype}; floating point or signed integers are meant")
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is infinite, and refused below
        mono = array.astype(np.float32, copy=False)
        if array.ndim == 2:
            mono = mono[:, 0] if array.shape[1] == 1 else mono.mean(axis=1, dtype=np.float32)
    usable = np.abs(mono) <= _LOUDEST
    if not usable.all():
        index = int(np.argmin(usable))
        why = f"{mono[index]:g}, far outside [-1, 1]" if np.isfinite(mono[index]) else "not a number (NaN or infinite)"
        raise AudioError(f"sample {index} is {why}")
    if not mono.any():
        raise AudioError(f"digital silence: all {len(mono)} samples are 0; was the right channel or device recorded?")
    waveform = resample(np.ascontiguousarray(mono), rate, sample_rate)
    if len(waveform) == 0:
        raise AudioError(f"too short: {len(mono)} samples at {rate} Hz are less than one at {sample_rate} Hz")
    return waveform


def resample(waveform: Waveform, rate: float, sample_rate: float) -> Waveform:
    """Change the sample rate of a waveform (samples,) from `rate` to `sample_rate` Hz (soxr, high quality)."""
    if rate == sample_rate:
        return waveform
    return np.asarray(soxr.resample(waveform, rate, sample_rate), dtype=np.float32)
