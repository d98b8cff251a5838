"""Utterances -> padded batches of similar length, by seconds of audio."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from asr.features.settings import Features


@dataclass(frozen=True)
class Batch:
    """`features` (B, T, F) and `targets` (B, L), both padded with 0; `feature_lengths` and `target_lengths` (B,)."""

    features: torch.Tensor
    feature_lengths: torch.Tensor
    targets: torch.Tensor
    target_lengths: torch.Tensor

    def to(self, place: torch.device) -> "Batch":
        """Return the batch with its features and their lengths on a device; the loss takes the targets where it is."""
        if place.type == "cpu":
            return self
        features = self.features.pin_memory() if place.type == "cuda" else self.features
        moved = features.to(place, non_blocking=True)
        return Batch(moved, self.feature_lengths.to(place), self.targets, self.target_lengths)


def _each(values: NDArray[np.int64]) -> Iterator[int]:
    """Yield the values as Python's numbers, without a list of millions of them."""
    for start in range(0, len(values), 1 << 16):
        yield from values[start : start + (1 << 16)].tolist()


def plan(
    lengths: Sequence[int] | NDArray[np.int32], longest: int, random: np.random.Generator | None = None
) -> list[NDArray[np.int64]]:
    """Group indices of utterances, `lengths` in frames, into batches of at most `longest` padded frames.

    Every index occurs once; an utterance longer than `longest` makes a batch of its own. With a generator, lengths are
    jittered by up to 3 % before they are sorted and the batches come in random order, so that epochs differ, but the
    one with the most padded frames comes first: if memory does not suffice, that shows at once. Without a generator,
    the order is by length.
    """
    sizes: NDArray[np.int64] = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(sizes if random is None else sizes * random.uniform(0.97, 1.03, len(sizes)), kind="stable")
    starts, areas = [0], []
    widest = 0
    for place, frames in enumerate(_each(sizes[order])):
        count = place - starts[-1]
        if count and max(widest, frames) * (count + 1) > longest:
            areas.append(widest * count)
            starts.append(place)
            widest = 0
        widest = max(widest, frames)
    areas.append(widest * (len(order) - starts[-1]))
    batches = np.split(order, starts[1:]) if len(order) else []
    if random is not None and batches:
        first = int(np.argmax(areas))
        rest = [batch for number, batch in enumerate(batches) if number != first]
        batches = [batches[first], *(rest[number] for number in random.permutation(len(rest)))]
    return batches


def pad(
    features: Sequence[Features], targets: Sequence[Sequence[int] | NDArray[np.uint8] | NDArray[np.int32]]
) -> Batch:
    """Pad features (T, F) and token ids of a batch's utterances to their longest."""
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
