"""Padded batches of utterances for training."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from asr.features import Features


@dataclass(frozen=True)
class Batch:
    """`features` (B, T, F) and `targets` (B, L), zero-padded, with their lengths (B,).

    `phonemes` (B, L): the targets of the second output, if there is one; their length is -1 if they are not known.
    """

    features: torch.Tensor
    feature_lengths: torch.Tensor
    targets: torch.Tensor
    target_lengths: torch.Tensor
    phonemes: torch.Tensor | None = None
    phoneme_lengths: torch.Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        """Return the batch with the features on a device. The targets stay on the CPU, where the loss expects them."""
        if device.type == "cpu":
            return self
        features = self.features.pin_memory() if device.type == "cuda" else self.features
        moved = features.to(device, non_blocking=True)
        return replace(self, features=moved, feature_lengths=self.feature_lengths.to(device))


Targets = Sequence[Sequence[int] | NDArray[np.uint8] | NDArray[np.int32]]


def pad(
    features: Sequence[Features], targets: Targets, phonemes: Sequence[NDArray[np.int32] | None] | None = None
) -> Batch:
    """Pad the features (T, F), token ids and phonemes of utterances to a batch."""
    feature_lengths = [len(frames) for frames in features]
    padded = np.zeros((len(features), max(feature_lengths), features[0].shape[1]), np.float32)
    for row, (frames, _) in enumerate(zip(features, targets, strict=True)):
        padded[row, : len(frames)] = frames
    batch = Batch(torch.from_numpy(padded), torch.tensor(feature_lengths), *_pad_targets(targets))
    if phonemes is None:
        return batch
    tokens, lengths = _pad_targets([() if row is None else row for row in phonemes])
    known = torch.tensor([row is not None for row in phonemes])
    return replace(batch, phonemes=tokens, phoneme_lengths=torch.where(known, lengths, -1))


def _pad_targets(targets: Targets) -> tuple[torch.Tensor, torch.Tensor]:
    lengths = [len(target) for target in targets]
    tokens = np.zeros((len(targets), max(lengths)), np.int64)
    for row, target in enumerate(targets):
        tokens[row, : len(target)] = target
    return torch.from_numpy(tokens), torch.tensor(lengths)
