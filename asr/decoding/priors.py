"""Prior probabilities of the outputs, which the search divides by.

A network outputs p(token | audio), which is higher for frequent tokens. The language model knows which words are
frequent, too. So that this does not count twice, the search uses log p(token | audio) - scale · log p(token), as hybrid
recognisers do (Bourlard and Morgan, 1994), and those trained with CTC (Miao et al., 2015).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from asr.decoding.alignment import LogProbs
from asr.decoding.greedy import DecodingError
from asr.text import Alphabet

# A token of a small tuning set may hardly occur in it: rarer ones count as this frequent.
_LEAST = 1e-5


@dataclass(frozen=True)
class PriorSettings:
    """The prior probabilities of the outputs (V + P) and their weight, as `asr tune` measures and chooses them.

    `scale`: how much of the log of the priors is subtracted: 0 for none of it, 1 for all. `probabilities`: the mean
    output of the acoustic model over the frames of a tuning set.
    """

    scale: float = 0.0
    probabilities: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.scale < math.inf:
            raise ValueError(f"scale = {self.scale} is negative or not finite")
        if self.scale and not self.probabilities:
            raise ValueError(f"scale = {self.scale} needs probabilities, which asr tune writes")
        for value in self.probabilities:
            if not 0 <= value <= 1:
                raise ValueError(f"probabilities: {value} is not between 0 and 1")


def measure(rows: Sequence[LogProbs]) -> tuple[float, ...]:
    """Return the mean probabilities (V + P,) over all frames of log-probabilities (T', V + P), or () without frames."""
    frames = sum(map(len, rows))
    if not frames:
        return ()
    total = np.sum([np.exp(row, dtype=np.float64).sum(axis=0) for row in rows], axis=0)
    return tuple(round(value, 7) for value in (total / frames).tolist())


def corrections(settings: PriorSettings, alphabet: Alphabet) -> NDArray[np.float64] | None:
    """Return what the search adds to log-probabilities (T', V + P), or None for nothing.

    The correction of blank is 0, for characters and for phonemes. Raises DecodingError if the priors are those of
    another model.
    """
    if not settings.scale:
        return None
    if len(settings.probabilities) != alphabet.outputs:
        raise DecodingError(
            f"the decoder settings have the priors of {len(settings.probabilities)} outputs, but the model has "
            f"{alphabet.outputs}; run asr tune for this model"
        )
    logs = np.log(np.maximum(settings.probabilities, _LEAST))
    # Each part of the outputs begins with its blank.
    starts = (0, len(alphabet), alphabet.outputs)
    return -settings.scale * np.concatenate(
        [logs[start:end] - logs[start] for start, end in pairwise(starts) if end > start]
    )
