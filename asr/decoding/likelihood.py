"""The CTC log-likelihoods of texts: the forward algorithm (Graves et al., 2006, section 4.1)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from asr.decoding.alignment import LogProbs
from asr.text import BLANK

# Texts that are computed together: more take more memory, and hardly less time.
_TOGETHER = 64
# States that are so much less probable than the sum of a text's states are left out, and looked for every few frames.
_NEGLIGIBLE = 1e-100
_INTERVAL = 8


def log_likelihoods(log_probs: LogProbs, texts: Sequence[Sequence[int]]) -> list[float]:
    """Return the natural log of the probability of each text, token ids (L,), summed over all paths through (T', V).

    It is -inf if the text does not fit into the frames. Probabilities below about 1e-300 of a frame's most probable
    state count as 0.
    """
    scores, probabilities = [], np.exp(log_probs.astype(np.float64))
    for start in range(0, len(texts), _TOGETHER):
        scores += _forward(probabilities, texts[start : start + _TOGETHER]).tolist()
    return scores


def _forward(probabilities: NDArray[np.float64], texts: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """Return the log-likelihoods of texts, all computed together.

    A state is a token or the blank before, between or after tokens: 2 L + 1 of them. Two more at the front are never
    reached. The probabilities of a frame's states are scaled so that they add up to 1. Most states are negligible in a
    frame: only those between the first and the last that are not, of any text, are computed.
    """
    lengths = np.array([len(text) for text in texts], np.int64)
    labels = np.full((len(texts), 2 * int(lengths.max(initial=0)) + 1), BLANK)
    for row, text in enumerate(texts):
        labels[row, 1 : 2 * len(text) : 2] = text
    # A path may pass over the blank between two different tokens.
    skips = np.zeros(labels.shape)
    skips[:, 2:] = (labels[:, 2:] != BLANK) & (labels[:, 2:] != labels[:, :-2])
    states = np.zeros((len(texts), labels.shape[1] + 2))
    # Before the first frame, a path is before the first state.
    states[:, 1] = 1.0
    scores = np.zeros(len(texts))
    first, end = 0, min(2, labels.shape[1])
    for index, frame in enumerate(probabilities):
        reached = states[:, first + 2 : end + 2] + states[:, first + 1 : end + 1]
        reached += states[:, first:end] * skips[:, first:end]
        if index == 0 and labels.shape[1] > 1:
            reached[:, 1] = 1.0
        reached *= frame[labels[:, first:end]]
        total = reached.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            scores += np.log(total)
            reached /= total[:, None]
        reached[~(total > 0)] = 0.0
        states[:, first + 2 : end + 2] = reached
        states[:, 1] = 0.0
        if index % _INTERVAL == 0:
            used = np.flatnonzero((reached > _NEGLIGIBLE).any(axis=0))
            begin, end = first, first + int(used[-1]) + 1 if used.size else end
            first += int(used[0]) if used.size else 0
            states[:, begin + 2 : first + 2] = 0.0
        end = min(end + 2, labels.shape[1])
    rows = np.arange(len(texts))
    # The last blank or the last token; an empty text has only the blank.
    ends = states[rows, 2 + 2 * lengths] + np.where(lengths > 0, states[rows, 1 + 2 * lengths], 0.0)
    with np.errstate(divide="ignore"):
        return np.where(len(probabilities) == 0, np.where(lengths == 0, 0.0, -np.inf), scores + np.log(ends))
