"""Charts of word error rates as inline SVG, an interval around each value."""

from collections.abc import Callable, Sequence
from typing import Any

from asr.reports.axes import linear_ticks
from asr.reports.page import numbers
from asr.reports.page.html import Html, element, join, shortened

Group = dict[str, Any]

# A chart in its own units, which the page scales: the whole, the plot, and the strip of words below it.
_WIDTH, _HEIGHT = 520.0, 246.0
_LEFT, _RIGHT, _TOP, _FLOOR = 54.0, 8.0, 10.0, 160.0
_STRIP, _STRIP_HEIGHT = 194.0, 26.0
_CAP = 5.0
# The part of all words below which a value does not widen the axis.
_FEW = 0.01


def _line(kind: str, path: str) -> Html:
    return element("path", class_=kind, d=path)


def _label(x: float, y: float, told: str, **attributes: object) -> Html:
    return element("text", told, x=f"{x:.1f}", y=f"{y:.1f}", **attributes)


def _whisker(x: float, low: float, high: float, cut: bool) -> Html:
    """Return an upright interval; one that goes on above the plot has no upper end."""
    caps = f"M{x - _CAP:.1f},{low:.1f}h{2 * _CAP}" + ("" if cut else f"M{x - _CAP:.1f},{high:.1f}h{2 * _CAP}")
    return _line("interval", f"M{x:.1f},{low:.1f}V{high:.1f}{caps}")


def _up(ticks: Sequence[float]) -> Callable[[float], float]:
    return lambda value: _FLOOR - min(value / ticks[-1], 1.0) * (_FLOOR - _TOP)


def _grid(ticks: Sequence[float], up: Callable[[float], float]) -> Html:
    right = _WIDTH - _RIGHT
    return join(
        *(
            join(
                _line("grid", f"M{_LEFT},{up(tick):.1f}H{right}"),
                _label(_LEFT - 6, up(tick) + 4, f"{100 * tick:.3g}", class_="tick", text_anchor="end"),
            )
            for tick in ticks
        )
    )


def _strip(places: Sequence[float], words: Sequence[int], width: float) -> Html:
    """Return a bar for each value that says how many words it is of."""
    most = max(words)
    bars = [
        element(
            "rect",
            class_="words",
            x=f"{x - width / 2:.1f}",
            width=f"{width:.1f}",
            y=f"{_STRIP + _STRIP_HEIGHT * (1 - count / most):.1f}",
            height=f"{_STRIP_HEIGHT * count / most:.1f}",
        )
        for x, count in zip(places, words, strict=True)
    ]
    return join(_label(_LEFT - 6, _STRIP + _STRIP_HEIGHT, "words", class_="tick", text_anchor="end"), *bars)


def _told(label: str, group: Group) -> str:
    errors = f"{group['substitutions']} substituted, {group['deletions']} deleted, {group['insertions']} inserted"
    rate = group["wer"]
    told = f"WER {numbers.percent(rate['value'])}, 95 % interval {numbers.span(rate)}" if rate else "no words"
    return f"{label}: {told}; {numbers.counted(group['words'], 'word')}; {errors}"


def _scale(groups: Sequence[Group], overall: float) -> list[float]:
    """Return the ticks of an axis for the groups that have more than a few words: one word can be 300 % wrong."""
    few = _FEW * sum(group["words"] for group in groups)
    rates = [group["wer"] for group in groups if group["words"] >= few]
    # The interval of three words would flatten all the others.
    highest = max([overall, *(rate["value"] for rate in rates)])
    return linear_ticks([min(2 * highest, max([overall, *(rate["high"] for rate in rates)]))], 5)


def _point(x: float, width: float, told: str, group: Group, ticks: Sequence[float]) -> Html:
    """Return a value and its interval; one above the plot is written at its edge."""
    rate, up = group["wer"], _up(ticks)
    target = element("rect", class_="target", x=f"{x - width / 2:.1f}", width=f"{width:.1f}", y=0, height=_HEIGHT)
    if rate["value"] > ticks[-1]:
        value = _label(x, _TOP + 12, f"↑ {100 * rate['value']:.0f}", text_anchor="middle")
        return element("g", element("title", told), target, value)
    value = element("circle", class_="value", cx=f"{x:.1f}", cy=f"{up(rate['value']):.1f}", r=4)
    whisker = _whisker(x, up(rate["low"]), up(rate["high"]), rate["high"] > ticks[-1])
    return element("g", element("title", told), target, whisker, value)


def by_bins(caption: str, unit: str, groups: Sequence[Group], labels: Sequence[str], overall: float) -> Html:
    """Return a figure of the WER of groups side by side, with the rate of all as a broken line."""
    rated = [(label, group) for label, group in zip(labels, groups, strict=True) if group["wer"]]
    ticks = _scale([group for _, group in rated], overall)
    up = _up(ticks)
    width = (_WIDTH - _LEFT - _RIGHT) / max(len(rated), 1)
    places = [_LEFT + width * (index + 0.5) for index in range(len(rated))]
    points = [
        join(
            _point(x, width, _told(f"{label} {unit}", group), group, ticks),
            _label(x, _FLOOR + 18, label, class_="tick", text_anchor="middle"),
        )
        for x, (label, group) in zip(places, rated, strict=True)
    ]
    drawing = element(
        "svg",
        element("title", f"{caption}: " + "; ".join(_told(label, group) for label, group in rated)),
        _grid(ticks, up),
        _line("overall", f"M{_LEFT},{up(overall):.1f}H{_WIDTH - _RIGHT}"),
        _strip(places, [group["words"] for _, group in rated], min(0.6 * width, 40)) if rated else "",
        *points,
        _label((_LEFT + _WIDTH) / 2, _HEIGHT - 4, unit, class_="tick", text_anchor="middle"),
        role="img",
        viewBox=f"0 0 {_WIDTH:g} {_HEIGHT:g}",
    )
    return element("figure", element("figcaption", caption), drawing)


def reliability(calibration: dict[str, Any]) -> Html:
    """Return a figure of how often words of a confidence are right: on the diagonal where it can be believed."""
    bins = calibration["bins"]
    ticks = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    up = _up(ticks)

    def along(value: float) -> float:
        return _LEFT + 10 + value * (_WIDTH - _LEFT - _RIGHT - 20)

    told = [
        f"confidence {numbers.percent(one['confidence'], 1)}: {numbers.percent(one['correct'], 1)} correct, "
        f"{numbers.counted(one['words'], 'word')}"
        for one in bins
    ]
    points = "M" + " ".join(f"{along(one['confidence']):.1f},{up(one['correct']):.1f}" for one in bins)
    drawing = element(
        "svg",
        element("title", "; ".join(told)),
        _grid(ticks, up),
        _line("overall", f"M{along(0):.1f},{up(0):.1f}L{along(1):.1f},{up(1):.1f}"),
        _line("course", points if bins else "M0,0"),
        *(
            element(
                "circle",
                element("title", said),
                class_="value",
                cx=f"{along(one['confidence']):.1f}",
                cy=f"{up(one['correct']):.1f}",
                r=5,
            )
            for said, one in zip(told, bins, strict=True)
        ),
        *(_label(along(tick), _FLOOR + 18, f"{100 * tick:g}", class_="tick", text_anchor="middle") for tick in ticks),
        _strip([along((one["low"] + one["high"]) / 2) for one in bins], [one["words"] for one in bins], 24)
        if bins
        else "",
        _label((_LEFT + _WIDTH) / 2, _HEIGHT - 4, "confidence, %", class_="tick", text_anchor="middle"),
        role="img",
        viewBox=f"0 0 {_WIDTH:g} {_HEIGHT:g}",
    )
    return element("figure", element("figcaption", "Words that are right, % of those of a confidence"), drawing)


def bar(rate: dict[str, float] | None, most: float) -> Html:
    """Return an interval and its value for a cell of a table; cells of the same `most` can be compared."""
    if rate is None or most <= 0:
        return Html("")
    low, value, high = (100 * min(rate[name] / most, 1.0) for name in ("low", "value", "high"))
    return element(
        "svg",
        _line("interval", f"M{low:.1f},6H{high:.1f}"),
        element("rect", class_="value", x=f"{max(value - 1, 0):.1f}", y=1, width=2, height=10),
        class_="bar",
        viewBox="0 0 100 12",
        preserveAspectRatio="none",
        aria_hidden="true",
    )


def shares(parts: Sequence[tuple[str, str, int]]) -> Html:
    """Return one bar of parts, each of a class, a name and a size."""
    whole = sum(size for _, _, size in parts)
    if not whole:
        return Html("")
    drawn, start = [], 0.0
    for kind, name, size in parts:
        width = 100 * size / whole
        told = element("title", f"{name}: {numbers.count(size)}")
        drawn.append(element("rect", told, class_=kind, x=f"{start:.2f}", y=0, width=f"{width:.2f}", height=12))
        start += width
    return element("svg", *drawn, class_="bar", viewBox="0 0 100 12", preserveAspectRatio="none", aria_hidden="true")


def difference(pair: dict[str, Any], ticks: Sequence[float]) -> Html:
    """Return the difference of two systems and its interval on an axis around 0."""
    rate = pair["difference"]
    first, second = (shortened(pair[name], 20) for name in ("first", "second"))

    def along(value: float) -> float:
        return 20 + (value - ticks[0]) / (ticks[-1] - ticks[0]) * (_WIDTH - 40)

    low, value, high = (along(rate[name]) for name in ("low", "value", "high"))
    told = f"{pair['first']} less {pair['second']}: {numbers.points(rate['value'])} points"
    ends = f"95 % interval {numbers.points(rate['low'])} to {numbers.points(rate['high'])}"
    return element(
        "svg",
        element("title", f"{told}, {ends}"),
        *(_line("grid", f"M{along(tick):.1f},24V58") for tick in ticks),
        _line("zero", f"M{along(0):.1f},20V62"),
        _line("interval", f"M{low:.1f},41H{high:.1f}M{low:.1f},35v12M{high:.1f},35v12"),
        element("circle", class_="value", cx=f"{value:.1f}", cy=41, r=5),
        *(_label(along(tick), 76, numbers.points(tick, "+.3g"), class_="tick", text_anchor="middle") for tick in ticks),
        _label(along(0) - 8, 14, f"← {first} is better", text_anchor="end"),
        _label(along(0) + 8, 14, f"{second} is better →"),
        role="img",
        viewBox=f"0 0 {_WIDTH:g} 82",
        class_="difference",
    )


def difference_ticks(pairs: Sequence[dict[str, Any]]) -> list[float]:
    """Return the ticks of an axis that shows all differences, as far to either side of 0."""
    widest = max(max(abs(pair["difference"]["low"]), abs(pair["difference"]["high"])) for pair in pairs)
    right = linear_ticks([widest or 0.01], 3)
    return [*(-tick for tick in reversed(right[1:])), *right]
