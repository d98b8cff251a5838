"""asr prepare: a corpus -> manifests."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from asr.cli import options
from asr.cli.progress import Display

if TYPE_CHECKING:
    from asr.corpora.manifest import Utterance

_OUT = click.option("--out", "-o", type=options.FOLDER, required=True, help="The folder to write manifests into.")


@click.group()
def prepare() -> None:
    """Read a corpus and write manifests."""


def _write(out: Path, name: str, rows: "Sequence[Utterance]") -> None:
    from asr.corpora import manifest

    path = out / f"{name}.jsonl"
    count = manifest.write(path, rows)
    hours = sum(row.duration for row in rows) / 3600
    speakers = len({row.speaker for row in rows if row.speaker})
    click.echo(f"{path}: {count} utterances, {hours:.2f} hours, {speakers} speakers")


@prepare.command(short_help="LibriSpeech and corpora laid out like it.")
@click.argument("root", type=options.FOLDER)
@click.argument("subsets", nargs=-1, required=True)
@_OUT
@click.option("--download", is_flag=True, help="Fetch from OpenSLR the subsets that are not there.")
@options.quiet
def librispeech(root: Path, subsets: tuple[str, ...], out: Path, download: bool, quiet: bool) -> int:
    """Write OUT/SUBSET.jsonl for each SUBSET of LibriSpeech (or of a corpus laid out like it) below ROOT."""
    from asr.corpora import download as fetch
    from asr.corpora import librispeech as corpus

    with Display(quiet) as display:
        for subset in subsets:
            if download:
                fetch.download_librispeech(
                    subset,
                    root,
                    lambda done, total: display.update("download and unpack", done / 1e6, total / 1e6, "MB"),
                )
            rows = corpus.read(root, subset, lambda done, total: display.update("read", done, total, "files"))
            display.close()
            _write(out, subset, rows)
    return 0


@prepare.command(short_help="CMU AN4.")
@click.argument("root", type=options.FOLDER)
@_OUT
@options.quiet
def an4(root: Path, out: Path, quiet: bool) -> int:
    """Write OUT/train.jsonl, dev.jsonl (speakers held out of train) and test.jsonl of CMU AN4 at ROOT."""
    from asr.corpora import an4 as corpus

    with Display(quiet) as display:
        sets = corpus.read(root, lambda done, total: display.update("read", done, total, "files"))
    for name, rows in sets.items():
        _write(out, name, rows)
    return 0


@prepare.command(short_help="A table or a folder of one's own recordings.")
@click.argument("file", type=click.Path(path_type=Path))
@_OUT
@options.quiet
def table(file: Path, out: Path, quiet: bool) -> int:
    """Write OUT/NAME.jsonl from FILE: a CSV or TSV of sound file and text, or a folder of sound files and .txt."""
    from asr.corpora import table as corpus

    with Display(quiet) as display:
        rows = corpus.read(file, lambda done, total: display.update("read", done, total, "files"))
    _write(out, file.resolve().name if file.is_dir() else file.stem, rows)
    return 0


@prepare.command(short_help="Several manifests as one.")
@click.argument("manifests", nargs=-1, required=True, type=options.FILE)
@_OUT
@click.option("--name", required=True, help="Of the manifest that is written: OUT/NAME.jsonl.")
def join(manifests: tuple[Path, ...], out: Path, name: str) -> int:
    """Write OUT/NAME.jsonl with the utterances of all MANIFESTS, such as those of several corpora to train on."""
    from asr.corpora import manifest

    target = out / f"{name}.jsonl"
    if target.resolve() in {path.resolve() for path in manifests}:
        raise click.UsageError(f"{target} is one of the manifests; choose another --name")
    _write(out, name, manifest.join(manifests))
    return 0
