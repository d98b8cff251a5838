"""The learning curve: the dev WER of models trained on parts of the data, and what more data would give."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from asr.files import write_text
from asr.reports import formats, page
from asr.reports.charts import power_law_chart
from asr.scoring import Rate, Score, ScoringError
from asr.scoring.power_law import PowerLaw, fit_power_law
from asr.training.inputs import Manifests
from asr.training.options import TrainOptions
from asr.training.recipe import Recipe
from asr.training.run import train

# One part of the training data is an eighth of it, and so on.
DIVISORS = (8, 4, 2, 1)
OUTPUTS = ("learning-curve.json", "learning-curve.html")


@dataclass(frozen=True)
class Part:
    """A model trained on one `divisor`th of the data, which is `hours` long."""

    divisor: int
    hours: float
    model: Path
    metric: str

    @property
    def name(self) -> str:
        """Return the part as text."""
        return f"1/{self.divisor}" if self.divisor > 1 else "all"


def train_parts(
    recipe: Recipe, train_manifest: Manifests, dev_manifest: Manifests, out: Path, options: TrainOptions
) -> Iterator[Part]:
    """Train a model on each part of the data, in `out`/part-8 to part-1; end early if a run is stopped.

    All have the same settings and steps. A part is a random choice of utterances and contains the smaller ones.
    """
    for divisor in DIVISORS:
        run = out / f"part-{divisor}"
        result = train(
            recipe,
            train_manifest,
            dev_manifest,
            run,
            replace(options, divisor=divisor, resume=options.resume and divisor == DIVISORS[0]),
        )
        if not result.finished or result.model is None:
            return
        yield Part(divisor, result.hours, result.model, result.metric)


@dataclass(frozen=True)
class LearningCurve:
    """The parts with their rates, WER or CER as `metric` says; `law` is None if `problem` says why there is none."""

    metric: str
    parts: tuple[Part, ...]
    rates: tuple[Rate, ...]
    law: PowerLaw | None
    problem: str = ""

    @property
    def result(self) -> str:
        """Return what twice the data would give, in a sentence."""
        if self.law is None:
            return f"No power law: {self.problem}."
        return (
            f"Twice the data, {formats.number(self.law.next_size)} hours, would give a dev {self.metric.upper()} of "
            f"{_percent(self.law.at_next)}, if the power law continues."
        )

    @property
    def equation(self) -> str:
        """Return the power law as text."""
        if self.law is None:
            return ""
        exponent = self.law.exponent
        return (
            f"dev {self.metric.upper()} = {100 * self.law.factor:.3g} % · hours^-b, b = {exponent.value:.2f} "
            f"({exponent.low:.2f} to {exponent.high:.2f})"
        )

    def text(self) -> str:
        """Return the report for a terminal."""
        lines = [
            f"{part.name:>4}  {formats.number(part.hours):>8} hours  dev {self.metric.upper()} {_percent(rate)}"
            for part, rate in zip(self.parts, self.rates, strict=True)
        ]
        return "\n".join([*lines, *filter(None, [self.equation]), self.result])

    def document(self, facts: Mapping[str, str]) -> dict[str, Any]:
        """Return the report as plain values for JSON; rates are fractions."""
        parts = [
            {"part": 1 / part.divisor, "hours": part.hours, "model": str(part.model), self.metric: asdict(rate)}
            for part, rate in zip(self.parts, self.rates, strict=True)
        ]
        law = asdict(self.law) if self.law else None
        return {"kind": "learning curve", "facts": dict(facts), "metric": self.metric, "parts": parts, "power_law": law}

    def page(self, facts: Mapping[str, str]) -> str:
        """Return the report as an HTML page."""
        rates = list(map(asdict, self.rates))
        hours = [part.hours for part in self.parts]
        drawn = [] if self.law is None else [(size, self.law.rate(size)) for size in (hours[0], self.law.next_size)]
        following = None if self.law is None else asdict(self.law.at_next)
        caption = f"Dev {self.metric.upper()}, %, by hours of training audio, both logarithmic"
        return page.render(
            "learning_curve.html.j2",
            curve=self,
            facts=facts,
            rows=[
                *((part.name, part.hours, rate) for part, rate in zip(self.parts, rates, strict=True)),
                *([] if self.law is None else [("twice, expected", self.law.next_size, following)]),
            ],
            figure=power_law_chart(caption, [*zip(hours, rates, strict=True)], drawn, following),
        )


def learning_curve(parts: Sequence[Part], scores: Sequence[Score]) -> LearningCurve:
    """Fit a power law to the parts and their scores on the same dev utterances."""
    metric = parts[-1].metric
    rates = tuple(score.cer if metric == "cer" else score.wer for score in scores)
    names = ("character_errors", "characters") if metric == "cer" else ("errors", "words")
    errors, totals = (
        np.array([[getattr(one, name) for one in score.utterance_scores] for score in scores], np.int64)
        for name in names
    )
    hours = [part.hours for part in parts]
    try:
        law, problem = fit_power_law(hours, errors, totals[0], 2 * hours[-1]), ""
    except ScoringError as error:
        return LearningCurve(metric, tuple(parts), rates, None, str(error))
    return LearningCurve(metric, tuple(parts), rates, law, problem)


def write(curve: LearningCurve, out: Path, facts: Mapping[str, str]) -> list[Path]:
    """Write learning-curve.json and learning-curve.html into a folder; return their paths."""
    paths = [out / name for name in OUTPUTS]
    write_text(paths[0], json.dumps(curve.document(facts), ensure_ascii=False, indent=1) + "\n")
    write_text(paths[1], curve.page(facts))
    return paths


def _percent(rate: Rate) -> str:
    return f"{100 * rate.value:.2f} % ({100 * rate.low:.2f} to {100 * rate.high:.2f})"
