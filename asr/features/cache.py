"""The feature cache: the features of a manifest, computed once and stored in `.features` beside it.

`.features/<manifest>-<content>-<key>.f16` holds the frames of all utterances in order, float16 and before
normalisation; the .npy file of the same name the number of frames of each. `content` is a hash of the file, size,
modification time and segment of each utterance; `key` of the feature settings and the copy (its speed and
distortion). The .npy file is written last: without it a cache is incomplete and is computed again. Caches of an earlier
content of the manifest are deleted.
"""

import hashlib
import json
import mmap
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr import audio, config
from asr.corpora.manifest import Utterance
from asr.errors import AsrError
from asr.features import reference as mfcc
from asr.features.distortion import Distortion
from asr.features.given import GivenFeatures, open_given
from asr.features.settings import Features, FeatureSettings
from asr.files import lock_file, open_atomic
from asr.parallel.processes import map_processes

FOLDER = ".features"
_FORMAT = 2
# Seconds of audio up to which starting worker processes takes longer than they save.
_IN_PROCESS = 600.0
# A temporary file that was not modified for this many seconds belongs to a process that was killed.
_STALE = 6 * 3600.0
_ITEM = np.dtype(np.float16).itemsize
# Mapped bytes that may be read before they are released.
_RESIDENT = 1 << 26


class FeatureCacheError(AsrError):
    """A feature cache that cannot be written; the message names the folder."""


@dataclass(frozen=True)
class Copy:
    """A copy of the recordings, played at `speed`, and distorted or not."""

    speed: float = 1.0
    distortion: Distortion | None = None


# Maps a function over tuples of arguments; yields the results in order.
Compute = Callable[[Callable[..., NDArray[np.float16]], Iterable[tuple[Any, ...]]], Iterator[NDArray[np.float16]]]


@dataclass(frozen=True)
class Computation:
    """How missing features are computed.

    `on_progress` is called with the seconds of audio done and in total, and the bytes to be written. `compute`: None
    stands for the processes of this machine.
    """

    on_progress: Callable[[float, float, int], None] | None = None
    compute: Compute | None = None


class FeatureCache:
    """The features of utterances, indexed as the list that the cache was opened with."""

    def __init__(self, path: Path, dimension: int) -> None:
        self.lengths: NDArray[np.int64] = np.load(path.with_suffix(".npy"))
        self._dimension = dimension
        self._ends = np.cumsum(self.lengths)
        self._read = 0
        with path.open("rb") as file:
            # The map keeps the file open, and so the lock, which prevents other processes from deleting the cache.
            lock_file(file, shared=True)
            # An empty file cannot be mapped.
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if self.lengths.any() else None

    def __getitem__(self, index: int) -> Features:
        """Return the features (T, F), float32, before normalisation."""
        length = int(self.lengths[index])
        if self._map is None:
            return np.zeros((length, self._dimension), np.float32)
        count = length * self._dimension
        start = int(self._ends[index]) * self._dimension - count
        frames = np.frombuffer(self._map, np.float16, count, start * _ITEM).astype(np.float32)
        self._read += count * _ITEM
        if self._read > _RESIDENT and hasattr(self._map, "madvise"):
            # The pages stay in the kernel's cache, but no longer count as memory of this process.
            self._map.madvise(mmap.MADV_DONTNEED)
            self._read = 0
        return frames.reshape(length, self._dimension)


def open_caches(
    utterances: Sequence[Utterance],
    settings: FeatureSettings,
    manifest: Path,
    copies: Sequence[Copy] = (Copy(),),
    computation: Computation = Computation(),
) -> Sequence[FeatureCache | GivenFeatures]:
    """Return the features of a manifest's utterances, one cache per copy; compute those that are missing.

    Given features are not cached. Raises AudioError for a recording that cannot be read, and FeatureCacheError if the
    disk is too small or the folder cannot be written.
    """
    total = sum(utterance.duration for utterance in utterances)
    if settings.kind == "given":
        report_given = computation.on_progress or (lambda done, total, size: None)
        return [open_given(utterances, settings, lambda done: report_given(done, total, 0))]
    settings = stored_settings(settings)
    folder = manifest.parent / FOLDER
    prefix = f"{manifest.stem}-{_content(utterances)}-"
    paths = [folder / f"{prefix}{_key(settings, copy)}.f16" for copy in copies]
    missing = [index for index, path in enumerate(paths) if not _is_complete(path, settings.dimension)]
    seconds = {index: total / copies[index].speed for index in missing}
    size = round(sum(seconds.values()) / settings.hop * settings.dimension * _ITEM)
    if missing:
        check_writable(folder)
        _delete_stale(folder, manifest.stem, prefix)
        free = shutil.disk_usage(folder).free
        if size > free:
            raise FeatureCacheError(
                f"{folder}: the features need {size / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; "
                "choose a folder on a larger disk with --cache, or use fewer speeds or noise copies"
            )
    caches, before = [], 0.0
    for index, path in enumerate(paths):
        if index in seconds:

            def report(done: float, before: float = before, share: float = seconds[index] / (total or 1)) -> None:
                if computation.on_progress:
                    computation.on_progress(before + done * share, sum(seconds.values()), size)

            compute = computation.compute or partial(map_processes, in_process=total < _IN_PROCESS)
            _write(path, utterances, settings, copies[index], compute, report)
            before += seconds[index]
        caches.append(FeatureCache(path, settings.dimension))
    return caches


def stored_settings(settings: FeatureSettings) -> FeatureSettings:
    """Return the settings of features as they are stored, without normalisation."""
    # Masks need features before normalisation; `speech` sets the level of the energies, too.
    kind = "speech" if settings.normalisation == "speech" else "none"
    return replace(settings, normalisation=kind, mean=(), scale=())


def place_in(folder: Path, manifest: Path) -> Path:
    """Return a manifest's path in a folder for the caches of several, which may have the same name."""
    return folder / f"{manifest.stem}@{hashlib.sha256(os.fsencode(manifest.resolve())).hexdigest()[:8]}.jsonl"


def check_writable(folder: Path) -> None:
    """Create the folder of a cache. Raises FeatureCacheError if it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise FeatureCacheError(
            f"{folder}: the features cannot be written there ({error.strerror or error}); choose a folder with --cache"
        ) from error


def _content(utterances: Sequence[Utterance]) -> str:
    """Return a hash of the audio of the utterances."""
    digest = hashlib.sha256()
    for utterance in utterances:
        try:
            status = os.stat(utterance.audio)  # noqa: PTH116 - constructing a Path is slow for a million rows
        except OSError as error:
            raise audio.AudioError(f"{utterance.audio}: {error.strerror} (utterance {utterance.id})") from error
        row = f"{status.st_size} {status.st_mtime_ns} {utterance.offset!r} {utterance.duration!r} {utterance.audio}\0"
        digest.update(row.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def _key(settings: FeatureSettings, copy: Copy) -> str:
    values = config.to_dict(settings)
    del values["kind"]  # caches of earlier versions do not have it
    digest = hashlib.sha256(json.dumps([_FORMAT, values, asdict(copy)]).encode())
    for name in copy.distortion.noise if copy.distortion else ():
        status = Path(name).stat()
        digest.update(repr((status.st_size, status.st_mtime_ns)).encode())
    return digest.hexdigest()[:16]


def _is_complete(path: Path, dimension: int) -> bool:
    try:
        lengths = np.load(path.with_suffix(".npy"))
        return path.stat().st_size == int(lengths.sum()) * dimension * _ITEM
    except (OSError, ValueError, EOFError):
        return False


def _delete_stale(folder: Path, manifest: str, prefix: str) -> None:
    """Delete temporary files of killed processes, and the manifest's caches without `prefix` that no process uses."""
    for path in folder.iterdir():
        try:
            if path.suffix == ".part" and time.time() - path.stat().st_mtime > _STALE:
                path.unlink()
            elif path.suffix == ".f16" and path.stem.rsplit("-", 2)[0] == manifest and not path.name.startswith(prefix):
                with path.open("rb") as file:
                    if lock_file(file):
                        path.with_suffix(".npy").unlink(missing_ok=True)
                        path.unlink()
        except OSError:  # another process has deleted it
            continue


def _compute(utterance: Utterance, settings: FeatureSettings, copy: Copy) -> NDArray[np.float16]:
    waveform = audio.load(utterance.audio, settings.sample_rate, utterance.offset, utterance.duration)
    return compute(waveform, utterance.id, settings, copy)


def compute(waveform: NDArray[np.float32], identity: str, settings: FeatureSettings, copy: Copy) -> NDArray[np.float16]:
    """Return the features (T, F) of a copy of the utterance `identity`, as they are stored.

    waveform: (samples,), at the settings' sample rate.
    """
    # A recording at rate r that is played at `speed` sounds like one that was sampled at rate r * speed.
    waveform = audio.resample(waveform, settings.sample_rate * copy.speed, settings.sample_rate)
    if copy.distortion:
        number = copy.distortion.number
        random = np.random.default_rng((zlib.crc32(identity.encode("utf-8", "surrogatepass")), number))
        waveform = copy.distortion(waveform, settings.sample_rate, random)
    return mfcc.unnormalised(waveform, settings).astype(np.float16)


def _write(  # noqa: PLR0913, PLR0917 - what is computed, how, and where it goes
    path: Path,
    utterances: Sequence[Utterance],
    settings: FeatureSettings,
    copy: Copy,
    compute: Compute,
    on_progress: Callable[[float], None],
) -> None:
    done, lengths = 0.0, []
    jobs = ((utterance, settings, copy) for utterance in utterances)
    try:
        with open_atomic(path) as out:
            for utterance, frames in zip(utterances, compute(_compute, jobs), strict=True):
                out.write(frames.tobytes())
                lengths.append(len(frames))
                done += utterance.duration
                on_progress(done)
        with open_atomic(path.with_suffix(".npy")) as out:
            np.save(out, np.array(lengths, dtype=np.int64))
    except OSError as error:
        raise FeatureCacheError(f"{path.parent}: the features cannot be written: {error.strerror or error}") from error
