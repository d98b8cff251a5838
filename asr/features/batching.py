"""Utterances -> padded batches of similar length, by seconds of audio."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from asr.features.settings import Features


@dataclass(frozen=True)
class Batch:
    """`features` (B, T, F) and `targets` (B, L), zero-padded, with their lengths (B,)."""

    features: torch.Tensor
    feature_lengths: torch.Tensor
    targets: torch.Tensor
    target_lengths: torch.Tensor

    def to(self, device: torch.device) -> "Batch":
        """Return the batch with the features on a device. The targets stay on the CPU, where the loss expects them."""
        if device.type == "cpu":
            return self
        features = self.features.pin_memory() if device.type == "cuda" else self.features
        moved = features.to(device, non_blocking=True)
        return Batch(moved, self.feature_lengths.to(device), self.targets, self.target_lengths)


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


def pad(
    features: Sequence[Features], targets: Sequence[Sequence[int] | NDArray[np.uint8] | NDArray[np.int32]]
) -> Batch:
    """Pad the features (T, F) and token ids of utterances to a batch."""
    feature_lengths = [len(frames) for frames in features]
    target_lengths = [len(target) for target in targets]
    padded = np.zeros((len(features), max(feature_lengths), features[0].shape[1]), np.float32)
    tokens = np.zeros((len(targets), max(target_lengths)), np.int64)
    for row, (frames, target) in enumerate(zip(features, targets, strict=True)):
        padded[row, : len(frames)] = frames
        tokens[row, : len(target)] = target
    return Batch(
        torch.from_numpy(padded), torch.tensor(feature_lengths), torch.from_numpy(tokens), torch.tensor(target_lengths)
    )
