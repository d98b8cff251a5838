"""The epochs of a training run -> one self-contained HTML page with its curves."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from statistics import median

from asr.reports import formats, page
from asr.reports.charts import LineChart
from asr.training.events import Epoch

_MAX_POINTS, _SAMPLE_EPOCHS = 1000, 5
_NOT_IN_TABLE = ("epochs", "best", "samples", "metric")
_PERCENT = ("dev_wer", "dev_cer", "blank_share", "mask_strength", "data_wait")


def _spaced(count: int, limit: int) -> list[int]:
    """Return at most `limit` of `count` indices, evenly spaced, with the first and the last."""
    return sorted({round(index * (count - 1) / (limit - 1)) for index in range(limit)})


def _charts(rows: Sequence[Epoch]) -> list[str]:
    shown = [rows[index] for index in _spaced(len(rows), _MAX_POINTS)]

    def line(field: str, factor: float = 1) -> list[float]:
        return [factor * getattr(row, field) for row in shown]

    norms = {"median": line("gradient_norm"), "largest": line("largest_norm")}
    charts = (
        LineChart("Loss, nats per character", {"train": line("train_loss"), "dev": line("dev_loss")}),
        LineChart(f"Dev {rows[-1].metric.upper()}, %", {"": line("error", 100)}, " %"),
        LineChart("Learning rate", {"": line("learning_rate")}),
        LineChart("Gradient norm before clipping, logarithmic", norms, logarithmic=True),
    )
    return [chart.figure([row.epoch for row in shown]) for chart in charts]


def _facts(rows: Sequence[Epoch], running: bool) -> list[tuple[str, str, str]]:
    """Return the name, value and note of each fact at the top of the page."""
    last = rows[-1]
    best = min(rows, key=lambda row: (math.isnan(row.error), row.error, row.dev_loss))
    seconds = [row.seconds for row in rows if math.isfinite(row.seconds)]
    hours = sum(row.audio_hours for row in rows if math.isfinite(row.audio_hours))
    speed = formats.number(hours * 3600 / sum(seconds)) if sum(seconds) > 0 else formats.NONE
    facts = [
        ("epoch", f"{last.epoch} of {last.epochs}", ""),
        (f"best dev {best.metric.upper()}", formats.percent(best.error), f"epoch {best.epoch}"),
        ("training audio", f"{hours:.1f} h", ""),
        ("elapsed, h:min", formats.clock(sum(seconds)), ""),
        ("speed, × real time", speed, ""),
    ]
    if running and seconds:
        left = (last.epochs - last.epoch) * median(seconds[-5:])
        facts.append(("remaining, h:min", f"about {formats.clock(left)}", ""))
    return facts


def _samples(rows: Sequence[Epoch]) -> list[Mapping[str, object]]:
    """Return each sample of the last epoch: its reference and the hypotheses of a few epochs."""
    samples: list[Mapping[str, object]] = []
    for sample in rows[-1].samples:
        texts = [(f"epoch {row.epoch}", one.hypothesis) for row in rows for one in row.samples if one.id == sample.id]
        chosen = [texts[index] for index in _spaced(len(texts), _SAMPLE_EPOCHS)]
        samples.append({"id": sample.id, "rows": [("reference", sample.reference), *chosen]})
    return samples


def render(name: str, rows: Sequence[Epoch], notes: Sequence[str], finished: bool = False) -> str:
    """Return training.html for a run: its name, at least one finished epoch, oldest first, and its notes.

    Until the run is finished or at its last epoch, the page reloads every minute.
    """
    last = rows[-1]
    running = not finished and last.epoch < last.epochs
    names = [field.name for field in fields(Epoch) if field.name not in _NOT_IN_TABLE]
    factors = {name: 100 if name in _PERCENT else 1 for name in names}
    return page.render(
        "training.html.j2",
        name=name,
        last=last,
        running=running,
        facts=_facts(rows, running),
        figures=_charts(rows),
        notes=notes,
        samples=_samples(rows),
        columns=[name.replace("_", " ") + (" %" if name in _PERCENT else "") for name in names],
        table=[
            (row.best, [formats.number(factor * getattr(row, name)) for name, factor in factors.items()])
            for row in rows
        ],
    )
