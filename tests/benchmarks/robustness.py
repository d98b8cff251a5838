"""WER in noise and on the telephone: python tests/benchmarks/robustness.py MANIFEST [MODEL] [EVERY]

Prints the WER of the model's own decoder, with its 95 % interval, on the recordings as they are, with white noise and
with babble at 10 dB, and in the telephone band. MODEL: english-small by default. EVERY: use one in so many utterances.
"""

import sys
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

import asr
from asr import audio
from asr.corpora import manifest
from asr.features import distortion
from asr.scoring import score

RATE, SNR, VOICES = 16_000, 10.0, 6
Waveform = NDArray[np.float32]


def noisy(waveform: Waveform, noise: Waveform) -> Waveform:
    power = float(np.mean(np.square(waveform, dtype=np.float64)))
    mixed = distortion.with_noise(waveform, noise, power, SNR)
    return np.asarray(mixed / max(1.0, float(np.abs(mixed).max())), np.float32)


def main() -> None:
    """Print a row for each condition."""
    utterances = manifest.read(sys.argv[1])[:: int(sys.argv[3]) if len(sys.argv) > 3 else 1]
    recognizer = asr.load(sys.argv[2] if len(sys.argv) > 2 else "english-small")
    waveforms = [audio.load(row.audio, RATE, row.offset, row.duration) for row in utterances]

    def white(index: int) -> Waveform:
        random = np.random.default_rng((1, index))
        return noisy(waveforms[index], random.standard_normal(len(waveforms[index])).astype(np.float32))

    def babble(index: int) -> Waveform:
        random = np.random.default_rng((2, index))
        others = [n for n, row in enumerate(utterances) if row.speaker != utterances[index].speaker]
        voices = [waveforms[n] for n in random.choice(others, VOICES, replace=False)]
        return noisy(waveforms[index], distortion.babble(voices, len(waveforms[index]), random))

    conditions: dict[str, Callable[[int], Waveform]] = {
        "as recorded": lambda index: waveforms[index],
        f"white noise, {SNR:g} dB": white,
        f"babble of {VOICES} voices, {SNR:g} dB": babble,
        "telephone band": lambda index: distortion.telephone(waveforms[index], RATE),
    }
    for name, change in conditions.items():
        begin = time.perf_counter()
        texts = [recognizer.transcribe(change(index), RATE).text for index in range(len(utterances))]
        wer = score([row.text for row in utterances], texts).wer
        print(f"{name:28s} {100 * wer.value:6.2f} % ({100 * wer.low:.2f}–{100 * wer.high:.2f})", end="  ")
        print(f"{time.perf_counter() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    main()
