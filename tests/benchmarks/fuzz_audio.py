"""Damages sound files of every container at random, and reads them, for as long as it is told.

What is not read must be refused in one line. Each case runs in a process whose memory is limited and which is watched:
what crashes it, hangs or raises anything else is kept in the folder, and counted.

usage: python tests/benchmarks/fuzz_audio.py [MINUTES [SEED [FOLDER]]]     default: 20 minutes, seed 1, folder fuzzed
"""

import json
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from asr import audio
from tests.hostile import CONTAINERS, KINDS, Change, changed, encoded, outcome

# A process reads so many files; bytes that it may ask for; seconds that one file may take.
CASES, MEMORY, PATIENCE = 2000, 2 << 30, 60


def seeds(folder: Path) -> dict[str, bytes]:
    """Return a small file of each container, mono and stereo."""
    found = {}
    for name in CONTAINERS:
        for channels in (1, 2):
            samples = np.random.default_rng(channels).normal(0, 0.1, (5000, channels))
            found[f"{name}-{channels}"] = encoded(folder, name, samples, 8000 * channels)
    return found


def in_blocks(path: Path) -> NDArray[np.float32]:
    """Read a file block by block."""
    with audio.AudioReader(path) as reader:
        return np.concatenate(list(reader.blocks()))


def read(path: Path) -> str:
    """Return what reading came to, in both ways; raise for what must not be."""
    said = outcome(path, audio.load)
    blocks = outcome(path, in_blocks)
    assert blocks == said, f"whole: {said}; in blocks: {blocks}"
    if said == "read":
        np.testing.assert_allclose(in_blocks(path), audio.load(path), atol=1e-5)
    return said


def work(seed: int, until: float, folder: Path) -> None:
    """Read damaged files until the time is over; print the counts as JSON."""
    random = np.random.default_rng(seed)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    counts: Counter[str] = Counter()

    def hang(number: int, frame: object) -> None:
        raise TimeoutError(f"more than {PATIENCE} seconds")

    signal.signal(signal.SIGALRM, hang)
    with tempfile.TemporaryDirectory() as temporary:
        whole = seeds(Path(temporary))
        names = sorted(whole)
        for case in range(CASES):
            if time.time() > until:
                break
            name = names[random.integers(len(names))]
            damages = [
                Change(KINDS[random.integers(len(KINDS))], float(random.random()), int(random.integers(2**32)))
                for _ in range(random.integers(1, 7))
            ]
            # A crash leaves its case behind.
            path = folder / f"now-{seed}-{case}{CONTAINERS[name.rpartition('-')[0]][2]}"
            path.write_bytes(changed(whole[name], damages))
            signal.alarm(PATIENCE)
            try:
                counts[re.sub(r"[-+]?\d[\d.e+]*", "N", read(path))] += 1
            except Exception as error:
                counts["FOUND"] += 1
                path.rename(folder / f"found-{path.name.removeprefix('now-')}")
                (folder / f"found-{seed}-{case}.log").write_text(f"{name} {damages}\n{traceback.format_exc()}")
                counts[f"{type(error).__name__}: {error}"[:200]] += 1
            else:
                path.unlink()
            finally:
                signal.alarm(0)
    print(json.dumps(counts))


def main() -> None:
    """Start one process after another, and print what all of them came to."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["work"]:
        return work(int(arguments[1]), float(arguments[2]), Path(arguments[3]))
    minutes = float(arguments[0]) if arguments else 20.0
    seed = int(arguments[1]) if len(arguments) > 1 else 1
    folder = Path(arguments[2] if len(arguments) > 2 else "fuzzed")
    folder.mkdir(parents=True, exist_ok=True)
    until = time.time() + 60 * minutes
    counts: Counter[str] = Counter()
    while time.time() < until:
        command = [sys.executable, __file__, "work", str(seed), str(until), str(folder)]
        # libmpg123 has a word on each damaged frame.
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
        if done.returncode:
            counts["CRASHED"] += 1
            print(f"seed {seed}: exit code {done.returncode}; its file is kept in {folder}", flush=True)
        else:
            counts.update(json.loads(done.stdout))
        seed += 1
    for said, count in counts.most_common():
        print(f"{count:8d}  {said}")
    total = sum(counts.values())
    print(f"RATIO fuzz_cases {total}")
    print(f"RATIO fuzz_read {counts['read'] / max(1, total):.3f}")
    print(f"RATIO fuzz_found {counts['FOUND'] + counts['CRASHED']}")
    return None


if __name__ == "__main__":
    main()
