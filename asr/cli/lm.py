"""asr lm: train and measure language models."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asr.cli import options
from asr.cli.lm_train import open_reader, report_left_out, train
from asr.cli.progress import Display

if TYPE_CHECKING:
    from asr.lm import Perplexity, TextSource


@click.group()
def lm() -> None:
    """Train language models and measure their perplexity."""


lm.add_command(train)


@lm.command(short_help="Print the perplexity of a language model on text.")
@click.argument("model", metavar="LM", type=options.FILE)
@click.argument("texts", nargs=-1, required=True, type=options.TEXT, metavar="TEXT...")
@options.normaliser
@options.ids
@click.option("--json", "as_json", is_flag=True, help="Print the result as a JSON object.")
@options.quiet
def perplexity(
    model: Path, texts: tuple[Path, ...], normaliser: str | None, ids: bool | None, as_json: bool, quiet: bool
) -> int:
    """Print the perplexity of a language model on TEXT, per word and per character, and the rate of unknown words.

    LM is an ARPA file (also .gz), its binary form (.bin) or a recurrent model (.safetensors). TEXT is a text file with
    one sentence per line (also .gz), a manifest (.jsonl), or - for standard input.
    """
    from asr.lm import load
    from asr.lm import perplexity as measure

    with Display(quiet) as display:
        loaded = load(model, lambda path: display.say(f"reading {model}; the binary form {path} is faster to load"))
        reader = open_reader(display, _source(model, texts, normaliser, ids))
        result = measure(loaded, reader)
        report_left_out(display, reader)
    if as_json:
        click.echo(json.dumps(_to_json(model, result, reader.left_out)))
        return 0
    click.echo(f"{result.sentences:,} sentences, {result.words:,} words, {result.characters:,} characters")
    click.echo(f"unknown words: {result.unknown_words:,} ({100 * result.unknown_rate:.2f} %)")
    for unit, value, known in (
        ("word", result.per_word, result.per_known_word),
        ("character", result.per_character, result.per_known_character),
    ):
        click.echo(f"perplexity per {unit}: {_format(value)}; without unknown words: {_format(known)}")
    return 0


def _source(model: Path, texts: tuple[Path, ...], normaliser: str | None, ids: bool | None) -> "TextSource":
    """Return the source of texts; a recurrent model brings its normaliser and its alphabet."""
    from asr.lm import TextSource, is_recurrent, recurrent
    from asr.text import TextSettings

    settings = recurrent.inspect(model).settings.text if is_recurrent(model) else None
    try:
        chosen = TextSettings(normaliser or (settings.normaliser if settings else "upper"))
    except ValueError as error:
        raise click.UsageError(f"--{error}") from error
    return TextSource(texts, chosen.normaliser, settings.alphabet if settings else None, ids)


def _format(value: float) -> str:
    return f"{value:,.2f}" if value < 1e6 else f"{value:.3g}"


def _to_json(model: Path, result: "Perplexity", left_out: int) -> dict[str, Any]:
    figures = ("per_word", "per_known_word", "per_character", "per_known_character")
    values = {name: getattr(result, name) for name in figures}
    return {
        "model": str(model),
        "sentences": result.sentences,
        "sentences_left_out": left_out,
        "words": result.words,
        "characters": result.characters,
        "unknown_words": result.unknown_words,
        "unknown_rate": result.unknown_rate,
        "log_prob": result.log_prob,
        # JSON has no infinity.
        "perplexity": {name: value if math.isfinite(value) else None for name, value in values.items()},
    }
