"""Recordings and their texts -> when each word was said, and which texts are not what was said."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from math import inf, isfinite
from typing import Any

from asr import decoding, transcripts
from asr.audio import AudioError
from asr.corpora.manifest import Utterance
from asr.decoding import LogProbs, alignment
from asr.decoding.alignment import AlignmentError
from asr.model.checkpoint import ModelFileSettings
from asr.recognition.recognizer import Recognizer
from asr.text import normalise
from asr.transcripts.records import FileResult, Hypothesis, Transcript

# Seconds of sound whose log-probabilities are kept at once.
_GROUP = 1200.0
Progress = Callable[[float, float], None]


@dataclass(frozen=True)
class Aligned:
    """What became of one recording and its text.

    `hypothesis`: the text as it was aligned, with its words; None where it could not be, as `error` says. `heard`: what
    the model writes of itself. `gap`: by how many nats a frame the aligned path lies under the free one; infinite where
    no path says the text, and None where the recording cannot be used. `left_out`: characters that the model does not
    write.
    """

    utterance: Utterance
    hypothesis: Hypothesis | None = None
    heard: str = ""
    gap: float | None = None
    left_out: tuple[str, ...] = ()
    error: str = ""


def align(
    recognizer: Recognizer, utterances: Sequence[Utterance], progress: Progress | None = None
) -> Iterator[Aligned]:
    """Say of each utterance when its text's words were said, in their order, in seconds from the utterance's beginning.

    Some are heard at a time, so that memory is bounded. One that cannot be used does not stop the others.
    """
    total = sum(one.duration for one in utterances)
    done = 0.0
    for group in _groups(utterances):
        for one, row in zip(group, _log_probs(recognizer, group), strict=True):
            if isinstance(row, AudioError):
                yield Aligned(one, error=str(row))
            else:
                yield _align(recognizer.settings, one, row)
        done += sum(one.duration for one in group)
        if progress:
            progress(done, total)


def _groups(utterances: Sequence[Utterance]) -> Iterator[list[Utterance]]:
    group: list[Utterance] = []
    for one in utterances:
        if group and sum(other.duration for other in group) + one.duration > _GROUP:
            yield group
            group = []
        group.append(one)
    if group:
        yield group


def _log_probs(recognizer: Recognizer, group: Sequence[Utterance]) -> Sequence[LogProbs | AudioError]:
    try:
        return recognizer.log_probs(group)
    except AudioError as error:
        if len(group) == 1:
            return [error]
    # One of them cannot be used: each alone says which.
    return [row for one in group for row in _log_probs(recognizer, [one])]


def _align(settings: ModelFileSettings, one: Utterance, log_probs: LogProbs) -> Aligned:
    alphabet = settings.alphabet
    whole = normalise(one.text, settings.text.normaliser)
    left_out = tuple(character for character in alphabet.unknown(whole) if not character.isspace())
    text = " ".join("".join(character for character in whole if character not in left_out).split())
    free = decoding.best_path(log_probs, alphabet)
    if not text:
        return Aligned(one, None, free.text, inf, left_out, f"utterance {one.id}: no text is left of {one.text!r:.60}")
    try:
        found = alignment.align(log_probs, alignment.encode(text, alphabet))
        words = alignment.words(found, text, alphabet, settings.seconds_per_frame)
    except AlignmentError as error:
        why = f"utterance {one.id}: its text cannot be said in {one.duration:.2f} s: {error}"
        return Aligned(one, None, free.text, inf, left_out, why)
    gap = max(free.acoustic_score - found.score, 0.0) / len(log_probs)
    return Aligned(one, Hypothesis(text, found.score, words=tuple(words)), free.text, gap, left_out)


def usable(row: Aligned) -> Aligned:
    """Return a row that was aligned. Raises AlignmentError for one that was not."""
    if row.hypothesis is None:
        raise AlignmentError(row.error)
    return row


def suspects(rows: Iterable[Aligned], count: int) -> list[Aligned]:
    """Return at most `count` rows whose text is least likely to be what was said, the worst first.

    Those whose text cannot be said in the time come before all; those of which the model writes the same are none.
    """
    doubted = (row for row in rows if row.gap is not None and not (row.hypothesis and row.hypothesis.text == row.heard))
    return nlargest(count, doubted, key=lambda row: row.gap or 0.0)


@dataclass
class LeftOut:
    """Counts the characters that were left out of texts."""

    counts: Counter[str] = field(default_factory=Counter)
    first: str = ""

    def add(self, row: Aligned) -> None:
        """Count those of one row."""
        self.counts.update(row.left_out)
        self.first = self.first or (row.utterance.id if row.left_out else "")

    def told(self) -> str:
        """Say in one line what was left out, or nothing."""
        if not self.counts:
            return ""
        listed = ", ".join(f"{character!r}" for character, _ in self.counts.most_common(10))
        more = ", …" if len(self.counts) > 10 else ""
        return f"left out of the texts, as the model does not write it: {listed}{more} (first in {self.first})"


def json_line(row: Aligned) -> str:
    """Return one object: id, audio, text, score, gap, heard, and the words with their times and confidences."""
    found = row.hypothesis
    told: dict[str, Any] = {"id": row.utterance.id, "audio": row.utterance.audio}
    if found is None:
        told |= {"text": row.utterance.text, "error": row.error}
    else:
        told |= {"text": found.text, "score": round(found.score, 4)}
    if row.gap is not None:
        told |= {"gap": round(row.gap, 4) if isfinite(row.gap) else None, "heard": row.heard}
    if found:
        told["words"] = [
            {
                "word": word.text,
                "start": round(word.start, 3),
                "end": round(word.end, 3),
                "confidence": round(word.confidence, 4),
            }
            for word in found.words
        ]
    return _escaped(json.dumps(told, ensure_ascii=False)) + "\n"


def _escaped(text: str) -> str:
    """Return the text with escapes for the bytes of a file's name that are no UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def document(row: Aligned, form: str) -> str:
    """Return a row as `json`, `ctm` or `textgrid`."""
    if form == "json":
        return json_line(row)
    one = row.utterance
    transcript = Transcript.from_hypotheses([row.hypothesis], one.duration) if row.hypothesis else None
    return transcripts.document([FileResult(one.audio, transcript, row.error, id=one.id)], form)
