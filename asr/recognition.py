"""A model file -> transcripts of waveforms, files and manifests."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence

from asr import audio, batching, checkpoint, scoring, text
from asr.checkpoint import CheckpointError, Contents
from asr.decoding import Greedy, Hypothesis, LogProbs
from asr.device import choose
from asr.frontend import Frontend
from asr.manifest import Utterance
from asr.model import Model
from asr.stream import Network, Stream
from asr.text import Alphabet

BATCH_SECONDS = 120.0
# A file is transcribed whole, in about 1.5 GB for each hour.
LONGEST = 2 * 3600.0


@dataclass(frozen=True)
class Evaluation:
    """A model's score on a manifest, the seconds of the audio and of the computation, and the texts' normaliser.

    The hypotheses have their words.
    """

    score: scoring.Score
    hypotheses: tuple[Hypothesis, ...]
    audio_seconds: float
    seconds: float
    normaliser: str


class Decoder(Protocol):
    """What turns log-probabilities into text."""

    def decode(self, log_probs: LogProbs, count: int = 1, words: bool = False) -> list[Hypothesis]:
        """Return at most `count` hypotheses of (T', V), best first, that one with its words if asked."""

    def decode_each(
        self, rows: Iterable[LogProbs], count: int = 1, words: bool = False, threads: int = 0
    ) -> list[list[Hypothesis]]:
        """Decode each of some (T', V)."""


class Plan(Protocol):
    """A decoder that is yet to learn of the alphabet."""

    def decoder(self, alphabet: Alphabet, seconds_per_frame: float) -> Decoder:
        """Return the decoder."""


class Recognizer:
    """A trained model, ready to transcribe. `card` tells how the model came to be.

    It decodes greedily; `with_decoder` gives one that searches.
    """

    def __init__(self, model: Model, frontend: Frontend, contents: Contents, decoder: Decoder | None = None) -> None:
        self.settings = settings = contents.settings
        self.card = contents.card
        self._model = model.eval()
        self._frontend = frontend
        self._contents = contents
        self._decoder = decoder or Greedy(settings.alphabet, settings.seconds_per_frame)

    @property
    def sample_rate(self) -> int:
        """Return the sample rate in Hz that `transcribe` takes."""
        return self.settings.features.sample_rate

    def with_decoder(self, plan: Plan) -> "Recognizer":
        """Return the same model with another decoder, such as `asr.read_decoder` plans. Raises DecodingError."""
        decoder = plan.decoder(self.settings.alphabet, self.settings.seconds_per_frame)
        return Recognizer(self._model, self._frontend, self._contents, decoder)

    def transcribe(self, waveform: NDArray[np.floating], words: bool = False) -> Hypothesis:
        """Transcribe a mono waveform (samples,) in [-1, 1] at `sample_rate`.

        With `words` the hypothesis has its words with their times (seconds) and confidences. Raises AudioError for one
        that is empty, silent or not finite.
        """
        waveform = audio.from_array(waveform, self.sample_rate, self.sample_rate)
        return self._decoder.decode(self._hear([waveform])[0], 1, words)[0]

    def transcribe_file(self, path: str | Path, words: bool = False) -> Hypothesis:
        """Transcribe a sound file of any rate and number of channels; `words` as above. Raises AudioError."""
        return self.alternatives(path, 1, words)[0]

    def stream(self, rate: int | None = None, words: bool = False) -> Stream:
        """Begin a stream of sound at `rate` Hz (otherwise at `sample_rate`), whose chunks are fed one by one.

        `words` as above, of the final hypothesis. Raises StreamError for a model that needs the whole recording.
        """
        path_is_all = isinstance(self._decoder, Greedy) and not words
        decode = None if path_is_all else lambda log_probs: self._decoder.decode(log_probs, 1, words)[0]
        network = Network(self.settings, self._frontend, self._model)
        return Stream(network, self.sample_rate if rate is None else rate, decode)

    def alternatives(self, path: str | Path, count: int, words: bool = False) -> list[Hypothesis]:
        """Return the `count` best transcripts of a sound file, best first; `words` are those of the best one."""
        duration = audio.info(path).duration
        if duration > LONGEST:
            raise audio.AudioError(
                f"{path}: {duration / 3600:.1f} hours long; at most {LONGEST / 3600:.0f} at once; split it"
            )
        return self._decoder.decode(self._hear([audio.load(path, self.sample_rate)])[0], count, words)

    def transcribe_utterances(
        self,
        utterances: Sequence[Utterance],
        progress: Callable[[float, float], None] | None = None,
        words: bool = False,
    ) -> list[Hypothesis]:
        """Transcribe utterances in batches; return the hypotheses in their order.

        `progress` is told the seconds of audio done and in all. Raises AudioError.
        """
        found: dict[int, Hypothesis] = {}
        for indices, rows in self._heard(utterances, progress):
            decoded = self._decoder.decode_each(rows, 1, words)
            found |= zip(indices, chain.from_iterable(decoded), strict=True)
        return [found[index] for index in range(len(utterances))]

    def log_probs(
        self, utterances: Sequence[Utterance], progress: Callable[[float, float], None] | None = None
    ) -> list[LogProbs]:
        """Return what the network says of each utterance, (T', V); otherwise as `transcribe_utterances`."""
        found: dict[int, LogProbs] = {}
        for indices, rows in self._heard(utterances, progress):
            found |= zip(indices, rows, strict=True)
        return [found[index] for index in range(len(utterances))]

    def _heard(
        self, utterances: Sequence[Utterance], progress: Callable[[float, float], None] | None
    ) -> Iterator[tuple[list[int], list[LogProbs]]]:
        """Yield batches: which utterances, and their log-probabilities."""
        total = sum(utterance.duration for utterance in utterances)
        done = 0.0
        for indices in self._batches(utterances):
            chosen = [utterances[index] for index in indices]
            yield indices, self._hear([self._load(one) for one in chosen])
            done += sum(one.duration for one in chosen)
            if progress:
                progress(done, total)

    def _load(self, one: Utterance) -> audio.Waveform:
        try:
            return audio.load(one.audio, self.sample_rate, one.offset, one.duration)
        except audio.AudioError as error:
            raise audio.AudioError(f"utterance {one.id}: {error}") from error

    def _batches(self, utterances: Sequence[Utterance]) -> Iterator[list[int]]:
        hop = self.settings.features.hop
        lengths = [round(utterance.duration / hop) for utterance in utterances]
        yield from (batch.tolist() for batch in batching.plan(lengths, round(BATCH_SECONDS / hop)))

    def _hear(self, waveforms: Sequence[audio.Waveform]) -> list[LogProbs]:
        with torch.inference_mode():
            rows = [self._frontend(waveform) for waveform in waveforms]
            lengths = torch.tensor([len(row) for row in rows], device=self._frontend.device)
            output = self._model(pad_sequence(rows, batch_first=True), lengths)
        log_probs = output.log_probs.cpu().numpy()
        return [row[:length] for row, length in zip(log_probs, output.lengths.tolist(), strict=True)]


def load(path: str | Path, device: str = "cpu") -> Recognizer:
    """Load a model file for transcription on cpu, cuda, mps or auto. Raises CheckpointError and DeviceError."""
    place = choose(device)
    model, contents = checkpoint.load(path)
    matrices = checkpoint.matrices(contents)
    if matrices is None:
        raise CheckpointError(f"{path}: without the matrices of its features; an older asr wrote it: train it again")
    return Recognizer(model.to(place), Frontend(contents.settings.features, matrices, place), contents)


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
    hypotheses = tuple(recognizer.transcribe_utterances(utterances, progress, words=True))
    seconds = time.perf_counter() - begin
    texts = [hypothesis.text for hypothesis in hypotheses]
    result = scoring.score(references, texts, [utterance.id for utterance in utterances])
    return Evaluation(result, hypotheses, sum(utterance.duration for utterance in utterances), seconds, normaliser)
