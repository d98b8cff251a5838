"""The log-probabilities of a long recording -> its hypotheses, decoded a segment at a time.

Segments end at pauses. So a search never holds more than half a minute, and times are found within that.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from asr.decoding import GreedyDecoder, LogProbs
from asr.recognition.vad import runs
from asr.recognition.windows import Piece
from asr.text import BLANK, Alphabet
from asr.transcripts.records import Hypothesis

if TYPE_CHECKING:
    from asr.decoding.decoder import Decoder

# Seconds: a segment's shortest and longest; a pause without a space in it counts for so much less.
_SHORTEST, _LONGEST, _UNPARTED = 10.0, 30.0, 1.0


@dataclass(frozen=True, eq=False)
class Segment:
    """Log-probabilities (n, V) that are decoded together, and the time in seconds at which they begin."""

    start: float
    log_probs: LogProbs


@dataclass(frozen=True)
class _Chosen:
    """Which hypotheses of the segments so far are taken: the last one, those before it, and their scores together."""

    score: float
    last: Hypothesis | None = None
    before: "_Chosen | None" = None


def cut(pieces: Iterable[Piece], alphabet: Alphabet, seconds_per_frame: float) -> Iterator[Segment]:
    """Yield the segments of pieces that follow each other; one also ends where a span of the recording does."""
    longest = round(_LONGEST / seconds_per_frame)
    waiting: LogProbs | None = None
    first = 0
    for piece in pieces:
        if waiting is None:
            waiting, first = piece.log_probs, piece.first
        else:
            waiting = np.concatenate([waiting, piece.log_probs])
        while len(waiting) > longest:
            place = _place(waiting[:longest], alphabet, seconds_per_frame)
            yield Segment(first * seconds_per_frame, waiting[:place])
            waiting, first = waiting[place:], first + place
        if piece.ends:
            yield Segment(first * seconds_per_frame, waiting)
            waiting = None


def _place(log_probs: LogProbs, alphabet: Alphabet, seconds_per_frame: float) -> int:
    """Return the middle of the longest pause; what comes too soon to end a segment does not count."""
    shortest, unparted = round(_SHORTEST / seconds_per_frame), _UNPARTED / seconds_per_frame
    best = log_probs.argmax(axis=1)
    spaces = best == alphabet.ids(" ")[0] if " " in alphabet.characters else best == BLANK

    def length(pause: tuple[int, int]) -> float:
        first, end = pause
        return end - max(first, shortest) - (0.0 if spaces[first:end].any() else unparted)

    pauses = [pause for pause in runs((best == BLANK) | spaces) if pause[1] > shortest]
    if not pauses:
        return shortest + int(log_probs[shortest:, BLANK].argmax())
    first, end = max(pauses, key=length)
    return (max(first, shortest) + end + 1) // 2


def decode(
    decoder: "GreedyDecoder | Decoder", segments: Iterable[Segment], count: int = 1, words: bool = False
) -> list[Hypothesis]:
    """Return at most `count` hypotheses of a recording, best first; `words` are those of the best one, with its times.

    The text is that of the segments, joined by spaces, and the scores are their sums.
    """
    starts: list[float] = []

    def rows() -> Iterator[LogProbs]:
        for segment in segments:
            starts.append(segment.start)
            yield segment.log_probs

    found = decoder.decode_batch(rows(), count, words)
    return _combined([_moved(each, start) for each, start in zip(found, starts, strict=True)], count)


def _moved(hypotheses: list[Hypothesis], start: float) -> list[Hypothesis]:
    best, *others = hypotheses
    moved = (replace(word, start=word.start + start, end=word.end + start) for word in best.words)
    return [replace(best, words=tuple(moved)), *others]


def _combined(segments: Iterable[list[Hypothesis]], count: int) -> list[Hypothesis]:
    """Return the best combinations of a hypothesis of each segment. What is best of all has the best parts."""
    kept = [_Chosen(0.0)]
    for hypotheses in segments:
        # Of the ranks i and j, (i + 1) * (j + 1) combinations are at least as good.
        pairs = (
            _Chosen(before.score + one.score, one, before)
            for rank, before in enumerate(kept)
            for one in hypotheses[: count // (rank + 1)]
        )
        kept = sorted(pairs, key=lambda chosen: -chosen.score)[:count]
    found: dict[str, Hypothesis] = {}
    for chosen in kept:
        hypothesis = _whole(_parts(chosen))
        found.setdefault(hypothesis.text, hypothesis)
    return list(found.values())


def _parts(chosen: _Chosen) -> list[Hypothesis]:
    parts: list[Hypothesis] = []
    while chosen.last and chosen.before:
        parts.append(chosen.last)
        chosen = chosen.before
    return parts[::-1]


def _whole(parts: Sequence[Hypothesis]) -> Hypothesis:
    return Hypothesis(
        " ".join(part.text for part in parts if part.text),
        sum((part.acoustic_score for part in parts), 0.0),
        sum((part.lm_score for part in parts), 0.0),
        tuple(word for part in parts for word in part.words),
    )
