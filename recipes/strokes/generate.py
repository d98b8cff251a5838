"""Generates digits written one after another with a pen, as arrays (T, 3) and manifests: generate.py OUT

A frame is a movement of the pen, (dx, dy, down); there are 50 in a second. Each writer has a slant, a size and a speed,
and every digit varies. OUT/train.jsonl, OUT/dev.jsonl and OUT/test.jsonl have different writers.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr.corpora import manifest
from asr.corpora.manifest import Utterance

Points = NDArray[np.float64]
HOP, SEQUENCES = 0.02, 10
WRITERS = {"train": 60, "dev": 10, "test": 20}
# The corners of each stroke of each digit, as pairs of x and y from 0 to 9; between two strokes the pen is up.
SHAPES: dict[str, str] = {
    **{"0": "59 16 13 50 83 86 59", "1": "27 59 50", "2": "17 49 77 75 10 80", "3": "18 59 77 45 72 50 11"},
    **{"4": "69 13 83, 66 60", "5": "29 25 65 73 40 11, 29 89", "6": "89 36 12 40 72 55 13"},
    **{"7": "19 89 40, 25 75", "8": "87 59 27 83 50 23 87", "9": "87 55 27 59 87 70"},
}


def write_digit(digit: str, left: float, shape: Points, speed: float, random: np.random.Generator) -> Iterator[Points]:
    """Yield the points (n, 3) of the strokes of a digit: x, y and whether the pen is down; `shape` slants and sizes."""
    for stroke in SHAPES[digit].split(", "):
        corners = np.array([list(map(int, corner)) for corner in stroke.split()]) / 9
        corners = (corners + random.normal(0, 0.07, corners.shape)) @ shape + [left, 0]
        lengths = np.cumsum([0, *np.hypot(*np.diff(corners, axis=0).T)])
        at = np.linspace(0, lengths[-1], max(round(lengths[-1] / speed * random.uniform(0.8, 1.25)), 2))
        line = np.column_stack([np.interp(at, lengths, corners[:, axis]) for axis in (0, 1)])
        line += random.normal(0, 0.02, line.shape)
        yield np.column_stack([line, np.arange(len(line)) > 0])


def sequences(writer: str, random: np.random.Generator) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield texts of one to seven digits and the movements (T, 3) of one writer."""
    size, slant, speed = random.uniform(0.7, 1.4), random.normal(0, 0.25), random.uniform(0.08, 0.16)
    for _ in range(SEQUENCES):
        text = [str(digit) for digit in random.integers(0, 10, random.integers(1, 8))]
        left, points = 0.0, [np.zeros((1, 3))]
        for digit in text:
            own = size * random.uniform(0.85, 1.15)
            shape = np.array([[own * random.uniform(0.5, 0.8), 0], [own * (slant + random.normal(0, 0.08)), own]])
            points += write_digit(digit, left, shape, speed * size, random)
            left += size * random.uniform(0.8, 1.1)
        path = np.concatenate(points)
        yield " ".join(text), np.column_stack([np.diff(path[:, :2], axis=0), path[1:, 2]]).astype(np.float32)


def main(out: Path) -> None:
    """Write all sets."""
    for number, (name, writers) in enumerate(WRITERS.items()):
        (out / name).mkdir(parents=True, exist_ok=True)
        rows = []
        for writer in (f"{name}-{index:02d}" for index in range(writers)):
            random = np.random.default_rng((number, int(writer[-2:])))
            for index, (text, movements) in enumerate(sequences(writer, random)):
                path = out / name / f"{writer}-{index}.npy"
                np.save(path, movements)
                rows.append(Utterance(path.stem, str(path), len(movements) * HOP, text, writer))
        manifest.write(out / f"{name}.jsonl", rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
