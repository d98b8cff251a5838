"""asr prepare: write manifests of corpora."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from asr.cli import options
from asr.cli.progress import Display

if TYPE_CHECKING:
    from asr.corpora.manifest import Utterance

_OUT = click.option("--out", "-o", type=options.FOLDER, required=True, help="Folder for the manifests.")


@click.group()
def prepare() -> None:
    """Write manifests (JSON Lines files of recordings and their texts) for corpora and your own recordings."""


def _write(out: Path, name: str, rows: "Sequence[Utterance]") -> None:
    from asr.corpora import manifest

    path = out / f"{name}.jsonl"
    options.check_outputs(path, read=[row.audio for row in rows])
    count = manifest.write(path, rows)
    hours = sum(row.duration for row in rows) / 3600
    speakers = len({row.speaker for row in rows if row.speaker})
    click.echo(f"{path}: {count} utterances, {hours:.2f} hours, {speakers} speakers")


def _files(display: Display) -> Callable[[int, int], None]:
    return lambda done, total: display.update("read", done, total, "files")


@prepare.command(short_help="Write manifests for LibriSpeech subsets.")
@click.argument("root", type=options.FOLDER)
@click.argument("subsets", nargs=-1, required=True)
@_OUT
@click.option("--download", is_flag=True, help="Download missing subsets from OpenSLR.")
@options.quiet
def librispeech(root: Path, subsets: tuple[str, ...], out: Path, download: bool, quiet: bool) -> int:
    """Write OUT/SUBSET.jsonl for each SUBSET that is in ROOT, of LibriSpeech or a corpus with the same layout."""
    from asr.corpora import librispeech as corpus
    from asr.corpora.download import download_librispeech

    with Display(quiet) as display:

        def show_megabytes(done: int, total: int) -> None:
            display.update("download and unpack", done / 1e6, total / 1e6, "MB")

        for subset in subsets:
            if download:
                download_librispeech(subset, root, show_megabytes)
            rows = corpus.read(root, subset, _files(display))
            display.close()
            _write(out, subset, rows)
    return 0


@prepare.command(short_help="Write manifests for CMU AN4.")
@click.argument("root", type=options.FOLDER)
@_OUT
@options.quiet
def an4(root: Path, out: Path, quiet: bool) -> int:
    """Write OUT/train.jsonl, dev.jsonl (speakers held out from train) and test.jsonl for the CMU AN4 corpus in ROOT."""
    from asr.corpora import an4 as corpus

    with Display(quiet) as display:
        sets = corpus.read(root, _files(display))
    for name, rows in sets.items():
        _write(out, name, rows)
    return 0


@prepare.command(short_help="Write a manifest from a table or a folder of recordings.")
@click.argument("file", type=click.Path(path_type=Path))
@_OUT
@options.quiet
def table(file: Path, out: Path, quiet: bool) -> int:
    """Write OUT/NAME.jsonl from FILE: a CSV or TSV of sound files and texts, or a folder of sound files
    and .txt files.
    """
    from asr.corpora import table as corpus

    with Display(quiet) as display:
        rows = corpus.read(file, _files(display))
    _write(out, file.resolve().name if file.is_dir() else file.stem, rows)
    return 0


@prepare.command(short_help="Join several manifests.")
@click.argument("manifests", nargs=-1, required=True, type=options.FILE)
@_OUT
@click.option("--name", required=True, help="Name of the new manifest, OUT/NAME.jsonl.")
def join(manifests: tuple[Path, ...], out: Path, name: str) -> int:
    """Write OUT/NAME.jsonl with the utterances of all MANIFESTS, for example to train on several corpora."""
    from asr.corpora import manifest

    _write(out, name, manifest.join(manifests))
    return 0
