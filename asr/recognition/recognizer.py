"""A model file -> transcripts of waveforms, files and manifests."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from asr import audio
from asr.compute import choose_device
from asr.corpora.manifest import Utterance
from asr.decoding import GreedyDecoder, LogProbs
from asr.features import batching
from asr.features.frontend import Frontend
from asr.features.streaming import BlockFeatures, Blocks, split, with_progress
from asr.model import Model, checkpoint
from asr.model.checkpoint import Contents, ModelFileError
from asr.recognition import segmenting as cuts
from asr.recognition.listening import Listener, Listening
from asr.recognition.streaming import Network, Stream
from asr.transcripts.records import Hypothesis

if TYPE_CHECKING:
    from asr.decoding.decoder import Decoder, DecoderConfig

Read = TypeVar("Read")


class Recognizer:
    """A trained model, ready to transcribe. `card` tells how the model came to be.

    It decodes greedily; `with_decoder` gives one that searches. Recordings may have any length; `with_listening` gives
    one that leaves out silence.
    """

    def __init__(self, model: Model, frontend: Frontend, contents: Contents) -> None:
        self.settings = settings = contents.settings
        self.card = contents.card
        self._model = model.eval()
        self._frontend = frontend
        self._listener = Listener(self._model, frontend, Listening())
        self._decoder: GreedyDecoder | Decoder = GreedyDecoder(settings.alphabet, settings.seconds_per_frame)

    @property
    def sample_rate(self) -> int:
        """Return the sample rate in Hz that `transcribe` takes."""
        return self.settings.features.sample_rate

    @property
    def batch_seconds(self) -> float:
        """Return the seconds of audio, with padding, that are computed together."""
        return self._listener.batch

    def takes_whole(self, seconds: float) -> bool:
        """Say whether a recording of so many seconds is heard at once, so that others can be computed with it."""
        return self._listener.takes_whole(seconds)

    def with_decoder(self, config: "DecoderConfig") -> "Recognizer":
        """Return the same model with another decoder, such as `asr.read_decoder` reads. Raises DecodingError."""
        other = copy(self)
        other._decoder = config.build(self.settings.alphabet, self.settings.seconds_per_frame)
        return other

    def with_listening(self, listening: Listening) -> "Recognizer":
        """Return the same model that hears recordings in another way."""
        other = copy(self)
        other._listener = Listener(self._model, self._frontend, listening)
        return other

    def transcribe(self, waveform: NDArray[np.floating], words: bool = False) -> Hypothesis:
        """Transcribe a mono waveform (samples,) in [-1, 1] at `sample_rate`.

        With `words` the hypothesis has its words with their times (seconds) and confidences. Raises AudioError for one
        that is empty, silent or not finite.
        """
        waveform = audio.from_array(waveform, self.sample_rate, self.sample_rate)
        if self.takes_whole(len(waveform) / self.sample_rate):
            return self._decoder.decode(self._listener.together([waveform])[0], 1, words)[0]
        return self._decode_long(lambda: split(waveform), 1, words)[0]

    def transcribe_together(
        self, waveforms: Sequence[NDArray[np.float32]], count: int = 1, words: bool = False, threads: int = 0
    ) -> list[list[Hypothesis]]:
        """Return the `count` best transcripts of waveforms as `asr.audio.load` reads them, computed in one batch.

        Each must be one that `takes_whole` accepts. They are searched on so many threads (0: one for each core).
        """
        if not waveforms:
            return []
        return self._decoder.decode_batch(self._listener.together(waveforms), count, words, threads)

    def transcribe_file(self, path: str | Path, words: bool = False) -> Hypothesis:
        """Transcribe a sound file of any rate, length and number of channels, which are averaged; `words` as above.

        Raises AudioError.
        """
        return self.alternatives(path, 1, words)[0]

    def transcribe_channels(self, path: str | Path, words: bool = False) -> list[Hypothesis]:
        """Transcribe each channel of a sound file; `words` as above. Raises AudioError."""
        return [found[0] for found in self.alternatives_of_channels(path, 1, words)]

    def stream(self, rate: int | None = None, words: bool = False) -> Stream:
        """Begin a stream of sound at `rate` Hz (otherwise at `sample_rate`), whose chunks are fed one by one.

        `words` as above, of the final hypothesis. Raises StreamError for a model that needs the whole recording.
        """
        path_is_all = isinstance(self._decoder, GreedyDecoder) and not words
        decode = None if path_is_all else lambda log_probs: self._decoder.decode(log_probs, 1, words)[0]
        network = Network(self.settings, self._frontend, self._model)
        return Stream(network, self.sample_rate if rate is None else rate, decode)

    def alternatives(
        self, path: str | Path, count: int, words: bool = False, tell: Callable[[float], None] | None = None
    ) -> list[Hypothesis]:
        """Return the `count` best transcripts of a sound file, best first; `words` are those of the best one.

        `tell` is told the share of a long file that is done.
        """
        return self._decode_file(path, count, words, None, tell)

    def alternatives_of_channels(
        self, path: str | Path, count: int, words: bool = False, tell: Callable[[float], None] | None = None
    ) -> list[list[Hypothesis]]:
        """Return the `count` best transcripts of each channel, as `alternatives` does; a silent one has an empty text.

        Raises AudioError where all are digital silence.
        """
        channels = audio.info(path).channels

        def hear(channel: int) -> list[Hypothesis]:
            part = None if tell is None else lambda share: tell((channel + share) / channels)
            return self._decode_file(path, count, words, channel, part)

        return [found or [Hypothesis("", 0.0)] for found in of_channels(channels, hear)]

    def transcribe_utterances(
        self,
        utterances: Sequence[Utterance],
        progress: Callable[[float, float], None] | None = None,
        words: bool = False,
    ) -> list[Hypothesis]:
        """Transcribe utterances in batches; return the hypotheses in their order.

        `progress` is told the seconds of audio done and in all. Raises AudioError.
        """
        return [found[0] for found in self.alternatives_each(utterances, 1, progress, words)]

    def alternatives_each(
        self,
        utterances: Sequence[Utterance],
        count: int,
        progress: Callable[[float, float], None] | None = None,
        words: bool = False,
    ) -> list[list[Hypothesis]]:
        """Return the `count` best transcripts of each utterance, best first; otherwise as `transcribe_utterances`."""
        found: dict[int, list[Hypothesis]] = {}
        for indices, chosen, tell in self._batches(utterances, progress):
            if self._takes_whole(chosen[0]):
                decoded = self._decoder.decode_batch(self._together(chosen), count, words)
                found |= zip(indices, decoded, strict=True)
            else:
                with _named(chosen[0]):
                    found[indices[0]] = self._decode_long(self._blocks(chosen[0], tell), count, words)
            tell(1.0)
        return [found[index] for index in range(len(utterances))]

    def log_probs(
        self, utterances: Sequence[Utterance], progress: Callable[[float, float], None] | None = None
    ) -> list[LogProbs]:
        """Return what the network says of each utterance, (T', V), silence and all; else as `transcribe_utterances`."""
        hearing = self.with_listening(replace(self._listener.listening, vad=False))
        found: dict[int, LogProbs] = {}
        for indices, chosen, tell in hearing._batches(utterances, progress):
            if hearing._takes_whole(chosen[0]):
                found |= zip(indices, hearing._together(chosen), strict=True)
            else:
                with _named(chosen[0]):
                    heard = hearing._listener.pieces(self._blocks(chosen[0], tell))
                    found[indices[0]] = np.concatenate([piece.log_probs for piece in heard])
            tell(1.0)
        return [found[index] for index in range(len(utterances))]

    def _batches(
        self, utterances: Sequence[Utterance], progress: Callable[[float, float], None] | None = None
    ) -> Iterator[tuple[list[int], list[Utterance], Callable[[float], None]]]:
        """Yield which utterances are heard together; a long one is alone. The share that is done of them is told."""
        hop = self.settings.features.hop
        short = [index for index, one in enumerate(utterances) if self._takes_whole(one)]
        lengths = [round(utterances[index].duration / hop) for index in short]
        plans = batching.plan(lengths, round(self.batch_seconds / hop))
        planned = [[short[place] for place in batch] for batch in plans]
        planned += [[index] for index, one in enumerate(utterances) if not self._takes_whole(one)]
        total = sum(utterance.duration for utterance in utterances)
        done = 0.0
        for indices in planned:
            chosen = [utterances[index] for index in indices]
            seconds = sum(one.duration for one in chosen)

            def tell(share: float, before: float = done, seconds: float = seconds) -> None:
                if progress:
                    progress(before + share * seconds, total)

            yield indices, chosen, tell
            done += seconds

    def _takes_whole(self, one: Utterance) -> bool:
        return self.takes_whole(one.duration)

    def _together(self, chosen: Sequence[Utterance]) -> list[LogProbs]:
        waveforms = []
        for one in chosen:
            with _named(one):
                waveforms.append(audio.load(one.audio, self.sample_rate, one.offset, one.duration))
        return self._listener.together(waveforms)

    def _blocks(self, one: Utterance, tell: Callable[[float], None]) -> Blocks:
        return self._told(
            lambda: audio.blocks(one.audio, self.sample_rate, one.offset, one.duration), one.duration, tell
        )

    def _told(self, blocks: Blocks, seconds: float, tell: Callable[[float], None] | None) -> Blocks:
        if tell is None:
            return blocks
        passes = BlockFeatures.passes(self.settings.features)
        return with_progress(blocks, round(seconds * self.sample_rate), passes, lambda done, total: tell(done / total))

    def _decode_file(
        self, path: str | Path, count: int, words: bool, channel: int | None, tell: Callable[[float], None] | None
    ) -> list[Hypothesis]:
        seconds = audio.info(path).duration
        if self.takes_whole(seconds):
            waveform = audio.load(path, self.sample_rate, channel=channel)
            return self._decoder.decode(self._listener.together([waveform])[0], count, words)
        blocks = self._told(lambda: audio.blocks(path, self.sample_rate, channel=channel), seconds, tell)
        return self._decode_long(blocks, count, words)

    def _decode_long(self, blocks: Blocks, count: int, words: bool) -> list[Hypothesis]:
        settings = self.settings
        cut = cuts.cut(self._listener.pieces(blocks), settings.alphabet, settings.seconds_per_frame)
        return cuts.decode(self._decoder, cut, count, words)


def of_channels(count: int, read: Callable[[int], Read]) -> list[Read | None]:
    """Return what is read of each of so many channels, None of a silent one. Raises SilenceError where all are."""
    found: list[Read | None] = []
    silence: audio.SilenceError | None = None
    for channel in range(count):
        try:
            found.append(read(channel))
        except audio.SilenceError as error:
            silence = silence or error
            found.append(None)
    if silence and all(one is None for one in found):
        raise silence
    return found


@contextmanager
def _named(one: Utterance) -> Iterator[None]:
    try:
        yield
    except audio.AudioError as error:
        raise audio.AudioError(f"utterance {one.id}: {error}") from error


def load(path: str | Path, device: str = "cpu") -> Recognizer:
    """Load a model file for transcription on cpu, cuda, mps or auto. Raises ModelFileError and DeviceError."""
    place = choose_device(device)
    model, contents = checkpoint.load(path)
    matrices = checkpoint.matrices(contents)
    if matrices is None:
        raise ModelFileError(f"{path}: without the matrices of its features; an older asr wrote it: train it again")
    return Recognizer(model.to(place), Frontend(contents.settings.features, matrices, place), contents)
