"""How fast MFCC come from files, against real time, on one core.

usage: python tests/benchmarks/features.py [FOLDER]     FOLDER: of sound files (default: made here, and data/digits)
"""

import os

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from asr import audio
from asr.features import FeatureSettings
from asr.features import reference as mfcc

ROUNDS = 5
SETTINGS = FeatureSettings()


def times_real_time(paths: list[Path]) -> float:
    """Return seconds of audio for each second of reading and computing, the median of the rounds."""
    seconds = sum(audio.info(path).duration for path in paths)
    rates = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        for path in paths:
            mfcc.mfcc(audio.load(path, SETTINGS.sample_rate), SETTINGS)
        rates.append(seconds / (time.perf_counter() - begin))
    return float(np.median(rates))


def made(folder: Path, count: int, sample_rate: int) -> list[Path]:
    """Write noise of ten seconds as FLAC files."""
    paths = [folder / f"{sample_rate}-{number}.flac" for number in range(count)]
    for path in paths:
        noise = np.random.default_rng(1).normal(0, 0.1, 10 * sample_rate)
        soundfile.write(path, noise, sample_rate)
    return paths


def main() -> None:
    """Print the ratios."""
    mfcc.mfcc(np.ones(16_000, np.float32), SETTINGS)
    if len(sys.argv) > 1:
        paths = [path for path in sorted(Path(sys.argv[1]).rglob("*")) if path.suffix in (".flac", ".wav", ".sph")]
        print(f"RATIO features_vs_real_time {times_real_time(paths[:200]):.0f}")
        return
    with tempfile.TemporaryDirectory() as folder:
        print(f"RATIO features_vs_real_time {times_real_time(made(Path(folder), 20, 16_000)):.0f}")
        print(f"RATIO features_vs_real_time_from_44100_hz {times_real_time(made(Path(folder), 20, 44_100)):.0f}")
    digits = sorted(Path("data/digits/test").rglob("*.opus"))
    print(f"RATIO features_vs_real_time_opus {times_real_time(digits):.0f}")


if __name__ == "__main__":
    main()
