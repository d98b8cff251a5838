"""Number and text formats of the terminal report and the pages."""

import math
from collections.abc import Mapping
from typing import Any

NONE = "–"


def percent(value: float | None, digits: int = 2) -> str:
    """Return a fraction in percent."""
    return NONE if value is None else f"{100 * value:.{digits}f} %"


def interval(rate: Mapping[str, float]) -> str:
    """Return the bounds of a rate's interval in percent, without the unit, or "none"."""
    if not has_interval(rate):
        return "none"
    return f"{100 * rate['low']:.2f} to {100 * rate['high']:.2f}"


def has_interval(rate: Mapping[str, float | None]) -> bool:
    """Return whether a rate has an interval; its bounds are null in a document, NaN in a Rate otherwise."""
    return rate["low"] is not None and not math.isnan(rate["low"])


def low(rate: Mapping[str, float]) -> float:
    """Return the lower bound of a rate for a drawing: the rate itself if it has no interval."""
    return rate["low"] if has_interval(rate) else rate["value"]


def high(rate: Mapping[str, float]) -> float:
    """Return the upper bound of a rate for a drawing: the rate itself if it has no interval."""
    return rate["high"] if has_interval(rate) else rate["value"]


def point_interval(rate: Mapping[str, float]) -> str:
    """Return the bounds of the interval of a difference in percentage points, or "none"."""
    return f"{points(rate['low'])} to {points(rate['high'])}" if has_interval(rate) else "none"


def signed(value: float, form: str = ".2f") -> str:
    """Return a number with a minus sign as wide as a digit, and no minus sign before 0."""
    text = f"{value:{form}}"
    return text.replace("-", "−") if float(text) else text.lstrip("+-")


def points(value: float, form: str = "+.2f") -> str:
    """Return a difference of fractions in percentage points, with its sign."""
    return signed(100 * value, form)


def number(value: float) -> str:
    """Return three significant digits of a number, or all digits before the decimal point."""
    text = f"{value:.0f}" if 1000 <= abs(value) < 100_000 else f"{value:.3g}"
    return text.replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")


def thousands(value: int) -> str:
    """Return an integer with a comma between thousands."""
    return f"{value:,}"


def counted(value: int, noun: str) -> str:
    """Return a count and its noun, plural unless the count is 1."""
    return f"{value:,} {noun}{'' if value == 1 else 's'}"


def duration(seconds: float) -> str:
    """Return a duration in seconds, minutes or hours."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def clock(seconds: float) -> str:
    """Return a duration as hours:minutes."""
    minutes = round(seconds / 60)
    return f"{minutes // 60}:{minutes % 60:02d}"


def p_value(value: float) -> str:
    """Return a p-value to three decimals."""
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


def bounds(group: Mapping[str, Any]) -> str:
    """Return the range of values of a group; `high` is excluded and None where the range is open."""
    start, end = group["low"], group["high"]
    return f"≥ {start:g}" if end is None else f"{start:g}–{end:g}"


def integer_bounds(group: Mapping[str, Any]) -> str:
    """Return the range of a group of integers, the last one included."""
    start, end = group["low"], group["high"]
    if end is None:
        return f"≥ {start:g}"
    return f"{start:g}" if end == start + 1 else f"{start:g}–{end - 1:g}"


def shortened(text: str, limit: int = 60) -> str:
    """Return a text, cut to `limit` characters with an ellipsis."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
