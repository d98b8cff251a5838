"""A recording in blocks -> the features of all of it, in passes over the blocks, which are never all in memory."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asr.audio import AudioError
from asr.features.frontend import EDGE, Frontend
from asr.features.settings import FeatureSettings, statistics

# Begins anew whenever it is called: the blocks (samples,) of a waveform.
Blocks = Callable[[], Iterable[NDArray[np.float32]]]
# Is told the share of a recording that is done with, from 0 to 1.
Tell = Callable[[float], None]
_BLOCK = 1 << 17
# How much longer the last pass takes, in which the network hears what is read, than one before it.
_LAST = 4.0


@dataclass(frozen=True)
class Span:
    """The frames from `first` to before `end`."""

    first: int
    end: int


@dataclass(frozen=True, eq=False)
class Survey:
    """What a first pass tells: the loudest energy in a mel band (dB) and the level of each frame (T,), in dB."""

    loudest: float
    levels: NDArray[np.float32]


def pieces(waveform: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Yield a waveform (samples,) in blocks."""
    yield from (waveform[first : first + _BLOCK] for first in range(0, len(waveform), _BLOCK))


def told(blocks: Blocks, samples: int, count: int, tell: Tell) -> Blocks:
    """Return the blocks of a recording of so many samples, and `tell` how far the work is as they are read.

    `count`: how many times they are read from the first to the last.
    """
    ends = [(number + 1) / (count - 1 + _LAST) for number in range(count - 1)] + [1.0]
    left = zip([0.0, *ends], ends, strict=False)

    def read() -> Iterator[NDArray[np.float32]]:
        begin, end = next(left, (1.0, 1.0))
        done = 0
        for block in blocks():
            yield block
            done += len(block)
            tell(begin + (end - begin) * min(1.0, done / max(1, samples)))

    return read


class Passes:
    """The features of a recording: what `frontend` makes of the whole waveform, block by block."""

    def __init__(self, frontend: Frontend, blocks: Blocks) -> None:
        self._frontend = frontend
        self._blocks = blocks
        self._samples: int | None = None

    @staticmethod
    def count(settings: FeatureSettings) -> int:
        """Return how many times the blocks are read in all."""
        return 3 if settings.normalisation == "utterance" else 2

    def survey(self) -> Survey:
        """Pass over the recording once."""
        loudest, levels = -np.inf, [np.zeros(0, np.float32)]
        for decibels in self._energies():
            loudest = max(loudest, float(decibels.max()))
            power = torch.pow(10.0, decibels / 10).mean(dim=0)
            levels.append((10 * torch.log10(power)).cpu().numpy())
        return Survey(loudest, np.concatenate(levels))

    def frames(self, survey: Survey, spans: Sequence[Span]) -> Iterator[Tensor]:
        """Yield all frames (T, F) in blocks, normalised; by the frames of the spans, where by the recording's own."""
        mean, scale = (torch.from_numpy(part).to(self._frontend.device) for part in self._statistics(survey, spans))
        for frames in self._coefficients(survey.loudest):
            yield (frames - mean) / scale

    def _statistics(self, survey: Survey, spans: Sequence[Span]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        settings = self._frontend.settings
        chosen = np.zeros(len(survey.levels), bool)
        for span in spans:
            chosen[span.first : span.end] = True
        if settings.normalisation != "utterance" or not chosen.any():
            return statistics(np.zeros((0, settings.dimension), np.float32), settings)
        count, total, squares = 0, np.zeros(settings.dimension), np.zeros(settings.dimension)
        first = 0
        for frames in self._coefficients(survey.loudest):
            rows = frames.cpu().numpy()[chosen[first : first + len(frames)]].astype(np.float64)
            count, total, squares = count + len(rows), total + rows.sum(axis=0), squares + np.square(rows).sum(axis=0)
            first += len(frames)
        mean = total / count
        scale = np.sqrt(np.maximum(squares / count - np.square(mean), 0.0))
        return mean.astype(np.float32), np.maximum(scale, 1e-3).astype(np.float32)

    def _coefficients(self, loudest: float) -> Iterator[Tensor]:
        """Yield the frames (n, F), not normalised; a block sees what deltas need of its neighbours."""
        margin = EDGE if self._frontend.settings.deltas else 0
        waiting: Tensor | None = None
        done = 0
        for energies in self._energies():
            waiting = energies if waiting is None else torch.cat([waiting, energies], dim=1)
            ready = waiting.shape[1] - margin
            if ready > done:
                yield self._frontend.coefficients(waiting, loudest)[done:ready]
                first = max(0, ready - margin)
                waiting, done = waiting[:, first:], ready - first
        if waiting is not None and waiting.shape[1] > done:
            yield self._frontend.coefficients(waiting, loudest)[done:]

    def _energies(self) -> Iterator[Tensor]:
        """Yield the energies (mel_bands, n): a frame is centred on each hop, and beyond the ends are zeros."""
        settings, device = self._frontend.settings, self._frontend.device
        size, hop = settings.fft_length, settings.hop_length
        silence = np.zeros(size // 2, np.float32)
        waiting = torch.from_numpy(silence).to(device)
        for block in chain(self._counted(), [silence]):
            waiting = torch.cat([waiting, torch.from_numpy(np.ascontiguousarray(block)).to(device)])
            count = 1 + (len(waiting) - size) // hop
            if count > 0:
                yield self._frontend.decibels(waiting[: (count - 1) * hop + size])
                waiting = waiting[count * hop :]

    def _counted(self) -> Iterator[NDArray[np.float32]]:
        """Yield the blocks, which must be the same in each pass: a file may still be written to."""
        count = 0
        for block in self._blocks():
            count += len(block)
            if self._samples is not None and count > self._samples:
                break
            yield block
        if self._samples not in (None, count):
            raise AudioError("the recording changed while it was read")
        self._samples = count
