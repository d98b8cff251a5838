"""Aligns the known texts of recordings: word times, and transcripts that do not fit the audio."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from heapq import nlargest
from itertools import islice
from math import inf, isfinite, prod
from typing import Any

from asr.audio import AudioError
from asr.corpora.manifest import Utterance
from asr.decoding import LogProbs, alignment, best_path
from asr.decoding.alignment import AlignmentError
from asr.model.checkpoint import ModelFileSettings
from asr.recognition.recognizer import Recognizer
from asr.text.spoken import SpokenWord, spoken_words
from asr.transcripts import document, word_fields
from asr.transcripts.records import FileResult, Transcript, Word

# Seconds of audio whose log-probabilities are kept at once.
_GROUP = 1200.0


@dataclass(frozen=True)
class AlignedRow:
    """The result for one utterance.

    `transcript`: the text as it is written, with its words and the times of their spoken form; None if it could not be
    aligned, as `error` says. `spoken`: the spoken form, normalised, which was aligned. `recognised`: the greedy
    transcript. `gap`: how much less probable the aligned path is than the best path, in nats a frame; infinite if no
    path gives the text, None if the recording cannot be used. `left_out`: characters of the text that are not in the
    model's alphabet.
    """

    utterance: Utterance
    transcript: Transcript | None = None
    spoken: str = ""
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
    written = spoken_words(utterance.text, settings.text)
    left_out = tuple(dict.fromkeys(character for word in written for character in word.left_out))
    written = [word for word in written if word.spoken]
    text = " ".join(word.spoken for word in written)
    best = best_path(log_probs, alphabet)
    row = AlignedRow(utterance, None, text, best.text, inf, left_out)
    if not text:
        error = f"utterance {utterance.id}: no character of {utterance.text!r:.60} is in the model's alphabet"
        return replace(row, error=error)
    try:
        path = alignment.align(alphabet.characters_of(log_probs), alignment.encode(text, alphabet))
        words = _as_written(alignment.words(path, text, alphabet, settings.seconds_per_frame), written)
    except AlignmentError as error:
        message = f"utterance {utterance.id}: its text does not fit into {utterance.duration:.2f} s: {error}"
        return replace(row, error=message)
    gap = max(best.acoustic_score - path.score, 0.0) / len(log_probs)
    as_written = " ".join(utterance.text.split())
    transcript = Transcript(as_written, tuple(words), acoustic_score=path.score, duration=utterance.duration)
    return replace(row, transcript=transcript, gap=gap)


def _as_written(words: Sequence[Word], written: Sequence[SpokenWord]) -> Iterator[Word]:
    """Yield the words as they are written, with the times of their spoken forms, which are `words` in order."""
    remaining = iter(words)
    for word in written:
        parts = list(islice(remaining, len(word.spoken.split())))
        length = sum(len(part.text) for part in parts)
        # The geometric mean of all characters, as in each part.
        confidence = prod(part.confidence ** (len(part.text) / length) for part in parts)
        yield Word(word.written, parts[0].start, parts[-1].end, confidence)


def suspects(rows: Iterable[AlignedRow], count: int) -> list[AlignedRow]:
    """Return at most `count` rows whose text is least likely to be correct, the least likely first.

    Rows whose text does not fit into the time come first. Rows whose text the model recognises are left out.
    """
    doubtful = (row for row in rows if row.gap is not None and not (row.transcript and row.spoken == row.recognised))
    return nlargest(count, doubtful, key=lambda row: row.gap or 0.0)


def json_line(row: AlignedRow) -> str:
    """Return one object: id, audio, text, score, gap, hypothesis, and the words with their times and confidences."""
    transcript = row.transcript
    fields: dict[str, Any] = {"id": row.utterance.id, "audio": row.utterance.audio}
    if transcript is None:
        fields |= {"text": row.utterance.text, "error": row.error}
    else:
        fields |= {"text": transcript.text, "score": round(transcript.score, 4)}
    if row.gap is not None:
        fields |= {"gap": round(row.gap, 4) if isfinite(row.gap) else None, "hypothesis": row.recognised}
    if transcript:
        fields["words"] = list(map(word_fields, transcript.words))
    # The bytes of a file name that are not UTF-8 become escapes.
    return json.dumps(fields, ensure_ascii=False).encode("utf-8", "backslashreplace").decode() + "\n"


def formatted(row: AlignedRow, form: str) -> str:
    """Return a row in one of the output formats but txt and tsv."""
    if form == "json":
        return json_line(row)
    return document([FileResult(row.utterance.audio, row.transcript, row.error, id=row.utterance.id)], form)
