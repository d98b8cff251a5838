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
from numpy.typing import NDArray
from safetensors.numpy import load_file

from asr.transcripts.records import Word

WEIGHTS = Path(__file__).with_suffix(".safetensors")
# Seconds: frames are _WINDOW long, HOP apart.
HOP, _WINDOW = 0.020, 0.032
# The mel bands of a frame, in Hz, and the range of their energies in dB.
_BANDS, _LOW, _HIGH, _RANGE = 24, 100.0, 3800.0, 50.0
# Decibels per frame by which the loudest level falls and the quietest one rises; the limit of the distance from them.
_FALL, _RISE, _FAR = 0.05, 0.05, 50.0
# Frames that a level must last to be the loudest one: a click is shorter.
_LASTING = 4
FEATURES = _BANDS + 2
# The output of the network belongs to the frame that is this many frames back.
LOOK_AHEAD = 8
# Frames of input of the convolution.
WIDTH = 5

# Probabilities at which speech begins and below which it ends.
_BEGIN, _END = 0.6, 0.25
# Seconds: shorter sounds are clicks; how much is kept before and after speech; nothing shorter is left out.
_CLICK, PADDING, _LEAST = 0.14, 0.5, 1.0

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
        self._recent = np.full(_LASTING - 1, -np.inf)

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
        recent = np.concatenate([self._recent, np.where(sounds, level, -np.inf)])
        lasting = np.lib.stride_tricks.sliding_window_view(recent, _LASTING).min(axis=1)
        # The loudest level falls and the quietest rises with time.
        loudest = np.maximum.accumulate(np.append(self._loudest, lasting + _FALL * steps))
        quietest = np.minimum.accumulate(np.append(self._quietest, np.where(sounds, level, np.inf) - _RISE * steps))
        loudest, quietest = loudest[1:] - _FALL * steps, quietest[1:] + _RISE * steps
        self._loudest, self._quietest, self._recent = float(loudest[-1]), float(quietest[-1]), recent[1 - _LASTING :]
        below = np.where(sounds, np.clip(loudest - level, 0.0, _FAR), _FAR)
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


class _Network:
    """The network with its state: a convolution over the last frames, a recurrent layer (GRU) and an output.

    It is written in NumPy: a step of so small a layer takes torch several times as long.
    """

    def __init__(self) -> None:
        weights = _weights()
        kernel = weights["convolution.weight"]  # (channels, FEATURES, WIDTH)
        self._convolution = kernel.reshape(len(kernel), -1).T, weights["convolution.bias"]
        self._input = weights["recurrence.weight_ih_l0"].T, weights["recurrence.bias_ih_l0"]
        self._hidden = np.ascontiguousarray(weights["recurrence.weight_hh_l0"].T), weights["recurrence.bias_hh_l0"]
        self._output = weights["output.weight"][0], weights["output.bias"][0]
        self._context = silence(WIDTH - 1)
        self._state = np.zeros(len(self._output[0]), np.float32)

    def __call__(self, features: Values) -> Values:
        """Return the probabilities of speech (n,) of the next features (n, FEATURES)."""
        if not len(features):
            return np.zeros(0, np.float32)
        rows = np.concatenate([self._context, features])
        self._context = rows[1 - WIDTH :]
        windows = np.lib.stride_tricks.sliding_window_view(rows, WIDTH, axis=0).reshape(len(features), -1)
        inputs = np.maximum(windows @ self._convolution[0] + self._convolution[1], 0) @ self._input[0] + self._input[1]
        size, state = len(self._state), self._state
        weights, bias = self._hidden
        states = np.empty((len(inputs), size), np.float32)
        # The gates reset and update, then the new values (Cho et al., 2014, in PyTorch's order and form).
        for row, result in zip(inputs, states, strict=True):
            hidden = state @ weights + bias
            gates = _sigmoid(row[: 2 * size] + hidden[: 2 * size])
            new = np.tanh(row[2 * size :] + gates[:size] * hidden[2 * size :])
            state = np.add(new, gates[size:] * (state - new), out=result)
        self._state = state
        return _sigmoid(states @ self._output[0] + self._output[1])


def _sigmoid(values: Values) -> Values:
    result: Values = np.tanh(values * np.float32(0.5)) * np.float32(0.5) + np.float32(0.5)
    return result


@lru_cache
def _weights() -> dict[str, Values]:
    return load_file(WEIGHTS)


class Detector:
    """Finds the speech in a waveform that arrives in blocks."""

    def __init__(self, sample_rate: int) -> None:
        self._features, self._network = Features(sample_rate), _Network()
        self._early = LOOK_AHEAD  # outputs that belong to frames before the first

    def add(self, block: Values) -> Values:
        """Return the probability of speech (n,) of the next frames that samples complete, LOOK_AHEAD frames late."""
        return self._next(self._features.add(block))

    def finish(self) -> Values:
        """Return the probability of speech (n,) of the last frames."""
        return self._next(np.concatenate([self._features.finish(), silence(LOOK_AHEAD)]))

    def _next(self, features: Values) -> Values:
        result = self._network(features)
        early = min(self._early, len(result))
        self._early -= early
        return result[early:]


def probabilities(blocks: Iterable[Values], sample_rate: int) -> Values:
    """Return the probability of speech (frames,) of each frame of a waveform that is given in blocks."""
    detector = Detector(sample_rate)
    result = [detector.add(block) for block in blocks]
    return np.concatenate([*result, detector.finish()])


def silent(probability: Values) -> NDArray[np.bool_]:
    """Return for each frame with such a probability (frames,) whether speech has ended or not begun (frames,)."""
    return probability <= _END


def is_speech(probability: Values) -> bool:
    """Return whether consecutive frames with these probabilities, none silent, are speech rather than a click."""
    return len(probability) * HOP >= _CLICK - HOP / 2 and bool((probability > _BEGIN).any())


def speech(probability: Values, hop: int, samples: int) -> list[SampleRange]:
    """Return the ranges of speech of frames with these probabilities (frames,), `hop` samples apart.

    They are ordered and lie within `samples` samples, with a pause of silence around and between them.
    """
    padding, least = (round(seconds / HOP * hop) for seconds in (PADDING, _LEAST))
    if 0 < samples < least:
        return [SampleRange(0, samples)]
    ranges: list[SampleRange] = []
    for first, end in runs(~silent(probability)):
        if not is_speech(probability[first:end]):
            continue
        start, stop = first * hop - padding, min(end * hop + padding, samples)
        if start - (ranges[-1].end if ranges else 0) < least:
            start = ranges.pop().first if ranges else 0
        ranges.append(SampleRange(start, stop if samples - stop >= least else samples))
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
