"""The epochs of a training run -> one self-contained HTML page with its curves."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from html import escape
from itertools import groupby, pairwise
from statistics import median

from asr.reports.axes import linear_ticks, step
from asr.training.events import Epoch

# A chart in its own units, which the page scales: the whole, and the margins around the plot.
_WIDTH, _HEIGHT = 420.0, 230.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 56.0, 104.0, 10.0, 26.0
_LABEL_GAP = 15.0
_MOST_POINTS, _SAMPLE_EPOCHS = 1000, 5

# Blue and orange of Okabe and Ito (2008), which colour-blind readers tell apart.
_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --rule: #d8dee4; --ground: #ffffff;
  --panel: #f6f8fa; --first: #0072b2; --second: #d55e00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9da7b3; --rule: #30363d; --ground: #0d1117;
  --panel: #161b22; --first: #56b4e9; --second: #e69f00; } }
body { margin: 0 auto; padding: 1rem; max-width: 66rem; font: 1rem/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--ground); overflow-wrap: anywhere; }
h1 { margin: 0; font-size: 1.6rem; line-height: 1.2; } h2 { margin: 2rem 0 .5rem; font-size: 1.15rem; }
h2 + ul { padding-left: 1.2rem; } p { margin: .25rem 0; } .soft, dt, figcaption, th { color: var(--soft); }
progress { width: 100%; height: .75rem; accent-color: var(--first); } small { white-space: nowrap; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .5rem; margin: 1rem 0; }
dl div { background: var(--panel); border-radius: .4rem; padding: .5rem .75rem; } dt { font-size: .85rem; }
dd { margin: 0; font-size: 1.1rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.charts { display: grid; gap: 1rem; } @media (min-width: 50rem) { .charts { grid-template-columns: 1fr 1fr; } }
figure { margin: 0; padding: .75rem; background: var(--panel); border-radius: .4rem; min-width: 0; }
svg { display: block; width: 100%; height: auto; font-size: 13px; overflow: visible; } .best td { font-weight: 700; }
svg text { fill: var(--ink); } svg .tick { fill: var(--soft); } svg .grid { stroke: var(--rule); }
svg path { fill: none; stroke-width: 2; stroke-linecap: round; stroke-linejoin: round; }
.first { stroke: var(--first); } .second { stroke: var(--second); stroke-dasharray: 5 4; }
.end.first { fill: var(--first); } .end.second { fill: var(--second); stroke-dasharray: none; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1rem; } caption { text-align: left; font-weight: 600; }
th, td { padding: .2rem .6rem .2rem 0; border-top: 1px solid var(--rule); text-align: left; vertical-align: top; }
th { font-weight: 400; white-space: nowrap; } .heard th { width: 6.5rem; }
.scroll { overflow-x: auto; } .scroll th, .scroll td { text-align: right; white-space: nowrap; font-size: .85rem;
  padding-left: .6rem; font-variant-numeric: tabular-nums; }
"""

_UNTABLED = ("epochs", "best", "samples")
_PERCENT = ("dev_wer", "blank_share", "mask_strength", "data_wait")


@dataclass(frozen=True)
class _Chart:
    """One or two numbers of each epoch, by label."""

    caption: str
    lines: dict[str, list[float]]
    unit: str = ""
    logarithmic: bool = False

    def shows(self, value: float) -> bool:
        """Tell whether a value has a place: finite, within what doubles divide safely, and above 0 if logarithmic."""
        return (value == 0 or 1e-100 < abs(value) < 1e100) and (value > 0 or not self.logarithmic)


def _some(count: int, most: int) -> list[int]:
    """Return at most `most` of `count` indices, evenly spaced, the first and the last among them."""
    return sorted({round(index * (count - 1) / (most - 1)) for index in range(most)})


def _number(value: float) -> str:
    """Return three digits of a number, or all before the point."""
    written = f"{value:.0f}" if 1000 <= abs(value) < 100_000 else f"{value:.3g}"
    return written.replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")


def _clock(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60}:{minutes % 60:02d}"


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


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    """Return the points as a path with a gap at each None; `h0` makes a lone point a dot."""
    pieces = [list(piece) for there, piece in groupby(points, key=lambda point: point is not None) if there]
    return "".join("M" + " ".join(f"{x:.1f},{y:.1f}" for x, y in filter(None, piece)) + "h0" for piece in pieces)


def _apart(heights: Sequence[float]) -> list[float]:
    """Return where labels stand that would overlap at their lines' ends."""
    placed = list(heights)
    for upper, lower in pairwise(sorted(range(len(placed)), key=placed.__getitem__)):
        lack = max(_LABEL_GAP - (placed[lower] - placed[upper]), 0.0)
        placed[upper] -= lack / 2
        placed[lower] += lack / 2
    return placed


def _axes(epochs: Sequence[tuple[int, float]], ticks: Sequence[tuple[float, float]]) -> str:
    """Return the grid and its numbers; each tick is a value and where it stands."""
    right, floor = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    parts = [
        f'<path class="grid" style="stroke-width:1" d="M{_LEFT},{y:.1f}H{right}"/>'
        f'<text class="tick" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_number(value)}</text>'
        for value, y in ticks
    ]
    for name, x in (*epochs, ("epoch", right + 44)):
        parts.append(f'<text class="tick" x="{x:.1f}" y="{floor + 18}" text-anchor="middle">{name}</text>')
    return "".join(parts)


def _figure(chart: _Chart, epochs: Sequence[int]) -> str:
    """Return a chart with its caption."""
    values = [value for line in chart.lines.values() for value in line if chart.shows(value)]
    ticks = _log_ticks(values) if chart.logarithmic else linear_ticks(values)

    def along(epoch: int) -> float:
        share = (epoch - epochs[0]) / (epochs[-1] - epochs[0]) if epochs[-1] > epochs[0] else 1.0
        return _LEFT + 8 + share * (_WIDTH - _LEFT - _RIGHT - 16)

    def up(value: float) -> float:
        low, high, here = (math.log10(one) if chart.logarithmic else one for one in (ticks[0], ticks[-1], value))
        return _HEIGHT - _BOTTOM - (here - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    stride = max(round(step(max(epochs[-1] - epochs[0], 1), 7)), 1)
    marks = [epoch for epoch in range(epochs[0], epochs[-1] + 1) if epoch % stride == 0 or epochs[0] == epochs[-1]]
    drawn, ends = [], []
    for (label, line), kind in zip(chart.lines.items(), ("first", "second"), strict=False):
        points = [(along(x), up(y)) if chart.shows(y) else None for x, y in zip(epochs, line, strict=True)]
        shown = [(value, point) for value, point in zip(line, points, strict=True) if point]
        drawn.append(f'<path class="{kind}" d="{_path(points)}"/>')
        if shown:
            value, (x, y) = shown[-1]
            drawn.append(f'<circle class="end {kind}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>')
            ends.append((f"{label} {_number(value)}{chart.unit}".strip(), y))
    for (text, _), y in zip(ends, _apart([y for _, y in ends]), strict=True):
        drawn.append(f'<text x="{_WIDTH - _RIGHT + 2}" y="{y + 4:.1f}">{text}</text>')
    told = f"{chart.caption} by epoch; last: {', '.join(text for text, _ in ends) or 'nothing to draw'}"
    axes = _axes([(mark, along(mark)) for mark in marks], [(tick, up(tick)) for tick in ticks])
    svg = f'<svg role="img" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}"><title>{told}</title>{axes}{"".join(drawn)}</svg>'
    return f"<figure><figcaption>{chart.caption}</figcaption>{svg}</figure>"


def _charts(rows: Sequence[Epoch]) -> str:
    shown = [rows[index] for index in _some(len(rows), _MOST_POINTS)]

    def line(field: str, factor: float = 1) -> list[float]:
        return [factor * getattr(row, field) for row in shown]

    norms = {"median": line("gradient_norm"), "largest": line("largest_norm")}
    charts = (
        _Chart("Loss, nats a character", {"train": line("train_loss"), "dev": line("dev_loss")}),
        _Chart("Dev WER, %", {"": line("dev_wer", 100)}, " %"),
        _Chart("Learning rate", {"": line("learning_rate")}),
        _Chart("Gradient norm before clipping, logarithmic", norms, logarithmic=True),
    )
    return f'<div class="charts">{"".join(_figure(chart, [row.epoch for row in shown]) for chart in charts)}</div>'


def _facts(rows: Sequence[Epoch], running: bool) -> str:
    last = rows[-1]
    best = min(rows, key=lambda row: (math.isnan(row.dev_wer), row.dev_wer, row.dev_loss))

    def finite(field: str) -> list[float]:
        return [getattr(row, field) for row in rows if math.isfinite(getattr(row, field))]

    seconds, hours = finite("seconds"), sum(finite("audio_hours"))
    facts = [
        ("epoch", f"{last.epoch} of {last.epochs}"),
        ("best dev WER", f"{100 * best.dev_wer:.2f} % <small class=soft>epoch {best.epoch}</small>"),
        ("audio heard", f"{hours:.1f} h"),
        ("time spent, h:min", _clock(sum(seconds))),
        ("speed, × real time", _number(hours * 3600 / sum(seconds)) if sum(seconds) > 0 else "–"),
    ]
    if running and seconds:
        facts.append(("time left, h:min", f"about {_clock((last.epochs - last.epoch) * median(seconds[-5:]))}"))
    return "<dl>" + "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts) + "</dl>"


def _samples(rows: Sequence[Epoch]) -> str:
    """Return a table for each sample of the last epoch: its reference and what was heard in a few epochs."""
    tables = []
    for sample in rows[-1].samples:
        heard = [(f"epoch {row.epoch}", one.hypothesis) for row in rows for one in row.samples if one.id == sample.id]
        lines = [("reference", sample.reference)]
        lines += [heard[index] for index in _some(len(heard), _SAMPLE_EPOCHS)]
        body = "".join(
            f'<tr><th scope="row">{label}</th><td dir="auto">{escape(text) or "<i class=soft>nothing</i>"}</td></tr>'
            for label, text in lines
        )
        tables.append(f'<table class="heard"><caption>{escape(sample.id)}</caption>{body}</table>')
    return "<h2>What the model hears</h2>" + "".join(tables) if tables else ""


def _table(rows: Sequence[Epoch]) -> str:
    names = [field.name for field in fields(Epoch) if field.name not in _UNTABLED]
    head = "".join(f"<th>{name.replace('_', ' ')}{' %' if name in _PERCENT else ''}</th>" for name in names)
    body = ""
    for row in rows:
        cells = [_number((100 if name in _PERCENT else 1) * getattr(row, name)) for name in names]
        body += f"<tr{' class=best' if row.best else ''}><td>{'</td><td>'.join(cells)}</td></tr>"
    table = f'<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    return f"<h2>Numbers</h2><details><summary>All epochs; a new best in bold</summary>{table}</details>"


def page(name: str, rows: Sequence[Epoch], notes: Sequence[str], finished: bool = False) -> str:
    """Return training.html for a run: its name, at least one finished epoch, oldest first, and what was told of it.

    Until the run is finished or at its last epoch, the page renews itself every minute.
    """
    last, title = rows[-1], escape(name)
    running = not finished and last.epoch < last.epochs
    state = "In training. This page renews itself every minute." if running else "Finished."
    told = f"<h2>Notes</h2><ul>{''.join(f'<li>{escape(note)}</li>' for note in notes)}</ul>" if notes else ""
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
{'<meta http-equiv="refresh" content="60">' if running else ""}
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: epoch {last.epoch} of {last.epochs}</title><style>{_STYLE}</style></head><body><main>
<h1>{title}</h1><p class="soft">{state}</p>
<progress max="{last.epochs}" value="{last.epoch}" aria-label="epochs done"></progress>
{_facts(rows, running)}{_charts(rows)}{told}{_samples(rows)}{_table(rows)}
</main></body></html>
"""
