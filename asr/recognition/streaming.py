"""Streaming recognition: chunks of a waveform -> text that grows as they arrive, with a streaming model.

Samples that do not fill a window yet, the frames that the convolutions still need, and the states of the recurrent
layers and of the decoder are carried from chunk to chunk. The result is therefore that of the whole waveform, whatever
the sizes of the chunks.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import soxr
from numpy.typing import NDArray

from asr.audio import AudioError, Waveform, check_integers, check_rate, from_array
from asr.decoding import GreedyPath, LogProbs
from asr.errors import AsrError
from asr.features.normalisation import StreamNormalisation
from asr.features.settings import CAUSAL
from asr.model.checkpoint import ModelFileSettings
from asr.parallel.blas import one_blas_thread
from asr.recognition.inference import AcousticModel
from asr.transcripts.records import Hypothesis, Transcript

if TYPE_CHECKING:
    # It imports numba, which greedy decoding does not need.
    from asr.decoding.beam import BeamSearch

# The most frames computed at once, or one step of the network: it bounds the memory that a chunk of any size takes.
_BLOCK = 1200


class StreamError(AsrError):
    """A model that cannot process a stream, or a stream that has ended."""


class Stream:
    """One stream of audio. `asr.Recognizer.stream` makes it.

    What a beam search keeps grows with the stream, and so do the log-probabilities that words need: for speech without
    end there is `asr.Recognizer.live`.
    """

    def __init__(
        self,
        acoustic: AcousticModel,
        sample_rate: int,
        decode: Callable[[LogProbs], Hypothesis] | None = None,
        path: "GreedyPath | BeamSearch | None" = None,
    ) -> None:
        """`path` decodes what arrives. `decode` returns the result of all log-probabilities, which are then kept."""
        check_streams(acoustic.settings)
        check_rate(sample_rate)
        self._acoustic = acoustic
        self._sample_rate = sample_rate
        self._features = features = acoustic.settings.features
        self._resampler = None
        if sample_rate != features.sample_rate:
            self._resampler = soxr.ResampleStream(sample_rate, features.sample_rate, 1, dtype="float32")
        self._decode = decode
        self._normalise = StreamNormalisation(features)
        self._path = path or GreedyPath(acoustic.settings.alphabet)
        self._log_probs: list[LogProbs] = []
        # The first window is centred on the first sample.
        self._padding = np.zeros(features.fft_length // 2, np.float32)
        self._blocks = [self._padding]
        self._state: Any = None
        self._received = self._resampled = 0
        self._held_back = 0.0
        self._ended = False

    @property
    def text(self) -> str:
        """Return the text so far. With a beam search it is the most probable one and may change."""
        return self._path.text

    @property
    def stable(self) -> str:
        """Return the words at its beginning that do not change any more, nor do they in the final transcript."""
        return self._path.stable

    @property
    def seconds(self) -> float:
        """Return how much audio has been fed, in seconds."""
        return self._received / self._sample_rate

    @property
    def latency(self) -> float:
        """Return the longest time in seconds from a sample to the output of the network that includes it.

        It covers the frames of one step of the network and its lookahead, half a window, and the delay of the resampler
        so far, but neither the length of a chunk nor the computation.
        """
        model = self._acoustic.settings.model
        frames = model.time_reduction * model.window - 1 + model.time_reduction - 1
        samples = frames * self._features.hop_length + self._features.fft_length // 2
        return samples / self._features.sample_rate + self._held_back

    @one_blas_thread()
    def feed(self, chunk: NDArray[np.generic]) -> str:
        """Process the next chunk, (samples,) or (samples, channels) of any length; return the text so far.

        Integers are scaled by the range of their type. Raise AudioError if samples are NaN, infinite or absurdly large;
        nothing of the chunk is processed then. Raise StreamError after the end of the stream.
        """
        if self._ended:
            raise StreamError("the stream has ended; start a new one")
        self._process(self._mono(np.asarray(chunk)), last=False)
        return self.text

    @one_blas_thread()
    def finish(self) -> Transcript:
        """End the stream and return its transcript, the same as `transcribe` returns for the whole waveform.

        An empty or silent stream is not an error. Raise StreamError if the stream has ended before.
        """
        if self._ended:
            raise StreamError("the stream has ended already")
        self._process(np.zeros(0, np.float32), last=True)
        self._ended = True
        if not self._decode or not self._log_probs:
            score = self._path.score if isinstance(self._path, GreedyPath) else 0.0
            return Transcript(self.text, acoustic_score=score, duration=self.seconds)
        return Transcript.from_hypotheses([self._decode(np.concatenate(self._log_probs))], self.seconds)

    def _mono(self, chunk: NDArray[np.generic]) -> Waveform:
        # An empty or silent chunk is not an error, unlike an empty or silent recording.
        if not chunk.size or not chunk.any():
            return np.zeros(len(chunk) if chunk.ndim else 0, np.float32)
        try:
            # A chunk of 32-bit samples may be almost silent.
            if chunk.dtype.itemsize == 8:
                check_integers(chunk)
            return from_array(chunk, self._sample_rate, self._sample_rate)
        except AudioError as error:
            raise AudioError(f"chunk at {self.seconds:.3f} s: {error}") from None

    def _process(self, waveform: Waveform, last: bool) -> None:
        self._received += len(waveform)
        if self._resampler:
            waveform = np.asarray(self._resampler.resample_chunk(waveform, last=last), np.float32)
        self._resampled += len(waveform)
        self._blocks.append(waveform)
        if last and self._resampled:
            self._blocks.append(self._padding)
        elif not last:
            self._held_back = max(self._held_back, self.seconds - self._resampled / self._features.sample_rate)
        while frames := self._ready_frames(last):
            self._compute(frames)
        if last and self._state is not None:
            self._extend(self._acoustic.network.finish(self._state))

    def _ready_frames(self, last: bool) -> int:
        """Return how many frames can be computed: whole steps of the network, except at the end of the stream."""
        waiting = sum(map(len, self._blocks))
        if not self._resampled or waiting < self._features.fft_length:
            return 0
        frames = 1 + (waiting - self._features.fft_length) // self._features.hop_length
        step = self._acoustic.settings.model.step
        return min(frames if last else frames - frames % step, max(_BLOCK - _BLOCK % step, step))

    def _compute(self, frames: int) -> None:
        frontend = self._acoustic.frontend
        samples = np.concatenate(self._blocks)
        end = (frames - 1) * self._features.hop_length + self._features.fft_length
        rows = self._normalise(frontend.coefficients(frontend.decibels(samples[:end])))
        log_probs, self._state = self._acoustic.network.proceed(rows, self._state)
        self._blocks = [samples[frames * self._features.hop_length :].copy()]
        self._extend(log_probs)

    def _extend(self, log_probs: LogProbs) -> None:
        if not len(log_probs):
            return
        self._path.extend(log_probs)
        if self._decode:
            self._log_probs.append(log_probs)


def check_audio(settings: ModelFileSettings) -> None:
    """Raise StreamError for a model of given features."""
    if settings.features.kind == "given":
        raise StreamError('this model was trained with features.kind = "given": it reads arrays of features, not audio')


def check_streams(settings: ModelFileSettings) -> None:
    """Raise StreamError if a model of these settings needs the whole recording."""
    check_audio(settings)
    model, features = settings.model, settings.features
    problems = [
        *([] if model.streams else ["model.bidirectional = true", "model.chunk = 0"]),
        *([f'features.normalisation = "{features.normalisation}"'] if features.normalisation not in CAUSAL else []),
        *([f"features.top_db = {features.top_db:g}"] if features.top_db else []),
        *([f"features.deltas = {features.deltas}"] if features.deltas else []),
    ]
    if problems:
        raise StreamError(
            f"this model was trained with {', '.join(problems)} and needs the whole recording; train a streaming model "
            "with model.chunk = 6 and model.lookahead = 3 (or model.bidirectional = false), "
            'features.normalisation = "running", features.top_db = 0 and features.deltas = 0'
        )
