"""The learning-rate schedule of the acoustic and the language models."""

import math


def learning_rate_factor(progress: float, total: float, warmup: float, hold: float) -> float:
    """Return the fraction of the peak learning rate after `progress` of `total` epochs or steps.

    The rate rises linearly until `warmup`, stays constant until `hold`, and falls to 0 along half a cosine.
    """
    if progress < warmup:
        return max(progress / warmup, 1e-3)
    hold = max(hold, warmup)
    if progress <= hold:
        return 1.0
    fraction = min((progress - hold) / max(total - hold, 1e-9), 1.0)
    return 0.5 * (1 + math.cos(math.pi * fraction))
