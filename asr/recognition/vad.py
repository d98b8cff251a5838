"""Voice activity detection: finds the speech in a recording with a small recurrent network.

The network sees the shape of each frame's spectrum between 100 and 3,800 Hz, and its level relative to the loudest and
the quietest of the frames before it. No level is absolute, so the gain of a recording has no effect. Neither has its
sample rate, from 8 kHz on. recipes/vad/train.py trains the network.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from asr.transcripts.records import Word

WEIGHTS = Path(__file__).with_suffix(".safetensors")
# Seconds: frames are _WINDOW long, HOP apart.
HOP, _WINDOW = 0.020, 0.032
# The mel bands of a frame, in Hz, and the range of their energies in dB.
_BANDS, _LOW, _HIGH, _RANGE = 24, 100.0, 3800.0, 50.0
# Decibels per frame by which the loudest level falls and the quietest one rises; the limit of the distance from them.
_FALL, _RISE, _FAR = 0.05, 0.05, 50.0
FEATURES = _BANDS + 2
# The output of the network belongs to the frame that is this many frames back.
LOOK_AHEAD = 8
# Frames of input of the convolution.
_WIDTH = 5

# Probabilities at which speech begins and below which it ends.
_BEGIN, _END = 0.5, 0.25
# Seconds: shorter sounds are clicks; shorter pauses belong to the speech around them; how much is kept before and after
# speech.
_CLICK, _PAUSE, _PADDING = 0.1, 1.2, 0.4

Values = NDArray[np.float32]


@dataclass(frozen=True)
class SampleRange:
    """The samples from `first` up to, but not including, `end`."""

    first: int
    end: int


class Features:
    """Computes the features of a waveform in blocks."""

    def __init__(self, sample_rate: int) -> None:
        self.hop = round(HOP * sample_rate)
        self._size = round(_WINDOW * sample_rate)
        self._window = np.hanning(self._size + 1)[:-1].astype(np.float32)
        self._mel = _mel_bands(sample_rate, self._size)
        self._waiting = np.zeros(0, np.float32)
        self._samples = self._frames = 0
        self._loudest, self._quietest = -np.inf, np.inf

    def add(self, block: Values) -> Values:
        """Return the features (n, FEATURES) of the frames that samples complete."""
        self._samples += len(block)
        return self._add(block)

    def finish(self) -> Values:
        """Return the features of the last frames: there is one for each hop that has samples."""
        missing = -(-self._samples // self.hop) - self._frames
        end = (missing - 1) * self.hop + self._size
        return self._add(np.zeros(max(0, end - len(self._waiting)), np.float32))

    def _add(self, block: Values) -> Values:
        waiting = np.concatenate([self._waiting, block])
        count = max(0, 1 + (len(waiting) - self._size) // self.hop)
        if not count:
            self._waiting = waiting
            return np.zeros((0, FEATURES), np.float32)
        frames = np.lib.stride_tricks.sliding_window_view(waiting, self._size)[:: self.hop][:count]
        # Of the largest sample 1, so that no power underflows.
        scale = np.maximum(np.abs(frames).max(axis=1), np.finfo(np.float32).tiny)
        spectrum = np.fft.rfft(frames / scale[:, None] * self._window)
        power = np.square(np.abs(spectrum)) @ self._mel
        self._waiting, self._frames = waiting[count * self.hop :], self._frames + count
        return self._normalised(power, 20 * np.log10(scale.astype(np.float64)))

    def _normalised(self, power: NDArray[np.float64], gain: NDArray[np.float64]) -> Values:
        """Return the features of frames of band powers (n, bands), which `gain` (n,) dB are to be added to."""
        most = power.max(axis=1)
        sounds = most > 1e-9  # all samples of other frames are 0, or equal
        shape = 10 * np.log10(np.maximum(power / np.where(sounds, most, 1.0)[:, None], 10 ** (-_RANGE / 10)))
        shape = np.where(sounds[:, None], shape - shape.mean(axis=1, keepdims=True), 0.0)
        level = gain + 10 * np.log10(np.where(sounds, power.mean(axis=1), 1.0))
        steps = np.arange(1, len(level) + 1)
        # The loudest level falls and the quietest rises with time.
        loudest = np.maximum.accumulate(np.append(self._loudest, np.where(sounds, level, -np.inf) + _FALL * steps))
        quietest = np.minimum.accumulate(np.append(self._quietest, np.where(sounds, level, np.inf) - _RISE * steps))
        loudest, quietest = loudest[1:] - _FALL * steps, quietest[1:] + _RISE * steps
        self._loudest, self._quietest = float(loudest[-1]), float(quietest[-1])
        below = np.where(sounds, np.minimum(loudest - level, _FAR), _FAR)
        above = np.where(sounds, np.minimum(level - quietest, _FAR), 0.0)
        return np.column_stack([shape / 10, below / 20, above / 20]).astype(np.float32)


def silence(frames: int) -> Values:
    """Return the features (frames, FEATURES) of digital silence."""
    features = np.zeros((frames, FEATURES), np.float32)
    features[:, -2] = _FAR / 20
    return features


@lru_cache
def _mel_bands(sample_rate: int, size: int) -> NDArray[np.float64]:
    """Return triangular filters (bins, bands), evenly spaced on the mel scale; those above half the rate are 0."""
    low, high = (2595 * math.log10(1 + frequency / 700) for frequency in (_LOW, _HIGH))
    edges = 700 * (10 ** (np.linspace(low, high, _BANDS + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(size, 1 / sample_rate)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    bands: NDArray[np.float64] = np.maximum(0.0, np.minimum(rising, falling))
    return bands


class Network(nn.Module):
    """Features -> log-odds of speech: a convolution over the last frames, a recurrent layer and an output."""

    def __init__(self, channels: int = 40, hidden: int = 48) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(FEATURES, channels, _WIDTH)
        self.recurrence = nn.GRU(channels, hidden, batch_first=True)
        self.output = nn.Linear(hidden, 1)

    def forward(self, features: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the log-odds (B, T) and the state of features (B, T + 4, FEATURES), of which 4 are a context."""
        hidden = self.convolution(features.mT).relu().mT
        hidden, state = self.recurrence(hidden, state)
        return self.output(hidden)[..., 0], state


@lru_cache
def _network() -> Network:
    network = Network()
    network.load_state_dict(load_file(WEIGHTS))
    return network.eval()


def probabilities(blocks: Iterable[Values], sample_rate: int) -> Values:
    """Return the probability of speech (frames,) of each frame of a waveform that is given in blocks."""
    features, network = Features(sample_rate), _network()
    context = torch.from_numpy(silence(_WIDTH - 1))
    state: Tensor | None = None
    result = []

    def rows() -> Iterator[Values]:
        for block in blocks:
            yield features.add(block)
        yield np.concatenate([features.finish(), silence(LOOK_AHEAD)])

    for row in rows():
        if len(row):
            frames = torch.cat([context, torch.from_numpy(row)])
            with torch.inference_mode():
                logits, state = network(frames[None], state)
            context = frames[1 - _WIDTH :]
            result.append(logits[0].sigmoid().numpy())
    return np.concatenate(result)[LOOK_AHEAD:]


def speech(probability: Values, hop: int, samples: int) -> list[SampleRange]:
    """Return the ranges of speech of frames with these probabilities (frames,), `hop` samples apart.

    They are ordered and lie within `samples` samples, with a pause of silence around and between them.
    """
    seconds = HOP / hop
    click, pause, padding = (round(time / seconds) for time in (_CLICK, _PAUSE, _PADDING))
    ranges: list[SampleRange] = []
    for first, end in runs(probability > _END):
        if (end - first) * hop < click or not (probability[first:end] > _BEGIN).any():
            continue
        start, stop = max(0, first * hop - padding), min(end * hop + padding, samples)
        if ranges and start - ranges[-1].end < pause - 2 * padding:
            start = ranges.pop().first
        ranges.append(SampleRange(start, stop))
    return ranges


@dataclass(frozen=True)
class Speech:
    """The speech of a waveform: ranges of its samples, in order."""

    ranges: Sequence[SampleRange]
    sample_rate: int

    def cut(self, blocks: Iterable[Values]) -> Iterator[Values]:
        """Yield the samples of the ranges, from the blocks of the waveform."""
        ends = [part.end for part in self.ranges]
        first = 0
        for block in blocks:
            for part in self.ranges[bisect_right(ends, first) :]:
                if part.first >= first + len(block):
                    break
                yield block[max(part.first - first, 0) : part.end - first]
            first += len(block)

    def original(self, word: Word) -> Word:
        """Return a word of the samples that `cut` yields with its times in the whole waveform."""
        ends = list(accumulate(part.end - part.first for part in self.ranges))
        middle = (word.start + word.end) / 2 * self.sample_rate
        index = min(bisect_right(ends, middle), len(ends) - 1)
        part = self.ranges[index]
        first, end, shift = (value / self.sample_rate for value in (part.first, part.end, part.end - ends[index]))
        return replace(word, start=max(word.start + shift, first), end=min(word.end + shift, end))


def detect(blocks: Iterable[Values], sample_rate: int) -> Speech:
    """Find the speech in a waveform that is given in blocks."""
    samples = 0

    def counted() -> Iterator[Values]:
        nonlocal samples
        for block in blocks:
            samples += len(block)
            yield block

    found = probabilities(counted(), sample_rate)
    return Speech(speech(found, round(HOP * sample_rate), samples), sample_rate)


def runs(values: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the runs of true values: the index of the first value of each, and the index after its last."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], values, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
