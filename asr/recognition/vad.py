"""Voice activity detection: finds speech in a recording by the energy of its frames.

The noise floor of a frame is a low percentile of the levels around it. Speech begins well above the floor and ends near
it (a threshold with hysteresis). Frames far below the loudest part of the recording are not speech.
"""

import numpy as np
from numpy.typing import NDArray

from asr.features.streaming import FrameRange

# Decibels above the floor at which speech begins and below which it ends.
_BEGIN, _END = 10.0, 5.0
# Decibels: the range below the loudest part that can be speech; frames below _SILENT are digital silence.
_RANGE, _SILENT = 30.0, -90.0
# Seconds: the range of the floor's percentile; shorter sounds are clicks; shorter pauses belong to the speech around
# them; how much is kept before and after speech.
_AROUND, _CLICK, _PAUSE, _PADDING = 15.0, 0.1, 1.0, 0.3
_PERCENTILE = 10.0

Levels = NDArray[np.float32]


def speech(levels: Levels, hop: float, reduction: int = 1) -> list[FrameRange]:
    """Return the ranges of speech in frames of these levels (T,) in dB, `hop` seconds apart.

    Each range begins at a multiple of `reduction`.
    """
    if not len(levels):
        return []
    smooth = _average(levels, round(0.05 / hop))
    floor = _floor(levels, hop)
    least = float(_average(levels, round(0.5 / hop)).max()) - _RANGE
    loud = smooth > np.maximum(floor + _BEGIN, least)
    above_end = runs(smooth > np.maximum(floor + _END, least - (_BEGIN - _END)))
    click, pause, padding = (round(seconds / hop) for seconds in (_CLICK, _PAUSE, _PADDING))
    ranges: list[FrameRange] = []
    for first, end in above_end:
        if end - first < click or not loud[first:end].any():
            continue
        first, end = max(0, first - padding), min(end + padding, len(levels))  # noqa: PLW2901
        if ranges and first - ranges[-1].end < pause - 2 * padding:
            first = ranges.pop().first  # noqa: PLW2901
        ranges.append(FrameRange(first - first % reduction, end))
    return ranges


def runs(values: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the runs of true values: the index of the first value of each, and the index after its last."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], values, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _average(levels: Levels, width: int) -> Levels:
    """Return the moving average over `width` levels, centred on each."""
    width = max(1, min(width, len(levels)))
    padded = np.pad(levels.astype(np.float64), (width // 2, width - 1 - width // 2), mode="edge")
    sums = np.concatenate([[0.0], padded.cumsum()])
    means: Levels = ((sums[width:] - sums[:-width]) / width).astype(np.float32)
    return means


def _floor(levels: Levels, hop: float) -> Levels:
    """Return the noise floor of each frame: the higher one of the floors of the time before it and after it.

    The floor is therefore right up to the moment at which a noise begins or ends. It is computed for each second.
    """
    second = max(1, round(1.0 / hop))
    count = max(0, -(-len(levels) // second) - round(_AROUND)) + 1
    floors = np.full(count, _SILENT, np.float32)
    for index in range(count):
        around = levels[index * second : (index + round(_AROUND)) * second]
        around = around[around > _SILENT]
        if len(around):
            floors[index] = np.percentile(around, _PERCENTILE)
    seconds = np.arange(-(-len(levels) // second))
    before = floors[np.clip(seconds - round(_AROUND) + 1, 0, count - 1)]
    after = floors[np.minimum(seconds, count - 1)]
    return np.maximum(before, after).repeat(second)[: len(levels)]
