"""Live recognition: chunks of a waveform -> partial results while someone speaks, final ones at pauses.

Voice activity detection follows the stream and divides it into utterances. With a streaming model an utterance is
computed and decoded once, while it grows. With any other model it is transcribed again as it grows. Only the samples
since the last final result are kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, takewhile

import numpy as np
from numpy.typing import NDArray

from asr.audio import AudioError, Waveform, block_resampler, check_integers, check_rate, from_array
from asr.config import check_ranges
from asr.recognition import vad
from asr.recognition.inference import FrameRange, OptionsError
from asr.recognition.streaming import Stream, StreamError
from asr.transcripts.records import Transcript

# An utterance is transcribed again once it has grown by this share, so that long ones do not take all the time.
_GROWTH = 0.1
# From this share of the longest duration on, half of the pause ends an utterance that has been decoded already.
_LATE = 0.75


@dataclass(frozen=True)
class LiveOptions:
    """Options of a live session, in seconds.

    `pause`: silence that ends an utterance. `longest`: the longest duration of an utterance. With a streaming model,
    half the pause ends an utterance that has reached three quarters of it, and a longer one is cut there. With other
    models, a longer utterance is cut at its longest silence.
    """

    pause: float = 0.8
    longest: float = 20.0

    def __post_init__(self) -> None:
        try:
            check_ranges(self, pause=(0.1, 10), longest=(2, 120))
        except ValueError as error:
            raise OptionsError(str(error)) from None


DEFAULT_LIVE = LiveOptions()


@dataclass(frozen=True)
class LiveResult:
    """What was said between two times, in seconds since the beginning of the session.

    A final result does not change, and its transcript has words with the times of the session. A partial result
    (`final` is False) is the text so far of the utterance that follows the last final result. `stable` are words at its
    beginning: with a streaming model those in which all hypotheses agree, so that they do not change any more; with
    other models those that the partial result before it had too, which may still change.
    """

    start: float
    end: float
    transcript: Transcript
    final: bool
    stable: str = ""

    @property
    def text(self) -> str:
        """Return the text."""
        return self.transcript.text


class Repeated:
    """The utterances of any model: each is transcribed again as it grows.

    `transcribe` returns the transcript of a waveform, with or without words.
    """

    # Seconds of new audio after which speech and pauses are looked for.
    step = 0.5
    # Samples of the utterance that have been decoded for good: it cannot end before them.
    decoded = 0

    def __init__(self, transcribe: Callable[[Waveform, bool], Transcript]) -> None:
        self._transcribe = transcribe
        self._shown = 0  # samples of the last partial result
        self._words: list[str] = []

    def partial(self, waveform: Waveform, wanted: bool) -> tuple[str, str] | None:
        """Return the text so far and its stable words; None if it is not wanted, or if there is little new."""
        if not wanted or len(waveform) - self._shown < _GROWTH * len(waveform):
            return None
        words = self._transcribe(waveform, False).text.split() if waveform.any() else []
        pairs = takewhile(lambda pair: pair[0] == pair[1], zip(words, self._words, strict=False))
        stable = " ".join(word for word, _ in pairs)
        self._shown, self._words = len(waveform), words
        return " ".join(words), stable

    def final(self, waveform: Waveform) -> Transcript:
        """Return the transcript of an utterance, with words; the next one begins."""
        self._shown, self._words = 0, []
        return self._transcribe(waveform, True) if waveform.any() else Transcript("")


class Continued:
    """The utterances of a streaming model: each is a stream that `begin` begins, computed and decoded once."""

    step = 0.4

    def __init__(self, begin: Callable[[], Stream]) -> None:
        self._begin = begin
        self._stream = begin()
        self._shown = "", ""
        self.decoded = 0

    def partial(self, waveform: Waveform, wanted: bool) -> tuple[str, str] | None:
        """Return the text so far and its stable words; None if it is not wanted, or if nothing is new."""
        self._feed(waveform)
        found = self._stream.text, self._stream.stable
        if not wanted or found == self._shown:
            return None
        self._shown = found
        return found

    def final(self, waveform: Waveform) -> Transcript:
        """Return the transcript of an utterance, with words; the next one begins."""
        self._feed(waveform)
        transcript = self._stream.finish()
        self._stream, self._shown, self.decoded = self._begin(), ("", ""), 0
        return transcript

    def _feed(self, waveform: Waveform) -> None:
        self._stream.feed(waveform[self.decoded :])
        self.decoded = len(waveform)


class LiveTranscriber:
    """One live session. `asr.Recognizer.live` makes it.

    Results do not depend on how the audio is divided into chunks. Memory does not grow with the length of the session.
    """

    def __init__(
        self,
        utterances: Repeated | Continued,
        sample_rate: int,
        model_rate: int,
        options: LiveOptions = DEFAULT_LIVE,
    ) -> None:
        """`sample_rate`: of the chunks. `model_rate`: of the utterances' waveforms."""
        check_rate(sample_rate)
        self._utterances = utterances
        self._sample_rate = sample_rate
        self._hop = round(vad.HOP * model_rate)
        self._frame = self._hop / model_rate
        self._pause, self._longest, self._padding = (
            round(seconds / self._frame) for seconds in (options.pause, options.longest, vad.PADDING)
        )
        # Audio is processed in steps of a fixed length, whatever the length of a chunk.
        self._step = round(utterances.step * sample_rate)
        self._chunks: list[Waveform] = []
        self._received = self._processed = 0
        self._resample = block_resampler(sample_rate, model_rate)
        self._detector = vad.Detector(model_rate)
        # The samples that no final result covers, the probabilities of speech of their frames, and the index in the
        # stream of their first frame.
        self._samples = np.zeros(0, np.float32)
        self._probability = np.zeros(0, np.float32)
        self._first = 0
        # Whether the utterance before was cut, so that even the shortest rest of it is speech.
        self._was_cut = False
        self._ended = False

    @property
    def seconds(self) -> float:
        """Return how much audio has been fed, in seconds."""
        return self._received / self._sample_rate

    def feed(self, chunk: NDArray[np.generic], partial: bool = True) -> list[LiveResult]:
        """Process the next chunk (samples,) of any length; return the results that it completes.

        Integers are scaled by the range of their type. Without `partial`, only final results are returned, for a
        program that is behind its audio. Raise AudioError if samples are NaN, infinite or absurdly large; nothing of
        the chunk is processed then. Raise StreamError after the end.
        """
        if self._ended:
            raise StreamError("the session has ended; start a new one")
        waveform = self._checked(np.asarray(chunk))
        self._chunks.append(waveform)
        self._received += len(waveform)
        if self._received - self._processed < self._step:
            return []
        waiting = np.concatenate(self._chunks)
        whole = len(waiting) - len(waiting) % self._step
        self._chunks = [waiting[whole:].copy()]
        self._processed += whole
        return [
            result
            for start in range(0, whole, self._step)
            for result in self._advance(waiting[start : start + self._step], partial)
        ]

    def finish(self) -> list[LiveResult]:
        """End the session; return the final results of the rest. Raise StreamError if it has ended before."""
        if self._ended:
            raise StreamError("the session has ended already")
        self._ended = True
        if not self._received:
            return []
        return self._advance(np.concatenate(self._chunks), partial=False)

    def _checked(self, chunk: NDArray[np.generic]) -> Waveform:
        if chunk.ndim != 1:
            raise AudioError(
                f"chunk at {self.seconds:.3f} s: {chunk.ndim} dimensions; expected (samples,) of a channel"
            )
        # An empty or silent chunk is not an error, unlike an empty or silent recording.
        if not chunk.any():
            return np.zeros(len(chunk), np.float32)
        try:
            if chunk.dtype.itemsize == 8:
                check_integers(chunk)
            # A caller may use its array again.
            return from_array(chunk, self._sample_rate, self._sample_rate).copy()
        except AudioError as error:
            raise AudioError(f"chunk at {self.seconds:.3f} s: {error}") from None

    def _advance(self, block: Waveform, partial: bool) -> list[LiveResult]:
        """Process the next step, or the last samples of the session."""
        samples = self._resample(block, self._ended)
        found = [self._probability, self._detector.add(samples)]
        if self._ended:
            found.append(self._detector.finish())
        self._probability = np.concatenate(found)
        self._samples = np.concatenate([self._samples, samples])
        results: list[LiveResult] = []
        while True:
            self._drop_silence()
            speech, decided = self._speech()
            end = self._end(speech, decided) if speech else None
            if end is None:
                return results + (self._partial(speech[-1].end, partial) if speech else [])
            results.append(self._final(end))

    def _speech(self) -> tuple[list[FrameRange], int]:
        """Return the runs of frames with speech, and the frame up to which the others are known to have none."""
        decided = len(self._probability)
        speech = []
        for first, end in vad.runs(~vad.silent(self._probability)):
            if vad.is_speech(self._probability[first:end]) or (self._was_cut and first == 0):
                speech.append(FrameRange(first, end))
            elif end == decided and not self._ended and end - first <= self._longest:
                decided = first  # it may become speech
        return speech, decided

    def _drop_silence(self) -> None:
        """Let the samples begin shortly before the first speech, or before what may become speech."""
        speech, decided = self._speech()
        silence = (speech[0].first if speech else decided) - self._padding
        if silence > 0:
            self._drop(silence)
            self._was_cut = False

    def _drop(self, frames: int) -> None:
        self._samples = self._samples[frames * self._hop :]
        self._probability = self._probability[frames:]
        self._first += frames

    def _end(self, speech: Sequence[FrameRange], decided: int) -> int | None:
        """Return the frame at which the utterance ends that begins with the first frame, or None while it continues.

        The utterance may exceed the longest duration; `_final` then cuts it.
        """
        frames, decoded = len(self._probability), self._utterances.decoded // self._hop
        pause = self._pause // 2 if decoded > _LATE * self._longest else self._pause
        for before, after in pairwise([*speech, FrameRange(decided, decided)]):
            silence = after.first - before.end
            end = before.end + min(self._padding, max(silence, self._pause) // 2)
            if silence >= pause and end >= decoded:
                return end
        return frames if self._ended or frames > self._longest else None

    def _final(self, end: int) -> LiveResult:
        """Return the result of the utterance that ends at a frame, or that is cut before it because it is too long."""
        self._was_cut = end > self._longest
        if self._was_cut:
            decoded = self._utterances.decoded // self._hop
            end = _cut(self._probability[: self._longest], max(self._longest // 4, decoded))
        waveform = self._samples[: end * self._hop]
        result = self._result(waveform, self._utterances.final(waveform))
        self._drop(end)
        return result

    def _partial(self, end: int, wanted: bool) -> list[LiveResult]:
        """Return the text so far of the utterance that begins with the first sample and whose speech ends at a frame.

        Of a pause, only what belongs to the utterance in any case is decoded.
        """
        end = min(end + min(self._padding, self._pause // 2), self._longest, len(self._samples) // self._hop)
        waveform = self._samples[: end * self._hop]
        found = self._utterances.partial(waveform, wanted)
        if found is None:
            return []
        text, stable = found
        return [replace(self._result(waveform, Transcript(text)), final=False, stable=stable)]

    def _result(self, waveform: Waveform, transcript: Transcript) -> LiveResult:
        """Return the result of the utterance's waveform, from its transcript."""
        start = self._first * self._frame
        end = start + len(waveform) / self._hop * self._frame
        words = tuple(replace(word, start=word.start + start, end=word.end + start) for word in transcript.words)
        return LiveResult(start, end, replace(transcript, words=words, duration=end), final=True)


def _cut(probability: NDArray[np.float32], first: int) -> int:
    """Return the middle of the longest silence of an utterance after a frame.

    Without silence, it is the frame that is least like speech.
    """
    silences = [FrameRange(*run) for run in vad.runs(vad.silent(probability)) if sum(run) // 2 > first]
    if silences:
        longest = max(silences, key=lambda silence: silence.end - silence.first)
        return (longest.first + longest.end) // 2
    return first + int(probability[first:].argmin()) if first < len(probability) else first


def joined(finals: Sequence[LiveResult], duration: float) -> Transcript:
    """Return the transcript of a session of `duration` seconds from its final results."""
    transcripts = [result.transcript for result in finals if result.text]
    return Transcript(
        " ".join(transcript.text for transcript in transcripts),
        tuple(word for transcript in transcripts for word in transcript.words),
        acoustic_score=sum(transcript.acoustic_score for transcript in transcripts),
        lm_score=sum(transcript.lm_score for transcript in transcripts),
        duration=duration,
    )
