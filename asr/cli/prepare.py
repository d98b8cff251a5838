"""asr prepare: write manifests of corpora."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asr.cli import options
from asr.cli.outputs import NORMALISERS
from asr.cli.progress import Display, first_lines

if TYPE_CHECKING:
    from asr.corpora.manifest import Utterance
    from asr.corpora.rows import OnSkip
    from asr.corpora.shards import Shard
    from asr.corpora.synthesis import Skipped, Synthesizer

_SKIP = click.option("--skip-bad", is_flag=True, help="Leave out what cannot be used, and list it.")
_ALL = click.option("--all", "show_all", is_flag=True, help="List all utterances whose audio is repeated, not only 10.")
_OUT = click.option("--out", "-o", type=options.FOLDER, required=True, help="Folder for the manifests.")


@click.group(cls=options.Group)
def prepare() -> None:
    """Write manifests (JSON Lines files of recordings and their texts) for corpora and your own recordings."""


def _write(out: Path, name: str, rows: "Sequence[Utterance]") -> None:
    from asr.corpora import manifest

    path = out / f"{name}.jsonl"
    options.check_outputs(path, read=[row.audio for row in rows])
    manifest.write(path, rows)
    _summarise(path, rows)


def _summarise(path: Path, rows: "Sequence[Utterance]") -> None:
    hours = sum(row.duration for row in rows) / 3600
    speakers = len({row.speaker for row in rows if row.speaker})
    click.echo(f"{path}: {len(rows)} utterances, {hours:.2f} hours, {speakers} speakers")


def _on_skip(display: Display, skip: bool) -> "OnSkip | None":
    """Return a function that lists what is left out, or None if nothing may be."""

    def on_skip(problems: Sequence[str]) -> None:
        for problem in problems:
            display.say(f"left out: {problem}", always=True)
        display.say(f"{len(problems)} left out", always=True)

    return on_skip if skip else None


def _list_repeated(repeated: Sequence[str], show_all: bool) -> None:
    for message in repeated if show_all else first_lines(repeated, "--all shows them"):
        click.echo(f"left out: {message}", err=True)


def _files(display: Display) -> Callable[[int, int], None]:
    return lambda done, total: display.update("read", done, total, "files")


@prepare.command(short_help="Write manifests for LibriSpeech subsets.")
@click.argument("root", type=options.FOLDER)
@click.argument("subsets", nargs=-1, required=True)
@_OUT
@click.option("--download", is_flag=True, help="Download missing subsets from OpenSLR.")
@_SKIP
@options.quiet
def librispeech(root: Path, subsets: tuple[str, ...], out: Path, download: bool, skip_bad: bool, quiet: bool) -> int:
    """Write OUT/SUBSET.jsonl for each SUBSET that is in ROOT, of LibriSpeech or a corpus with the same layout."""
    from asr.corpora import librispeech as corpus
    from asr.corpora.download import download_librispeech

    with Display(quiet) as display:

        def show_megabytes(done: int, total: int) -> None:
            display.update("download and unpack", done / 1e6, total / 1e6, "MB")

        for subset in subsets:
            if download:
                download_librispeech(subset, root, show_megabytes)
            rows = corpus.read(root, subset, _files(display), _on_skip(display, skip_bad))
            display.close()
            _write(out, subset, rows)
    return 0


@prepare.command(short_help="Write manifests for CMU AN4.")
@click.argument("root", type=options.FOLDER)
@_OUT
@_SKIP
@options.quiet
def an4(root: Path, out: Path, skip_bad: bool, quiet: bool) -> int:
    """Write OUT/train.jsonl, dev.jsonl (speakers held out from train) and test.jsonl for the CMU AN4 corpus in ROOT."""
    from asr.corpora import an4 as corpus

    with Display(quiet) as display:
        sets = corpus.read(root, _files(display), _on_skip(display, skip_bad))
    for name, rows in sets.items():
        _write(out, name, rows)
    return 0


@prepare.command(short_help="Write manifests for a corpus, whose layout is guessed.")
@click.argument("root", type=click.Path(path_type=Path))
@_OUT
@_SKIP
@options.quiet
def corpus(root: Path, out: Path, skip_bad: bool, quiet: bool) -> int:
    """Write OUT/SET.jsonl for each set of the corpus in the folder ROOT, and say which layout was found.

    The layouts are those of Common Voice, LJSpeech, Kaldi, Lhotse, TED-LIUM, VoxForge, MLS, FLEURS, Hugging Face audio
    folders and NeMo. Programs in a Kaldi wav.scp are not executed; the input file of sph2pipe, flac or cat is read
    instead.
    """
    from asr.corpora import layouts

    with Display(quiet) as display:
        found = layouts.read(root, _files(display), _on_skip(display, skip_bad))
    click.echo(f"{root}: layout of {found.layout}")
    for name, rows in found.sets.items():
        _write(out, name, rows)
    return 0


@prepare.command(short_help="Write a manifest from a table or a folder of recordings.")
@click.argument("file", type=click.Path(path_type=Path))
@_OUT
@click.option(
    "--columns",
    default="",
    metavar="COLUMN=NAME,…",
    help="Names in the header of audio, text, id, speaker, offset, end or duration: 'audio=Recording,text=Said'.",
)
@click.option("--audio-root", type=options.FOLDER, help="Folder of relative audio paths.  [default: the table's]")
@_SKIP
@options.quiet
def table(file: Path, out: Path, columns: str, audio_root: Path | None, skip_bad: bool, quiet: bool) -> int:
    """Write OUT/NAME.jsonl from FILE: a CSV or TSV of sound files and texts, or a folder of sound files
    and .txt files.
    """
    from asr.corpora import table as corpus

    pairs = [pair.partition("=") for pair in columns.split(",") if pair]
    if not all(name for _, _, name in pairs):
        raise click.UsageError(f"--columns {columns!r} is not COLUMN=NAME,…, such as audio=Recording,text=Said")
    table_options = corpus.TableOptions({column.strip(): name.strip() for column, _, name in pairs}, audio_root)
    with Display(quiet) as display:
        rows = corpus.read(file, _files(display), _on_skip(display, skip_bad), table_options)
        unused = corpus.unused_columns(file, table_options)
        if unused:
            display.say(f"{file}: columns that are not used: {', '.join(unused)}", always=True)
    _write(out, file.resolve().name if file.is_dir() else file.stem, rows)
    return 0


@prepare.command(short_help="Join several manifests.")
@click.argument("manifests", nargs=-1, required=True, type=options.FILE)
@_OUT
@click.option("--name", required=True, help="Name of the new manifest, OUT/NAME.jsonl.")
@_ALL
def join(manifests: tuple[Path, ...], out: Path, name: str, show_all: bool) -> int:
    """Write OUT/NAME.jsonl with the utterances of all MANIFESTS, for example to train on several corpora.

    An utterance whose audio an earlier one has is left out and listed.
    """
    from asr.corpora import manifest

    joined = manifest.join_unique(manifests)
    _list_repeated(joined.repeated, show_all)
    _write(out, name, joined.utterances)
    return 0


@prepare.command(short_help="Divide utterances into train, dev and test.")
@click.argument("manifests", nargs=-1, required=True, type=options.FILE)
@_OUT
@click.option(
    "--by",
    type=click.Choice(["speaker", "utterance"]),
    default="speaker",
    show_default=True,
    help="What is not divided: all utterances of a speaker are in one set.",
)
@click.option("--dev-hours", type=options.FloatRange(min=0), required=True, help="Hours of dev; 0: none.")
@click.option("--test-hours", type=options.FloatRange(min=0), required=True, help="Hours of test; 0: none.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Random seed.")
@click.option("--share-texts", is_flag=True, help="Allow the same texts in several sets.")
@_ALL
def split(manifests: tuple[Path, ...], out: Path, show_all: bool, **values: Any) -> int:
    """Write OUT/train.jsonl, dev.jsonl and test.jsonl from the utterances of all MANIFESTS.

    The sets share no speakers and no texts: an utterance of dev or train is left out if its text is in test, or in dev.
    """
    from asr.corpora import manifest
    from asr.corpora.splitting import SplitSettings
    from asr.corpora.splitting import split as divide

    joined = manifest.join_unique(manifests)
    result = divide(joined.utterances, SplitSettings(**values))
    options.check_outputs(*(out / f"{name}.jsonl" for name in result.sets), read=manifests)
    _list_repeated(joined.repeated, show_all)
    if result.left_out:
        hours = sum(row.duration for row in result.left_out) / 3600
        message = f"{len(result.left_out)} utterances, {hours:.2f} hours, left out: their texts are in another set"
        click.echo(f"{message}; keep them with --share-texts", err=True)
    for name, rows in result.sets.items():
        _write(out, name, rows)
    return 0


@prepare.command(short_help="Write shards (WebDataset tar files) of recordings and their texts.")
@click.argument("manifests", nargs=-1, required=True, type=options.FILE)
@click.option("--out", "-o", type=options.FOLDER, required=True, help="Folder for the shards and shards.jsonl.")
@click.option("--megabytes", type=options.POSITIVE_FLOAT, default=500.0, show_default=True, help="Size of a shard.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Seed of the random order.")
@_SKIP
@options.quiet
def shard(manifests: tuple[Path, ...], out: Path, megabytes: float, seed: int, skip_bad: bool, quiet: bool) -> int:
    """Write the utterances of all MANIFESTS in random order to OUT/000000.tar, 000001.tar … and their index, to
    OUT/shards.jsonl, for asr train --train OUT.

    After an interruption, the same command continues.
    """
    from asr.corpora import manifest, sharding

    rows = manifest.join(manifests)
    with Display(quiet) as display:
        written = sharding.write(
            rows,
            out,
            sharding.ShardSettings(megabytes, seed),
            lambda done, total: display.update("write", done, total, "hours of audio"),
            _on_skip(display, skip_bad),
        )
    _summarise_shards(out / "shards.jsonl", written)
    return 0


@prepare.command(short_help="Write the index of shards that exist.")
@click.argument("shards", nargs=-1, required=True)
@click.option("--out", "-o", type=options.OUTPUT, required=True, help="The index, such as FOLDER/shards.jsonl.")
@options.quiet
def index(shards: tuple[str, ...], out: Path, quiet: bool) -> int:
    """Read all SHARDS, tar files in the layout of WebDataset or their URLs, and write their index to OUT."""
    from asr.corpora import sharding

    options.check_outputs(out, read=[url for url in shards if "://" not in url])
    with Display(quiet) as display:
        written = sharding.write_index(shards, out, lambda done, total: display.update("read", done, total, "shards"))
    _summarise_shards(out, written)
    return 0


def _summarise_shards(path: Path, written: "Sequence[Shard]") -> None:
    utterances, hours = sum(shard.utterances for shard in written), sum(shard.hours for shard in written)
    click.echo(f"{path}: {len(written)} shards, {utterances} utterances, {hours:.2f} hours")


@prepare.command(short_help="Compute the features of training, here or on a cluster.")
@click.argument("recipe", type=options.FILE)
@options.train_manifests
@options.dev_manifests
@options.settings
@options.start
@options.cache
@options.cluster
@click.option("--skip-bad", is_flag=True, help="Leave out recordings that cannot be read, and list them.")
@options.quiet
def features(
    recipe: Path,
    train_manifests: tuple[Path, ...],
    dev_manifests: tuple[Path, ...],
    settings: tuple[str, ...],
    start: Path | None,
    cache: Path | None,
    cluster: str | None,
    skip_bad: bool,
    quiet: bool,
) -> int:
    """Compute in advance the features that asr train needs with the same RECIPE, manifests and options.

    The training then starts at once. With --cluster, the recordings are divided among the nodes of a Ray cluster, which
    need them under the same paths.
    """
    from asr import config, training
    from asr.training import events
    from asr.training.recipe import Recipe

    chosen = config.read(recipe, Recipe, settings)
    with Display(quiet) as display, ExitStack() as stack:
        nodes = None
        if cluster:
            from asr.cluster import Cluster

            nodes = stack.enter_context(Cluster(cluster, on_note=display.say))

        def show(event: events.Event) -> None:
            if isinstance(event, events.Preparing):
                title = f"features ({event.size / 1e6:.0f} MB)"
                where = nodes.progress() if nodes else ""
                display.update(title, event.done / 3600, event.total / 3600, "hours of audio", where)
            elif isinstance(event, events.Note):
                display.say(event.message, always=True)

        compute = nodes.map_each if nodes else None
        run = training.TrainOptions(show, start=start, cache=cache, skip_bad=skip_bad, compute=compute)
        data = training.prepare_features(chosen, train_manifests, dev_manifests, run)
        if nodes and nodes.files:
            display.say(f"copies of utterances of each node: {nodes.summary()}")
    for name, part in data.items():
        click.echo(f"{name}: features of {len(part.ids)} utterances, {part.seconds / 3600:.2f} hours")
    return 0


@prepare.command(short_help="Make training utterances from text with a speech synthesizer.")
@click.argument("text", type=options.TEXT)
@click.option("--out", "-o", type=options.FOLDER, required=True, help="Folder for manifest.jsonl and the sound files.")
@click.option("--hours", type=options.POSITIVE_FLOAT, required=True, help="Hours of speech to make.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Random seed.")
@click.option(
    "--command",
    metavar="COMMAND",
    help="A program that reads a text from standard input and writes a WAV file to standard output. {voice}, {speed} "
    "and {stretch} (1/speed) in it are replaced for each utterance.",
)
@click.option("--kokoro", "model", type=options.FILE, help="The ONNX model of Kokoro-82M (needs asr[tts]).")
@click.option("--kokoro-voices", "folder", type=options.FOLDER, help="Folder of Kokoro's voices (NAME.bin).")
@click.option("--kokoro-vocabulary", "vocabulary", type=options.FILE, help="Kokoro's phoneme vocabulary (JSON).")
@click.option(
    "--voices",
    default="",
    metavar="NAME,…",
    help="Voices to use: patterns for Kokoro ('af_*'), the values of {voice} for a command.  [default: all of Kokoro]",
)
@click.option("--exclude-voices", default="", metavar="NAME,…", help="Kokoro's voices not to use, such as 'am_*'.")
@click.option(
    "--normaliser",
    type=click.Choice(NORMALISERS),
    default="upper",
    show_default=True,
    help="Normaliser of the manifest's texts, as the recipe has it; librispeech also spells numbers out.",
)
@options.ids
@click.option(
    "--min-duration",
    type=options.FloatRange(min=0),
    default=2.0,
    show_default=True,
    help="Discard shorter utterances (seconds).",
)
@click.option(
    "--max-duration",
    type=options.POSITIVE_FLOAT,
    default=15.0,
    show_default=True,
    help="Discard longer utterances (seconds).",
)
@click.option(
    "--format",
    type=click.Choice(["flac", "opus"]),
    default="flac",
    show_default=True,
    help="Format of the sound files.",
)
@click.option(
    "--jobs", "-j", type=options.POSITIVE_INT, metavar="N", help="Utterances to make at a time.  [default: all cores]"
)
@options.quiet
def synthesize(text: Path, out: Path, quiet: bool, ids: bool | None, **values: Any) -> int:
    """Write OUT/manifest.jsonl and the sound files of utterances that a synthesizer makes from the lines of TEXT.

    TEXT has one sentence per line (also .gz or .bz2), or is a manifest (.jsonl), or - for standard input. The
    synthesizer is Kokoro, with random mixes of two voices (--kokoro, --kokoro-voices and --kokoro-vocabulary), or any
    program (--command). The voices, or the program, are the speakers of the manifest.

    After an interruption, the same command continues. The utterances depend on the text, the options and the seed, not
    on interruptions and --jobs; more --hours add utterances.
    """
    from asr.corpora.synthesis import SynthesisSettings
    from asr.corpora.synthesis import synthesize as run
    from asr.lm import TextReader, TextSource

    options.check_outputs(out / "manifest.jsonl", read=[text])
    reader = TextReader(TextSource((text,), "none", ids=ids))
    names = ("hours", "seed", "normaliser", "min_duration", "max_duration", "format")
    jobs = values["jobs"] or os.cpu_count() or 1
    settings = SynthesisSettings(**{name: values[name] for name in names}, jobs=jobs)
    synthesizer = _synthesizer(values)
    begin, first, latest = time.monotonic(), None, 0.0
    with Display(quiet) as display:

        def show(done: float, hours: float) -> None:
            nonlocal first, latest
            first, latest = done if first is None else first, done
            speed = (done - first) * 3600 / max(time.monotonic() - begin, 1e-6)
            display.update("synthesize", done, hours, note=f"{done:.2f} of {hours:g} hours, {speed:.1f} × real time")

        try:
            result = run(list(reader), out, synthesizer, settings, (show, lambda line: display.say(line, always=True)))
        except KeyboardInterrupt:
            if latest:
                hint = "the same command continues, fewer --hours write the manifest of what is there"
                display.say(f"{latest:.3f} hours are done; {hint}", always=True)
            raise
    limits: dict[Skipped, str] = {
        "too short": f"shorter than {settings.min_duration:g} s (--min-duration)",
        "too long": f"longer than {settings.max_duration:g} s (--max-duration)",
    }
    for reason, number in result.skipped.items():
        click.echo(f"{number} skipped: {limits.get(reason, reason)}", err=True)
    _summarise(out / "manifest.jsonl", result.utterances)
    return 0


def _synthesizer(values: dict[str, Any]) -> "Synthesizer":
    kokoro = [values[name] for name in ("model", "folder", "vocabulary")]
    include, exclude = (list(filter(None, values[name].split(","))) for name in ("voices", "exclude_voices"))
    if (values["command"] is None) == (not any(kokoro)):
        raise click.UsageError("give either --command or --kokoro")
    if values["command"] is None:
        if not all(kokoro):
            raise click.UsageError("Kokoro needs --kokoro, --kokoro-voices and --kokoro-vocabulary")
        from asr.corpora.synthesis import kokoro as synthesizer

        return synthesizer.load(synthesizer.KokoroFiles(*kokoro), include, exclude)
    if exclude:
        raise click.UsageError("--exclude-voices needs --kokoro")
    from asr.corpora.synthesis import Command

    return Command(values["command"], include)
