"""Log-probabilities and a text -> when each token and each word was said: CTC forced alignment."""

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

# Scores kept at once; a longer recording is computed in blocks of so many frames at least, and each but the last twice.
_CELLS, _FRAMES = 2**22, 256
# From one block to the next go the states that lie at most so many nats under the best one, and at most so many.
_BEAM, _WIDEST = 20_000.0, 2**15


class AlignmentError(AsrError):
    """A text that cannot be aligned with these log-probabilities."""


@dataclass(frozen=True)
class Span:
    """The frames of one token: `first` is its first frame, `end` the one after its last.

    `log_prob`: the mean natural-log posterior of the token over these frames.
    """

    token: int
    first: int
    end: int
    log_prob: float


@dataclass(frozen=True)
class Alignment:
    """The best path through the frames: a span for each token, in order; the frames between them are blank.

    `score`: the natural-log probability of that one path, not of the text.
    """

    spans: tuple[Span, ...]
    score: float

    @property
    def tokens(self) -> list[int]:
        """Return the tokens that were aligned."""
        return [span.token for span in self.spans]


def encode(text: str, alphabet: Alphabet) -> list[int]:
    """Return the tokens of a text as `words` expects them: white space is left out where the alphabet has none.

    Raises TextError naming any other character outside the alphabet.
    """
    known = alphabet.characters
    return alphabet.encode("".join(character for character in text if character in known or not character.isspace()))


def align(log_probs: LogProbs, tokens: Sequence[int]) -> Alignment:
    """Find the most probable path of (T', V) that says the tokens, by Viterbi's algorithm.

    The states are the tokens with a blank around each (Graves et al., 2006, section 4.1). Of equal paths one is taken,
    always the same. A long recording is computed in blocks, in memory that is bounded: between them, paths that lie
    20,000 nats under the best one so far are given up. The path found is the best of all where it lies less than that
    under the free path, which is the likeliest token of each frame.

    Raises AlignmentError for another shape, for NaN or +inf, for a token that is none, for fewer frames than the tokens
    need, and where every path has probability 0.
    """
    _check(log_probs, tokens)
    if not len(log_probs):
        return Alignment((), 0.0)
    labels = np.full(2 * len(tokens) + 1, BLANK)
    labels[1::2] = tokens
    path, score = _best_path(log_probs.astype(np.float64), labels)
    if score == -np.inf:
        raise AlignmentError(f"no path of these {len(tokens)} tokens through {len(log_probs)} frames has a probability")
    frames = np.flatnonzero(path % 2)
    index = path[frames] // 2
    counts = np.bincount(index, minlength=len(tokens))
    means = np.bincount(index, log_probs[frames, labels[path[frames]]], len(tokens)) / counts
    firsts = frames[np.cumsum(counts) - counts]
    rows = zip(tokens, firsts.tolist(), (firsts + counts).tolist(), means.tolist(), strict=True)
    return Alignment(tuple(Span(int(token), first, end, mean) for token, first, end, mean in rows), score)


def words(alignment: Alignment, text: str, alphabet: Alphabet, seconds_per_frame: float) -> list[Word]:
    """Return the words of a text, parted by white space, with the times of their first and last token.

    `alignment` is that of `encode(text, alphabet)`. The confidence is the geometric mean, over the tokens of the word,
    of each token's posterior in its frames. Raises AlignmentError if the text is another one, and TextError.
    """
    if not 0 < seconds_per_frame < math.inf:
        raise AlignmentError(f"seconds_per_frame = {seconds_per_frame} is not more than 0")
    tokens = encode(text, alphabet)
    if tokens != alignment.tokens:
        raise AlignmentError(f"{text!r} is {len(tokens)} tokens, and not the {len(alignment.spans)} that were aligned")
    found = []
    remaining = iter(alignment.spans)
    for is_space, characters in groupby(text, str.isspace):
        word = "".join(characters)
        spans = list(islice(remaining, len(encode(word, alphabet))))
        if not is_space:
            start, end = spans[0].first * seconds_per_frame, spans[-1].end * seconds_per_frame
            confidence = math.exp(sum(span.log_prob for span in spans) / len(spans))
            found.append(Word(word, start, end, min(confidence, 1.0)))
    return found


def _check(log_probs: LogProbs, tokens: Sequence[int]) -> None:
    if log_probs.ndim != 2 or not log_probs.shape[1]:
        raise AlignmentError(f"log_probs of shape {'x'.join(map(str, log_probs.shape))}; (T', V) is meant")
    # A comparison with NaN is false.
    if not (log_probs < np.inf).all():
        raise AlignmentError("log_probs has NaN or +inf in it")
    frames, size = log_probs.shape
    for position, token in enumerate(tokens):
        if not BLANK < token < size:
            raise AlignmentError(f"token {position + 1} is {token}; the tokens of {size} columns are 1 to {size - 1}")
    repeats = sum(one == other for one, other in pairwise(tokens))
    if frames < len(tokens) + repeats:
        blanks = f" and the blanks between {repeats} repeats" if repeats else ""
        needed = len(tokens) + repeats
        raise AlignmentError(f"{frames} frames are too few for {len(tokens)} tokens{blanks}; {needed} are needed")


def _best_path(log_probs: Scores, labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], float]:
    """Return the state of each frame (T',) and the score of this path."""
    # Only between two different tokens may a blank be passed over.
    barrier = np.full(len(labels), -np.inf)
    barrier[1:2] = 0.0
    barrier[3::2][labels[3::2] != labels[1:-2:2]] = 0.0
    needed = _needed(labels)
    # Two columns stand before the states. The path begins in the second: from there it enters the first blank by one
    # step and the first token by passing over that blank.
    first, before = 0, np.array([-np.inf, 0.0])
    block = max(_CELLS // len(labels), _FRAMES)
    starts = range(0, len(log_probs), block)
    entries = []
    for start in starts:
        frames = log_probs[start : start + block]
        # A frame advances a path by two states at most.
        end = min(first + len(before) - 2 + 2 * len(frames), len(labels))
        before = np.concatenate([before, np.full(end - first - len(before) + 2, -np.inf)])
        entries.append((first, before))
        rows = _forward(before, frames, labels[first:end], barrier[first:end])
        first, before = _kept(rows[-1], first, needed, len(log_probs) - start - len(frames))
    # What is left are the last token and the blank behind it; of equal ones the blank is taken.
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
    """Return how many more frames a path needs from each state to the end; they never grow along the states."""
    tokens = labels[1::2]
    needed = np.zeros(len(labels), np.int64)
    if len(tokens):
        # From a token to the next one, and over the blank between if they are the same.
        steps = np.append(1 + (tokens[1:] == tokens[:-1]), 0)
        needed[1::2] = np.cumsum(steps[::-1])[::-1]
        needed[:-1:2] = 1 + needed[1::2]
    return needed


def _kept(row: Scores, first: int, needed: NDArray[np.int64], left: int) -> tuple[int, Scores]:
    """Return the states (the first of them, and their scores after two columns) with which the next block begins.

    They can reach the end in the `left` frames, and lie within the beam.
    """
    reachable = max(int(np.searchsorted(-needed, -left)) - first, 0)
    scores = row[2 + reachable :]
    alive = np.flatnonzero(scores >= scores.max() - _BEAM)
    low, high = int(alive[0]), int(alive[-1]) + 1
    if high - low > _WIDEST:
        low = max(low, min(int(scores.argmax()) - _WIDEST // 2, high - _WIDEST))
        high = low + _WIDEST
    return first + reachable + low, np.concatenate([[-np.inf, -np.inf], scores[low:high]])


def _forward(before: Scores, log_probs: Scores, labels: NDArray[np.int64], barrier: Scores) -> Scores:
    """Return the score of the best path to each state, two columns before them, in each of these frames."""
    rows = np.empty((len(log_probs), len(before)))
    rows[:, :2] = -np.inf
    passed = np.empty_like(barrier)
    for row, frame in zip(rows, log_probs, strict=True):
        now = row[2:]
        np.maximum(before[2:], before[1:-1], out=now)
        np.add(before[:-2], barrier, out=passed)
        np.maximum(now, passed, out=now)
        np.add(now, frame[labels], out=now)
        before = row
    return rows


def _move(row: Scores, state: int, barrier: Scores) -> int:
    """Return by how many states the best path to `state` advanced from the frame whose scores are `row`."""
    stay, step, skip = row[state + 2], row[state + 1], row[state] + barrier[state]
    if stay >= step and stay >= skip:
        return 0
    return 1 if step >= skip else 2
