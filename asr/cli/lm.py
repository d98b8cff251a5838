"""asr lm: train and measure language models, and pronounce their words."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asr.cli import options
from asr.cli.lm_pronounce import pronounce
from asr.cli.lm_train import NGRAM_SUFFIXES, open_reader, report_left_out, size_of, train, write_ngram
from asr.cli.progress import Display

if TYPE_CHECKING:
    from asr.lm import Perplexity, TextSource


@click.group(cls=options.Group)
def lm() -> None:
    """Train and mix language models, measure their perplexity, and pronounce their words."""


lm.add_command(train)
lm.add_command(pronounce)


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
    one sentence per line (also .gz or .bz2), a manifest (.jsonl), or - for standard input.
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


@lm.command(short_help="Interpolate n-gram models.")
@click.argument("models", nargs=-1, required=True, metavar="LM...", type=options.FILE)
@click.option("--out", "-o", required=True, type=options.OUTPUT, help="Model file to write.")
@click.option("--weights", metavar="W,W,…", help="The weight of each model; they are divided by their sum.")
@click.option("--dev", type=options.TEXT, help="Text for which the best weights are computed.")
@click.option(
    "--prune",
    "threshold",
    type=options.FloatRange(min=0),
    default=0.0,
    metavar="THRESHOLD",
    help="Drop n-grams whose removal raises the perplexity by less than this fraction, such as 1e-8.",
)
@options.normaliser
@options.ids
@options.quiet
def mix(
    models: tuple[Path, ...],
    out: Path,
    weights: str | None,
    dev: Path | None,
    threshold: float,
    normaliser: str | None,
    ids: bool | None,
    quiet: bool,
) -> int:
    """Interpolate n-gram models linearly into one, with given weights or those that suit a text best (--dev).

    With one LM and --prune, that model is pruned. OUT is an ARPA file (also .gz) or a binary file (.bin).
    """
    from asr.lm import is_recurrent, load
    from asr.lm import tokens as split
    from asr.lm.ngram import NgramModel, is_character_model
    from asr.lm.ngram.mixing import best_weights
    from asr.lm.ngram.mixing import mix as interpolate
    from asr.lm.ngram.prune import prune

    if not out.name.endswith(NGRAM_SUFFIXES) and not options.is_stdout(out):
        raise click.UsageError(f"--out {out}: the name must end with {' or '.join(NGRAM_SUFFIXES)}")
    options.check_outputs(out)
    if len(models) > 1 and (weights is None) == (dev is None):
        raise click.UsageError("give the weights of the models (--weights), or a text to find them with (--dev)")
    if recurrent := [path for path in models if is_recurrent(path)]:
        raise click.UsageError(f"{recurrent[0]}: a recurrent model; only n-gram models can be mixed")
    given = [1.0] if len(models) == 1 else options.shares("--weights", weights, len(models)) if weights else []
    with Display(quiet) as display:
        loaded = []
        for path in models:
            model = load(path, lambda path: display.say(f"writing the binary form {path}"))
            if isinstance(model, NgramModel):
                loaded.append(model)
        if dev and not given:
            reader = open_reader(display, _source(models[0], (dev,), normaliser, ids))
            given = list(best_weights(loaded, split(reader, "character" if is_character_model(loaded[0]) else "word")))
            report_left_out(display, reader)
        mixed = interpolate(loaded, given) if len(loaded) > 1 else loaded[0]
        mixed = prune(mixed, threshold)
        out.parent.mkdir(parents=True, exist_ok=True)
        write_ngram(out, mixed)
    parts = ", ".join(f"{weight:.4f} {path}" for weight, path in zip(given, models, strict=True))
    counts = ", ".join(f"{count:,} {order}-grams" for order, count in enumerate(mixed.counts, 1))
    click.echo(f"{out}: {parts}; {counts}{size_of(out)}", err=options.is_stdout(out))
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
