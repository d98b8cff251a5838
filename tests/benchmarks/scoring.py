"""How long scoring takes: utterances of ten words, aligned and resampled 1,000 times.

usage: python tests/benchmarks/scoring.py [UTTERANCES]     default: 10000
"""

import resource
import sys
import time

import numpy as np

from asr import scoring


def main() -> None:
    """Print the ratios."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    random = np.random.default_rng(1)
    words = np.array([f"W{number}" for number in range(1000)])
    references = [" ".join(row) for row in words[random.integers(1000, size=(count, 10))]]
    hypotheses = [" ".join(np.where(random.random(10) < 0.1, "X", row.split())) for row in references]
    begin = time.perf_counter()
    result = scoring.score(references, hypotheses)
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{count} utterances, {result.words} words: {seconds:.1f} s, peak {peak:.2f} GB, WER {result.wer.value:.3f}")
    print(f"RATIO scored_words_per_second {result.words / seconds:.0f}")


if __name__ == "__main__":
    main()
