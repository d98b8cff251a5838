"""How fast shards are read and their features computed, and whether a larger corpus needs more memory to train.

usage: python tests/benchmarks/shards.py MANIFEST [COPIES]
MANIFEST of a corpus of hours; COPIES of the digits in the smaller of two corpora (default 1), the larger has ten times
as many
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from asr.corpora import librispeech, manifest, sharding, shards
from asr.corpora.sharding import ShardSettings
from asr.features import FeatureSettings
from asr.features.cache import open_caches
from asr.training.distributed import World
from asr.training.recipe import Recipe
from asr.training.shards import Corpus, Pass

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
buffer_hours = 0.05
"""


def peak_of(*arguments: str) -> float:
    """Run a Python process and return its peak of resident memory in GB, without that of its workers."""
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(arguments)}: exit code {os.waitstatus_to_exitcode(status)}")
    return usage.ru_maxrss * 1024 / 1e9


def cpu_seconds() -> float:
    """Return the processor time of this process and of the workers that have ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


@contextmanager
def measured(name: str, hours: float) -> Iterator[None]:
    """Print the rate of what is done in the context, and its processor time, workers included."""
    from joblib.externals.loky import get_reusable_executor

    wall, cpu = time.perf_counter(), cpu_seconds()
    yield
    wall = time.perf_counter() - wall
    # Workers count when they have ended.
    get_reusable_executor().shutdown(wait=True)
    cpu = cpu_seconds() - cpu
    print(f"{name}: {wall:.1f} s, {cpu:.1f} CPU s for {hours:.2f} hours")
    print(f"RATIO {name}_hours_per_minute {60 * hours / wall:.1f}")
    print(f"RATIO {name}_hours_per_cpu_minute {60 * hours / cpu:.1f}", flush=True)


def measure_rates(path: Path, folder: Path) -> None:
    """Print the rates of writing and reading shards, and of features from them and from a cache."""
    rows = manifest.read(path)
    hours = sum(row.duration for row in rows) / 3600
    with measured("write", hours):
        sharding.write(rows, folder / "shards", ShardSettings(megabytes=100))
    index = shards.read_index(str(folder / "shards/shards.jsonl"))
    with measured("read", hours):
        for shard in index.shards:
            for _ in shards.verified(shard):
                pass
    with measured("shard_features", hours):
        corpus = Corpus(index, Recipe(), World())
        for _ in corpus.buffers(Pass(1, (1.0,), 0.0)):
            pass
    with measured("cache_features", hours):
        [cache] = open_caches(rows, FeatureSettings(), folder / "train.jsonl")
    with measured("cache_read", hours):
        for row in range(len(rows)):
            cache[row]


def measure_memory(folder: Path, copies: int) -> None:
    """Print the ratio of the peaks of training on shards of a corpus and of one of ten times its size."""
    (folder / "recipe.toml").write_text(RECIPE)
    rows = librispeech.read("data/digits", "train")
    manifest.write(folder / "dev.jsonl", rows[:10])
    peaks = []
    for name, times in (("one", copies), ("ten", 10 * copies)):
        copied = [replace(row, id=f"{row.id}-{number}") for number in range(times) for row in rows]
        written = sharding.write(copied, folder / name, ShardSettings(megabytes=5))
        data = ["--train", str(folder / name), "--dev", str(folder / "dev.jsonl"), "--out", str(folder / f"{name}-run")]
        peaks.append(peak_of("-m", "asr", "train", str(folder / "recipe.toml"), *data, "--quiet"))
        hours = sum(shard.hours for shard in written)
        print(f"{name}: {len(written)} shards, {hours:.2f} hours, peak {peaks[-1]:.3f} GB", flush=True)
    print(f"RATIO tenfold_corpus_memory {peaks[1] / peaks[0]:.3f}")


def main() -> None:
    """Print the ratios."""
    path, copies = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1
    with tempfile.TemporaryDirectory() as name:
        measure_rates(Path(path), Path(name))
    with tempfile.TemporaryDirectory() as name:
        measure_memory(Path(name), copies)


if __name__ == "__main__":
    main()
