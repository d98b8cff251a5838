"""The features of a manifest, computed once and kept beside it in one memory-mapped file.

`<folder>/<key>.f16` holds the frames of all utterances one after another, float16; `<folder>/<key>.npy` the number of
frames of each. The key is a hash of the feature settings, the speed, and each utterance's file, size, time of change
and segment. The second file is written last: a cache without it was never finished and is not used.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr import audio, config, features
from asr.features import Features, FeatureSettings
from asr.manifest import Utterance
from asr.parallel import spread

_FORMAT = 1
# Under this much audio, starting worker processes costs more than they save.
_ALONE = 600.0

Progress = Callable[[float, float], None]


class FeatureCache:
    """Features by the utterance's place in the list that the cache was opened with."""

    def __init__(self, path: Path, dimension: int) -> None:
        self.lengths: NDArray[np.int64] = np.load(path.with_suffix(".npy"))
        self._ends = np.cumsum(self.lengths)
        shape = (int(self.lengths.sum()), dimension)
        self._frames = np.memmap(path, np.float16, "r", shape=shape) if shape[0] else np.zeros(shape, np.float16)

    def __getitem__(self, index: int) -> Features:
        """Return the features (T, F), float32."""
        end = int(self._ends[index])
        return np.asarray(self._frames[end - int(self.lengths[index]) : end], dtype=np.float32)


def _key(utterances: Sequence[Utterance], settings: FeatureSettings, speed: float) -> str:
    digest = hashlib.sha256(json.dumps([_FORMAT, config.to_dict(settings), speed]).encode())
    for utterance in utterances:
        try:
            status = os.stat(utterance.audio)  # noqa: PTH116 - a Path a row is slow for a million rows
        except OSError as error:
            raise audio.AudioError(f"{utterance.audio}: {error.strerror} (utterance {utterance.id})") from error
        identity = (utterance.audio, status.st_size, status.st_mtime_ns, utterance.offset, utterance.duration)
        digest.update(repr(identity).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:24]


def _compute(utterance: Utterance, settings: FeatureSettings, speed: float) -> NDArray[np.float16]:
    waveform = audio.load(utterance.audio, settings.sample_rate, utterance.offset, utterance.duration)
    # Played `speed` times as fast, a recording at rate r sounds like one whose samples were taken at r · speed.
    faster = audio.resample(waveform, settings.sample_rate * speed, settings.sample_rate)
    return features.mfcc(faster, settings).astype(np.float16)


def _is_whole(path: Path, dimension: int) -> bool:
    try:
        lengths = np.load(path.with_suffix(".npy"))
        return path.stat().st_size == int(lengths.sum()) * dimension * np.dtype(np.float16).itemsize
    except (OSError, ValueError, EOFError):
        return False


def open_cache(
    utterances: Sequence[Utterance],
    settings: FeatureSettings,
    folder: Path,
    speed: float = 1.0,
    progress: Progress | None = None,
) -> FeatureCache:
    """Return the features of the utterances played at `speed`, computing them where the folder does not have them.

    `progress` is told the seconds of audio done and in all. Raises AudioError for a recording that cannot be used.
    """
    path = folder / f"{_key(utterances, settings, speed)}.f16"
    if not _is_whole(path, settings.dimension):
        folder.mkdir(parents=True, exist_ok=True)
        total = sum(utterance.duration for utterance in utterances)
        done, lengths = 0.0, []
        # The process id keeps two processes that build the same cache out of each other's way.
        part, index = (path.with_name(f"{path.stem}.{os.getpid()}{suffix}") for suffix in (".part", ".index.part"))
        try:
            with part.open("wb") as out:
                jobs = ((utterance, settings, speed) for utterance in utterances)
                for utterance, frames in zip(utterances, spread(_compute, jobs, total < _ALONE), strict=True):
                    out.write(frames.tobytes())
                    lengths.append(len(frames))
                    done += utterance.duration
                    if progress:
                        progress(done, total)
            with index.open("wb") as out:
                np.save(out, np.array(lengths, dtype=np.int64))
            part.replace(path)
            index.replace(path.with_suffix(".npy"))
        finally:
            part.unlink(missing_ok=True)
            index.unlink(missing_ok=True)
    return FeatureCache(path, settings.dimension)
