"""Recordings without speech, so that the model writes nothing for noise: noise.py OUT [COUNT]

Writes COUNT (500) FLAC files of 1 to 7 seconds of generated noise, with clicks or tones in some, at -60 to -3 dB, and
the manifest OUT/noise.jsonl, whose texts are empty.
"""

import json
import sys
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from asr.features.distortion import synthetic_noise

RATE = 16_000


def noise(random: np.random.Generator) -> NDArray[np.float32]:
    """Return noise (samples,)."""
    samples = round(random.uniform(1, 7) * RATE)
    sound = synthetic_noise(samples, RATE, random)
    kind = random.integers(5)
    if kind == 0:
        sound *= 0.02
        for _ in range(random.integers(1, 8)):
            start = random.integers(samples - 800)
            sound[start : start + random.integers(20, 800)] += random.uniform(0.2, 3)
    elif kind == 1:
        sound *= 0.05
        times = np.arange(samples) / RATE
        for _ in range(random.integers(1, 4)):
            start, end = sorted(random.uniform(0, times[-1], 2))
            tone = np.sin(2 * np.pi * random.uniform(150, 2000) * times) * ((times > start) & (times < end))
            sound += tone.astype(np.float32)
    return np.asarray(sound / np.abs(sound).max() * 10 ** (-random.uniform(3, 60) / 20), np.float32)


def main(out: Path, count: int) -> None:
    """Write the files and their manifest."""
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(count):
        sound = noise(np.random.default_rng((77, number)))
        soundfile.write(out / f"noise-{number:04d}.flac", sound, RATE)
        seconds = round(len(sound) / RATE, 3)
        row = {"id": f"noise-{number:04d}", "audio": f"noise-{number:04d}.flac", "duration": seconds, "text": ""}
        rows.append(json.dumps(row) + "\n")
    (out / "noise.jsonl").write_text("".join(rows), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 500)
