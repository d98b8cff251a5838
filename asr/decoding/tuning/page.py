"""Tuning trials -> one self-contained HTML page: WER by weight and bonus, and the cost of wider searches."""

from collections.abc import Mapping, Sequence

from asr.decoding.tuning import DevSet, Trial, TuningResult
from asr.reports import page


def _percent(trial: Trial) -> float:
    return 100 * trial.total_errors / trial.words


def _cells(trials: Sequence[Trial], best: Sequence[bool]) -> list[dict[str, object]]:
    """Return the WER of each trial and how dark its cell is, in percent: the fewer errors, the darker."""
    values = [_percent(trial) for trial in trials]
    low, high = min(values), max(values)
    # The square gives half the scale to the best quarter, where the differences matter.
    shares = [(1 - (value - low) / (high - low)) ** 2 if high > low else 1.0 for value in values]
    return [
        {"wer": value, "share": round(55 * share), "best": mark}
        for value, share, mark in zip(values, shares, best, strict=True)
    ]


def render(tuned: TuningResult, dev: DevSet, facts: Mapping[str, str]) -> str:
    """Return the page; `facts` names the manifest and the model."""
    greedy = f"Greedy {_percent(tuned.greedy):.2f} % WER"
    least = min((trial.total_errors for trial in tuned.grid), default=0)
    cells = iter(_cells(tuned.grid, [trial.total_errors == least for trial in tuned.grid]) if tuned.grid else [])
    weights = [(trial.settings.weights.lm_weight, trial.settings.weights.word_bonus) for trial in tuned.grid]
    bonuses = list(dict.fromkeys(bonus for _, bonus in weights))
    searches = [trial.settings.search for trial in tuned.searches]
    chosen = [not tuned.settings.greedy and search == tuned.settings.search for search in searches]
    grid_words = tuned.grid[0].words if tuned.grid else 0
    return page.render(
        "tuning.html.j2",
        title=f"Tuned on {len(dev.texts)} utterances, {dev.words} words",
        result=f"{greedy}: no setting makes fewer errors."
        if tuned.settings.greedy
        else f"{greedy}, tuned {_percent(tuned.best):.2f} %.",
        facts=facts,
        bonuses=[f"{bonus:g}" for bonus in bonuses],
        grid=[
            (f"{weight:g}", [next(cells) for _ in bonuses]) for weight in dict.fromkeys(weight for weight, _ in weights)
        ],
        grid_words=grid_words if grid_words < sum(tuned.words) else 0,
        searches=list(
            zip(
                searches,
                _cells(tuned.searches, chosen),
                [f"{dev.audio_seconds / trial.seconds:,.0f}" for trial in tuned.searches],
                strict=True,
            )
        ),
    )
