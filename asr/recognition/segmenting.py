"""Decodes a long recording in segments that end at pauses.

A search therefore never covers more than half a minute, and word times are aligned within that.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from asr.decoding import GreedyDecoder, LogProbs
from asr.recognition.vad import runs
from asr.text import BLANK, Alphabet
from asr.transcripts.records import Hypothesis

if TYPE_CHECKING:
    from asr.decoding.decoder import Decoder

# Seconds: a segment's shortest and longest length; a pause without a space in it counts for so much less.
_SHORTEST, _LONGEST, _WITHOUT_SPACE = 10.0, 30.0, 1.0


@dataclass(frozen=True, eq=False)
class LogProbSegment:
    """Log-probabilities (n, V) that are decoded together, and the time in seconds at which they begin."""

    start: float
    log_probs: LogProbs


@dataclass(frozen=True)
class _Combination:
    """A choice of one hypothesis for each segment so far, as a linked list, and the sum of their scores."""

    score: float
    last: Hypothesis | None = None
    before: "_Combination | None" = None

    def joined(self) -> Hypothesis:
        parts: list[Hypothesis] = []
        combination = self
        while combination.last and combination.before:
            parts.append(combination.last)
            combination = combination.before
        parts.reverse()
        return Hypothesis(
            " ".join(part.text for part in parts if part.text),
            sum((part.acoustic_score for part in parts), 0.0),
            sum((part.lm_score for part in parts), 0.0),
            tuple(word for part in parts for word in part.words),
        )


def segments(outputs: Iterable[LogProbs], alphabet: Alphabet, seconds_per_frame: float) -> Iterator[LogProbSegment]:
    """Yield segments of the log-probabilities (n, V) of consecutive windows."""
    longest = round(_LONGEST / seconds_per_frame)
    waiting: LogProbs | None = None
    first = 0
    for output in outputs:
        waiting = output if waiting is None else np.concatenate([waiting, output])
        while len(waiting) > longest:
            end = _segment_end(waiting[:longest], alphabet, seconds_per_frame)
            yield LogProbSegment(first * seconds_per_frame, waiting[:end])
            waiting, first = waiting[end:], first + end
    if waiting is not None:
        yield LogProbSegment(first * seconds_per_frame, waiting)


def _segment_end(log_probs: LogProbs, alphabet: Alphabet, seconds_per_frame: float) -> int:
    """Return the middle of the longest pause that comes after the shortest length of a segment."""
    shortest, without_space = round(_SHORTEST / seconds_per_frame), _WITHOUT_SPACE / seconds_per_frame
    log_probs = alphabet.characters_of(log_probs)
    best = log_probs.argmax(axis=1)
    spaces = best == alphabet.ids(" ")[0] if " " in alphabet.characters else best == BLANK

    def length(pause: tuple[int, int]) -> float:
        first, end = pause
        return end - max(first, shortest) - (0.0 if spaces[first:end].any() else without_space)

    pauses = [pause for pause in runs((best == BLANK) | spaces) if pause[1] > shortest]
    if not pauses:
        return shortest + int(log_probs[shortest:, BLANK].argmax())
    first, end = max(pauses, key=length)
    return (max(first, shortest) + end + 1) // 2


def decode(
    decoder: "GreedyDecoder | Decoder", segments: Iterable[LogProbSegment], nbest: int, words: bool
) -> list[Hypothesis]:
    """Return at most `nbest` hypotheses of a recording, best first; the best has its words if asked.

    Texts of segments are joined by spaces, and scores are summed.
    """
    starts: list[float] = []

    def rows() -> Iterator[LogProbs]:
        for segment in segments:
            starts.append(segment.start)
            yield segment.log_probs

    decoded = decoder.decode_batch(rows(), nbest, words)
    return _combined([_shifted(each, start) for each, start in zip(decoded, starts, strict=True)], nbest)


def _shifted(hypotheses: list[Hypothesis], start: float) -> list[Hypothesis]:
    best, *others = hypotheses
    words = (replace(word, start=word.start + start, end=word.end + start) for word in best.words)
    return [replace(best, words=tuple(words)), *others]


def _combined(segments: Iterable[list[Hypothesis]], nbest: int) -> list[Hypothesis]:
    """Return the best combinations of one hypothesis of each segment, of different texts."""
    kept = [_Combination(0.0)]
    for hypotheses in segments:
        # Of the ranks i and j, (i + 1) * (j + 1) combinations are at least as good.
        pairs = (
            _Combination(before.score + hypothesis.score, hypothesis, before)
            for rank, before in enumerate(kept)
            for hypothesis in hypotheses[: nbest // (rank + 1)]
        )
        kept = sorted(pairs, key=lambda combination: -combination.score)[:nbest]
    different: dict[str, Hypothesis] = {}
    for combination in kept:
        hypothesis = combination.joined()
        different.setdefault(hypothesis.text, hypothesis)
    return list(different.values())
