"""What share of the frames of training batches is padding, at several sizes of a batch.

usage: python tests/benchmarks/padding.py [LIBRISPEECH]     default: ../speech/LibriSpeech, and data/digits
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr import audio
from asr.features import batching

HOP = 0.010
BATCH_SECONDS = (60, 120, 600)
EPOCHS = 10


def lengths(files: list[Path]) -> NDArray[np.int32]:
    """Return the frames of each of the recordings."""
    return np.array([1 + int(audio.info(path).duration / HOP) for path in files], np.int32)


def padding_share(frames: NDArray[np.int32], batch_seconds: float) -> float:
    """Return the share of padding in the frames of all batches, the mean of several epochs."""
    shares = []
    for epoch in range(EPOCHS):
        batches = batching.plan(frames, round(batch_seconds / HOP), np.random.default_rng(epoch))
        padded = sum(int(frames[batch].max()) * len(batch) for batch in batches)
        shares.append(1 - int(frames.sum()) / padded)
    return float(np.mean(shares))


def main() -> None:
    """Print the ratios of each set that is there."""
    speech = Path(sys.argv[1] if len(sys.argv) > 1 else "../speech/LibriSpeech")
    sets = {"digits": sorted(Path("data/digits/train").rglob("*.opus"))}
    for folder in sorted(speech.glob("*-clean*")):
        sets[folder.name] = sorted(folder.rglob("*.flac"))
    if len(sets) == 1:
        print(f"{speech}: not there, so no ratios of LibriSpeech")
    for name, files in sets.items():
        frames = lengths(files)
        print(f"{name}: {len(files)} recordings, {frames.sum() * HOP / 3600:.2f} hours")
        for batch_seconds in BATCH_SECONDS:
            share = padding_share(frames, batch_seconds)
            print(f"RATIO padding_share_{name.replace('-', '_')}_{batch_seconds}s {share:.3f}", flush=True)


if __name__ == "__main__":
    main()
