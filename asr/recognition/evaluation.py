"""Scores a model on a manifest."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from asr import scoring
from asr.audio import AudioError
from asr.corpora.manifest import Utterance
from asr.decoding.tuning import DevSet
from asr.recognition.inference import DEFAULT_OPTIONS, TranscribeOptions
from asr.recognition.recognizer import Recognizer
from asr.text.normalisers import normalise
from asr.transcripts.records import FileResult, Transcript

OnProgress = Callable[[float, float], None]


@dataclass(frozen=True)
class Evaluation:
    """The score of a model on a manifest, the seconds of audio and of computation, and the normaliser of the texts.

    The transcripts have their words. `oracle`: the WER if the best of several hypotheses were known for each utterance.
    """

    score: scoring.Score
    transcripts: tuple[Transcript, ...]
    audio_seconds: float
    seconds: float
    normaliser: str
    oracle: scoring.Rate | None = None


def evaluate(
    recognizer: Recognizer,
    utterances: Sequence[Utterance],
    options: TranscribeOptions = DEFAULT_OPTIONS,
    on_progress: OnProgress | None = None,
    transcribe: Callable[..., Iterator[list[FileResult]]] | None = None,
) -> Evaluation:
    """Transcribe utterances and score them against their texts, normalised as the model's training texts were.

    `on_progress` is called with the seconds of audio done and in all. `transcribe` is `recognizer.transcribe_files` or
    does the same on a cluster. Raise AudioError if a recording cannot be used, and ScoringError if the texts have no
    words.
    """
    normaliser = recognizer.settings.text.normaliser
    references = [normalise(utterance.text, normaliser) for utterance in utterances]
    if not any(references):
        raise scoring.ScoringError("the references have no words: there is no error rate")
    begin = time.perf_counter()
    transcripts = []
    options = replace(options, words=True, split_channels=False)
    progress = in_seconds(utterances, on_progress)
    transcribe = transcribe or recognizer.transcribe_files
    for (result,) in transcribe(utterances, options, on_progress=progress):
        if result.transcript is None:
            raise AudioError(result.error)
        transcripts.append(result.transcript)
    seconds = time.perf_counter() - begin
    ids = [utterance.id for utterance in utterances]
    score = scoring.score(references, [transcript.text for transcript in transcripts], ids)
    oracle = None
    if options.nbest > 1:
        nbest = [[each.text, *(other.text for other in each.alternatives)] for each in transcripts]
        oracle = scoring.score(references, list(map(scoring.nearest, references, nbest)), ids).wer
    audio_seconds = sum(utterance.duration for utterance in utterances)
    return Evaluation(score, tuple(transcripts), audio_seconds, seconds, normaliser, oracle)


def tuning_set(
    recognizer: Recognizer, utterances: Sequence[Utterance], on_progress: OnProgress | None = None
) -> DevSet:
    """Return the log-probabilities and texts of utterances, for tuning. Raise AudioError and ScoringError."""
    texts = [normalise(utterance.text, recognizer.settings.text.normaliser) for utterance in utterances]
    if not any(texts):
        raise scoring.ScoringError("the texts have no words: there is nothing to tune on")
    rows = recognizer.log_probs(utterances, in_seconds(utterances, on_progress))
    return DevSet(
        rows, texts, sum(utterance.duration for utterance in utterances), recognizer.settings.seconds_per_frame
    )


def in_seconds(
    utterances: Sequence[Utterance], on_progress: OnProgress | None
) -> Callable[[int, float, float], None] | None:
    """Turn a callback of (seconds done, seconds in all) into one of (index, share done, duration of utterance)."""
    if on_progress is None:
        return None
    total = sum(utterance.duration for utterance in utterances)
    done = [0.0] * len(utterances)
    in_all = 0.0

    def report(index: int, share: float, duration: float) -> None:
        nonlocal in_all
        in_all += share * duration - done[index]
        done[index] = share * duration
        on_progress(in_all, total)

    return report
