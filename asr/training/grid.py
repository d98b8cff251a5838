"""Grids: runs of a recipe with every combination of some settings, and the best of them.

A grid is a TOML file with the sections and keys of a recipe, and a list of values for each key:

    [model]
    hidden = [96, 192]

    [training]
    learning_rate = [1e-3, 2e-3]
"""

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import tomli_w

from asr import config
from asr.config import ConfigError
from asr.files import EncodingError, read_utf8, sha256, write_text
from asr.scoring import Rate
from asr.training.recipe import Recipe

RESULTS, BEST = "grid.json", "best.toml"
_RESULT = "result.json"


@dataclass(frozen=True)
class GridRun:
    """One run: what it sets, by the setting's name, its recipe and its folder."""

    settings: Mapping[str, Any]
    recipe: Recipe
    folder: Path


@dataclass(frozen=True)
class GridResult:
    """The dev rate of a run, WER or CER as `metric` says."""

    metric: str
    rate: Rate


def plan(grid: Path, recipe: Path, changes: Sequence[str], inputs: Sequence[Path], out: Path) -> list[GridRun]:
    """Return the runs of a grid. `changes` are settings of all runs, as `config.read` takes them.

    The folder of a run is named by a hash of its recipe and of `inputs`, the files that it depends on: with another
    value, other runs are kept.
    Raises ConfigError naming the grid, for settings or values that a recipe does not have.
    """
    lists = _read(grid)
    data = [sha256(path) for path in inputs]
    runs: list[GridRun] = []
    for values in product(*lists.values()):
        settings = dict(zip(lists, values, strict=True))
        try:
            own = config.read(recipe, Recipe, [*changes, *(f"{key}={_toml(value)}" for key, value in settings.items())])
        except ConfigError as error:
            raise ConfigError(f"{grid}: {error}") from error
        digest = hashlib.sha256(json.dumps([config.to_dict(own), data]).encode()).hexdigest()[:12]
        run = GridRun(settings, own, out / f"run-{digest}")
        if run.folder in [other.folder for other in runs]:
            raise ConfigError(f"{grid}: two runs have the same settings: {described(settings)}")
        runs.append(run)
    return runs


def _toml(value: Any) -> str:
    # JSON is TOML for all kinds of values that settings have. Others, such as dates, become texts and are refused.
    return json.dumps(value, ensure_ascii=False, default=str)


def _read(path: Path) -> dict[str, list[Any]]:
    """Return the lists of a grid by the name of their setting."""
    try:
        values = tomllib.loads(read_utf8(path))
    except EncodingError as error:
        raise ConfigError(str(error)) from error
    except ValueError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    lists = {
        f"{section}.{key}": value
        for section, keys in values.items()
        for key, value in (keys.items() if isinstance(keys, dict) else {"": keys}.items())
    }
    for name, value in lists.items():
        if not isinstance(value, list) or not value or name.endswith("."):
            raise ConfigError(f"{path}: {name.rstrip('.')} is not a list of values, such as [1, 2], in a section")
    if not lists:
        raise ConfigError(
            f"{path}: no settings; a grid lists the values of some, such as [model] and hidden = [96, 192]"
        )
    return lists


def described(settings: Mapping[str, Any]) -> str:
    """Return settings as text."""
    return ", ".join(f"{name} = {_toml(value)}" for name, value in settings.items())


def read_result(run: GridRun) -> GridResult | None:
    """Return the result of a finished run, or None."""
    try:
        values = json.loads(read_utf8(run.folder / _RESULT))
    except FileNotFoundError:
        return None
    return GridResult(values["metric"], Rate(**values["rate"]))


def write_result(run: GridRun, result: GridResult) -> None:
    """Write the result into the folder of the run, which is then finished."""
    write_text(run.folder / _RESULT, json.dumps(asdict(result)) + "\n")


def write(out: Path, results: Sequence[tuple[GridRun, GridResult]]) -> list[Path]:
    """Write the results as JSON, best first, and the recipe of the best run; return the paths."""
    paths = [out / RESULTS, out / BEST]
    rows = [{"settings": run.settings, "folder": run.folder.name, **asdict(result)} for run, result in ranked(results)]
    write_text(paths[0], json.dumps({"kind": "grid", "runs": rows}, ensure_ascii=False, indent=1) + "\n")
    write_text(paths[1], _recipe_toml(ranked(results)[0][0].recipe))
    return paths


def ranked(results: Sequence[tuple[GridRun, GridResult]]) -> list[tuple[GridRun, GridResult]]:
    """Return results, the lowest rate first."""
    return sorted(results, key=lambda pair: pair[1].rate.value)


def table(results: Sequence[tuple[GridRun, GridResult]]) -> str:
    """Return results as the lines of a table, the lowest rate first."""
    rows = [[*results[0][0].settings, f"dev {results[0][1].metric.upper()} (95 % interval)", "run"]]
    for run, result in ranked(results):
        rate = f"{100 * result.rate.value:.2f} % ({100 * result.rate.low:.2f} to {100 * result.rate.high:.2f})"
        rows.append([*map(_toml, run.settings.values()), rate, run.folder.name])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _recipe_toml(recipe: Recipe) -> str:
    """Return a recipe as TOML, without the settings that have their defaults."""
    defaults = config.to_dict(Recipe())
    kept: dict[str, Any] = {}
    for section, values in config.to_dict(recipe).items():
        if isinstance(values, dict):
            changed = {key: value for key, value in values.items() if value != defaults[section][key]}
            kept |= {section: changed} if changed else {}
        elif values != defaults[section]:
            kept[section] = values
    return tomli_w.dumps(kept)
