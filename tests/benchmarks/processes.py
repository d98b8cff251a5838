"""How fast two processes with one thread each train one model, against one process with two threads.

Each process has a batch of its own, so that the two together take half the steps. More is better, 1 is as fast.

usage: python tests/benchmarks/processes.py [ROUNDS]     default: 3, on the digits and their recipe
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from asr import manifest
from asr.corpora import librispeech

RECIPE = "recipes/digits/recipe.toml"
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def epoch_seconds(folder: Path, processes: int) -> float:
    """Train two epochs and return the seconds of the second."""
    out = folder / f"run-{processes}"
    start = [sys.executable, *(TORCHRUN if processes > 1 else []), "-m", "asr", "train", RECIPE, "--out", str(out)]
    data = ["--train", str(folder / "train.jsonl"), "--dev", str(folder / "dev.jsonl")]
    how = ["--epochs", "2", "--device", "cpu", "--overwrite", "--quiet"]
    environment = os.environ | {"OMP_NUM_THREADS": str(2 // processes)}
    done = subprocess.run([*start, *data, *how], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{processes} process(es): exit code {done.returncode}\n{done.stderr[-3000:]}")
    rows = [json.loads(line) for line in (out / "train.jsonl").read_text().splitlines()]
    return float(rows[1]["seconds"])


def main() -> None:
    """Print the ratio, the median of rounds that take turns."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for subset in ("train", "dev"):
            manifest.write(folder / f"{subset}.jsonl", librispeech.read("data/digits", subset))
        pairs = [(epoch_seconds(folder, 2), epoch_seconds(folder, 1)) for _ in range(rounds)]
    two, one = np.median(pairs, axis=0)
    print(f"two processes {two:.1f} s, two threads {one:.1f} s an epoch")
    print(f"RATIO two_processes_vs_two_threads {np.median([other / own for own, other in pairs]):.2f}")


if __name__ == "__main__":
    main()
