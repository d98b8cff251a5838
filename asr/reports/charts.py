"""Charts as inline SVG: lines over epochs, rates with their intervals, bars.

Texts are escaped; colours and fonts are in static/page.css.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

from markupsafe import Markup

from asr.reports import formats

# Coordinates are in the units of the drawing, which the page scales.
_WIDTH = 520.0
_LEFT, _TOP = 62.0, 10.0
# Line charts leave space at the right for the label at the end of each line.
_LINE_RIGHT, _LINE_FLOOR, _LINE_HEIGHT = _WIDTH - 104.0, 204.0, 230.0
_LABEL_GAP = 17.0
# Charts of rates have a strip of bars with the number of words below the plot.
_RATE_RIGHT, _RATE_FLOOR, _RATE_HEIGHT = _WIDTH - 8.0, 160.0, 246.0
_STRIP_TOP, _STRIP_HEIGHT = 194.0, 26.0
_CAP = 5.0
# A group with less than this fraction of all words does not widen the axis.
_SMALL_GROUP = 0.01


def _tag(name: str, *children: str, **attributes: object) -> Markup:
    """Return an element; an underscore in an attribute's name becomes a hyphen, a trailing one is dropped."""
    pairs = [(key.removesuffix("_").replace("_", "-"), value) for key, value in attributes.items()]
    written = Markup().join(Markup(' {}="{}"').format(*pair) for pair in pairs)
    return Markup("<{0}{1}>{2}</{0}>").format(name, written, Markup().join(children))


def _path(class_: str, d: str) -> Markup:
    return _tag("path", class_=class_, d=d)


def _text(x: float, y: float, text: str, **attributes: object) -> Markup:
    return _tag("text", text, x=f"{x:.1f}", y=f"{y:.1f}", **attributes)


def _tick(x: float, y: float, text: str, anchor: str = "middle") -> Markup:
    return _text(x, y, text, class_="tick", text_anchor=anchor)


def _figure(caption: str, title: str, height: float, *drawing: Markup) -> Markup:
    size = f"0 0 {_WIDTH:g} {height:g}"
    svg = _tag("svg", _tag("title", title), *drawing, role="img", viewBox=size)
    return _tag("figure", _tag("figcaption", caption), svg)


def _step(span: float, parts: int) -> float:
    """Return the smallest 1, 2 or 5 times a power of ten that divides `span` into at most `parts` parts."""
    power = 10.0 ** math.floor(math.log10(span / parts))
    return next(factor * power for factor in (1, 2, 5, 10, 20) if factor * power * parts > span * (1 - 1e-9))


def linear_ticks(values: Sequence[float], parts: int = 6) -> list[float]:
    """Return the ticks of an axis that includes 0; the first and the last enclose all values."""
    low, high = min([0.0, *values]), max([0.0, *values])
    if low == high:
        high = 1.0
    size = _step(high - low, parts)
    return [size * index for index in range(math.floor(low / size + 1e-9), math.ceil(high / size - 1e-9) + 1)]


def symmetric_ticks(widest: float) -> list[float]:
    """Return the ticks of an axis from -`widest` to `widest`."""
    right = linear_ticks([widest or 0.01], 3)
    return [*(-tick for tick in reversed(right[1:])), *right]


def _log_ticks(values: Sequence[float]) -> list[float]:
    low, high = min(values, default=1.0), max(values, default=1.0)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    marks = [factor * 10.0**power for power in range(first - 1, last + 2) for factor in (1, 2, 5)]
    begin = max(index for index, mark in enumerate(marks) if mark <= low)
    end = min(index for index, mark in enumerate(marks) if mark >= high)
    if begin == end:
        begin, end = begin - 1, end + 1
    if end - begin < 7:
        return marks[begin : end + 1]
    stride = math.ceil((last - first) / 6)
    return [10.0**power for power in range(first, last + stride, stride)]


@dataclass(frozen=True)
class _Plot:
    """A plotting area from `_LEFT`, `_TOP` to `right`, `floor`, and its vertical axis."""

    ticks: Sequence[float]
    right: float
    floor: float
    logarithmic: bool = False

    def y(self, value: float) -> float:
        """Return the height of a value; a value above the axis is at its upper end."""
        low, high, here = (
            math.log10(one) if self.logarithmic else one for one in (self.ticks[0], self.ticks[-1], value)
        )
        return self.floor - min((here - low) / (high - low), 1.0) * (self.floor - _TOP)

    def x(self, share: float, margin: float = 8.0) -> float:
        """Return the horizontal position of a share (0 to 1) of the width."""
        return _LEFT + margin + share * (self.right - _LEFT - 2 * margin)

    def grid(self, factor: float = 1.0) -> Markup:
        """Return the grid lines and the numbers of the ticks, multiplied by `factor`."""
        lines = [
            _path("grid", f"M{_LEFT},{self.y(tick):.1f}H{self.right}")
            + _tick(_LEFT - 6, self.y(tick) + 4, formats.number(factor * tick), "end")
            for tick in self.ticks
        ]
        return Markup().join(lines)


@dataclass(frozen=True)
class LineChart:
    """One or two lines over epochs: the values of each line by its label."""

    caption: str
    lines: Mapping[str, Sequence[float]]
    unit: str = ""
    logarithmic: bool = False

    def _drawable(self, value: float) -> bool:
        """Return whether a value is finite, within what doubles divide safely, and above 0 if logarithmic."""
        return (value == 0 or 1e-100 < abs(value) < 1e100) and (value > 0 or not self.logarithmic)

    def figure(self, epochs: Sequence[int]) -> Markup:
        """Return the chart; values that cannot be drawn leave a gap in the line."""
        values = [value for line in self.lines.values() for value in line if self._drawable(value)]
        ticks = _log_ticks(values) if self.logarithmic else linear_ticks(values)
        plot = _Plot(ticks, _LINE_RIGHT, _LINE_FLOOR, self.logarithmic)
        first, last = epochs[0], epochs[-1]
        places = [plot.x((epoch - first) / (last - first) if last > first else 1.0) for epoch in epochs]
        drawn, ends = [], []
        for number, (label, line) in enumerate(self.lines.items(), 1):
            points = [(x, plot.y(y)) if self._drawable(y) else None for x, y in zip(places, line, strict=True)]
            drawn.append(_path(f"line series-{number}", _polyline(points)))
            if shown := [(value, point) for value, point in zip(line, points, strict=True) if point]:
                value, (x, y) = shown[-1]
                drawn.append(_tag("circle", class_=f"series-{number}", cx=f"{x:.1f}", cy=f"{y:.1f}", r=3))
                ends.append((f"{label} {formats.number(value)}{self.unit}".strip(), y))
        heights = _spread([y for _, y in ends])
        drawn += [_text(_LINE_RIGHT + 2, y + 4, text) for (text, _), y in zip(ends, heights, strict=True)]
        stride = max(round(_step(max(last - first, 1), 7)), 1)
        marks = [epoch for epoch in range(first, last + 1) if epoch % stride == 0 or first == last]
        names = [
            _tick(plot.x((mark - first) / (last - first) if last > first else 1.0), _LINE_FLOOR + 18, str(mark))
            for mark in marks
        ]
        names.append(_tick(_LINE_RIGHT + 44, _LINE_FLOOR + 18, "epoch"))
        title = f"{self.caption} by epoch; last: {', '.join(text for text, _ in ends) or 'no value'}"
        return _figure(self.caption, title, _LINE_HEIGHT, plot.grid(), *names, *drawn)


def _polyline(points: Sequence[tuple[float, float] | None]) -> str:
    """Return a path with a gap at each None; `h0` makes a single point visible as a dot."""
    runs = [list(run) for drawable, run in groupby(points, key=lambda point: point is not None) if drawable]
    return "".join("M" + " ".join(f"{x:.1f},{y:.1f}" for x, y in filter(None, run)) + "h0" for run in runs)


def _spread(heights: Sequence[float]) -> list[float]:
    """Return the heights moved apart so that labels do not overlap."""
    result = list(heights)
    for upper, lower in pairwise(sorted(range(len(result)), key=result.__getitem__)):
        overlap = max(_LABEL_GAP - (result[lower] - result[upper]), 0.0)
        result[upper] -= overlap / 2
        result[lower] += overlap / 2
    return result


def _word_strip(centres: Sequence[float], words: Sequence[int], width: float) -> Markup:
    """Return a bar below each value for the number of its words."""
    bars = []
    for x, count in zip(centres, words, strict=True):
        height = _STRIP_HEIGHT * count / max(words)
        size = {"width": f"{width:.1f}", "height": f"{height:.1f}"}
        place = {"x": f"{x - width / 2:.1f}", "y": f"{_STRIP_TOP + _STRIP_HEIGHT - height:.1f}"}
        bars.append(_tag("rect", class_="words", **place, **size))
    return _tick(_LEFT - 6, _STRIP_TOP + _STRIP_HEIGHT, "words", "end") + Markup().join(bars)


def _describe_group(label: str, group: Mapping[str, Any]) -> str:
    counts = ", ".join(formats.counted(group[f"{kind}s"], kind) for kind in ("substitution", "deletion", "insertion"))
    rate = group["wer"]
    wer = f"WER {formats.percent(rate['value'])}, 95 % interval {formats.interval(rate)}" if rate else "no words"
    return f"{label}: {wer}; {formats.counted(group['words'], 'word')}; {counts}"


def _rate_point(plot: _Plot, x: float, width: float, title: str, rate: Mapping[str, float]) -> Markup:
    """Return a rate and its interval; a rate above the axis is written at its upper end."""
    parts = [
        _tag("title", title),
        _tag("rect", class_="target", x=f"{x - width / 2:.1f}", width=f"{width:.1f}", y=0, height=_RATE_HEIGHT),
    ]
    if rate["value"] > plot.ticks[-1]:
        return _tag("g", *parts, _text(x, _TOP + 12, f"↑ {100 * rate['value']:.0f}", text_anchor="middle"))
    low, high = plot.y(formats.low(rate)), plot.y(formats.high(rate))
    whisker = f"M{x:.1f},{low:.1f}V{high:.1f}M{x - _CAP:.1f},{low:.1f}h{2 * _CAP}"
    # An interval that continues above the axis has no upper cap.
    whisker += "" if formats.high(rate) > plot.ticks[-1] else f"M{x - _CAP:.1f},{high:.1f}h{2 * _CAP}"
    value = _tag("circle", class_="value", cx=f"{x:.1f}", cy=f"{plot.y(rate['value']):.1f}", r=4)
    return _tag("g", *parts, _path("interval", whisker), value)


def rate_chart(
    caption: str, unit: str, groups: Sequence[Mapping[str, Any]], labels: Sequence[str], overall: float
) -> Markup:
    """Return the WER of groups side by side with their intervals; `overall` is drawn as a broken line."""
    rated = [(label, group) for label, group in zip(labels, groups, strict=True) if group["wer"]]
    enough = _SMALL_GROUP * sum(group["words"] for _, group in rated)
    rates = [group["wer"] for _, group in rated if group["words"] >= enough]
    # The wide interval of a few words would flatten all the others.
    highest = max([overall, *(rate["value"] for rate in rates)])
    top = min(2 * highest, max([overall, *map(formats.high, rates)]))
    plot = _Plot(linear_ticks([top], 5), _RATE_RIGHT, _RATE_FLOOR)
    width = (_RATE_RIGHT - _LEFT) / max(len(rated), 1)
    centres = [_LEFT + width * (index + 0.5) for index in range(len(rated))]
    drawn = [
        _rate_point(plot, x, width, _describe_group(f"{label} {unit}", group), group["wer"])
        + _tick(x, _RATE_FLOOR + 18, label)
        for x, (label, group) in zip(centres, rated, strict=True)
    ]
    title = f"{caption}: " + "; ".join(_describe_group(label, group) for label, group in rated)
    line = _path("overall", f"M{_LEFT},{plot.y(overall):.1f}H{_RATE_RIGHT}")
    strip = _word_strip(centres, [group["words"] for _, group in rated], min(0.6 * width, 40))
    axis = _tick((_LEFT + _WIDTH) / 2, _RATE_HEIGHT - 4, unit)
    return _figure(caption, title, _RATE_HEIGHT, plot.grid(100), line, strip, *drawn, axis)


def power_law_chart(
    caption: str,
    measured: Sequence[tuple[float, Mapping[str, float]]],
    line: Sequence[tuple[float, float]],
    expected: Mapping[str, float] | None = None,
) -> Markup:
    """Return rates with their intervals by size, both axes logarithmic; a rate of 0 is left out.

    line: the sizes and rates of a line, which ends at the size of the `expected` rate.
    """
    points = [*measured, *([(line[-1][0], expected)] if expected and line else [])]
    points = [(size, rate) for size, rate in points if rate["value"] > 0]
    lowest = min([rate["value"] for _, rate in points], default=0.01) / 10
    heights = [max(end(rate), lowest) for _, rate in points for end in (formats.low, formats.high)]
    plot = _Plot(_log_ticks(heights), _RATE_RIGHT, _RATE_FLOOR, logarithmic=True)
    sizes = [size for size, _ in points] or [1.0]
    span = math.log(max(sizes) / min(sizes)) or 1.0

    def x(size: float) -> float:
        return plot.x(math.log(size / min(sizes)) / span, 24)

    drawn, titles = [], []
    for size, rate in points:
        clamped = {name: max(value, plot.ticks[0]) for name, value in rate.items()}
        titles.append(
            f"{formats.number(size)}: {formats.percent(rate['value'])}, 95 % interval {formats.interval(rate)}"
        )
        if rate is expected:
            titles[-1] += " (expected)"
        drawn.append(_rate_point(plot, x(size), 40, titles[-1], clamped))
        drawn.append(_tick(x(size), _RATE_FLOOR + 18, formats.number(size)))
    path = _path("overall", _polyline([(x(size), plot.y(rate)) for size, rate in line]))
    return _figure(caption, f"{caption}: " + "; ".join(titles), _RATE_FLOOR + 24, plot.grid(100), path, *drawn)


def reliability_chart(calibration: Mapping[str, Any]) -> Markup:
    """Return the fraction of correct words by confidence; calibrated confidences lie on the diagonal."""
    bins = calibration["bins"]
    ticks = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    plot = _Plot(ticks, _RATE_RIGHT, _RATE_FLOOR)
    titles = [
        f"confidence {formats.percent(one['confidence'], 1)}: {formats.percent(one['correct'], 1)} correct, "
        f"{formats.counted(one['words'], 'word')}"
        for one in bins
    ]
    points = [(plot.x(one["confidence"], 10), plot.y(one["correct"])) for one in bins]
    dots = [
        _tag("circle", _tag("title", title), class_="value", cx=f"{x:.1f}", cy=f"{y:.1f}", r=5)
        for title, (x, y) in zip(titles, points, strict=True)
    ]
    diagonal = f"M{plot.x(0, 10):.1f},{plot.y(0):.1f}L{plot.x(1, 10):.1f},{plot.y(1):.1f}"
    centres = [plot.x((one["low"] + one["high"]) / 2, 10) for one in bins]
    return _figure(
        "Correct words, %, by confidence",
        "; ".join(titles),
        _RATE_HEIGHT,
        plot.grid(100),
        _path("overall", diagonal),
        _path("line series-1", _polyline(points)),
        *dots,
        *(_tick(plot.x(tick, 10), _RATE_FLOOR + 18, f"{100 * tick:g}") for tick in ticks),
        _word_strip(centres, [one["words"] for one in bins], 24),
        _tick((_LEFT + _WIDTH) / 2, _RATE_HEIGHT - 4, "confidence, %"),
    )


def _bar(*drawing: Markup) -> Markup:
    return _tag("svg", *drawing, class_="bar", viewBox="0 0 100 12", preserveAspectRatio="none", aria_hidden="true")


def interval_bar(rate: Mapping[str, float] | None, highest: float) -> Markup:
    """Return a rate and its interval for a table cell; cells with the same `highest` share a scale."""
    if rate is None or highest <= 0:
        return Markup()
    low, value, high = (100 * min(end / highest, 1.0) for end in (formats.low(rate), rate["value"], formats.high(rate)))
    mark = _tag("rect", class_="value", x=f"{max(value - 1, 0):.1f}", y=1, width=2, height=10)
    return _bar(_path("interval", f"M{low:.1f},6H{high:.1f}"), mark)


def share_bar(parts: Sequence[tuple[str, str, int]]) -> Markup:
    """Return one bar divided into parts, each a CSS class, a name and a size."""
    total = sum(size for _, _, size in parts)
    if not total:
        return Markup()
    drawn, start = [], 0.0
    for class_, name, size in parts:
        width = 100 * size / total
        title = _tag("title", f"{name}: {formats.thousands(size)}")
        drawn.append(_tag("rect", title, class_=class_, x=f"{start:.2f}", y=0, width=f"{width:.2f}", height=12))
        start += width
    return _bar(*drawn)


def difference_chart(pair: Mapping[str, Any], ticks: Sequence[float]) -> Markup:
    """Return the difference of two systems and its interval on an axis around 0."""
    rate = pair["difference"]
    first, second = (formats.shortened(pair[name], 20) for name in ("first", "second"))

    def x(value: float) -> float:
        return 20 + (value - ticks[0]) / (ticks[-1] - ticks[0]) * (_WIDTH - 40)

    low, value, high = x(formats.low(rate)), x(rate["value"]), x(formats.high(rate))
    title = f"{pair['first']} minus {pair['second']}: {formats.points(rate['value'])} points, "
    title += f"95 % interval {formats.point_interval(rate)}"
    return _tag(
        "svg",
        _tag("title", title),
        *(_path("grid", f"M{x(tick):.1f},24V58") for tick in ticks),
        _path("zero", f"M{x(0):.1f},20V62"),
        _path("interval", f"M{low:.1f},41H{high:.1f}M{low:.1f},35v12M{high:.1f},35v12"),
        _tag("circle", class_="value", cx=f"{value:.1f}", cy=41, r=5),
        *(_tick(x(tick), 76, formats.points(tick, "+.3g")) for tick in ticks),
        _text(x(0) - 8, 14, f"← {first} is better", text_anchor="end"),
        _text(x(0) + 8, 14, f"{second} is better →"),
        role="img",
        viewBox=f"0 0 {_WIDTH:g} 82",
    )
