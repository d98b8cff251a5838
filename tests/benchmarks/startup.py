"""Measures `asr transcribe` of one 10 s file in new processes: seconds, processor seconds and peak memory.

python tests/benchmarks/startup.py [OTHER CHECKOUT]: with another checkout, processes of both alternate, and the ratios
are printed too. "first use": with an empty cache folder. "beside busy processes": one on each core.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parent.parent.parent
ROUNDS = 5
# Seconds, processor seconds, MiB.
Cost = tuple[float, float, float]


def cost(checkout: Path, wav: Path, options: list[str], first_use: bool = False) -> Cost:
    """Run the command in a new process; return what it cost."""
    command = [sys.executable, "-P", "-m", "asr", "transcribe", str(wav), "-q", *options]
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    with tempfile.TemporaryDirectory() as cache:
        if first_use:
            environment["XDG_CACHE_HOME"] = cache
        start = time.monotonic()
        devnull = os.open(os.devnull, os.O_WRONLY)
        process = os.posix_spawn(command[0], command, environment, file_actions=[(os.POSIX_SPAWN_DUP2, devnull, 1)])
        _, status, usage = os.wait4(process, 0)
        seconds = time.monotonic() - start
        os.close(devnull)
    assert status == 0, status
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def measure(name: str, checkouts: list[Path], run: Callable[[Path], Cost]) -> None:
    """Print the medians and the ratios of a command in each checkout."""
    for checkout in checkouts:
        run(checkout)
    rows = [[run(checkout) for checkout in checkouts] for _ in range(ROUNDS)]
    medians = [[statistics.median(values) for values in zip(*runs, strict=True)] for runs in zip(*rows, strict=True)]
    for unit, index in (("s", 0), ("CPU s", 1), ("MiB", 2)):
        shown = ", ".join(f"{values[index]:.2f}" for values in medians)
        ratio = f" RATIO {name}_{unit} {medians[1][index] / medians[0][index]:.2f}" if sys.argv[1:] else ""
        print(f"{name}: {shown} {unit}{ratio}", flush=True)


def main() -> None:
    """Measure with each decoder, at the first use, and beside busy processes."""
    checkouts = [ROOT, *map(Path, sys.argv[1:2])]
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "speech.wav"
        parts = [soundfile.read(ROOT / f"data/samples/sample-{number:02}.opus")[0] for number in (1, 2, 3, 4)]
        rate = soundfile.info(ROOT / "data/samples/sample-01.opus").samplerate
        soundfile.write(wav, np.concatenate(parts)[: 10 * rate], rate)
        measure("greedy", checkouts, lambda checkout: cost(checkout, wav, ["--greedy"]))
        measure("default", checkouts, lambda checkout: cost(checkout, wav, []))
        measure("first use", checkouts, lambda checkout: cost(checkout, wav, [], first_use=True))
        busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
        try:
            measure("beside busy processes", checkouts, lambda checkout: cost(checkout, wav, []))
        finally:
            for process in busy:
                process.kill()
                process.wait()


if __name__ == "__main__":
    main()
