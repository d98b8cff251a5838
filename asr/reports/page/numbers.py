"""Numbers as a page writes them."""

from typing import Any

from asr.reports.page.html import Html, element, join

NONE = "–"


def percent(value: float | None, digits: int = 2) -> str:
    """Return a fraction in percent."""
    return NONE if value is None else f"{100 * value:.{digits}f} %"


def signed(value: float, form: str = ".2f") -> str:
    """Return a number with a minus sign that is as wide as a digit, and never with one before 0."""
    written = f"{value:{form}}"
    return written.replace("-", "−") if float(written) else written.lstrip("+-")


def points(value: float, form: str = "+.2f") -> str:
    """Return a difference of fractions in percentage points, with its sign."""
    return signed(100 * value, form)


def span(rate: dict[str, float], digits: int = 2) -> str:
    """Return an interval in percent."""
    return f"{100 * rate['low']:.{digits}f} to {100 * rate['high']:.{digits}f}"


def rate(one: dict[str, float] | None) -> Html:
    """Return a rate in percent with its interval."""
    return Html(NONE) if one is None else join(percent(one["value"]), element("small", f" {span(one)}", class_="soft"))


def count(value: int) -> str:
    """Return a whole number, thousands apart."""
    return f"{value:,}"


def counted(value: int, thing: str) -> str:
    """Return a number of things."""
    return f"{count(value)} {thing}{'' if value == 1 else 's'}"


def seconds(value: float) -> str:
    """Return a length of time."""
    if value < 120:
        return f"{value:.1f} s"
    return f"{value / 60:.1f} minutes" if value < 7200 else f"{value / 3600:.1f} hours"


def p_value(value: float) -> str:
    """Return a probability as papers write it."""
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


def bounds(group: dict[str, Any]) -> str:
    """Return what values a group holds."""
    low, high = group["low"], group["high"]
    return f"≥ {low:g}" if high is None else f"< {high:g}" if low is None else f"{low:g}–{high:g}"
