"""Log-probabilities -> hypotheses: greedy, and CTC prefix beam search."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asr.text import BLANK, Alphabet

LogProbs = NDArray[np.floating]


class DecodingError(ValueError):
    """Log-probabilities or a setting that a decoder cannot work with."""


@dataclass(frozen=True)
class Hypothesis:
    """What was said. `score`: natural log-probability, of the best path (greedy) or of the text (beam search)."""

    text: str
    score: float


def _check(log_probs: LogProbs, alphabet: Alphabet) -> None:
    if log_probs.ndim != 2 or log_probs.shape[1] != len(alphabet):
        shape = "x".join(map(str, log_probs.shape))
        raise DecodingError(f"log_probs of shape {shape}; (T', {len(alphabet)}) is meant")
    if np.isnan(log_probs).any():
        raise DecodingError("log_probs has NaN in it")


def greedy(log_probs: LogProbs, alphabet: Alphabet) -> Hypothesis:
    """Decode (T', V): the best token of each frame, repeats merged, blanks dropped, white space tidied.

    Raises DecodingError for another shape or NaN.
    """
    _check(log_probs, alphabet)
    if len(log_probs) == 0:
        return Hypothesis("", 0.0)
    best = log_probs.argmax(axis=1)
    first = np.concatenate([[True], best[1:] != best[:-1]])
    text = alphabet.decode(best[first].tolist())
    return Hypothesis(" ".join(text.split()), float(log_probs.max(axis=1).sum()))


def beam_search(log_probs: LogProbs, alphabet: Alphabet, beam_width: int = 50) -> list[Hypothesis]:
    """Decode (T', V) by CTC prefix beam search (Graves, 2012, section 7.5.3; Hannun et al., 2014, algorithm 1).

    Returns at most `beam_width` hypotheses of different texts, best first, each with the log of its probability summed
    over all paths that the beam kept: exact where the beam is as wide as there are prefixes. Texts that no path gives
    are left out. Raises DecodingError.
    """
    _check(log_probs, alphabet)
    if beam_width < 1:
        raise DecodingError(f"beam_width = {beam_width}; at least 1 is meant")
    # For each prefix: the log-probability of its paths that end in blank, and of those that end in its last token.
    beam: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, -np.inf)}
    for frame in log_probs.astype(np.float64):
        longer: dict[tuple[int, ...], list[float]] = {}
        for prefix, (blank, token) in beam.items():
            total = np.logaddexp(blank, token)
            stay = longer.setdefault(prefix, [-np.inf, -np.inf])
            stay[0] = np.logaddexp(stay[0], total + frame[BLANK])
            if prefix:
                stay[1] = np.logaddexp(stay[1], token + frame[prefix[-1]])
            for index in range(1, len(frame)):
                extended = longer.setdefault((*prefix, index), [-np.inf, -np.inf])
                # A repeated token needs a blank between, or it is merged.
                from_here = blank if prefix and prefix[-1] == index else total
                extended[1] = np.logaddexp(extended[1], from_here + frame[index])
        ranked = sorted(longer.items(), key=lambda item: (-np.logaddexp(item[1][0], item[1][1]), item[0]))
        beam = {prefix: (blank, token) for prefix, (blank, token) in ranked[:beam_width]}
    # Prefixes that differ in white space alone are one text.
    scores: dict[str, float] = {}
    for prefix, (blank, token) in beam.items():
        text = " ".join(alphabet.decode(prefix).split())
        scores[text] = float(np.logaddexp(scores.get(text, -np.inf), np.logaddexp(blank, token)))
    ranked_texts = sorted(scores.items(), key=lambda item: -item[1])
    hypotheses = [Hypothesis(text, score) for text, score in ranked_texts]
    return [hypothesis for hypothesis in hypotheses if hypothesis.score > -np.inf] or hypotheses[:1]
