"""The levels of a recording's frames -> where somebody speaks, by their energy alone.

The noise floor of a frame is a low percentile of the levels around it. Speech begins well above the floor and goes on
until it is near the floor again, as triggers with hysteresis do; and it is not far under the loudest of the recording.
"""

import numpy as np
from numpy.typing import NDArray

from asr.features.streaming import FrameRange

# Decibels over the floor at which speech begins and under which it ends.
_BEGIN, _END = 10.0, 5.0
# Decibels: speech is not so far under the loudest of the recording, and what is under _NOTHING was not recorded.
_RANGE, _NOTHING = 30.0, -90.0
# Seconds: what the floor is the percentile of; a click, which is no word; a pause within speech; what is kept around.
_AROUND, _CLICK, _PAUSE, _PADDING = 15.0, 0.1, 1.0, 0.3
_PERCENTILE = 10.0

Levels = NDArray[np.float32]


def speech(levels: Levels, hop: float, reduction: int = 1) -> list[FrameRange]:
    """Return where there is speech in frames of these levels (dB), `hop` seconds apart; each begins at a multiple."""
    if not len(levels):
        return []
    smooth = _average(levels, round(0.05 / hop))
    floor = _floor(levels, hop)
    least = float(_average(levels, round(0.5 / hop)).max()) - _RANGE
    loud = smooth > np.maximum(floor + _BEGIN, least)
    going_on = runs(smooth > np.maximum(floor + _END, least - (_BEGIN - _END)))
    click, pause, padding = (round(seconds / hop) for seconds in (_CLICK, _PAUSE, _PADDING))
    found: list[FrameRange] = []
    for first, end in going_on:
        if end - first < click or not loud[first:end].any():
            continue
        first, end = max(0, first - padding), min(end + padding, len(levels))  # noqa: PLW2901
        if found and first - found[-1].end < pause - 2 * padding:
            first = found.pop().first  # noqa: PLW2901
        found.append(FrameRange(first - first % reduction, end))
    return found


def runs(values: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return where the values are true: the first place of each run and the one after its last."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], values, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _average(levels: Levels, width: int) -> Levels:
    """Return the mean over `width` levels around each."""
    width = max(1, min(width, len(levels)))
    padded = np.pad(levels.astype(np.float64), (width // 2, width - 1 - width // 2), mode="edge")
    sums = np.concatenate([[0.0], padded.cumsum()])
    means: Levels = ((sums[width:] - sums[:-width]) / width).astype(np.float32)
    return means


def _floor(levels: Levels, hop: float) -> Levels:
    """Return the noise floor under each frame, found for each second: before it or after it, where that is higher.

    So the floor is right up to where a noise sets in or ends.
    """
    second = max(1, round(1.0 / hop))
    count = max(0, -(-len(levels) // second) - round(_AROUND)) + 1
    floors = np.full(count, _NOTHING, np.float32)
    for index in range(count):
        around = levels[index * second : (index + round(_AROUND)) * second]
        around = around[around > _NOTHING]
        if len(around):
            floors[index] = np.percentile(around, _PERCENTILE)
    seconds = np.arange(-(-len(levels) // second))
    before = floors[np.clip(seconds - round(_AROUND) + 1, 0, count - 1)]
    after = floors[np.minimum(seconds, count - 1)]
    return np.maximum(before, after).repeat(second)[: len(levels)]
