"""MFCC features of a recording that is read in blocks, so that it is never in memory as a whole."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from asr.audio import AudioError
from asr.features.frontend import DELTA_CONTEXT, Frontend
from asr.features.normalisation import RunningStatistics, Statistics, StreamNormalisation, loudest
from asr.features.settings import CAUSAL, Features, FeatureSettings

# Returns the blocks (samples,) of a waveform from the first one on, each time it is called.
Blocks = Callable[[], Iterable[NDArray[np.float32]]]
_BLOCK = 1 << 17
# The duration of the last pass, in which the network runs, relative to an earlier one.
_LAST_PASS = 4.0


@dataclass(frozen=True)
class Measured:
    """The level in dB that energies are relative to, and T, the number of frames."""

    level: float
    frames: int


def split(waveform: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Yield a waveform (samples,) in blocks."""
    yield from (waveform[first : first + _BLOCK] for first in range(0, len(waveform), _BLOCK))


def with_progress(blocks: Blocks, samples: int, passes: int, on_progress: Callable[[float, float], None]) -> Blocks:
    """Return blocks that report, as they are read, the work done and in total.

    samples: the length of the recording. passes: how often it is read.
    """
    samples = max(samples, 1)
    weights = iter([1.0] * (passes - 1) + [_LAST_PASS])
    total, finished = samples * (passes - 1 + _LAST_PASS), 0.0

    def read() -> Iterator[NDArray[np.float32]]:
        nonlocal finished
        weight, count = next(weights, 0.0), 0
        for block in blocks():
            yield block
            count += len(block)
            on_progress(finished + weight * min(count, samples), total)
        finished += weight * samples

    return read


class BlockFeatures:
    """Computes the same features as `frontend` does of the whole waveform, in several passes over its blocks."""

    def __init__(self, frontend: Frontend, blocks: Blocks) -> None:
        self._frontend = frontend
        self._blocks = blocks
        self._samples: int | None = None

    @staticmethod
    def passes(settings: FeatureSettings) -> int:
        """Return how often the blocks are read in all."""
        return 3 if settings.normalisation in ("speech", "utterance") else 2

    def measure(self) -> Measured:
        """Read the recording once and return its level and its length."""
        if self._frontend.settings.kind == "given":
            return Measured(0.0, sum(map(len, self._read())))
        peaks = np.concatenate([self._frontend.peaks(decibels) for decibels in self._energies()])
        return Measured(loudest(peaks, self._frontend.settings), len(peaks))

    def frames(self, level: float) -> Iterator[Features]:
        """Yield all frames (n, F) in blocks. level: the level that `measure` returns."""
        settings, first = self._frontend.settings, 0
        if settings.normalisation in CAUSAL:
            yield from map(StreamNormalisation(settings), self._coefficients(level))
            return
        parts = self._normalisation(level)
        for frames in self._coefficients(level):
            mean, scale = parts(first, first + len(frames))
            yield (frames - mean) / scale
            first += len(frames)

    def _normalisation(self, level: float) -> Callable[[int, int], tuple[Features, Features]]:
        """Return a function from the first frame and the end of a block to its mean and scale."""
        settings = self._frontend.settings
        if settings.normalisation == "speech":
            running = RunningStatistics(settings)
            for block in self._coefficients(level):
                running.add(block)
            return running.finish().of
        statistics = Statistics(settings.dimension, settings.kind == "given")
        for block in self._coefficients(level):
            statistics.add(block)
        whole = statistics.mean.astype(np.float32), statistics.scale.astype(np.float32)
        return lambda first, end: whole

    def _coefficients(self, level: float) -> Iterator[Features]:
        """Yield the frames (n, F), not normalised; deltas see the frames of neighbouring blocks."""
        if self._frontend.settings.kind == "given":
            yield from self._read()
            return
        context = DELTA_CONTEXT if self._frontend.settings.deltas else 0
        waiting: Features | None = None
        done = 0
        for energies in self._energies():
            waiting = energies if waiting is None else np.concatenate([waiting, energies])
            ready = len(waiting) - context
            if ready > done:
                yield self._frontend.coefficients(waiting, level)[done:ready]
                first = max(0, ready - context)
                waiting, done = waiting[first:], ready - first
        if waiting is not None and len(waiting) > done:
            yield self._frontend.coefficients(waiting, level)[done:]

    def _energies(self) -> Iterator[Features]:
        """Yield the energies (n, mel_bands): a frame is centred on each hop, and zeros surround the waveform."""
        settings = self._frontend.settings
        size, hop = settings.fft_length, settings.hop_length
        silence = np.zeros(size // 2, np.float32)
        waiting = silence
        for block in chain(self._read(), [silence]):
            waiting = np.concatenate([waiting, block])
            count = 1 + (len(waiting) - size) // hop
            if count > 0:
                yield self._frontend.decibels(waiting[: (count - 1) * hop + size])
                waiting = waiting[count * hop :]

    def _read(self) -> Iterator[NDArray[np.float32]]:
        """Yield the blocks. Raise AudioError if their length changed since the last pass: a file may still grow."""
        count = 0
        for block in self._blocks():
            count += len(block)
            if self._samples is not None and count > self._samples:
                break
            yield block
        if self._samples not in (None, count):
            raise AudioError("the recording changed while it was read")
        self._samples = count
