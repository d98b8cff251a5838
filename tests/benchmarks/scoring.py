"""How long scoring takes: utterances of ten words, aligned, resampled, analysed and compared.

usage: python tests/benchmarks/scoring.py [UTTERANCES]     default: 10000

Asked of 100,000 utterances (a million words) with 1,000 bootstrap resamples: 20 s on two cores and 1 GB at the most.
"""

import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from asr import scoring
from asr.reports.document import evaluation, score_pairs
from asr.scoring.bootstrap import RESAMPLES
from asr.scoring.comparison import compare
from asr.transcripts.matching import Pair


def timed(title: str, work: Callable[[], Any]) -> tuple[Any, float]:
    """Print how long the work took, and the most memory so far; return its result and seconds."""
    begin = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{title}: {seconds:.1f} s, peak {peak:.2f} GB")
    return result, seconds


def main() -> None:
    """Print the ratios."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    random = np.random.default_rng(1)
    words = np.array([f"W{number}" for number in range(1000)])
    references = [" ".join(row) for row in words[random.integers(1000, size=(count, 10))]]

    def heard() -> list[str]:
        return [" ".join(np.where(random.random(10) < 0.1, "X", row.split())) for row in references]

    first, second = heard(), heard()
    print(f"{count} utterances of 10 words, {RESAMPLES} resamples")
    one, seconds = timed("aligned, with intervals of WER, CER and SER", lambda: scoring.score(references, first))
    two, _ = timed("another system", lambda: scoring.score(references, second))
    systems = {"A": one, "B": two}
    [found], compared = timed("compared, 10,000 resamples and MAPSSWE", lambda: compare(systems))
    print(found.verdict)
    rows = enumerate(zip(references, first, strict=True))
    pairs = [Pair(str(index), *texts, f"s{index % 100}", 2 + index % 9) for index, texts in rows]
    _, reported = timed("scored and analysed, as for --json", lambda: evaluation(score_pairs(pairs), {}))
    print(f"RATIO scored_words_per_second {one.words / seconds:.0f}")
    print(f"RATIO compared_words_per_second {one.words / compared:.0f}")
    print(f"RATIO reported_words_per_second {one.words / reported:.0f}")


if __name__ == "__main__":
    main()
