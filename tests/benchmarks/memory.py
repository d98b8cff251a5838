"""How much memory and time a manifest of a million rows takes, and whether a larger corpus needs more memory to train.

Each measurement is the peak of a fresh process. The million rows have recordings that can be found, 100 of them behind
many names, and feature caches of the right size that are all holes: no feature is computed.

usage: python tests/benchmarks/memory.py [ROWS [COPIES]]
ROWS of the large manifest (default 1000000); COPIES of the digits in the smaller of two corpora (default 10)
"""

import json
import math
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import soundfile

from asr.corpora import librispeech, manifest
from asr.corpora.manifest import Utterance
from asr.features import FeatureSettings, batching, cache
from asr.features.augment import AugmentSettings
from asr.features.cache import Copy
from asr.text import TextSettings
from asr.training import dataset
from asr.training.dataset import Dataset, DatasetSource

CHAPTER = 100
# With words of five characters on average, 180 characters in twelve seconds.
WORDS_PER_SECOND = 2.6
BATCH_SECONDS = 60
ROUNDS = 3
RECIPE = """
[model]
layers = 1
hidden = 16
channels = 4

[augment]
speeds = [1.0]

[training]
epochs = 1
batch_seconds = 60
device = "cpu"
"""


def peak_of(*arguments: str) -> float:
    """Run a Python process and return its peak of resident memory in GB."""
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    # Linux counts this process's own peak, too, which is lower: it does nothing but import.
    process = os.posix_spawn(sys.executable, [sys.executable, *arguments], os.environ, file_actions=quiet)
    _, status, usage = os.wait4(process, 0)
    if status:
        raise SystemExit(f"{' '.join(arguments)}: exit code {os.waitstatus_to_exitcode(status)}")
    return gigabytes(usage)


def gigabytes(usage: resource.struct_rusage) -> float:
    """Return the peak of resident memory, which Linux tells in KiB and macOS in bytes."""
    return usage.ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6 / 1.024)


def large_rows(folder: Path, count: int) -> Iterator[Utterance]:
    """Yield utterances as LibriSpeech has them, and make their recordings: chapters are links to one folder."""
    shared = folder / "recordings"
    shared.mkdir()
    for number in range(CHAPTER):
        soundfile.write(shared / f"utterance-{number:04d}.flac", np.zeros(1600), 16_000)
    random = np.random.default_rng(1)
    words = ["".join(random.choice(list("ETAOINSHRDLU"), size)) for size in random.integers(1, 9, 5000)]
    for first in range(0, count, CHAPTER):
        speaker, chapter = 1000 + first // (20 * CHAPTER), 100_000 + first // CHAPTER
        place = folder / "LibriSpeech" / "train-other-500" / str(speaker) / str(chapter)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(shared)
        for number, duration in enumerate(random.uniform(8.0, 16.5, min(CHAPTER, count - first)).tolist()):
            text = " ".join(
                words[index] for index in random.integers(len(words), size=round(duration * WORDS_PER_SECOND))
            )
            id = f"{speaker}-{chapter}-{number:04d}"
            yield Utterance(id, f"{place}/utterance-{number:04d}.flac", duration, text, str(speaker))


def opened(folder: Path) -> tuple[Dataset, float]:
    """Read the large manifest and open its features at three speeds; return the seconds that reading took, too."""
    begin = time.perf_counter()
    rows = manifest.read(folder / "train.jsonl")
    seconds = time.perf_counter() - begin
    source = DatasetSource(
        rows, folder / "train.jsonl", dataset.copies_of(AugmentSettings(speeds=(0.9, 1.0, 1.1)), rows)
    )
    return dataset.load(source, TextSettings(), FeatureSettings(), 4), seconds


def make_large(folder: Path, count: int) -> None:
    """Write the large manifest, and the caches that `opened` will look for, as files of holes."""

    def write(
        path: Path,
        utterances: Sequence[Utterance],
        settings: FeatureSettings,
        copy: Copy,
        compute: cache.Compute,
        on_progress: Callable[[float], None],
    ) -> None:
        path.parent.mkdir(exist_ok=True)
        frames = np.array([1 + int(one.duration / copy.speed / settings.hop) for one in utterances], np.int64)
        with path.open("wb") as file:
            file.truncate(int(frames.sum()) * settings.dimension * 2)
        np.save(path.with_suffix(".npy"), frames)

    manifest.write(folder / "train.jsonl", large_rows(folder, count))
    cache._write = write
    # The sparse files need no disk space.
    shutil.disk_usage = lambda path: SimpleNamespace(free=math.inf)  # type: ignore[assignment, return-value]
    opened(folder)


def open_large(folder: Path) -> None:
    """Open the large manifest, plan an epoch, and print the times and the peak as JSON."""
    begin = time.perf_counter()
    data, reading = opened(folder)
    batches = batching.plan(data.frames, BATCH_SECONDS * 100, np.random.default_rng(1))
    seconds = time.perf_counter() - begin
    peak = gigabytes(resource.getrusage(resource.RUSAGE_SELF))
    found = {"items": len(data), "batches": len(batches), "read": reading, "seconds": seconds, "peak": peak}
    (folder / "found.json").write_text(json.dumps(found))


def measure_large(folder: Path, count: int) -> None:
    """Print the ratios of the large manifest."""
    peak_of(__file__, "make", str(folder), str(count))
    peak_of(__file__, "open", str(folder))
    found = json.loads((folder / "found.json").read_text())
    print(f"{count} rows: {found['items']} items in {found['batches']} batches, read in {found['read']:.1f} s")
    print(f"RATIO manifest_million_read_seconds {found['read']:.1f}")
    print(f"RATIO manifest_million_seconds {found['seconds']:.1f}")
    print(f"RATIO manifest_million_peak_gb {found['peak']:.2f}", flush=True)


def train_peak(folder: Path, name: str) -> float:
    """Return the peak of a process that trains an epoch, GB."""
    data = ["--train", str(folder / f"{name}.jsonl"), "--dev", str(folder / "dev.jsonl")]
    out = ["--out", str(folder / "run"), "--overwrite", "--quiet"]
    return peak_of("-m", "asr", "train", str(folder / "recipe.toml"), *data, *out)


def measure_doubled(folder: Path, copies: int) -> None:
    """Print the ratio of the peaks of training on a corpus and on one of twice its size."""
    (folder / "recipe.toml").write_text(RECIPE)
    rows = librispeech.read("data/digits", "train")
    for name, times in (("once", copies), ("twice", 2 * copies)):
        copied = (replace(row, id=f"{row.id}-{number}") for number in range(times) for row in rows)
        print(f"{name}: {manifest.write(folder / f'{name}.jsonl', copied)} rows", flush=True)
    manifest.write(folder / "dev.jsonl", rows[:10])
    # The features are computed here; they are not what is measured.
    for name in ("once", "twice"):
        train_peak(folder, name)
    pairs = [(train_peak(folder, "once"), train_peak(folder, "twice")) for _ in range(ROUNDS)]
    once, twice = np.median(pairs, axis=0)
    print(f"{once:.3f} GB, and of twice the corpus {twice:.3f} GB")
    print(f"RATIO doubled_corpus_memory {twice / once:.3f}")


def main() -> None:
    """Print the ratios, or do the part that was asked for in a process of its own."""
    match sys.argv[1:]:
        case ["make", folder, count]:
            make_large(Path(folder), int(count))
        case ["open", folder]:
            open_large(Path(folder))
        case [*numbers]:
            rows, copies = [*map(int, numbers), *(1_000_000, 10)[len(numbers) :]]
            with tempfile.TemporaryDirectory() as name:
                measure_large(Path(name), rows)
            with tempfile.TemporaryDirectory() as name:
                measure_doubled(Path(name), copies)


if __name__ == "__main__":
    main()
