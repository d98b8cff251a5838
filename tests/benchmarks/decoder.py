"""How fast the decoders are, against real time, one thread, on log-probabilities of the shape that models give.

usage: python tests/benchmarks/decoder.py
"""

import time
from collections.abc import Callable

import numpy as np

from asr import beam, decoding
from asr.beam import BeamSettings
from asr.text import ENGLISH, Alphabet

FRAMES_PER_SECOND = 25
SECONDS = 10


def log_probs(seed: int) -> decoding.LogProbs:
    """Return (T', V) in which, as in a trained model's, most frames are sure of one token, mostly the blank."""
    random = np.random.default_rng(seed)
    alphabet = Alphabet(ENGLISH)
    logits = random.normal(0, 1.5, (SECONDS * FRAMES_PER_SECOND, len(alphabet)))
    tokens = np.where(random.random(len(logits)) < 0.5, 0, random.integers(1, len(alphabet), len(logits)))
    logits[np.arange(len(logits)), tokens] += 8
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)), dtype=np.float32)


def times_real_time(decode: Callable[[decoding.LogProbs], object], rounds: int) -> float:
    """Return seconds of speech for each second of decoding, the median of the rounds."""
    rates = []
    for number in range(rounds):
        matrix = log_probs(number)
        begin = time.perf_counter()
        decode(matrix)
        rates.append(SECONDS / (time.perf_counter() - begin))
    return float(np.median(rates))


def main() -> None:
    """Print the ratios."""
    alphabet = Alphabet(ENGLISH)
    print(f"RATIO greedy_vs_real_time {times_real_time(lambda matrix: decoding.greedy(matrix, alphabet), 50):.0f}")
    beam.beam_search(log_probs(0), alphabet)  # compiles, or reads what was compiled
    for width in (10, 50, 100, 200):
        rate = times_real_time(lambda matrix, width=width: beam.beam_search(matrix, alphabet, BeamSettings(width)), 9)  # type: ignore[misc]
        print(f"RATIO beam_{width}_vs_real_time {rate:.1f}")


if __name__ == "__main__":
    main()
