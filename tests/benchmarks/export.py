"""ONNX files against the model file: python tests/benchmarks/export.py MANIFEST [MODEL FILE]

Exactness: the largest difference of log-probabilities between NumPy and ONNX Runtime, and the number of equal greedy
texts, on 100 recordings of MANIFEST, 50 of them in white noise at 0 to 20 dB, and 100 that are only noise.
Accuracy: the greedy WER of both and of the 8-bit file on MANIFEST, with 95 % intervals, and the tests of a difference.
MODEL FILE: that of english-small by default. Whole recordings, one at a time, one thread.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

import asr
from asr import audio, scoring
from asr.corpora import manifest
from asr.decoding import best_path
from asr.export import ExportOptions, write
from asr.features.frontend import Frontend
from asr.model import checkpoint
from asr.model.inference import Network
from asr.scoring.comparison import compare
from asr.text import Alphabet

Floats = NDArray[np.float32]
LogProbs = Callable[[Floats], Floats]
BUNDLED = Path(asr.__file__).parent / "recognition/bundled/english-small.safetensors"
REAL = NOISE = 100
LIMIT = 1e-4


def runtime(path: Path) -> LogProbs:
    """Return what computes the log-probabilities (T', V) of a waveform with an exported file."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def log_probs(waveform: Floats) -> Floats:
        return np.asarray(session.run(["log_probs"], {"waveform": waveform[None], "lengths": [len(waveform)]})[0][0])

    return log_probs


def recordings(waveforms: list[Floats], rate: int) -> dict[str, list[Floats]]:
    """Return the recordings of the comparison by kind."""
    random = np.random.default_rng(1)
    speech = [waveforms[index] for index in random.permutation(len(waveforms))[:REAL]]
    noisy, noise = [], []
    for waveform in speech[REAL // 2 :]:
        level = float(waveform.std()) * 10 ** (-random.uniform(0, 20) / 20)
        noisy.append((waveform + random.normal(0, level, len(waveform))).astype(np.float32))
    for _ in range(NOISE):
        length, level = int(random.integers(rate // 10, 15 * rate)), 10 ** random.uniform(-4, -0.5)
        noise.append(random.normal(0, level, length).astype(np.float32))
    return {"speech": speech[: REAL // 2], "speech in noise": noisy, "noise": noise}


def main() -> None:
    """Print the differences and the error rates."""
    utterances = manifest.read(sys.argv[1])
    model = Path(sys.argv[2]) if len(sys.argv) > 2 else BUNDLED
    contents, tensors = checkpoint.read(model)
    settings, matrices = contents.settings, checkpoint.matrices(contents)
    assert matrices
    alphabet, frontend = Alphabet(settings.text.alphabet), Frontend(settings.features, matrices)
    network = Network(settings.model, tensors, settings.alphabet.outputs - len(alphabet))
    rate = settings.features.sample_rate
    waveforms = [audio.load(row.audio, rate, row.offset, row.duration) for row in utterances]
    with tempfile.TemporaryDirectory() as folder:
        systems: dict[str, LogProbs] = {
            "NumPy": lambda waveform: alphabet.characters_of(network([frontend(waveform)])[0]),
            "ONNX float32": runtime(write(model, Path(folder))),
            "ONNX int8": runtime(write(model, Path(folder), ExportOptions(quantize="int8"))),
        }
    for kind, rows in recordings(waveforms, rate).items():
        differences, equal = [], 0
        for waveform in rows:
            ours, exported = systems["NumPy"](waveform), systems["ONNX float32"](waveform)
            differences.append(float(np.abs(ours - exported).max()))
            equal += best_path(ours, alphabet).text == best_path(exported, alphabet).text
        largest, above = max(differences), sum(one > LIMIT for one in differences)
        print(f"{kind}: largest difference {largest:.1e}, above {LIMIT:g} in {above} recordings", end="; ")
        print(f"{equal} of {len(rows)} texts equal", flush=True)
    scores = {}
    for name, log_probs in systems.items():
        begin = time.process_time()
        texts = [best_path(log_probs(waveform), alphabet).text for waveform in waveforms]
        seconds = time.process_time() - begin
        scores[name] = scoring.score([row.text for row in utterances], texts)
        wer = scores[name].wer
        print(f"{name}: WER {100 * wer.value:.2f} % ({100 * wer.low:.2f}–{100 * wer.high:.2f}), {seconds:.0f} CPU s")
    for contrast in compare(scores):
        print(contrast.verdict)


if __name__ == "__main__":
    main()
