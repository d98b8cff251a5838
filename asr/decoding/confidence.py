"""How sure a decoder is of each word: the share of its hypotheses that have the word there too.

The share of a hypothesis is its posterior over the beam, softmax(score / temperature) (Wessel et al., 2001, with an
n-best list in place of their graph). The temperature is fitted so that of the words given 70 %, 70 % are right.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

from asr.transcripts.records import Hypothesis

TEMPERATURES = np.geomspace(0.5, 50.0, 41)
# Beyond so many nats under the best, over the temperature, a hypothesis changes no digit that is shown.
_FAR = 12.0

Doubles = NDArray[np.float64]


def posteriors(scores: Sequence[float], temperature: float) -> Doubles:
    """Return the shares (hypotheses,) of scores, best first; those too far under it have none."""
    if not len(scores) or scores[0] == -np.inf:
        return np.zeros(len(scores))
    with np.errstate(over="ignore"):
        under = (np.array(scores, np.float64) - scores[0]) / temperature
    weights = np.where(under >= -_FAR, np.exp(under), 0.0)
    shares: Doubles = weights / weights.sum()
    return shares


def agreement(hypotheses: Sequence[Hypothesis]) -> NDArray[np.bool_]:
    """Say of each hypothesis (hypotheses, words) which words of the first one it has too, where they are aligned."""
    best = hypotheses[0].text.split()
    found = np.zeros((len(hypotheses), len(best)), bool)
    for row, hypothesis in zip(found, hypotheses, strict=True):
        for part in Levenshtein.opcodes(best, hypothesis.text.split()):
            if part.tag == "equal":
                row[part.src_start : part.src_end] = True
    return found


def confidences(hypotheses: Sequence[Hypothesis], temperature: float) -> list[float]:
    """Return how sure each word of the first hypothesis is, 0 to 1, given all of them, best first."""
    if not hypotheses:
        return []
    shares = posteriors([one.score for one in hypotheses], temperature)
    near = int(np.count_nonzero(shares))
    if not near:
        return [0.0] * len(hypotheses[0].text.split())
    found: list[float] = np.minimum(shares[:near] @ agreement(hypotheses[:near]), 1.0).tolist()
    return found


def correct(hypothesis: str, reference: str) -> NDArray[np.bool_]:
    """Say which words of a hypothesis are right, by its alignment with the reference."""
    words = hypothesis.split()
    found = np.zeros(len(words), bool)
    for part in Levenshtein.opcodes(words, reference.split()):
        if part.tag == "equal":
            found[part.src_start : part.src_end] = True
    return found


def cross_entropy(confidence: Doubles, right: NDArray[np.bool_]) -> float:
    """Return the mean surprise, in nats, at which words were right and which wrong, given how sure each was."""
    sure = np.clip(confidence, 1e-4, 1 - 1e-4)
    return float(-np.mean(np.where(right, np.log(sure), np.log1p(-sure))))


def fit_temperature(lists: Sequence[Sequence[Hypothesis]], references: Sequence[str]) -> float:
    """Return the temperature at which the confidences of the best hypotheses say best which of their words are right.

    1 if there are no words.
    """
    scores = [[one.score for one in hypotheses] for hypotheses in lists]
    agreements = [agreement(hypotheses) for hypotheses in lists]
    rights = [correct(one[0].text, text) for one, text in zip(lists, references, strict=True)]
    if not sum(map(len, rights)):
        return 1.0
    right = np.concatenate(rights)

    def surprise(temperature: float) -> float:
        sure = [posteriors(one, temperature) @ same for one, same in zip(scores, agreements, strict=True)]
        return cross_entropy(np.concatenate(sure), right)

    return float(min(TEMPERATURES.tolist(), key=surprise))
