"""Chunks of a waveform -> text that grows while they come, by a model that hears only what is past.

What is carried from chunk to chunk: samples that fill no window yet, the frames that the convolutions still see, and
the state of the recurrent layers. So the result is that of the whole waveform at once, however it was cut.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import soxr
import torch
from numpy.typing import NDArray

from asr import audio, decoding
from asr.audio import AudioError, Waveform
from asr.decoding import LogProbs
from asr.errors import AsrError
from asr.features.frontend import Frontend
from asr.model import Model, StreamState
from asr.model.checkpoint import ModelFileSettings
from asr.text import BLANK, Alphabet
from asr.transcripts.records import Hypothesis

# Frames computed at once, a multiple of every time_reduction: a chunk of any size takes no more memory than these.
_BLOCK = 1200
Decode = Callable[[LogProbs], Hypothesis]


class StreamError(AsrError):
    """A model that cannot hear a stream, or a stream that has ended."""


@dataclass(frozen=True)
class Network:
    """What a stream is heard with."""

    settings: ModelFileSettings
    frontend: Frontend
    model: Model


class Stream:
    """One stream of sound, heard by a forward-only model. `asr.Recognizer.stream` makes it.

    The text so far is that of the best path and only ever grows. With words or a decoder that searches, the final text
    comes from the log-probabilities of the whole stream, which are kept, 3 kB for a second; else only the text is.
    """

    def __init__(self, network: Network, rate: int, decode: Decode | None = None) -> None:
        check(network.settings)
        audio.check_rate(rate)
        self._network = network
        self._rate = rate
        own_rate = network.settings.features.sample_rate
        self._resampler = soxr.ResampleStream(rate, own_rate, 1, dtype="float32") if rate != own_rate else None
        self._decode = decode
        self._path = _Path(network.settings.alphabet)
        self._kept: list[LogProbs] = []
        # The first window is centred on the first sample.
        self._padding = np.zeros(network.settings.features.fft_length // 2, np.float32)
        self._pieces, self._waiting = [self._padding], len(self._padding)
        self._state: StreamState | None = None
        self._taken = self._heard = 0
        self._held = 0.0
        self._ended = False

    @property
    def text(self) -> str:
        """Return the text so far."""
        return self._path.text.rstrip()

    @property
    def seconds(self) -> float:
        """Return how much of the stream has come, in seconds."""
        return self._taken / self._rate

    @property
    def latency(self) -> float:
        """Return the longest time, in seconds, that a sound waits for later sound until the network hears it.

        It waits for the frames that make one output frame, for half a window, and for what the resampler has been seen
        to hold back; to this come the length of a chunk and the computing.
        """
        features, reduction = self._network.settings.features, self._network.settings.model.time_reduction
        samples = 2 * (reduction - 1) * features.hop_length + features.fft_length // 2
        return samples / features.sample_rate + self._held

    def feed(self, chunk: NDArray[np.generic]) -> str:
        """Hear the next chunk, (samples,) or (samples, channels) of any length; return the text so far.

        Integers are scaled by their type's range. Raises AudioError for samples that are NaN, infinite or absurdly
        large, of which nothing is heard, and StreamError after the end.
        """
        if self._ended:
            raise StreamError("the stream has ended; a new one takes further sound")
        self._take(self._mono(np.asarray(chunk)), last=False)
        return self.text

    def finish(self) -> Hypothesis:
        """End the stream and return what was said: what `transcribe` says of the whole. Raises StreamError if ended.

        A stream of nothing or of digital silence is no mistake here.
        """
        if self._ended:
            raise StreamError("the stream has ended already")
        self._take(np.zeros(0, np.float32), last=True)
        self._ended = True
        if self._decode and self._kept:
            return self._decode(np.concatenate(self._kept))
        return Hypothesis(self.text, self._path.score)

    def _mono(self, chunk: NDArray[np.generic]) -> Waveform:
        # Neither an empty chunk nor a silent one is a mistake, as it is for a whole recording.
        if not chunk.size or not chunk.any():
            return np.zeros(len(chunk) if chunk.ndim else 0, np.float32)
        try:
            return audio.from_array(chunk, self._rate, self._rate)
        except AudioError as error:
            raise AudioError(f"in the chunk from {self.seconds:.3f} s on: {error}") from None

    def _take(self, waveform: Waveform, last: bool) -> None:
        self._taken += len(waveform)
        if self._resampler:
            waveform = np.asarray(self._resampler.resample_chunk(waveform, last=last), np.float32)
        self._heard += len(waveform)
        self._push(waveform)
        if last and self._heard:
            self._push(self._padding)
        elif not last:
            self._held = max(self._held, self.seconds - self._heard / self._network.settings.features.sample_rate)
        while frames := self._ready(last):
            self._hear(frames)

    def _push(self, waveform: Waveform) -> None:
        self._pieces.append(waveform)
        self._waiting += len(waveform)

    def _ready(self, last: bool) -> int:
        """Return how many frames can be computed now; those of one output frame come together, but for the last."""
        features, reduction = self._network.settings.features, self._network.settings.model.time_reduction
        if not self._heard or self._waiting < features.fft_length:
            return 0
        frames = 1 + (self._waiting - features.fft_length) // features.hop_length
        return min(frames if last else frames - frames % reduction, _BLOCK)

    def _hear(self, frames: int) -> None:
        features, frontend = self._network.settings.features, self._network.frontend
        samples = np.concatenate(self._pieces)
        end = (frames - 1) * features.hop_length + features.fft_length
        with torch.inference_mode():
            decibels = frontend.decibels(torch.from_numpy(samples[:end]).to(frontend.device))
            rows = frontend.normalised(frontend.coefficients(decibels))
            lengths = torch.tensor([frames], device=frontend.device)
            output = self._network.model(rows[None], lengths, self._state)
        self._state = output.state
        left = samples[frames * features.hop_length :].copy()
        self._pieces, self._waiting = [left], len(left)
        log_probs = output.log_probs[0].cpu().numpy()
        self._path.extend(log_probs)
        if self._decode:
            self._kept.append(log_probs)


class _Path:
    """The best path, which grows frame by frame."""

    def __init__(self, alphabet: Alphabet) -> None:
        self.text = ""
        self.score = 0.0
        self._alphabet = alphabet
        self._last = BLANK

    def extend(self, log_probs: LogProbs) -> None:
        """Go on through (T', V). Raises DecodingError."""
        decoding.check_log_probs(log_probs, self._alphabet)
        best = log_probs.argmax(axis=1)
        first = best != np.concatenate([[self._last], best[:-1]])
        self._last = int(best[-1])
        self.score += float(log_probs.max(axis=1).sum())
        for character in self._alphabet.decode(best[first].tolist()):
            if not character.isspace():
                self.text += character
            elif self.text and not self.text.endswith(" "):
                self.text += " "


def check(settings: ModelFileSettings) -> None:
    """Raise StreamError if a model of these settings needs the whole utterance."""
    model, features = settings.model, settings.features
    amiss = [
        *(["model.bidirectional = true"] if model.bidirectional else []),
        *(['features.normalisation = "utterance"'] if features.normalisation == "utterance" else []),
        *([f"features.top_db = {features.top_db:g}"] if features.top_db else []),
        *([f"features.deltas = {features.deltas}"] if features.deltas else []),
    ]
    if amiss:
        raise StreamError(
            f"this model needs the whole recording, as it was trained with {', '.join(amiss)}; one that hears a stream "
            'is trained with model.bidirectional = false, features.normalisation = "corpus" (or "none"), '
            "features.top_db = 0 and features.deltas = 0"
        )
