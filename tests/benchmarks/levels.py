"""WER with silence, gain and clicks: python tests/benchmarks/levels.py MANIFEST MODEL [EVERY]

Prints the greedy WER of each condition and its difference from the unchanged recordings, in percentage points.
"""

import sys
from collections.abc import Callable

import jiwer
import numpy as np
from numpy.typing import NDArray

import asr
from asr import audio
from asr.corpora import manifest

RATE = 16_000
Waveform = NDArray[np.float32]
Change = Callable[[Waveform], Waveform]


def before(samples: Waveform) -> Change:
    return lambda waveform: np.concatenate([samples, waveform])


def gain(decibels: float) -> Change:
    factor = np.float32(10 ** (decibels / 20))
    return lambda waveform: (np.round(waveform * factor * 32768) / 32768).astype(np.float32)


def click(waveform: Waveform) -> Waveform:
    quiet = waveform * np.float32(10**-1.5)
    middle = len(quiet) // 2
    quiet[middle : middle + 400] = np.where(np.arange(400) % 20 < 10, 1, -1)
    return quiet


def far(waveform: Waveform) -> Waveform:
    half = len(waveform) // 2
    return np.concatenate([waveform[:half], waveform[half:] * np.float32(0.1)])


def room(seconds: float, level: float) -> Waveform:
    noise = np.random.default_rng(7).standard_normal(round(seconds * RATE))
    return (noise * 10 ** (level / 20)).astype(np.float32)


CONDITIONS: dict[str, Change] = {
    "unchanged": lambda waveform: waveform,
    **{f"{seconds} s of zeros before": before(np.zeros(seconds * RATE, np.float32)) for seconds in (5, 30, 90)},
    "30 s of room noise at -70 dB before": before(room(30, -70)),
    **{f"gain of {level} dB, 16 bits": gain(level) for level in (-20, -40, -50, -60)},
    "gain of -60 dB, floating point": lambda waveform: waveform * np.float32(1e-3),
    "-30 dB with a click of 25 ms": click,
    "second half 20 dB quieter": far,
}


def main() -> None:
    """Print a row for each condition."""
    utterances = manifest.read(sys.argv[1])[:: int(sys.argv[3]) if len(sys.argv) > 3 else 6]
    recognizer = asr.load(sys.argv[2], decoder="greedy")
    waveforms = [audio.load(row.audio, RATE, row.offset, row.duration) for row in utterances]
    plain = 0.0
    for name, change in CONDITIONS.items():
        texts = [recognizer.transcribe(change(waveform), RATE).text or "-" for waveform in waveforms]
        wer = 100 * float(jiwer.wer([row.text for row in utterances], texts))
        plain = plain or wer
        print(f"{name:40s} {wer:6.2f} % {wer - plain:+6.2f}", flush=True)


if __name__ == "__main__":
    main()
