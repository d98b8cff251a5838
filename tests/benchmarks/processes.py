"""How fast two processes with one thread each train one model, against one process with two; and the same model?

Each process has a batch of its own, so that the two together take half the steps. More is better, 1 is as fast. Then
both train the digits without dropout, the one process with two batches a step: the weights must come out alike, with
one of the two processes killed on the way and started again by torchrun, and without.

usage: python tests/benchmarks/processes.py [ROUNDS]     default: 3, on the digits and their recipe
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from asr.corpora import librispeech, manifest

RECIPE = "recipes/digits/recipe.toml"
Weights = NDArray[Any]
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


def trained(folder: Path, name: str, settings: Sequence[str], processes: int, kill: bool = False) -> dict[str, Weights]:
    """Train two epochs without dropout, one process killed in the second if asked for, and return the last weights."""
    out = folder / name
    torchrun = [*TORCHRUN, "--max-restarts", "3"] if processes > 1 else []
    command = [sys.executable, *torchrun, "-m", "asr", "train", RECIPE, "--out", str(out), "--epochs", "2", "--quiet"]
    command += ["--train", str(folder / "train.jsonl"), "--dev", str(folder / "dev.jsonl"), "--device", "cpu"]
    for setting in ("model.dropout=0", "training.checkpoint_minutes=0.05", *settings):
        command += ["--set", setting]
    with subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE) as process:
        while kill and process.poll() is None:
            if any(int(path.stem.split("-")[1]) for path in (out / "resume").glob("000002-*.safetensors")):
                children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
                os.kill(int(children[-1]), signal.SIGKILL)
                kill = False
            time.sleep(0.05)
        _, said = process.communicate()
    if process.returncode or kill:
        raise SystemExit(f"{name}: exit code {process.returncode}\n{said.decode()[-3000:]}")
    return load_file(out / "last.safetensors")


def main() -> None:
    """Print the ratio, the median of rounds that take turns, and how far the weights are apart."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for subset in ("train", "dev"):
            manifest.write(folder / f"{subset}.jsonl", librispeech.read("data/digits", subset))
        one_process = trained(folder, "one", ["training.accumulate=2"], 1)
        for run, kill in (("two", False), ("killed", True)):
            found = trained(folder, run, [], 2, kill)
            apart = max(float(np.abs(found[key] - value).max()) for key, value in one_process.items())
            print(f"RATIO largest_difference_of_weights_{run} {apart:.2g}", flush=True)
        pairs = [(epoch_seconds(folder, 2), epoch_seconds(folder, 1)) for _ in range(rounds)]
    two, one = np.median(pairs, axis=0)
    print(f"two processes {two:.1f} s, two threads {one:.1f} s an epoch")
    print(f"RATIO two_processes_vs_two_threads {np.median([other / own for own, other in pairs]):.2f}")


if __name__ == "__main__":
    main()
