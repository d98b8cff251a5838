"""asr lm pronounce: write a pronouncing dictionary of the words of language models and texts."""

from collections.abc import Mapping
from pathlib import Path

import click

from asr.cli import options
from asr.cli.lm_train import NGRAM_SUFFIXES, open_reader, report_left_out
from asr.cli.progress import Display

# Words without a pronunciation that are named.
_NAMED = 10


@click.command(cls=options.Command, short_help="Write a pronouncing dictionary of the words of a model or text.")
@click.argument("sources", nargs=-1, required=True, type=options.TEXT, metavar="SOURCE...")
@click.option(
    "--dictionary",
    "dictionaries",
    multiple=True,
    type=options.FILE,
    help="A dictionary in the format of CMUdict. May be repeated; the first that has a word is used.",
)
@click.option("--out", "-o", required=True, type=options.OUTPUT, help="Dictionary to write, compressed if it is .gz.")
@click.option(
    "--language", default="en-us", show_default=True, metavar="NAME", help="Language of espeak-ng for other words."
)
@options.normaliser
@options.ids
@options.quiet
def pronounce(
    sources: tuple[Path, ...],
    dictionaries: tuple[Path, ...],
    out: Path,
    language: str,
    normaliser: str | None,
    ids: bool | None,
    quiet: bool,
) -> int:
    """Write a pronouncing dictionary of all words of SOURCE in the format of CMUdict.

    SOURCE is an n-gram model (.arpa, .arpa.gz or .bin), a text file with one sentence per line (also .gz or .bz2), a
    manifest (.jsonl), or - for standard input. Words that no dictionary has are pronounced by espeak-ng, which
    pip install 'asr[tts]' installs; possessives are made from their words.
    """
    from asr.lm import LmError, pronouncing
    from asr.text import TextSettings, pronunciations

    if sources.count(Path("-")) > 1:
        raise click.UsageError("standard input (-) can be read only once")
    options.check_outputs(out)
    try:
        chosen = TextSettings(normaliser or "upper").normaliser
    except ValueError as error:
        raise click.UsageError(f"--{error}") from error
    with Display(quiet) as display:
        known = [pronunciations.read(path, chosen) for path in dictionaries]
        found = pronouncing.look_up(_words(display, sources, chosen, ids), known)
        guessed = _guess(display, found.missing, language)
        words = {**found.words, **guessed}
        left_out = found.unwritable + [word for word in found.missing if word not in guessed]
        display.close()
        if left_out:
            more = ", …" if len(left_out) > _NAMED else ""
            named = ", ".join(left_out[:_NAMED]) + more
            display.say(f"left out {len(left_out):,} words without a pronunciation: {named}", True)
        if not words:
            raise LmError(f"{', '.join(map(str, sources))}: no word has a pronunciation")
        if not options.is_stdout(out):
            out.parent.mkdir(parents=True, exist_ok=True)
        pronouncing.write(out, words)
    parts = f"{found.found:,} from dictionaries, {found.derived:,} derived, {len(guessed):,} by espeak-ng"
    summary = f"{out}: {len(words):,} words: {parts}, {len(left_out):,} left out"
    click.echo(summary, err=options.is_stdout(out))
    return 0


def _guess(display: Display, words: list[str], language: str) -> Mapping[str, tuple[str, ...]]:
    """Return the pronunciations of words by espeak-ng."""
    if not words:
        return {}
    from asr.lm import espeak

    return espeak.pronounce(words, language, lambda done, total: display.update("pronounce", done, total, "words"))


def _words(display: Display, sources: tuple[Path, ...], normaliser: str, ids: bool | None) -> list[str]:
    """Return the words of models and texts, each once."""
    from asr.lm import TextSource, is_recurrent, load, pronouncing, tokens
    from asr.lm.ngram import NgramModel

    words: dict[str, None] = {}
    texts = []
    for path in sources:
        if not path.name.endswith(NGRAM_SUFFIXES) and (path == Path("-") or not is_recurrent(path)):
            texts.append(path)
            continue
        model = load(path, lambda path: display.say(f"writing the binary form {path}"))
        if not isinstance(model, NgramModel):
            raise click.UsageError(f"{path}: a recurrent model; give the n-gram model of the search, or its texts")
        words |= dict.fromkeys(pronouncing.vocabulary(path, model))
    if texts:
        reader = open_reader(display, TextSource(tuple(texts), normaliser, ids=ids))
        for row in tokens(reader, "word"):
            words |= dict.fromkeys(row)
        report_left_out(display, reader)
    return list(words)
