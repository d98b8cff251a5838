"""Aligns the known texts of recordings: word times, and transcripts that do not fit the audio."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import nlargest
from math import inf, isfinite
from typing import Any

from asr.audio import AudioError
from asr.corpora.manifest import Utterance
from asr.decoding import LogProbs, alignment, best_path
from asr.decoding.alignment import AlignmentError
from asr.model.checkpoint import ModelFileSettings
from asr.recognition.recognizer import Recognizer
from asr.text.normalisers import normalise
from asr.transcripts import document, word_fields
from asr.transcripts.records import FileResult, Transcript

# Seconds of audio whose log-probabilities are kept at once.
_GROUP = 1200.0


@dataclass(frozen=True)
class AlignedRow:
    """The result for one utterance.

    `transcript`: the text as it was aligned, with its words; None if it could not be aligned, as `error` says.
    `recognised`: the greedy transcript. `gap`: how much less probable the aligned path is than the best path, in nats a
    frame; infinite if no path gives the text, None if the recording cannot be used. `left_out`: characters of the text
    that are not in the model's alphabet.
    """

    utterance: Utterance
    transcript: Transcript | None = None
    recognised: str = ""
    gap: float | None = None
    left_out: tuple[str, ...] = ()
    error: str = ""


def align(
    recognizer: Recognizer, utterances: Sequence[Utterance], on_progress: Callable[[float, float], None] | None = None
) -> Iterator[AlignedRow]:
    """Align the text of each utterance, in order; times are in seconds from the start of the utterance.

    Utterances are computed in groups, so that memory is bounded. One that cannot be used does not affect the others.
    """
    total = sum(utterance.duration for utterance in utterances)
    done = 0.0
    for group in _groups(utterances):
        for utterance, log_probs in zip(group, _log_probs(recognizer, group), strict=True):
            if isinstance(log_probs, AudioError):
                yield AlignedRow(utterance, error=str(log_probs))
            else:
                yield _align(recognizer.settings, utterance, log_probs)
        done += sum(utterance.duration for utterance in group)
        if on_progress:
            on_progress(done, total)


def _groups(utterances: Sequence[Utterance]) -> Iterator[list[Utterance]]:
    group: list[Utterance] = []
    for utterance in utterances:
        if group and sum(other.duration for other in group) + utterance.duration > _GROUP:
            yield group
            group = []
        group.append(utterance)
    if group:
        yield group


def _log_probs(recognizer: Recognizer, group: Sequence[Utterance]) -> Sequence[LogProbs | AudioError]:
    try:
        return recognizer.log_probs(group)
    except AudioError as error:
        if len(group) == 1:
            return [error]
    # One of them cannot be used: each alone shows which.
    return [log_probs for utterance in group for log_probs in _log_probs(recognizer, [utterance])]


def _align(settings: ModelFileSettings, utterance: Utterance, log_probs: LogProbs) -> AlignedRow:
    alphabet = settings.alphabet
    normalised = normalise(utterance.text, settings.text.normaliser)
    left_out = tuple(character for character in alphabet.unknown(normalised) if not character.isspace())
    text = " ".join("".join(character for character in normalised if character not in left_out).split())
    best = best_path(log_probs, alphabet)
    if not text:
        error = f"utterance {utterance.id}: no character of {utterance.text!r:.60} is in the model's alphabet"
        return AlignedRow(utterance, None, best.text, inf, left_out, error)
    try:
        path = alignment.align(log_probs, alignment.encode(text, alphabet))
        words = alignment.words(path, text, alphabet, settings.seconds_per_frame)
    except AlignmentError as error:
        message = f"utterance {utterance.id}: its text does not fit into {utterance.duration:.2f} s: {error}"
        return AlignedRow(utterance, None, best.text, inf, left_out, message)
    gap = max(best.acoustic_score - path.score, 0.0) / len(log_probs)
    transcript = Transcript(text, tuple(words), acoustic_score=path.score, duration=utterance.duration)
    return AlignedRow(utterance, transcript, best.text, gap, left_out)


def suspects(rows: Iterable[AlignedRow], count: int) -> list[AlignedRow]:
    """Return at most `count` rows whose text is least likely to be what is said, the worst first.

    Rows whose text does not fit into the time come first. Rows whose text the model recognises are left out.
    """
    doubtful = (
        row for row in rows if row.gap is not None and not (row.transcript and row.transcript.text == row.recognised)
    )
    return nlargest(count, doubtful, key=lambda row: row.gap or 0.0)


def json_line(row: AlignedRow) -> str:
    """Return one object: id, audio, text, score, gap, heard, and the words with their times and confidences."""
    transcript = row.transcript
    fields: dict[str, Any] = {"id": row.utterance.id, "audio": row.utterance.audio}
    if transcript is None:
        fields |= {"text": row.utterance.text, "error": row.error}
    else:
        fields |= {"text": transcript.text, "score": round(transcript.score, 4)}
    if row.gap is not None:
        fields |= {"gap": round(row.gap, 4) if isfinite(row.gap) else None, "heard": row.recognised}
    if transcript:
        fields["words"] = list(map(word_fields, transcript.words))
    # The bytes of a file name that are not UTF-8 become escapes.
    return json.dumps(fields, ensure_ascii=False).encode("utf-8", "backslashreplace").decode() + "\n"


def formatted(row: AlignedRow, form: str) -> str:
    """Return a row as `json`, `ctm` or `textgrid`."""
    if form == "json":
        return json_line(row)
    return document([FileResult(row.utterance.audio, row.transcript, row.error, id=row.utterance.id)], form)
