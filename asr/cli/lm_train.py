"""asr lm train: train a language model from text."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asr.cli import options
from asr.cli.progress import Display, stop_signals

if TYPE_CHECKING:
    from asr.lm import TextReader, TextSource
    from asr.lm.ngram import NgramModel
    from asr.lm.recurrent import LmFileSettings
    from asr.lm.recurrent.network import RnnLmNetwork
    from asr.lm.recurrent.training import LmEpoch, LmStep
    from asr.text import TextSettings

# Without --dev, every _HELD_OUT-th sentence is held out.
_HELD_OUT = 50
NGRAM_SUFFIXES = (".arpa", ".arpa.gz", ".bin")
_SUFFIXES = {"ngram": NGRAM_SUFFIXES, "rnn": (".safetensors",)}
_KIND_OPTIONS = {
    "ngram": "order cutoffs prune vocabulary",
    "rnn": "start dev epochs hidden embedding layers cell dropout chunk batch learning_rate seed precision device",
}
# Options whose parameters have other names.
_NAMES = {"start": "from"}
# What a model that is continued has already.
_OF_START = "unit alphabet normaliser model hidden embedding layers cell min_count least"
# Defaults of recurrent models by unit. Word models overfit small texts more easily.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "character": {"layers": 2, "embedding": 64, "dropout": 0.1, "chunk": 128},
    "word": {"layers": 1, "embedding": 256, "dropout": 0.5, "chunk": 32},
}


@click.command(cls=options.Command, short_help="Train a language model from text.")
@click.argument("texts", nargs=-1, required=True, type=options.TEXT, metavar="TEXT...")
@click.option("--out", "-o", required=True, type=options.OUTPUT, help="Model file to write.")
@click.option("--kind", type=click.Choice(["ngram", "rnn"]), default="ngram", show_default=True, help="Kind of model.")
@options.normaliser
@click.option(
    "--alphabet",
    metavar="CHARACTERS",
    help="rnn and character models: the allowed characters.  [default: space, ' and A to Z]",
)
@click.option("--model", "-m", type=options.MODEL, help="Take the normaliser and alphabet from this acoustic model.")
@options.ids
@click.option("--order", type=click.IntRange(1, 9), default=3, show_default=True, help="ngram: longest n-gram.")
@click.option(
    "--cutoffs",
    default="0",
    metavar="N,N,…",
    help="ngram: for each order, drop n-grams that occur at most N times; 0,0,1 drops trigrams that occur once.",
)
@click.option(
    "--prune",
    type=options.FloatRange(min=0),
    default=0.0,
    metavar="THRESHOLD",
    help="ngram: drop n-grams whose removal raises the perplexity by less than this fraction, such as 1e-7 or 1e-5.",
)
@click.option(
    "--unit",
    type=click.Choice(["word", "character"]),
    help="Token of the model.  [default: ngram: word, rnn: character]",
)
@click.option(
    "--vocabulary",
    type=options.FILE,
    help="ngram: file with the known words, one per line; with --min-count, frequent words are known, too.",
)
@click.option(
    "--from",
    "start",
    type=options.FILE,
    help="rnn: continue from this recurrent model, with its architecture, alphabet and vocabulary.",
)
@click.option(
    "--dev",
    type=options.TEXT,
    help=f"rnn: text on which the best epoch is selected.  [default: 1 in {_HELD_OUT} sentences]",
)
@click.option("--epochs", type=options.POSITIVE_INT, default=10, show_default=True, help="rnn: number of epochs.")
@click.option(
    "--hidden", type=options.POSITIVE_INT, default=512, show_default=True, help="rnn: hidden units per layer."
)
@click.option("--embedding", type=options.POSITIVE_INT, help="rnn: values per token.  [default: 64, or 256 for words]")
@click.option("--layers", type=options.POSITIVE_INT, help="rnn: number of layers.  [default: 2, or 1 for words]")
@click.option("--cell", default="lstm", show_default=True, help="rnn: rnn-tanh, rnn-relu, gru or lstm.")
@click.option("--dropout", type=options.Float(), help="rnn: dropout probability.  [default: 0.1, or 0.5 for words]")
@click.option(
    "--chunk",
    type=options.POSITIVE_INT,
    help="rnn: tokens per sequence in a training step.  [default: 128, or 32 for words]",
)
@click.option(
    "--batch", type=click.IntRange(1, 100_000), help="rnn: sequences in a batch.  [default: 64, fewer for small texts]"
)
@click.option(
    "--min-count",
    type=options.POSITIVE_INT,
    help="Words that occur fewer than N times are unknown (--unit word).  [default: ngram: 1, rnn: 2]",
)
@click.option("--least", type=options.POSITIVE_INT, hidden=True)
@click.option("--learning-rate", type=options.Float(), default=2e-3, show_default=True, help="rnn: peak learning rate.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="rnn: random seed.")
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16"]),
    default="float32",
    show_default=True,
    help="rnn: number format of matrix products.",
)
@options.device
@options.quiet
@click.pass_context
def train(context: click.Context, /, texts: tuple[Path, ...], out: Path, kind: str, quiet: bool, **values: Any) -> int:
    """Train a language model from TEXT: an n-gram model (.arpa, .arpa.gz or .bin), or a recurrent model (.safetensors).

    A recurrent word model can only rescore hypotheses (--rescorer); other models can also be used in the search (--lm).

    TEXT is a text file with one sentence per line (also .gz or .bz2), a manifest (.jsonl), or - for standard input. It
    is streamed, not loaded into memory; n-grams are sorted in temporary files (TMPDIR).
    """
    values["unit"] = values["unit"] or ("word" if kind == "ngram" else "character")
    _check(context, texts, out, kind)
    if (least := values.pop("least")) is not None:
        click.echo("--least is now --min-count", err=True)
        values["min_count"] = least
    settings = _text_settings(values, by_characters=kind == "rnn" or values["unit"] == "character")
    if not options.is_stdout(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(out.parent, os.W_OK) and not options.is_stdout(out):
        raise click.UsageError(f"--out {out}: the folder is not writable")
    with Display(quiet) as display:
        return (_train_ngram if kind == "ngram" else _train_rnn)(display, texts, out, settings, values)


def _check(context: click.Context, texts: tuple[Path, ...], out: Path, kind: str) -> None:
    def is_given(name: str) -> bool:
        return context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT

    other = "rnn" if kind == "ngram" else "ngram"
    for name in _KIND_OPTIONS[other].split():
        if is_given(name):
            raise click.UsageError(f"--{_NAMES.get(name, name).replace('_', '-')} needs --kind {other}")
    for name in _OF_START.split() if context.params["start"] else ():
        if is_given(name):
            raise click.UsageError(f"--{name.replace('_', '-')} cannot be used with --from, which has it")
    if not out.name.endswith(_SUFFIXES[kind]) and not (kind == "ngram" and options.is_stdout(out)):
        raise click.UsageError(f"--out {out}: the name of an {kind} model must end with {' or '.join(_SUFFIXES[kind])}")
    unit = context.params["unit"] or ("word" if kind == "ngram" else "character")
    if unit != "word" and (is_given("min_count") or is_given("least")):
        raise click.UsageError("--min-count needs --unit word")
    inputs = [*texts, *filter(None, (context.params[name] for name in ("dev", "model", "vocabulary", "start")))]
    if inputs.count(Path("-")) > 1:
        raise click.UsageError("standard input (-) can be read only once")
    options.check_outputs(out)


def _text_settings(values: dict[str, Any], by_characters: bool) -> "TextSettings":
    from asr.model import checkpoint
    from asr.text import ENGLISH, TextSettings

    if values["alphabet"] is not None and not by_characters:
        raise click.UsageError("--alphabet needs --kind rnn or --unit character")
    if values["model"]:
        if values["alphabet"] is not None or values["normaliser"]:
            raise click.UsageError("--model sets the normaliser and alphabet; leave out --normaliser and --alphabet")
        return checkpoint.inspect(values["model"]).settings.text
    if values["alphabet"] == "auto":
        raise click.UsageError("--alphabet auto cannot be used here; list the characters")
    try:
        return TextSettings(
            values["normaliser"] or "upper", ENGLISH if values["alphabet"] is None else values["alphabet"]
        )
    except ValueError as error:
        raise click.UsageError(f"--{error}") from error


def open_reader(display: Display, source: "TextSource") -> "TextReader":
    """Return a reader that shows its progress."""
    from asr.lm import TextReader

    return TextReader(source, lambda done, total: display.update("read", done / 1e6, total / 1e6, "MB"))


def report_left_out(display: Display, reader: "TextReader") -> None:
    """Show which ids and sentences a reader has left out."""
    display.close()
    for name in reader.with_ids:
        display.say(f"{name}: the utterance id at the start of each line is left out; --no-ids keeps it", True)
    if reader.left_out:
        total = reader.left_out + reader.sentences
        display.say(f"left out {reader.left_out:,} of {total:,} sentences; the first: {reader.first_left_out}", True)


def _reported(display: Display, reader: "TextReader", sentences: Iterator[Any]) -> Iterator[Any]:
    """Yield the sentences of a reader, then show their counts."""
    yield from sentences
    report_left_out(display, reader)
    counts = f"{reader.sentences:,} sentences, {reader.words:,} words, {reader.characters:,} characters"
    display.say(f"{reader.names}: {counts}")


def _train_ngram(
    display: Display, texts: tuple[Path, ...], out: Path, text: "TextSettings", values: dict[str, Any]
) -> int:
    from asr import lm
    from asr.lm.ngram import SPACE
    from asr.lm.ngram.estimate import EstimateSettings, estimate
    from asr.lm.ngram.prune import prune

    by_characters = values["unit"] == "character"
    vocabulary = None
    if by_characters:
        if SPACE in text.alphabet:
            raise click.UsageError(f"--alphabet: {SPACE} stands for the space in character models")
        # A character model is recognised by its space, so it has one even if the alphabet has none.
        vocabulary = lm.characters(" " + text.alphabet.replace(" ", ""))
    if values["vocabulary"]:
        if by_characters:
            raise click.UsageError("--vocabulary needs --unit word; a character model uses --alphabet")
        vocabulary = lm.read_vocabulary(values["vocabulary"], text.normaliser)
    try:
        settings = EstimateSettings(
            values["order"], _cutoffs(values["cutoffs"]), vocabulary, min_count=values["min_count"]
        )
    except lm.LmError as error:
        raise click.UsageError(f"--{error}") from error
    alphabet = text.alphabet if by_characters else None
    reader = open_reader(display, lm.TextSource(texts, text.normaliser, alphabet, values["ids"]))
    model = estimate(_reported(display, reader, lm.tokens(reader, values["unit"])), settings)
    before = sum(model.counts)
    if values["prune"]:
        model = prune(model, values["prune"])
        display.say(f"pruned to {sum(model.counts):,} of {before:,} n-grams")
    write_ngram(out, model)
    counts = ", ".join(f"{count:,} {order}-grams" for order, count in enumerate(model.counts, 1))
    click.echo(f"{out}: {counts} of {values['unit']}s{size_of(out)}", err=options.is_stdout(out))
    return 0


def write_ngram(out: Path, model: "NgramModel") -> None:
    """Write an n-gram model as an ARPA file, or in the binary form if the name ends with .bin."""
    from asr.lm.ngram import arpa, binary

    (binary if out.suffix == ".bin" else arpa).write(out, model)


def size_of(out: Path) -> str:
    """Return the size of a file after a comma; "" for the standard output."""
    return "" if options.is_stdout(out) else f", {out.stat().st_size / 1e6:.1f} MB"


def _cutoffs(value: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in value.split(","))
    except ValueError:
        raise click.UsageError(f"--cutoffs {value}: expected whole numbers separated by commas") from None


def _train_rnn(
    display: Display, texts: tuple[Path, ...], out: Path, text: "TextSettings", values: dict[str, Any]
) -> int:
    from asr import compute, lm
    from asr.lm import recurrent
    from asr.lm.recurrent import training as rnn
    from asr.version import __version__

    start = recurrent.read(values["start"]) if values["start"] else None
    if start:
        text, values["unit"] = start.settings.text, start.settings.unit
    unit = values["unit"]
    defaults = {name: value if values.get(name) is None else values[name] for name, value in _DEFAULTS[unit].items()}
    chunk = defaults.pop("chunk")
    device = str(compute.choose_device(values["device"] or "cpu"))
    try:
        shape = recurrent.RnnLmSettings(cell=values["cell"], hidden=values["hidden"], **defaults)
        # A word model keeps the alphabet too, which must be that of the acoustic model.
        settings = recurrent.LmFileSettings(text, shape, unit)
        if start:
            settings = replace(start.settings, model=replace(start.settings.model, dropout=shape.dropout))
            start = replace(start, settings=settings)
        given = {name: values[name] for name in ("epochs", "seed", "learning_rate", "precision")}
        given["min_count"] = values["min_count"] or 2
        training = rnn.RnnLmTraining(**given, streams=values["batch"] or 0, chunk=chunk, device=device)
    except ValueError as error:
        raise click.UsageError(f"--{error}".replace("_", "-")) from error
    compute.keep_freed_memory()

    def read(paths: tuple[Path, ...]) -> Iterator[str]:
        reader = open_reader(display, lm.TextSource(paths, text.normaliser, text.alphabet, values["ids"]))
        return _reported(display, reader, iter(reader))

    dev = list(read((values["dev"],))) if values["dev"] else []
    # Without --dev, `dev` is complete when the sentences have been read, before training uses it.
    sentences = read(texts) if values["dev"] else _hold_out(read(texts), dev)
    card = {"texts": list(map(str, texts)), "training": asdict(training), "asr": __version__}
    if start:
        card["from"] = str(values["start"])
    with stop_signals() as should_stop:
        writer = Writer(display, out, settings, card, should_stop)
        try:
            stopped = rnn.train(start or settings, training, sentences, dev, writer).stopped
        except KeyboardInterrupt:
            stopped = True
    display.close()
    if stopped:
        kept = f"the best model so far is kept: {writer.best}" if writer.best else "no model has been written"
        display.say(f"stopped; {kept}", always=True)
        return 130
    click.echo(writer.best)
    return 0


def _hold_out(sentences: Iterator[str], dev: list[str]) -> Iterator[str]:
    for number, sentence in enumerate(sentences, 1):
        if number % _HELD_OUT:
            yield sentence
        else:
            dev.append(sentence)
    if not dev:
        raise click.UsageError(f"fewer than {_HELD_OUT} sentences, so none can be held out; give a text with --dev")


@dataclass
class Writer:
    """Shows the progress of training and writes the model of each epoch that is the best so far.

    `best` describes the written model; it is empty if none is written.
    """

    display: Display
    out: Path
    settings: "LmFileSettings"
    card: dict[str, Any]
    should_stop: Callable[[], bool]
    best: str = ""
    start: float = field(default_factory=time.monotonic)

    def __call__(self, event: "LmStep | LmEpoch", model: "RnnLmNetwork") -> bool:
        """Handle a step or an epoch, and return whether training should stop."""
        from asr.lm import recurrent
        from asr.lm.recurrent.training import LmStep

        epochs = self.card["training"]["epochs"]
        if isinstance(event, LmStep):
            title, note = f"epoch {event.epoch}/{epochs}", f"loss {event.loss:.3f}"
            self.display.update(title, event.done, event.total, f"{self.settings.unit}s", note)
            return self.should_stop()
        self.display.close()
        dev, part = event.dev, f" ({event.done:.0%} done)" if event.done < 1 else ""
        figures = f"dev perplexity {dev.per_character:.4f} per character, {dev.per_word:.2f} per word"
        if event.best:
            reached = f"epoch {event.number} of {epochs}{part}"
            result = {
                "reached": reached,
                "dev_perplexity_per_character": dev.per_character,
                "dev_perplexity_per_word": dev.per_word,
            }
            recurrent.save(self.out, model, self.settings, self.card | result)
            self.best = f"{self.out}: {reached}, {figures}"
        seconds, self.start = time.monotonic() - self.start, time.monotonic()
        line = f"epoch {event.number}/{epochs}{part}: loss {event.train_loss:.3f}, {figures}"
        self.display.say(f"{line}{' (best)' if event.best else ''}, {seconds:.1f} s")
        return False
