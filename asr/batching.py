"""Utterances -> padded batches of similar length, by seconds of audio."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from asr.features import Features


@dataclass(frozen=True)
class Batch:
    """`features` (B, T, F) and `targets` (B, L), both padded with 0; `feature_lengths` and `target_lengths` (B,)."""

    features: torch.Tensor
    feature_lengths: torch.Tensor
    targets: torch.Tensor
    target_lengths: torch.Tensor


def plan(lengths: Sequence[int], longest: int, random: np.random.Generator | None = None) -> list[list[int]]:
    """Group indices of utterances, `lengths` in frames, into batches of at most `longest` padded frames.

    Every index occurs once; an utterance longer than `longest` makes a batch of its own. With a generator, lengths are
    jittered by up to 5 % before they are sorted and the batches come in random order, so that epochs differ; without
    one, the order is by length.
    """
    sizes: NDArray[np.float64] = np.asarray(lengths, dtype=np.float64)
    keys = sizes if random is None else sizes * random.uniform(0.95, 1.05, len(sizes))
    batches: list[list[int]] = []
    current: list[int] = []
    frames = 0
    for index in np.argsort(keys, kind="stable").tolist():
        padded = max(frames, lengths[index])
        if current and padded * (len(current) + 1) > longest:
            batches.append(current)
            current, padded = [], lengths[index]
        current.append(index)
        frames = padded
    if current:
        batches.append(current)
    if random is not None:
        random.shuffle(batches)
    return batches


def pad(features: Sequence[Features], targets: Sequence[Sequence[int]]) -> Batch:
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
