"""The search without its compiler, where that takes less time than to compile it first.

Whether something is compiled once for a machine, for half a minute, is a question of rent or buy: the interpreter runs
the same source until it has cost about as much as compiling, so that no more than twice the least time is ever spent.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.decoding.beam.bound import Limits
from asr.decoding.beam.compiling import Doubles, is_compiled
from asr.decoding.beam.ending import Found, search
from asr.decoding.beam.fusion import Guide
from asr.lm.compiling import interpreted

# Frames times prefixes in the beam that the interpreter searches in the time that compiling takes: 60 seconds of speech
# with 100 prefixes.
PATIENCE = 200_000


class _Doubles:
    """Singles, of which each is a double when it is asked for: to make all so would copy a whole language model."""

    def __init__(self, singles: NDArray[np.float32]) -> None:
        self._singles = singles

    def __len__(self) -> int:
        return len(self._singles)

    def __getitem__(self, place: int) -> np.float64:
        return np.float64(self._singles[place])


_interpreted = interpreted(search)
_spent = [0]


def pays(frames: float, width: int) -> bool:
    """Say whether so many frames, searched with beams so wide, take longer by the interpreter than to compile."""
    return frames * width > PATIENCE - _spent[0]


def run(log_probs: Doubles, limits: Limits, guide: Guide) -> Found:
    """Search (T', V), compiled if that is there or pays; the result is the same."""
    if is_compiled(search) or pays(len(log_probs), limits.width):
        return search(log_probs, limits, guide)
    _spent[0] += len(log_probs) * limits.width
    return interpret(log_probs, limits, guide)


def interpret(log_probs: Doubles, limits: Limits, guide: Guide) -> Found:
    """Search (T', V) by the interpreter, for which a single and a Python number make a single, not a double."""
    doubles: dict[str, Any] = {
        name: np.float64(value) for name, value in guide.scales._asdict().items() if isinstance(value, float)
    }
    scales = guide.scales._replace(**doubles)
    arrays: Any = guide.arrays
    arrays = arrays._replace(log_probs=_Doubles(arrays.log_probs), backoffs=_Doubles(arrays.backoffs))
    with np.errstate(all="ignore"):
        return _interpreted(log_probs, limits, guide._replace(scales=scales, arrays=arrays))
