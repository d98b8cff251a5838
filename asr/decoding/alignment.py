"""CTC forced alignment: the times of the tokens and words of a text."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, islice, pairwise

import numpy as np
from numpy.typing import NDArray

from asr.errors import AsrError
from asr.text import BLANK, Alphabet
from asr.transcripts.records import Word

LogProbs = NDArray[np.floating]
Scores = NDArray[np.float64]


class AlignmentError(AsrError):
    """A text that cannot be aligned with the log-probabilities."""


@dataclass(frozen=True)
class AlignmentLimits:
    """The limits that bound the memory of an alignment.

    `cells`: scores in memory at once. A longer recording is computed in blocks of at least `frames` frames, each but
    the last twice. Between blocks, states more than `beam` nats below the best one are dropped, and at most `states`
    are kept.
    """

    cells: int = 2**22
    frames: int = 256
    beam: float = 20_000.0
    states: int = 2**15


DEFAULT_LIMITS = AlignmentLimits()


@dataclass(frozen=True)
class TokenSpan:
    """The frames of a token: from `first` up to, without, `end`. `log_prob`: its mean natural-log posterior in them."""

    token: int
    first: int
    end: int
    log_prob: float


@dataclass(frozen=True)
class Alignment:
    """The best path: the spans of the tokens, in order, with blank between them.

    `score`: the natural-log probability of this path, not of the text.
    """

    spans: tuple[TokenSpan, ...]
    score: float

    @property
    def tokens(self) -> list[int]:
        """Return the aligned tokens."""
        return [span.token for span in self.spans]


def encode(text: str, alphabet: Alphabet) -> list[int]:
    """Return the tokens of a text, without white space that is not in the alphabet.

    Raises TextError for any other character outside the alphabet.
    """
    known = alphabet.characters
    return alphabet.encode("".join(character for character in text if character in known or not character.isspace()))


def align(log_probs: LogProbs, tokens: Sequence[int], limits: AlignmentLimits = DEFAULT_LIMITS) -> Alignment:
    """Return the most probable path of the tokens through (T', V), by the Viterbi algorithm.

    The states are the tokens with a blank around each (Graves et al., 2006, section 4.1). Among equal paths the choice
    is deterministic. A long recording is computed in blocks, in bounded memory. The result is exact if its score is
    less than `limits.beam` below that of the greedy path and no more than `limits.states` states are kept.

    Raises AlignmentError for a wrong shape, NaN or +inf, a token outside the columns, fewer frames than the tokens
    need, and if every path has probability 0.
    """
    _check(log_probs, tokens)
    if not len(log_probs):
        return Alignment((), 0.0)
    labels = np.full(2 * len(tokens) + 1, BLANK)
    labels[1::2] = tokens
    path, score = _best_path(log_probs.astype(np.float64), labels, limits)
    if score == -np.inf:
        raise AlignmentError(f"every path of {len(tokens)} tokens through {len(log_probs)} frames has probability 0")
    frames = np.flatnonzero(path % 2)
    index = path[frames] // 2
    counts = np.bincount(index, minlength=len(tokens))
    means = np.bincount(index, log_probs[frames, labels[path[frames]]], len(tokens)) / counts
    firsts = frames[np.cumsum(counts) - counts]
    rows = zip(tokens, firsts.tolist(), (firsts + counts).tolist(), means.tolist(), strict=True)
    return Alignment(tuple(TokenSpan(int(token), first, end, mean) for token, first, end, mean in rows), score)


def words(alignment: Alignment, text: str, alphabet: Alphabet, seconds_per_frame: float) -> list[Word]:
    """Return the words of a text, separated by white space, with the times of their first and last tokens.

    `alignment` must be that of `encode(text, alphabet)`. The confidence is the geometric mean of the posteriors of the
    word's tokens. Raises AlignmentError if the alignment is of another text, and TextError.
    """
    if not 0 < seconds_per_frame < math.inf:
        raise AlignmentError(f"seconds_per_frame = {seconds_per_frame} is not positive and finite")
    tokens = encode(text, alphabet)
    if tokens != alignment.tokens:
        raise AlignmentError(f"the alignment of {len(alignment.spans)} tokens is not that of {text!r}")
    result = []
    remaining = iter(alignment.spans)
    for is_space, characters in groupby(text, str.isspace):
        word = "".join(characters)
        spans = list(islice(remaining, len(encode(word, alphabet))))
        if not is_space:
            start, end = spans[0].first * seconds_per_frame, spans[-1].end * seconds_per_frame
            confidence = math.exp(sum(span.log_prob for span in spans) / len(spans))
            result.append(Word(word, start, end, min(confidence, 1.0)))
    return result


def _check(log_probs: LogProbs, tokens: Sequence[int]) -> None:
    if log_probs.ndim != 2 or not log_probs.shape[1]:
        raise AlignmentError(f"log_probs has shape {log_probs.shape}; expected (T', V)")
    # A comparison with NaN is false.
    if not (log_probs < np.inf).all():
        raise AlignmentError("log_probs contains NaN or +inf")
    frames, size = log_probs.shape
    for position, token in enumerate(tokens):
        if not BLANK < token < size:
            raise AlignmentError(f"token {position + 1} is {token}; with {size} columns tokens are 1 to {size - 1}")
    repeats = sum(one == other for one, other in pairwise(tokens))
    if frames < len(tokens) + repeats:
        blanks = f" and the blanks between {repeats} repeats" if repeats else ""
        needed = len(tokens) + repeats
        raise AlignmentError(f"{frames} frames are too few for {len(tokens)} tokens{blanks}; {needed} are needed")


def _best_path(
    log_probs: Scores, labels: NDArray[np.int64], limits: AlignmentLimits
) -> tuple[NDArray[np.int64], float]:
    """Return the state of each frame (T',) and the score of this path."""
    # A blank may be skipped only between two different tokens.
    barrier = np.full(len(labels), -np.inf)
    barrier[1:2] = 0.0
    barrier[3::2][labels[3::2] != labels[1:-2:2]] = 0.0
    needed = _needed(labels)
    # Two columns precede the states. The path begins in the second: from there it enters the first blank by one step
    # and the first token by skipping that blank.
    first, before = 0, np.array([-np.inf, 0.0])
    block = max(limits.cells // len(labels), limits.frames)
    starts = range(0, len(log_probs), block)
    entries = []
    for start in starts:
        frames = log_probs[start : start + block]
        # A frame advances a path by at most two states.
        end = min(first + len(before) - 2 + 2 * len(frames), len(labels))
        before = np.concatenate([before, np.full(end - first - len(before) + 2, -np.inf)])
        entries.append((first, before))
        rows = _forward(before, frames, labels[first:end], barrier[first:end])
        # Skip states from which the remaining frames do not reach the end.
        reachable = max(int(np.searchsorted(-needed, start + len(frames) - len(log_probs))) - first, 0)
        kept, before = _prune(rows[-1][2 + reachable :], limits)
        first += reachable + kept
    # The last token and the blank after it are left; of equal ones the blank is taken.
    state = first + len(before) - 3 - int(np.argmax(before[:1:-1]))
    path = np.empty(len(log_probs), np.int64)
    score = float(before[state - first + 2])
    for start, (first, entry) in zip(reversed(starts), reversed(entries), strict=True):
        end = first + len(entry) - 2
        if start != starts[-1]:
            rows = _forward(entry, log_probs[start : start + block], labels[first:end], barrier[first:end])
        for frame in range(len(rows) - 1, -1, -1):
            path[start + frame] = state
            state -= _move(rows[frame - 1] if frame else entry, state - first, barrier[first:end])
    return path, score


def _needed(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of frames that a path needs from each state to the end, which never increases."""
    tokens = labels[1::2]
    needed = np.zeros(len(labels), np.int64)
    if len(tokens):
        # From a token to the next one, with the blank between them if they are equal.
        steps = np.append(1 + (tokens[1:] == tokens[:-1]), 0)
        needed[1::2] = np.cumsum(steps[::-1])[::-1]
        needed[:-1:2] = 1 + needed[1::2]
    return needed


def _prune(scores: Scores, limits: AlignmentLimits) -> tuple[int, Scores]:
    """Return the index of the first state to keep, and the scores of all kept states after two columns."""
    alive = np.flatnonzero(scores >= scores.max() - limits.beam)
    low, high = int(alive[0]), int(alive[-1]) + 1
    if high - low > limits.states:
        low = max(low, min(int(scores.argmax()) - limits.states // 2, high - limits.states))
        high = low + limits.states
    return low, np.concatenate([[-np.inf, -np.inf], scores[low:high]])


def _forward(before: Scores, log_probs: Scores, labels: NDArray[np.int64], barrier: Scores) -> Scores:
    """Return the scores (frames, 2 + states) of the best path to each state in each frame."""
    rows = np.empty((len(log_probs), len(before)))
    rows[:, :2] = -np.inf
    skipped = np.empty_like(barrier)
    for row, frame in zip(rows, log_probs, strict=True):
        now = row[2:]
        np.maximum(before[2:], before[1:-1], out=now)
        np.add(before[:-2], barrier, out=skipped)
        np.maximum(now, skipped, out=now)
        np.add(now, frame[labels], out=now)
        before = row
    return rows


def _move(row: Scores, state: int, barrier: Scores) -> int:
    """Return by how many states the best path to `state` advanced from the frame with the scores `row`."""
    stay, step, skip = row[state + 2], row[state + 1], row[state] + barrier[state]
    if stay >= step and stay >= skip:
        return 0
    return 1 if step >= skip else 2
