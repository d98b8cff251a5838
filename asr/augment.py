"""Variation of training speech: speed copies, and masks over its features."""

from dataclasses import dataclass

import numpy as np

from asr.features import Features


@dataclass(frozen=True)
class AugmentSettings:
    """How training speech is varied.

    `speeds`: every utterance is used once at each (Ko et al., 2015). Masks (after SpecAugment, Park et al., 2019):
    `coefficient_masks` bands of at most `coefficient_mask_width` coefficients, and `time_masks` a second of at most
    `time_mask_duration` seconds.
    """

    speeds: tuple[float, ...] = (0.9, 1.0, 1.1)
    coefficient_masks: int = 2
    coefficient_mask_width: int = 5
    time_masks: float = 0.5
    time_mask_duration: float = 0.2

    def __post_init__(self) -> None:
        if not self.speeds:
            raise ValueError("speeds = [] leaves nothing to train on; [1.0] is the unchanged speech")
        for speed in self.speeds:
            if not 0.5 <= speed <= 2:
                raise ValueError(f"speeds: {speed} is not within 0.5 to 2")
        if len(set(self.speeds)) < len(self.speeds):
            raise ValueError(f"speeds = {list(self.speeds)} names one speed twice")
        for name in ("coefficient_masks", "coefficient_mask_width", "time_masks", "time_mask_duration"):
            if not 0 <= getattr(self, name) <= 100:
                raise ValueError(f"{name} = {getattr(self, name)} is not within 0 to 100")


def mask(features: Features, hop: float, settings: AugmentSettings, random: np.random.Generator) -> Features:
    """Return a copy of (T, F) with masked coefficients and stretches set to the utterance's mean; `hop` in seconds."""
    frames, dimension = features.shape
    masked = features.copy()
    mean = features.mean(axis=0) if frames else np.zeros(dimension, np.float32)
    for _ in range(settings.coefficient_masks):
        width = int(random.integers(min(settings.coefficient_mask_width, dimension) + 1))
        start = int(random.integers(dimension - width + 1))
        masked[:, start : start + width] = mean[start : start + width]
    longest = round(settings.time_mask_duration / hop)
    for _ in range(int(random.poisson(settings.time_masks * frames * hop))):
        # Never more than a fifth of an utterance, or a short word is gone.
        width = int(random.integers(min(longest, frames // 5) + 1))
        start = int(random.integers(frames - width + 1))
        masked[start : start + width] = mean
    return masked
