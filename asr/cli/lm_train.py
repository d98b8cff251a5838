"""asr lm train: texts -> a language model."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asr.cli import options
from asr.cli.lm_keeper import Keeper, Run
from asr.cli.progress import Display
from asr.cli.stopping import stopping

if TYPE_CHECKING:
    from asr.lm.text import TextReader
    from asr.text import TextSettings

# Without --dev, one sentence in so many is held out.
_HELD_OUT = 50
_NAMES = {"ngram": (".arpa", ".arpa.gz"), "rnn": (".safetensors",)}
_OF_KIND = {
    "ngram": ("order", "cutoffs", "prune", "vocabulary"),
    "rnn": (
        "dev",
        "epochs",
        "hidden",
        "layers",
        "cell",
        "dropout",
        "chunk",
        "batch",
        "least",
        "learning_rate",
        "seed",
        "device",
    ),
}
_COUNT = click.IntRange(min=1)
# What suits recurrent models of each unit; of a small text a network of words easily learns too much.
_SUITING: dict[str, dict[str, Any]] = {
    "character": {"layers": 2, "embedding": 64, "dropout": 0.1, "chunk": 128},
    "word": {"layers": 1, "embedding": 256, "dropout": 0.5, "chunk": 32},
}


@click.command(short_help="Train a language model on texts.")
@click.argument("texts", nargs=-1, required=True, type=options.TEXT, metavar="TEXT...")
@click.option(
    "--out", "-o", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The model's file to write."
)
@click.option("--kind", type=click.Choice(["ngram", "rnn"]), default="ngram", show_default=True)
@options.normaliser
@click.option(
    "--alphabet",
    metavar="CHARACTERS",
    help="Of recurrent models and those of characters.  [default: space, ' and A to Z]",
)
@click.option("--model", "-m", type=options.MODEL, help="Take normaliser and alphabet from this model file.")
@options.ids
@click.option("--order", type=click.IntRange(1, 9), default=3, show_default=True, help="n-gram: words in the longest.")
@click.option(
    "--cutoffs",
    default="0",
    metavar="N,N,…",
    help="n-gram: drop, order by order, what occurs so often or less; 0,0,1 drops trigrams that occur once.",
)
@click.option(
    "--prune",
    type=float,
    default=0.0,
    metavar="RISE",
    help="n-gram: drop what would raise the perplexity by less than this fraction; 1e-7 is little, 1e-5 much.",
)
@click.option(
    "--unit",
    type=click.Choice(["word", "character"]),
    help="What is foretold.  [default: n-gram: word, rnn: character]",
)
@click.option("--vocabulary", type=options.FILE, help="n-gram: the only words to know, one on each line of this file.")
@click.option("--dev", type=options.TEXT, help=f"rnn: chooses the best epoch.  [default: 1 in {_HELD_OUT} sentences]")
@click.option("--epochs", type=_COUNT, default=10, show_default=True, help="rnn.")
@click.option("--hidden", type=_COUNT, default=512, show_default=True, help="rnn: the size of a layer.")
@click.option("--layers", type=_COUNT, help="rnn.  [default: 2, of words 1]")
@click.option("--cell", default="lstm", show_default=True, help="rnn: rnn-tanh, rnn-relu, gru or lstm.")
@click.option("--dropout", type=float, help="rnn.  [default: 0.1, of words 0.5]")
@click.option("--chunk", type=_COUNT, help="rnn: units the gradient goes back.  [default: 128, of words 32]")
@click.option(
    "--batch", type=click.IntRange(1, 100_000), help="rnn: chunks side by side.  [default: 64, fewer of a small text]"
)
@click.option(
    "--least", type=_COUNT, default=2, show_default=True, help="rnn of words: what occurs less often is unknown."
)
@click.option("--learning-rate", type=float, default=2e-3, show_default=True, help="rnn: the highest.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="rnn.")
@options.device
@options.quiet
@click.pass_context
def train(context: click.Context, /, texts: tuple[Path, ...], out: Path, kind: str, quiet: bool, **given: Any) -> int:
    """Train a language model on TEXT: an n-gram model, written as ARPA, or a recurrent one of characters or words.

    A recurrent model of words judges the texts of a search (--rescorer); one of characters can guide it, too (--lm).

    TEXT is a text with a sentence on each line (.gz, too), a manifest (.jsonl), or - for standard input. It is read
    sentence by sentence; n-grams are sorted in files in the system's temporary folder (TMPDIR).
    """
    given["unit"] = given["unit"] or ("word" if kind == "ngram" else "character")
    _check(context, texts, out, kind)
    settings = _text_settings(given, of_characters=kind == "rnn" or given["unit"] == "character")
    out.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(out.parent, os.W_OK):
        raise click.UsageError(f"--out {out}: its folder cannot be written to")
    with Display(quiet) as display:
        return (_ngram if kind == "ngram" else _rnn)(display, texts, out, settings, given)


def _check(context: click.Context, texts: tuple[Path, ...], out: Path, kind: str) -> None:
    other = "rnn" if kind == "ngram" else "ngram"
    for name in _OF_KIND[other]:
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
            raise click.UsageError(f"--{name.replace('_', '-')} is of --kind {other}, not of {kind}")
    if not out.name.endswith(_NAMES[kind]):
        raise click.UsageError(f"--out {out}: a model of --kind {kind} is written as {' or '.join(_NAMES[kind])}")
    if (
        context.params["unit"] != "word"
        and context.get_parameter_source("least") is not click.core.ParameterSource.DEFAULT
    ):
        raise click.UsageError("--least is of --unit word")
    read = [*texts, *filter(None, (context.params[name] for name in ("dev", "model", "vocabulary")))]
    if read.count(Path("-")) > 1:
        raise click.UsageError("standard input (-) can be read only once")
    if any(out.exists() and path.exists() and out.samefile(path) for path in read):
        raise click.UsageError(f"--out {out} would be written over a file that is read")


def _text_settings(given: dict[str, Any], of_characters: bool) -> "TextSettings":
    from asr.model import checkpoint
    from asr.text import ENGLISH, TextSettings

    if given["alphabet"] is not None and not of_characters:
        raise click.UsageError("--alphabet is of models of characters: --kind rnn or --unit character")
    if given["model"]:
        if given["alphabet"] is not None or given["normaliser"]:
            raise click.UsageError("--model brings normaliser and alphabet; give it or them")
        return checkpoint.inspect(given["model"]).settings.text
    if given["alphabet"] == "auto":
        raise click.UsageError("--alphabet auto: give the characters themselves")
    try:
        return TextSettings(given["normaliser"] or "upper", ENGLISH if given["alphabet"] is None else given["alphabet"])
    except ValueError as error:
        raise click.UsageError(f"--{error}") from error


def _reader(display: Display, texts: tuple[Path, ...], text: "TextSettings", alphabet: bool, ids: bool | None) -> Any:
    from asr.lm.text import TextReader, TextSource

    source = TextSource(texts, text.normaliser, text.alphabet if alphabet else None, ids)
    return TextReader(source, lambda done, total: display.update("read", done / 1e6, total / 1e6, "MB"))


def _told(display: Display, reader: "TextReader", sentences: Iterator[Any]) -> Iterator[Any]:
    """Go through sentences of a reader, and say in the end what they were."""
    yield from sentences
    display.close()
    options.tell_reader(display, reader)
    counts = f"{reader.sentences:,} sentences, {reader.words:,} words, {reader.characters:,} characters"
    display.say(f"{reader.names}: {counts}")


def _ngram(display: Display, texts: tuple[Path, ...], out: Path, text: "TextSettings", given: dict[str, Any]) -> int:
    from asr import lm
    from asr.lm import LmError
    from asr.lm.ngram import SPACE, arpa
    from asr.lm.ngram.estimate import EstimateSettings, estimate
    from asr.lm.ngram.prune import prune

    if not 0 <= given["prune"] < float("inf"):
        raise click.UsageError(f"--prune {given['prune']}: 0 or more")
    letters = given["unit"] == "character"
    vocabulary = None
    if letters:
        if SPACE in text.alphabet:
            raise click.UsageError(f"{SPACE} in the alphabet: it stands for the space in n-grams of characters")
        # So that a space that is in no text is there, too: by it a model of characters is known.
        vocabulary = lm.characters(" " + text.alphabet.replace(" ", ""))
    if given["vocabulary"]:
        if letters:
            raise click.UsageError("--vocabulary is of words; a model of characters has its --alphabet")
        vocabulary = lm.vocabulary(given["vocabulary"], text.normaliser)
    try:
        settings = EstimateSettings(given["order"], _cutoffs(given["cutoffs"]), vocabulary)
    except LmError as error:
        raise click.UsageError(f"--{error}") from error
    reader = _reader(display, texts, text, letters, given["ids"])
    model = estimate(_told(display, reader, lm.tokens(reader, given["unit"])), settings)
    before = sum(model.counts)
    if given["prune"]:
        model = prune(model, given["prune"])
        display.say(f"pruned to {sum(model.counts):,} of {before:,} n-grams")
    arpa.write(out, model)
    counts = ", ".join(f"{count:,} {order}-grams" for order, count in enumerate(model.counts, 1))
    click.echo(f"{out}: {counts} of {given['unit']}s, {out.stat().st_size / 1e6:.1f} MB")
    return 0


def _cutoffs(value: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in value.split(","))
    except ValueError:
        raise click.UsageError(f"--cutoffs {value}: whole numbers with commas between them are meant") from None


def _rnn(display: Display, texts: tuple[Path, ...], out: Path, text: "TextSettings", given: dict[str, Any]) -> int:
    from asr import compute as device
    from asr.lm import recurrent as rnnlm

    unit = given["unit"]
    # Also where words are foretold: by its alphabet a model is known to go with an acoustic one.
    suiting = {name: value if given.get(name) is None else given[name] for name, value in _SUITING[unit].items()}
    chunk = suiting.pop("chunk")
    try:
        shape = rnnlm.RnnLmSettings(cell=given["cell"], hidden=given["hidden"], **suiting)
        settings = rnnlm.LmFileSettings(text, shape, unit)
        training = rnnlm.RnnLmTraining(
            epochs=given["epochs"],
            seed=given["seed"],
            streams=given["batch"] or 0,
            chunk=chunk,
            least=given["least"],
            learning_rate=given["learning_rate"],
            device=str(device.choose_device(given["device"] or "cpu")),
        )
    except device.DeviceError:
        raise
    except ValueError as error:
        raise click.UsageError(f"--{error}".replace("learning_rate", "learning-rate")) from error
    device.keep_freed_memory()
    dev: list[str] = []
    if given["dev"]:
        dev_reader = _reader(display, (given["dev"],), text, True, given["ids"])
        dev += _told(display, dev_reader, iter(dev_reader))
    reader = _reader(display, texts, text, True, given["ids"])
    sentences = _told(display, reader, iter(reader))
    keeper = Keeper(display, out, settings, Run(training, tuple(map(str, texts)), dev))
    # What is held out is in `dev` when the sentences have been read, which is before it is needed.
    try:
        with stopping() as keeper.asked:
            rnnlm.train(settings, training, sentences if given["dev"] else _hold_out(sentences, dev), dev, keeper)
    except KeyboardInterrupt:
        display.close()
        kept = f"the best so far is kept: {keeper.best}" if keeper.best else "nothing is written yet"
        display.say(f"stopped; {kept}", always=True)
        return 130
    click.echo(keeper.best)
    return 0


def _hold_out(sentences: Iterator[str], dev: list[str]) -> Iterator[str]:
    for number, sentence in enumerate(sentences, 1):
        if number % _HELD_OUT:
            yield sentence
        else:
            dev.append(sentence)
    if not dev:
        raise click.UsageError(f"with fewer than {_HELD_OUT} sentences none is held out; give others with --dev")
