"""Runs the network over waveforms: short ones in batches, long ones in windows.

A bidirectional network needs the frames that follow, too: it gets windows that overlap, each from a zero state, and its
outputs are joined in the middle of the overlaps, far from the edges of the windows. A streaming network continues from
its state, so its outputs are those of the whole recording.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asr.config import check_ranges
from asr.decoding import LogProbs
from asr.errors import AsrError
from asr.features import Features
from asr.features.frontend import Frontend
from asr.features.streaming import BlockFeatures, Blocks
from asr.model import output_length
from asr.model.checkpoint import ModelFileSettings
from asr.model.inference import Network
from asr.parallel.threads import prefetch

if TYPE_CHECKING:
    from asr.recognition.device import DeviceNetwork

# Seconds of audio computed together if `batch_seconds` is None, and the windows of a long recording.
_CPU_BATCH, _GPU_BATCH, _WINDOWS = 120.0, 600.0, 4
# Threads that compute the windows of one recording; each holds a batch in memory.
_THREADS = 4


class DeviceMemoryError(AsrError):
    """A device without enough memory for a recording."""


class OptionsError(AsrError):
    """An option with a value that cannot be used."""


@dataclass(frozen=True)
class TranscribeOptions:
    """Options of transcription. All times are in seconds.

    `words`: return words with their times and confidences. `nbest`: how many hypotheses to return, the best included.
    `split_channels`: transcribe each channel by itself; otherwise channels are averaged. `vad`: leave out the parts
    in which voice activity detection finds no speech. `strict`: refuse a truncated or damaged file; otherwise what can
    be read of it is transcribed, and the transcript's notes say so. Utterances of a manifest are always read strictly.
    `audio_track`: the audio track of a media file, such as a film with several languages, from 1 on.

    Recordings up to `whole` are computed and decoded whole. Longer ones are computed in windows of `window` that share
    `overlap` with the next one, and decoded in segments that end at pauses. `batch_seconds`: how much audio is computed
    together, padding included; it changes speed and memory only. None: 120 on a CPU, 600 on a GPU. `threads`: threads
    that decode the recordings of a batch; 0: one for each core.
    """

    words: bool = False
    nbest: int = 1
    split_channels: bool = False
    vad: bool = True
    strict: bool = False
    audio_track: int = 1
    whole: float = 120.0
    window: float = 60.0
    overlap: float = 10.0
    batch_seconds: float | None = None
    threads: int = 0

    def __post_init__(self) -> None:
        batch_seconds = {} if self.batch_seconds is None else {"batch_seconds": (1, 3600)}
        try:
            check_ranges(
                self,
                nbest=(1, inf),
                audio_track=(1, inf),
                whole=(0, 86_400),
                window=(1, 3600),
                threads=(0, inf),
                **batch_seconds,
            )
        except ValueError as error:
            raise OptionsError(str(error)) from None
        if not 0 <= self.overlap <= self.window / 2:
            raise OptionsError(f"overlap = {self.overlap} is not between 0 and half the window ({self.window / 2:g})")


DEFAULT_OPTIONS = TranscribeOptions()


@dataclass(frozen=True)
class FrameRange:
    """The frames from `first` up to, but not including, `end`."""

    first: int
    end: int


@dataclass(frozen=True)
class Window:
    """Input frames that are computed together, and the output frames that are kept of the result."""

    inputs: FrameRange
    kept: FrameRange


@dataclass(frozen=True)
class AcousticModel:
    """A network with its front end and settings: waveforms -> log-probabilities."""

    settings: ModelFileSettings
    frontend: Frontend
    network: "Network | DeviceNetwork"

    def batch_seconds(self, options: TranscribeOptions) -> float:
        """Return the seconds of audio, padding included, that are computed together."""
        return options.batch_seconds or (_CPU_BATCH if isinstance(self.network, Network) else _GPU_BATCH)

    def log_probs(self, waveforms: Sequence[NDArray[np.float32]]) -> list[LogProbs]:
        """Compute waveforms (samples,) in one batch; return log-probabilities (T', V) of each."""
        return self.network([self.frontend(waveform) for waveform in waveforms])

    def windowed(self, blocks: Blocks, options: TranscribeOptions) -> Iterator[LogProbs]:
        """Compute a recording of any length, given in blocks that can be read several times, window by window.

        Yield log-probabilities (n, V) of consecutive output frames.
        """
        features, settings = BlockFeatures(self.frontend, blocks), self.settings.features
        measured = features.measure()
        overlap = 0.0 if self.settings.model.streams else options.overlap
        window, shared = (round(seconds / settings.hop) for seconds in (options.window, overlap))
        model = self.settings.model
        if model.streams:
            window = max(window - window % model.step, model.step)
        windows = plan_windows(measured.frames, window, shared, model.time_reduction)
        together = options.batch_seconds or max(self.batch_seconds(options), _WINDOWS * options.window)
        rows = _window_features(features.frames(measured.level), windows)
        if not model.streams:
            pairs = zip(windows, rows, strict=True)
            threads = min(options.threads or os.cpu_count() or 1, _THREADS) if isinstance(self.network, Network) else 1
            yield from _joined(self, pairs, round(together / settings.hop), threads)
        else:
            yield from _continued(self.network, rows)


def plan_windows(frames: int, window: int, overlap: int, reduction: int) -> list[Window]:
    """Plan the windows of a recording of some frames.

    `reduction`: the model's time reduction. `window` and `overlap` are in frames; both are rounded to whole output
    frames, so that the output frames are those of the whole recording.
    """
    overlap -= overlap % (2 * reduction)
    window = max(window - window % reduction, 2 * overlap, reduction)
    windows = []
    first = kept = 0
    while kept < frames:
        end = min(first + window, frames)
        kept_end = end if end == frames else end - overlap // 2
        output = FrameRange(kept // reduction, output_length(kept_end, reduction))
        windows.append(Window(FrameRange(first, end), output))
        first, kept = end - overlap, kept_end
    return windows


def _window_features(frames: Iterable[Features], windows: Sequence[Window]) -> Iterator[Features]:
    """Yield the frames (n, F) of each window, from the frames (T, F) of the recording in blocks."""
    source = iter(frames)
    waiting: list[Features] = []
    first = end = 0
    for window in windows:
        while end < window.inputs.end:
            waiting.append(next(source))
            end += len(waiting[-1])
            while waiting and first + len(waiting[0]) <= window.inputs.first:
                first += len(waiting.pop(0))
        yield np.concatenate(waiting)[window.inputs.first - first : window.inputs.end - first]


def _batches(rows: Iterable[tuple[Window, Features]], together: int) -> Iterator[list[tuple[Window, Features]]]:
    """Yield independent windows in batches of at most `together` frames, padding included, or of one window."""
    batch: list[tuple[Window, Features]] = []
    longest = 0
    for window, row in rows:
        if batch and max(longest, len(row)) * (len(batch) + 1) > together:
            yield batch
            batch, longest = [], 0
        batch.append((window, row))
        longest = max(longest, len(row))
    if batch:
        yield batch


def _joined(
    acoustic: AcousticModel, rows: Iterable[tuple[Window, Features]], together: int, threads: int
) -> Iterator[LogProbs]:
    """Compute independent windows in batches on some threads."""
    reduction = acoustic.settings.model.time_reduction

    def compute(batch: list[tuple[Window, Features]]) -> list[LogProbs]:
        outputs = acoustic.network([row for _, row in batch])
        kept = []
        for (window, _), log_probs in zip(batch, outputs, strict=True):
            start = window.inputs.first // reduction
            # A view would keep the whole batch in memory.
            kept.append(log_probs[window.kept.first - start : window.kept.end - start].copy())
        return kept

    batches = _batches(rows, together)
    for outputs in map(compute, batches) if threads == 1 else prefetch(compute, batches, threads):
        yield from outputs


def _continued(network: "Network | DeviceNetwork", rows: Iterable[Features]) -> Iterator[LogProbs]:
    """Compute the windows of a streaming network one after the other, from state to state."""
    state: Any = None
    for row in rows:
        log_probs, state = network.proceed(row, state)
        yield log_probs
    if state is not None:
        yield network.finish(state)
