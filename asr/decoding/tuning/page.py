"""What tuning tried -> one self-contained HTML page: the WER by weight and bonus, and what wider searches cost."""

from collections.abc import Mapping, Sequence
from html import escape

from asr.decoding.tuning import Dev, Trial, Tuned

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --rule: #d8dee4; --ground: #ffffff; --hue: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9da7b3; --rule: #30363d; --ground: #0d1117;
  --hue: #56b4e9; } }
body { margin: 0 auto; padding: 1rem; max-width: 60rem; font: 1rem/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--ground); overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2rem 0 .25rem; }
.soft, th { color: var(--soft); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: .25rem .6rem; text-align: right; font-weight: 400; border: 1px solid var(--rule);
  white-space: nowrap; }
td.best { outline: 3px solid var(--ink); outline-offset: -3px; font-weight: 700; }
"""


def page(found: Tuned, dev: Dev, facts: Mapping[str, str]) -> str:
    """Return the page."""
    best, greedy = _percent(found.best), _percent(found.greedy)
    title = f"Tuned on {len(dev.texts)} utterances, {dev.words} words"
    told = f"Greedy {greedy:.2f} % WER, tuned {best:.2f} %."
    if found.settings.greedy:
        told = f"Greedy {greedy:.2f} % WER: nothing that was tried makes fewer errors."
    parts = [
        "<!doctype html>",
        f'<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{_STYLE}</style>",
        f"<h1>{title}</h1><p>{told}</p>",
        *(f'<p class="soft">{escape(name)}: {escape(value)}</p>' for name, value in facts.items()),
        _weights(found) if found.surface else "",
        _searches(found, dev),
        "</html>",
    ]
    return "\n".join(parts) + "\n"


def _percent(trial: Trial) -> float:
    return 100 * trial.total / trial.words


def _cell(trial: Trial, span: tuple[float, float], best: bool) -> str:
    """Return a cell with the WER, the darker the fewer errors."""
    value, (low, high) = _percent(trial), span
    # Half the scale for the lower quarter, where the differences matter.
    share = (1 - (value - low) / (high - low)) ** 2 if high > low else 1.0
    mark = ' class="best"' if best else ""
    shade = f"background: color-mix(in srgb, var(--hue) {55 * share:.0f}%, var(--ground))"
    return f'<td{mark} style="{shade}">{value:.2f}</td>'


def _span(trials: Sequence[Trial]) -> tuple[float, float]:
    values = [_percent(trial) for trial in trials]
    return min(values), max(values)


def _weights(found: Tuned) -> str:
    """Return the surface of WER over weight and bonus."""
    rows: dict[float, list[Trial]] = {}
    for trial in found.surface:
        rows.setdefault(trial.settings.weights.lm_weight, []).append(trial)
    span, least = _span(found.surface), min(trial.total for trial in found.surface)
    words = found.surface[0].words
    part = "" if words == sum(found.words) else f"; on a part of the set, {words} words"
    head = "".join(f"<th>{one.settings.weights.word_bonus:g}</th>" for one in next(iter(rows.values())))
    lines = [
        f"<tr><th>{weight:g}</th>{''.join(_cell(one, span, one.total == least) for one in row)}</tr>"
        for weight, row in rows.items()
    ]
    return (
        "<h2>Language model and words</h2>"
        "<p class=soft>WER in percent: down, the weight of the language model; across, the bonus for each word"
        f"{part}. Framed: the fewest errors. What is taken does well together with its neighbours.</p>"
        f'<div class="scroll"><table><tr><th></th>{head}</tr>{"".join(lines)}</table></div>'
    )


def _searches(found: Tuned, dev: Dev) -> str:
    """Return what each search makes of the final weights, and how fast it is."""
    span = _span(found.searches)
    lines = []
    for trial in found.searches:
        search = trial.settings.search
        taken = not found.settings.greedy and search == found.settings.search
        margins = f"<td>{search.token_threshold:g}</td><td>{search.beam_threshold:g}</td>"
        speed = f"<td>{dev.audio_seconds / trial.seconds:,.0f}</td>"
        lines.append(f"<tr><td>{search.beam_width}</td>{margins}{_cell(trial, span, taken)}{speed}</tr>")
    head = "<tr><th>beam width</th><th>token margin</th><th>beam margin</th><th>WER %</th><th>times real time</th></tr>"
    return (
        "<h2>How widely is searched</h2><p class=soft>With the weights that were found, on one thread. Framed: what is "
        "taken, the quickest that makes no more errors than the widest.</p>"
        f'<div class="scroll"><table>{head}{"".join(lines)}</table></div>'
    )
