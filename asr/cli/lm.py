"""asr lm: language models, from texts and on texts."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asr.cli import options
from asr.cli.lm_train import train
from asr.cli.progress import Display

if TYPE_CHECKING:
    from asr.lm import Perplexity
    from asr.lm.text import TextSource


@click.group()
def lm() -> None:
    """Train language models and measure them."""


lm.add_command(train)


@lm.command(short_help="Measure a language model on texts.")
@click.argument("model", metavar="LM", type=options.FILE)
@click.argument("texts", nargs=-1, required=True, type=options.TEXT, metavar="TEXT...")
@options.normaliser
@options.ids
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@options.quiet
def perplexity(
    model: Path, texts: tuple[Path, ...], normaliser: str | None, ids: bool | None, as_json: bool, quiet: bool
) -> int:
    """Tell how well a language model foretells TEXT: perplexity per word and per character, and unknown words.

    LM is an ARPA file (.gz, too), its compact form (.bin) or a recurrent model (.safetensors). TEXT is a text with a
    sentence on each line (.gz, too), a manifest (.jsonl), or - for standard input.
    """
    from asr import lm as room
    from asr.lm.text import TextReader

    with Display(quiet) as display:

        def on_build(compact: Path) -> None:
            display.say(f"reading {model} once; from then on it is opened by way of {compact}, made now")

        loaded = room.load(model, on_build)
        reader = TextReader(
            _source(model, texts, normaliser, ids),
            lambda done, total: display.update("read", done / 1e6, total / 1e6, "MB"),
        )
        found = room.perplexity(loaded, reader)
        display.close()
        options.tell_reader(display, reader)
    if as_json:
        click.echo(json.dumps(_figures(model, found, reader.left_out)))
    else:
        for line in _lines(found):
            click.echo(line)
    return 0


def _source(model: Path, texts: tuple[Path, ...], normaliser: str | None, ids: bool | None) -> "TextSource":
    """Return the texts as the model's own were; only recurrent models say what those were like."""
    from asr import lm
    from asr.lm import recurrent as rnnlm
    from asr.lm.text import TextSource
    from asr.text import TextSettings

    settings = rnnlm.inspect(model).settings.text if lm.is_recurrent(model) else None
    try:
        chosen = TextSettings(normaliser or (settings.normaliser if settings else "upper"))
    except ValueError as error:
        raise click.UsageError(f"--{error}") from error
    return TextSource(texts, chosen.normaliser, settings.alphabet if settings else None, ids)


def _lines(found: "Perplexity") -> Iterator[str]:
    yield f"{found.sentences:,} sentences, {found.words:,} words, {found.characters:,} characters"
    yield f"unknown words: {found.unknown_words:,} ({100 * found.unknown_rate:.2f} %)"
    for unit, all_of_them, known in (
        ("word", found.per_word, found.per_known_word),
        ("character", found.per_character, found.per_known_character),
    ):
        yield f"perplexity per {unit}: {_shown(all_of_them)}; without unknown words: {_shown(known)}"


def _shown(value: float) -> str:
    return f"{value:,.2f}" if value < 1e6 else f"{value:.3g}"


def _figures(model: Path, found: "Perplexity", left_out: int) -> dict[str, Any]:
    return {
        "model": str(model),
        "sentences": found.sentences,
        "sentences_left_out": left_out,
        "words": found.words,
        "characters": found.characters,
        "unknown_words": found.unknown_words,
        "unknown_rate": found.unknown_rate,
        "log_prob": found.log_prob,
        "perplexity": {
            # JSON has no infinity.
            name: value if math.isfinite(value) else None
            for name, value in (
                ("per_word", found.per_word),
                ("per_known_word", found.per_known_word),
                ("per_character", found.per_character),
                ("per_known_character", found.per_known_character),
            )
        },
    }
