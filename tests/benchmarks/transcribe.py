"""How long `asr transcribe` takes for a file of ten seconds in a fresh process, against the imports it cannot avoid.

usage: python tests/benchmarks/transcribe.py [MODEL]     without a model: an untrained one of the default size
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch

from asr.features import reference as mfcc
from asr.model import checkpoint, network

ROUNDS = 5
BARE = """
import numpy, torch, librosa
librosa.feature.mfcc(y=numpy.random.default_rng(1).normal(0, 0.1, 160_000).astype("float32"), sr=16_000, n_mfcc=40)
"""


def seconds(command: list[str]) -> float:
    """Return the time of one whole process."""
    begin = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begin


def main() -> None:
    """Print the ratio: the median over pairs of runs, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "ten.wav"
        soundfile.write(wav, np.random.default_rng(1).normal(0, 0.1, 160_000), 16_000)
        model = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder) / "model.safetensors"
        if len(sys.argv) < 2:
            settings = checkpoint.ModelFileSettings()
            checkpoint.save(model, network.build(settings), settings, {}, mfcc.matrices(settings.features))
        ours = [sys.executable, "-m", "asr", "transcribe", str(wav), "--model", str(model)]
        bare = [sys.executable, "-c", BARE]
        seconds(ours), seconds(bare)
        pairs = [(seconds(ours), seconds(bare)) for _ in range(ROUNDS)]
    print(f"{np.median([one for one, _ in pairs]):.2f} s and {np.median([other for _, other in pairs]):.2f} s", end=" ")
    print(f"(torch {torch.__version__}, {torch.get_num_threads()} threads)")
    print(f"RATIO transcribe_vs_bare_imports {np.median([one / other for one, other in pairs]):.2f}")


if __name__ == "__main__":
    main()
