"""What share of an epoch is spent waiting for data, and how fast a training step is against real time.

usage: python tests/benchmarks/training_step.py [RECIPE MANIFEST]     default: the an4 recipe's settings on the digits
"""

import sys
import tempfile
from pathlib import Path

import torch

from asr import config, manifest, training
from asr.corpora import librispeech
from asr.events import Epoch, Event
from asr.recipe import Recipe


def main() -> None:
    """Train two epochs and print the second's ratios."""
    epochs: list[Epoch] = []

    def keep(event: Event) -> None:
        if isinstance(event, Epoch):
            epochs.append(event)

    recipe = config.read(sys.argv[1] if len(sys.argv) > 2 else "recipes/an4/recipe.toml", Recipe, ["training.epochs=2"])
    with tempfile.TemporaryDirectory() as folder:
        train, dev = Path(folder) / "train.jsonl", Path(folder) / "dev.jsonl"
        rows = manifest.read(sys.argv[2]) if len(sys.argv) > 2 else librispeech.read("data/digits", "train")
        manifest.write(train, rows)
        manifest.write(dev, rows[:10])
        training.train(recipe, train, dev, Path(folder) / "run", keep)
    last = epochs[-1]
    print(f"{last.seconds:.1f} s for {last.audio_hours:.2f} hours, {torch.get_num_threads()} threads")
    print(f"RATIO training_vs_real_time {last.audio_hours * 3600 / last.seconds:.0f}")
    print(f"RATIO data_wait_share {last.data_wait:.3f}")


if __name__ == "__main__":
    main()
