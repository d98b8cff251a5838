"""A model and a manifest -> the error rates of what the model hears in it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from asr import scoring, text
from asr.corpora.manifest import Utterance
from asr.decoding.tuning import DevSet
from asr.recognition.recognizer import Recognizer
from asr.transcripts.records import Hypothesis


@dataclass(frozen=True)
class Evaluation:
    """A model's score on a manifest, the seconds of the audio and of the computation, and the texts' normaliser.

    The hypotheses have their words. `oracle`: the WER if of several texts for each utterance the best were known.
    """

    score: scoring.Score
    hypotheses: tuple[Hypothesis, ...]
    audio_seconds: float
    seconds: float
    normaliser: str
    oracle: scoring.Rate | None = None


def evaluate(
    recognizer: Recognizer,
    utterances: Sequence[Utterance],
    progress: Callable[[float, float], None] | None = None,
    count: int = 1,
) -> Evaluation:
    """Transcribe utterances and score them against their texts, normalised as the model's own training text was.

    Raises AudioError, and ScoringError where the texts hold no words.
    """
    normaliser = recognizer.settings.text.normaliser
    references = [text.normalise(utterance.text, normaliser) for utterance in utterances]
    if not any(references):
        raise scoring.ScoringError("the references hold no words at all: there is no error rate")
    begin = time.perf_counter()
    found = recognizer.alternatives_each(utterances, count, progress, words=True)
    seconds = time.perf_counter() - begin
    ids = [utterance.id for utterance in utterances]
    result = scoring.score(references, [one[0].text for one in found], ids)
    oracle = None
    if count > 1:
        texts = [[each.text for each in one] for one in found]
        chosen = list(map(scoring.nearest, references, texts))
        oracle = scoring.score(references, chosen, ids).wer
    audio_seconds = sum(utterance.duration for utterance in utterances)
    return Evaluation(result, tuple(one[0] for one in found), audio_seconds, seconds, normaliser, oracle)


def tuning_set(
    recognizer: Recognizer, utterances: Sequence[Utterance], progress: Callable[[float, float], None] | None = None
) -> DevSet:
    """Return what a model's network says of utterances, once for all trials. Raises AudioError and ScoringError."""
    texts = [text.normalise(one.text, recognizer.settings.text.normaliser) for one in utterances]
    if not any(texts):
        raise scoring.ScoringError("the texts hold no words at all: there is nothing to tune on")
    rows = recognizer.log_probs(utterances, progress)
    return DevSet(rows, texts, sum(one.duration for one in utterances), recognizer.settings.seconds_per_frame)
