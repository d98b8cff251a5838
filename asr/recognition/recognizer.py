"""Transcribes waveforms, files and manifests with a model file."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from asr.audio import AudioError, Waveform, check_integers, from_array
from asr.corpora.manifest import Utterance
from asr.decoding import DecodingError, GreedyDecoder, LogProbs
from asr.decoding.alignment import AlignmentError
from asr.errors import DeviceError
from asr.features.frontend import Frontend
from asr.features.given import check_shape, finite
from asr.features.streaming import BlockFeatures, Blocks, split, with_progress
from asr.model import checkpoint
from asr.model.checkpoint import ModelFileError, ModelFileSettings
from asr.model.inference import Network
from asr.model.weights import Tensors
from asr.parallel.blas import one_blas_thread
from asr.recognition import segmenting, vad
from asr.recognition.files import OnProgress, Plan, Recording, Source, of_channels, open_recording
from asr.recognition.inference import DEFAULT_OPTIONS, AcousticModel, DeviceMemoryError, TranscribeOptions
from asr.recognition.live import DEFAULT_LIVE, Continued, LiveOptions, LiveTranscriber, Repeated
from asr.recognition.streaming import Stream, StreamError, check_audio
from asr.transcripts.records import FileResult, Hypothesis, Transcript

if TYPE_CHECKING:
    # It imports numba and the language models, which greedy decoding does not need.
    from asr.decoding.decoder import Decoder, DecoderConfig
    from asr.recognition.device import DeviceNetwork


class Recognizer:
    """A trained model, ready to transcribe. `card` says how the model was trained.

    It decodes greedily unless it has another decoder; see `with_decoder`.
    """

    def __init__(self, acoustic: AcousticModel, card: dict[str, Any]) -> None:
        self.settings = settings = acoustic.settings
        self.card = card
        self._acoustic = acoustic
        self._decoder: GreedyDecoder | Decoder = GreedyDecoder(settings.alphabet, settings.seconds_per_frame)

    @property
    def sample_rate(self) -> int:
        """Return the sample rate of the model in Hz."""
        return self.settings.features.sample_rate

    def with_decoder(self, config: "DecoderConfig") -> "Recognizer":
        """Return the same model with another decoder, such as `asr.read_decoder` reads. Raise DecodingError."""
        other = copy(self)
        other._decoder = config.build(self.settings.alphabet, self.settings.seconds_per_frame)
        return other

    @one_blas_thread()
    def transcribe(
        self,
        waveform: NDArray[np.generic],
        sample_rate: int | None = None,
        options: TranscribeOptions = DEFAULT_OPTIONS,
    ) -> Transcript:
        """Transcribe a waveform (samples,) or (samples, channels); its sample rate is the model's if not given.

        Integers are scaled by the range of their type; floating point is in [-1, 1]. Raise AudioError if it is empty,
        silent or not finite, and for integers of 32 or 64 bits that are samples of a narrower type. A model of given
        features takes them in place of a waveform, (T, F).
        """
        if self.settings.features.kind == "given":
            check_shape(waveform, self.settings.features)
            samples = finite(waveform)
        else:
            check_integers(waveform)
            samples = from_array(waveform, sample_rate or self.sample_rate, self.sample_rate)
        duration = len(samples) / self.settings.features.input_rate
        if duration > options.whole:
            return _transcript(self._decode_long(lambda: split(samples), options), duration)
        return _transcript(self._decode_short([samples], options)[0], duration)

    @one_blas_thread()
    def transcribe_file(self, file: str | Path | BinaryIO, options: TranscribeOptions = DEFAULT_OPTIONS) -> Transcript:
        """Transcribe a sound file of any rate, length and number of channels, which are averaged.

        `file`: a path, or a binary file object, which is read from its position to its end. Raise AudioError.
        """
        recording = open_recording(0, file, self.settings.features, replace(options, split_channels=False))
        return self._transcribe_alone(recording, options)[0]

    def transcribe_files(
        self,
        sources: Iterable[Source],
        options: TranscribeOptions = DEFAULT_OPTIONS,
        jobs: int = 1,
        on_progress: OnProgress | None = None,
        on_result: Callable[[int, list[FileResult]], None] | None = None,
    ) -> Iterator[list[FileResult]]:
        """Transcribe files, file objects, or utterances of a manifest, and yield the results of each in order.

        A result list has one FileResult, or one for each channel with `options.split_channels`. A file that cannot be
        used has its error as its result; the other files are not affected. Short recordings are computed together,
        `jobs` batches at a time. `on_result` is called from any thread with the index and the results of a recording as
        soon as they are there.
        """

        @one_blas_thread()
        def work(recordings: list[Recording]) -> list[list[FileResult]]:
            batch = self._transcribe_batch(recordings, options, on_progress)
            for recording, results in zip(recordings, batch, strict=True):
                if on_progress:
                    on_progress(recording.index, 1.0, recording.duration)
                if on_result:
                    on_result(recording.index, results)
            return batch

        plan = Plan(self.settings.features, self._acoustic.batch_seconds(options), options, jobs)
        yield from plan.run(sources, work)

    def log_probs(self, utterances: Sequence[Utterance], on_progress: OnProgress | None = None) -> list[LogProbs]:
        """Return the log-probabilities (T', V) of each utterance. Raise AudioError."""

        @one_blas_thread()
        def work(recordings: list[Recording]) -> list[LogProbs]:
            for recording in recordings:
                if recording.error:
                    raise AudioError(recording.error)
            if recordings[0].reader:
                blocks = self._blocks(recordings[0], None, on_progress)
                outputs = self._acoustic.windowed(blocks, DEFAULT_OPTIONS)
                batch = [np.concatenate(list(outputs))]
            else:
                waveforms = [recording.waveforms[0] for recording in recordings]
                batch = self._acoustic.log_probs([waveform for waveform in waveforms if waveform is not None])
            for recording in recordings:
                if on_progress:
                    on_progress(recording.index, 1.0, recording.duration)
            return batch

        plan = Plan(self.settings.features, self._acoustic.batch_seconds(DEFAULT_OPTIONS), DEFAULT_OPTIONS)
        return list(plan.run(utterances, work))

    def stream(self, sample_rate: int | None = None, words: bool = False) -> Stream:
        """Begin a stream of chunks at `sample_rate` Hz, the model's if not given.

        With `words`, the final transcript has words with their times. Raise StreamError if the model needs the whole
        recording.
        """
        decoder: Any = self._decoder
        path = decoder.begin()
        greedy = isinstance(decoder, GreedyDecoder) and not words
        decode = None if greedy else lambda log_probs: decoder.finish(path, log_probs, 1, words)[0]
        return Stream(self._acoustic, sample_rate or self.sample_rate, decode, path)

    def live(self, sample_rate: int | None = None, options: LiveOptions = DEFAULT_LIVE) -> LiveTranscriber:
        """Begin a live session of chunks at `sample_rate` Hz, the model's if not given; any model of audio will do.

        Raise StreamError for one of given features.
        """
        check_audio(self.settings)

        def transcribe(waveform: Waveform, words: bool) -> Transcript:
            # The session has found the speech.
            return self.transcribe(waveform, options=TranscribeOptions(words=words, vad=False))

        try:
            utterances: Continued | Repeated = Continued(lambda: self.stream(words=True))
        except StreamError:
            utterances = Repeated(transcribe)
        return LiveTranscriber(utterances, sample_rate or self.sample_rate, self.sample_rate, options)

    def _transcribe_batch(
        self, recordings: list[Recording], options: TranscribeOptions, on_progress: OnProgress | None
    ) -> list[list[FileResult]]:
        if len(recordings) > 1:
            try:
                batch = self._transcribe_together(recordings, options)
                return [_results(*row, options) for row in zip(recordings, batch, strict=True)]
            except Exception:  # noqa: S110
                pass  # alone, each recording shows whether it is at fault
        return [self._file_results(recording, options, on_progress) for recording in recordings]

    def _file_results(
        self, recording: Recording, options: TranscribeOptions, on_progress: OnProgress | None
    ) -> list[FileResult]:
        try:
            return _results(recording, self._transcribe_alone(recording, options, on_progress), options)
        except AudioError as error:
            message = str(error)
        except (AlignmentError, DecodingError, DeviceMemoryError) as error:
            message = f"{recording.path}: {error}"
        except Exception as error:  # whatever a library raises for one recording, the others are transcribed
            message = f"{recording.path}: {type(error).__name__}: {error}"
        channel = 0 if options.split_channels else None
        return [FileResult(recording.path, error=message, channel=channel, id=recording.id)]

    def _transcribe_together(self, recordings: list[Recording], options: TranscribeOptions) -> list[list[Transcript]]:
        """Transcribe short recordings in one batch; return the transcripts of the channels of each."""
        waveforms = [part for recording in recordings for part in recording.waveforms if part is not None]
        decoded = iter(self._decode_short(waveforms, options))
        return [
            [
                _transcript([] if part is None else next(decoded), recording.duration, recording.notes)
                for part in recording.waveforms
            ]
            for recording in recordings
        ]

    def _transcribe_alone(
        self, recording: Recording, options: TranscribeOptions, on_progress: OnProgress | None = None
    ) -> list[Transcript]:
        """Return the transcripts of the channels of a recording, long or short. Raise its error if it has one."""
        if recording.error:
            raise AudioError(recording.error)
        if recording.reader is None:
            return self._transcribe_together([recording], options)[0]

        def transcribe(channel: int | None) -> Transcript:
            blocks = self._blocks(recording, channel, on_progress, int(options.vad))
            hypotheses = self._decode_long(blocks, options)
            return _transcript(hypotheses, recording.duration, recording.notes)

        with recording.reader:
            transcripts = of_channels(recording.channels, transcribe)
        return [transcript or _transcript([], recording.duration, recording.notes) for transcript in transcripts]

    def _blocks(
        self, recording: Recording, channel: int | None, on_progress: OnProgress | None, extra_passes: int = 0
    ) -> Blocks:
        blocks = partial(recording.blocks, self.sample_rate, channel)
        if on_progress is None:
            return blocks
        number, count = (0, 1) if channel is None else (channel, len(recording.channels))

        def report(done: float, total: float) -> None:
            on_progress(recording.index, (number + done / total) / count, recording.duration)

        samples = round(recording.duration * self.settings.features.input_rate)
        passes = BlockFeatures.passes(self.settings.features) + extra_passes
        return with_progress(blocks, samples, passes, report)

    def _speech(self, blocks: Iterable[Waveform], options: TranscribeOptions) -> vad.Speech:
        if options.vad and self.settings.features.kind != "given":
            return vad.detect(blocks, self.sample_rate)
        return vad.Speech([vad.SampleRange(0, sys.maxsize)], self.sample_rate)

    def _decode_short(self, waveforms: Sequence[Waveform], options: TranscribeOptions) -> list[list[Hypothesis]]:
        """Decode waveforms in one batch; return the hypotheses of each, none of one without speech."""
        speech = [self._speech([waveform], options) for waveform in waveforms]
        cut = zip(speech, waveforms, strict=True)
        rows = [np.concatenate([waveform[:0], *part.cut([waveform])]) for part, waveform in cut]
        spoken = [row for row in rows if len(row)]
        log_probs = self._acoustic.log_probs(spoken) if spoken else []
        decoded = iter(self._decoder.decode_batch(log_probs, options.nbest, options.words, options.threads))
        return [_restored(next(decoded) if len(row) else [], part) for row, part in zip(rows, speech, strict=True)]

    def _decode_long(self, blocks: Blocks, options: TranscribeOptions) -> list[Hypothesis]:
        settings = self.settings
        speech = self._speech(blocks(), options)
        if not speech.ranges:
            return []
        outputs = self._acoustic.windowed(lambda: speech.cut(blocks()), options)
        segments = segmenting.segments(outputs, settings.alphabet, settings.seconds_per_frame)
        return _restored(segmenting.decode(self._decoder, segments, options.nbest, options.words), speech)


def _restored(hypotheses: Sequence[Hypothesis], speech: vad.Speech) -> list[Hypothesis]:
    """Return hypotheses of the speech of a recording with the times of the whole recording."""
    return [replace(each, words=tuple(map(speech.original, each.words))) for each in hypotheses]


def _transcript(hypotheses: Sequence[Hypothesis], duration: float, notes: Sequence[str] = ()) -> Transcript:
    """Return the transcript of hypotheses, best first; of none, for a silent channel, it is empty."""
    return Transcript.from_hypotheses(hypotheses or [Hypothesis("", 0.0)], duration, notes)


def _results(recording: Recording, transcripts: Sequence[Transcript], options: TranscribeOptions) -> list[FileResult]:
    return [
        FileResult(recording.path, transcript, channel=number if options.split_channels else None, id=recording.id)
        for number, transcript in enumerate(transcripts, 1)
    ]


def load(path: str | Path, device: str = "cpu") -> Recognizer:
    """Load a model file for transcription on cpu, cuda, mps or auto. Raise ModelFileError and DeviceError.

    On a CPU it does not need torch.
    """
    contents, tensors = checkpoint.read(path)
    matrices = checkpoint.matrices(contents)
    if matrices is None:
        raise ModelFileError(
            f"{path}: the feature matrices are missing, as an older asr wrote the file; train it again"
        )
    network: Network | DeviceNetwork = _on_cpu(contents.settings, tensors)
    if device != "cpu":
        network = _on_device(contents.settings, tensors, device) or network
    frontend = Frontend(contents.settings.features, matrices)
    return Recognizer(AcousticModel(contents.settings, frontend, network), contents.card)


def _on_cpu(settings: ModelFileSettings, tensors: Tensors) -> Network:
    return Network(settings.model, tensors, settings.alphabet.outputs - len(settings.alphabet))


def _on_device(settings: ModelFileSettings, tensors: Tensors, device: str) -> "DeviceNetwork | None":
    """Return the network on a GPU, or None if `auto` finds none."""
    try:
        # On a CPU recognition does without torch.
        from asr.compute import choose_device  # noqa: PLC0415
        from asr.recognition.device import DeviceNetwork  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        if device == "auto":
            return None
        raise DeviceError(f"device {device} needs PyTorch, which is not installed: pip install torch") from None
    chosen = choose_device(device)
    return None if chosen.type == "cpu" else DeviceNetwork(settings, tensors, chosen)
