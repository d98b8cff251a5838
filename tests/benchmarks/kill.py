"""Is a run that was killed again and again the run that never was?

usage: python tests/benchmarks/kill.py [KILLS [EPOCHS [SEED]]]     default: 20 kills of a run of 60 epochs

A tiny model is trained on tones, once undisturbed and once with as many SIGKILLs: half of them at random moments, half
while a file is being written. The weights and the log must come out the same to the last bit.
"""

import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from safetensors.numpy import load_file

from asr import config, training
from asr.training.recipe import Recipe
from tests.conftest import TINY, random_texts, write_corpus

# What depends on the clock.
TIMES = ("seconds", "data_wait")


def start(folder: Path, run: str, epochs: int) -> int:
    """Train in a process of its own; return its id."""
    child = os.fork()
    if child:
        return child
    try:
        # A state is saved after every step, so that one is always being written or just was.
        settings = [f"training.epochs={epochs}", "training.checkpoint_minutes=0", "training.average=3"]
        settings += ["model.dropout=0.2", "augment.time_masks=2.0", "augment.mel_masks=2"]
        recipe = config.read(folder / "tiny.toml", Recipe, settings)
        training.train(recipe, folder / "train.jsonl", folder / "dev.jsonl", folder / run)
    except BaseException as error:
        print(f"the run failed: {error!r}", file=sys.stderr)
        os._exit(1)
    os._exit(0)


def writes(folder: Path) -> bool:
    """Tell whether a file is being written."""
    try:
        return any(folder.rglob("*.part"))
    except FileNotFoundError:  # a folder went while it was looked through
        return False


def kill(child: int, folder: Path, chance: random.Random) -> bool:
    """Kill the process at a random moment or while it writes; return whether it was still running."""
    deadline = time.monotonic() + chance.uniform(0.05, 0.6)
    if chance.random() < 0.5:
        while time.monotonic() < deadline:
            time.sleep(0.001)
    else:
        while time.monotonic() < deadline or not writes(folder):
            if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                break
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def outcome(run: Path) -> tuple[dict[str, bytes], list[dict[str, object]]]:
    """Return the weights and the log of a run, times left out."""
    weights = {
        f"{name}: {key}": value.tobytes()
        for name in ("last.safetensors", "best.safetensors")
        for key, value in load_file(run / name).items()
    }
    rows = [json.loads(line) for line in (run / "train.jsonl").read_text().splitlines()]
    return weights, [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


def main(kills: int = 20, epochs: int = 60, seed: int = 1) -> int:
    """Compare the two runs; return the exit code."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_corpus(folder, "train", random_texts(40, 1))
        write_corpus(folder, "dev", random_texts(6, 2))
        (folder / "tiny.toml").write_text(TINY, encoding="utf-8")
        begin = time.monotonic()
        if os.waitpid(start(folder, "whole", epochs), 0)[1]:
            return 1
        undisturbed = time.monotonic() - begin
        done = 0
        while done < kills:
            killed = kill(start(folder, "killed", epochs), folder / "killed", chance)
            done += killed
            if not killed:
                print(f"the run was over after {done} kills; more epochs are needed for more")
                break
        if os.waitpid(start(folder, "killed", epochs), 0)[1]:
            return 1
        same = outcome(folder / "whole") == outcome(folder / "killed")
        print(
            f"{done} kills of a run of {undisturbed:.1f} s, {epochs} epochs: {'the same' if same else 'NOT THE SAME'}"
        )
        return 0 if same and done == kills else 1


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
