"""The features of a manifest, computed once and kept beside it, one memory-mapped file for each copy of the speech.

`<folder>/<key>.f16` holds the frames of all utterances one after another, float16 and not yet normalised;
`<folder>/<key>.npy` the number of frames of each. The key is a hash of the feature settings, the copy (its speed and
noise), and each utterance's file, size, time of change and segment. The second file is written last: a cache without
it was never finished and is not used.
"""

import hashlib
import json
import mmap
import os
import shutil
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr import audio, config
from asr.corpora.manifest import Utterance
from asr.errors import AsrError
from asr.features import augment
from asr.features import reference as mfcc
from asr.features.settings import Features, FeatureSettings
from asr.files import open_atomic
from asr.parallel import map_processes

_FORMAT = 2
# Under this much audio, starting worker processes costs more than they save.
_ALONE = 600.0
# A temporary file that nobody has written to for so long, in seconds, is that of a process that was killed.
_STALE = 6 * 3600.0

_ITEM = np.dtype(np.float16).itemsize
# Bytes that may be read before what was mapped for them is let go of.
_RESIDENT = 1 << 26

Progress = Callable[[float, float, int], None]


class FeatureCacheError(AsrError):
    """Features that cannot be kept; the message names the folder."""


@dataclass(frozen=True)
class Noise:
    """Recordings to mix in at a signal-to-noise ratio of `low` to `high` dB; `number` tells noisy copies apart."""

    files: tuple[str, ...]
    low: float
    high: float
    number: int = 0


@dataclass(frozen=True)
class Copy:
    """How the recordings sound in one copy: played at `speed`, with noise or without."""

    speed: float = 1.0
    noise: Noise | None = None


class FeatureCache:
    """Features by the utterance's place in the list that the cache was opened with."""

    def __init__(self, path: Path, dimension: int) -> None:
        self.lengths: NDArray[np.int64] = np.load(path.with_suffix(".npy"))
        self._dimension = dimension
        self._ends = np.cumsum(self.lengths)
        self._read = 0
        with path.open("rb") as file:
            # A file of no bytes cannot be mapped.
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if self.lengths.any() else None

    def __getitem__(self, index: int) -> Features:
        """Return the features (T, F), float32, not yet normalised."""
        length = int(self.lengths[index])
        if self._map is None:
            return np.zeros((length, self._dimension), np.float32)
        count = length * self._dimension
        start = int(self._ends[index]) * self._dimension - count
        found = np.frombuffer(self._map, np.float16, count, start * _ITEM).astype(np.float32)
        self._read += count * _ITEM
        if self._read > _RESIDENT and hasattr(self._map, "madvise"):
            # It stays in the kernel's cache; mapped here for good, it would count as this process's memory.
            self._map.madvise(mmap.MADV_DONTNEED)
            self._read = 0
        return found.reshape(length, self._dimension)


def _identity(utterances: Sequence[Utterance]) -> bytes:
    digest = hashlib.sha256()
    for utterance in utterances:
        try:
            status = os.stat(utterance.audio)  # noqa: PTH116 - a Path a row is slow for a million rows
        except OSError as error:
            raise audio.AudioError(f"{utterance.audio}: {error.strerror} (utterance {utterance.id})") from error
        identity = (
            f"{status.st_size} {status.st_mtime_ns} {utterance.offset!r} {utterance.duration!r} {utterance.audio}\0"
        )
        digest.update(identity.encode("utf-8", "surrogateescape"))
    return digest.digest()


def _key(identity: bytes, settings: FeatureSettings, copy: Copy) -> str:
    digest = hashlib.sha256(json.dumps([_FORMAT, config.to_dict(settings), asdict(copy)]).encode() + identity)
    for name in copy.noise.files if copy.noise else ():
        status = Path(name).stat()
        digest.update(repr((status.st_size, status.st_mtime_ns)).encode())
    return digest.hexdigest()[:24]


@lru_cache(maxsize=16)
def _noise(path: str, sample_rate: int) -> NDArray[np.float32]:
    return audio.load(path, sample_rate)


def _compute(utterance: Utterance, settings: FeatureSettings, copy: Copy) -> NDArray[np.float16]:
    waveform = audio.load(utterance.audio, settings.sample_rate, utterance.offset, utterance.duration)
    # Played `speed` times as fast, a recording at rate r sounds like one whose samples were taken at r · speed.
    heard = audio.resample(waveform, settings.sample_rate * copy.speed, settings.sample_rate)
    if copy.noise:
        random = np.random.default_rng((zlib.crc32(utterance.id.encode("utf-8", "surrogatepass")), copy.noise.number))
        noise = _noise(copy.noise.files[int(random.integers(len(copy.noise.files)))], settings.sample_rate)
        heard = augment.add_noise(heard, noise, random.uniform(copy.noise.low, copy.noise.high), random)
    return mfcc.unnormalised(heard, settings).astype(np.float16)


def _is_whole(path: Path, dimension: int) -> bool:
    try:
        lengths = np.load(path.with_suffix(".npy"))
        return path.stat().st_size == int(lengths.sum()) * dimension * _ITEM
    except (OSError, ValueError, EOFError):
        return False


def _make_room(folder: Path, size: int) -> None:
    """Make the folder, take away what killed processes left in it, and see that `size` bytes fit."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in folder.glob("*.part"):
        try:
            if time.time() - part.stat().st_mtime > _STALE:
                part.unlink()
        except OSError:  # another process has cleared it
            continue
    free = shutil.disk_usage(folder).free
    if size > free:
        raise FeatureCacheError(
            f"{folder}: the features need {size / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; "
            "put the manifest on a larger disk, or use fewer speeds or noise copies"
        )


def open_caches(
    utterances: Sequence[Utterance],
    settings: FeatureSettings,
    folder: Path,
    copies: Sequence[Copy] = (Copy(),),
    progress: Progress | None = None,
) -> list[FeatureCache]:
    """Return the features of the utterances, of each copy, computing them where the folder does not have them.

    `progress` is told the seconds of audio done and in all, and the bytes to be written. Raises AudioError for a
    recording that cannot be used, and FeatureCacheError where the disk is too small.
    """
    # Normalised when read: masks need the features as they are.
    settings = replace(settings, normalisation="none", mean=(), scale=())
    identity = _identity(utterances)
    paths = [folder / f"{_key(identity, settings, copy)}.f16" for copy in copies]
    missing = [number for number, path in enumerate(paths) if not _is_whole(path, settings.dimension)]
    total = sum(utterance.duration for utterance in utterances)
    seconds = [total / copies[number].speed for number in missing]
    size = round(sum(seconds) / settings.hop * settings.dimension * _ITEM)
    if missing:
        _make_room(folder, size)
    before = 0.0
    for number, here in zip(missing, seconds, strict=True):

        def overall(done: float, before: float = before, here: float = here) -> None:
            if progress:
                progress(before + done / total * here, sum(seconds), size)

        _write(paths[number], utterances, settings, copies[number], overall)
        before += here
    return [FeatureCache(path, settings.dimension) for path in paths]


def _write(
    path: Path,
    utterances: Sequence[Utterance],
    settings: FeatureSettings,
    copy: Copy,
    progress: Callable[[float], None],
) -> None:
    done, lengths = 0.0, []
    alone = sum(utterance.duration for utterance in utterances) < _ALONE
    jobs = ((utterance, settings, copy) for utterance in utterances)
    try:
        with open_atomic(path) as out:
            for utterance, frames in zip(utterances, map_processes(_compute, jobs, alone), strict=True):
                out.write(frames.tobytes())
                lengths.append(len(frames))
                done += utterance.duration
                progress(done)
        with open_atomic(path.with_suffix(".npy")) as out:
            np.save(out, np.array(lengths, dtype=np.int64))
    except OSError as error:
        raise FeatureCacheError(f"{path.parent}: the features cannot be written: {error.strerror or error}") from error
