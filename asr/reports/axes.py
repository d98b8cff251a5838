"""Round numbers for the axes of a chart."""

import math
from collections.abc import Sequence


def step(span: float, parts: int) -> float:
    """Return the smallest 1, 2 or 5 times a power of ten that divides `span` into at most so many parts."""
    power = 10.0 ** math.floor(math.log10(span / parts))
    return next(factor * power for factor in (1, 2, 5, 10, 20) if factor * power * parts > span * (1 - 1e-9))


def linear_ticks(values: Sequence[float], parts: int = 6) -> list[float]:
    """Return where the ticks of an axis stand that shows the values and 0; the first and the last enclose them."""
    low, high = min([0.0, *values]), max([0.0, *values])
    if low == high:
        high = 1.0
    size = step(high - low, parts)
    return [size * index for index in range(math.floor(low / size + 1e-9), math.ceil(high / size - 1e-9) + 1)]
