"""Padded batches of utterances for training."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from asr.features import Features


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
