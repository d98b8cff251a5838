"""A model file -> transcripts of waveforms, files and manifests."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from asr import audio, batching, checkpoint, decoding, features, scoring, text
from asr.checkpoint import Settings
from asr.decoding import Hypothesis
from asr.device import choose
from asr.features import Features
from asr.manifest import Utterance
from asr.model import Model

BATCH_SECONDS = 120.0
# A file is transcribed whole, in about 1.5 GB for each hour.
LONGEST = 2 * 3600.0


@dataclass(frozen=True)
class Evaluation:
    """A model's score on a manifest, the seconds of the audio and of the computation, and the texts' normaliser."""

    score: scoring.Score
    audio_seconds: float
    seconds: float
    normaliser: str


class Recognizer:
    """A trained model, ready to transcribe. `card` tells how the model came to be."""

    def __init__(self, model: Model, settings: Settings, card: dict[str, Any]) -> None:
        self.settings = settings
        self.card = card
        self._model = model.eval()
        self._alphabet = settings.alphabet

    @property
    def sample_rate(self) -> int:
        """Return the sample rate in Hz that `transcribe` takes."""
        return self.settings.features.sample_rate

    def transcribe(self, waveform: NDArray[np.floating]) -> Hypothesis:
        """Transcribe a mono waveform (samples,) in [-1, 1] at `sample_rate`.

        Raises AudioError for one that is empty, silent or not finite.
        """
        return self._decode([self._features(audio.from_array(waveform, self.sample_rate, self.sample_rate))])[0]

    def transcribe_file(self, path: str | Path) -> Hypothesis:
        """Transcribe a sound file of any rate and number of channels. Raises AudioError."""
        duration = audio.info(path).duration
        if duration > LONGEST:
            raise audio.AudioError(
                f"{path}: {duration / 3600:.1f} hours long; at most {LONGEST / 3600:.0f} at once; split it"
            )
        return self._decode([self._features(audio.load(path, self.sample_rate))])[0]

    def transcribe_utterances(
        self, utterances: Sequence[Utterance], progress: Callable[[float, float], None] | None = None
    ) -> list[Hypothesis]:
        """Transcribe utterances in batches; return the hypotheses in their order.

        `progress` is told the seconds of audio done and in all. Raises AudioError.
        """
        found: dict[int, Hypothesis] = {}
        total = sum(utterance.duration for utterance in utterances)
        done = 0.0
        for indices in self._batches(utterances):
            chosen = [utterances[index] for index in indices]
            loaded = [self._load(one) for one in chosen]
            found |= zip(indices, self._decode([self._features(waveform) for waveform in loaded]), strict=True)
            done += sum(one.duration for one in chosen)
            if progress:
                progress(done, total)
        return [found[index] for index in range(len(utterances))]

    def _load(self, one: Utterance) -> audio.Waveform:
        try:
            return audio.load(one.audio, self.sample_rate, one.offset, one.duration)
        except audio.AudioError as error:
            raise audio.AudioError(f"utterance {one.id}: {error}") from error

    def _batches(self, utterances: Sequence[Utterance]) -> Iterator[list[int]]:
        hop = self.settings.features.hop
        lengths = [round(utterance.duration / hop) for utterance in utterances]
        yield from (batch.tolist() for batch in batching.plan(lengths, round(BATCH_SECONDS / hop)))

    def _features(self, waveform: audio.Waveform) -> Features:
        return features.mfcc(waveform, self.settings.features)

    def _decode(self, rows: Sequence[Features]) -> list[Hypothesis]:
        batch = batching.pad(rows, [()] * len(rows))
        place = next(self._model.parameters()).device
        with torch.inference_mode():
            output = self._model(batch.features.to(place), batch.feature_lengths.to(place))
        log_probs = output.log_probs.cpu().numpy()
        return [
            decoding.greedy(row[:length], self._alphabet)
            for row, length in zip(log_probs, output.lengths.tolist(), strict=True)
        ]


def load(path: str | Path, device: str = "cpu") -> Recognizer:
    """Load a model file for transcription on cpu, cuda, mps or auto. Raises CheckpointError and DeviceError."""
    place = choose(device)
    model, contents = checkpoint.load(path)
    return Recognizer(model.to(place), contents.settings, contents.card)


def evaluate(
    recognizer: Recognizer, utterances: Sequence[Utterance], progress: Callable[[float, float], None] | None = None
) -> Evaluation:
    """Transcribe utterances and score them against their texts, normalised as the model's own training text was.

    Raises AudioError, and ScoringError where the texts hold no words.
    """
    normaliser = recognizer.settings.text.normaliser
    references = [text.normalise(utterance.text, normaliser) for utterance in utterances]
    if not any(references):
        raise scoring.ScoringError("the references hold no words at all: there is no error rate")
    begin = time.perf_counter()
    hypotheses = [hypothesis.text for hypothesis in recognizer.transcribe_utterances(utterances, progress)]
    seconds = time.perf_counter() - begin
    result = scoring.score(references, hypotheses, [utterance.id for utterance in utterances])
    return Evaluation(result, sum(utterance.duration for utterance in utterances), seconds, normaliser)
