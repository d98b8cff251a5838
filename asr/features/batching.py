"""Groups utterances of similar length into batches, by seconds of audio."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray


def _integers(values: NDArray[np.int64]) -> Iterator[int]:
    """Yield the values as Python integers without a list of all of them, which may be millions."""
    for start in range(0, len(values), 1 << 16):
        yield from values[start : start + (1 << 16)].tolist()


def plan(
    lengths: Sequence[int] | NDArray[np.int32], longest: int, random: np.random.Generator | None = None
) -> list[NDArray[np.int64]]:
    """Group the indices of utterances into batches of at most `longest` frames, padding included.

    lengths: in frames. Every index occurs once; an utterance longer than `longest` forms its own batch. Without a
    generator the batches are ordered by length. With one, lengths are jittered by up to 3 % before sorting and the
    batches are shuffled, but the largest comes first, so that insufficient memory shows at once.
    """
    sizes: NDArray[np.int64] = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(sizes if random is None else sizes * random.uniform(0.97, 1.03, len(sizes)), kind="stable")
    starts, areas = [0], []
    widest = 0
    for position, frames in enumerate(_integers(sizes[order])):
        count = position - starts[-1]
        if count and max(widest, frames) * (count + 1) > longest:
            areas.append(widest * count)
            starts.append(position)
            widest = 0
        widest = max(widest, frames)
    areas.append(widest * (len(order) - starts[-1]))
    batches = np.split(order, starts[1:]) if len(order) else []
    if random is not None and batches:
        largest = batches.pop(int(np.argmax(areas)))
        batches = [largest, *(batches[index] for index in random.permutation(len(batches)))]
    return batches
