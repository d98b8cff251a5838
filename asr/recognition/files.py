"""Reads recordings and groups them into batches of similar length, which are computed together.

A recording is opened once: a short one is read at once, a long one block by block while it is computed.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

from asr.audio import AudioError, AudioReader, SilenceError, Waveform, file_name
from asr.corpora.manifest import Utterance
from asr.features import FeatureSettings, batching
from asr.features.given import ArrayReader, open_reader
from asr.parallel.threads import map_threads, prefetch
from asr.recognition.inference import TranscribeOptions

Result = TypeVar("Result")
# A recording: a path, a binary file object, or a part of a file that a manifest lists.
Source = str | Path | BinaryIO | Utterance
# Called from any thread with the index of a recording, the share of it that is done (0 to 1), and its duration (s).
OnProgress = Callable[[int, float, float], None]
# Recordings of this many batches, or this many recordings, are sorted by length, so that batches have little padding.
_SORTED_BATCHES, _SORTED = 4, 4096


@dataclass(eq=False)
class Recording:
    """An open recording. `duration` is in seconds; `error` says why it cannot be used, `notes` what is missing of it.

    `waveforms`: of a short recording, one for each channel, or one of all; None for a silent channel. `channels`: of a
    long recording, which is read block by block, its channels, or [None] for all.
    """

    index: int
    source: Source
    duration: float = 0.0
    waveforms: Sequence[Waveform | None] = ()
    channels: Sequence[int | None] = ()
    reader: AudioReader | ArrayReader | None = None
    error: str = ""
    notes: Sequence[str] = ()

    @property
    def path(self) -> str:
        """Return the path of the file, or the name of a file object."""
        if isinstance(self.source, Utterance):
            return self.source.audio
        return str(self.source) if isinstance(self.source, (str, os.PathLike)) else file_name(self.source)

    @property
    def id(self) -> str:
        """Return the id of an utterance; empty for a file."""
        return self.source.id if isinstance(self.source, Utterance) else ""

    def blocks(self, sample_rate: int, channel: int | None) -> Iterator[Waveform]:
        """Read a long recording in blocks, each time from its beginning."""
        if self.reader is None:
            raise ValueError("a short recording has been read")
        with _named(self.source):
            yield from self.reader.blocks(sample_rate, *_part(self.source), channel)
        if not isinstance(self.source, Utterance):
            self.duration = self.reader.info.duration  # of a damaged file, it is known once all was read


def _part(source: Source) -> tuple[float, float | None]:
    return (source.offset, source.duration) if isinstance(source, Utterance) else (0.0, None)


@contextmanager
def _named(source: Source) -> Iterator[None]:
    """Add the id of an utterance to an AudioError."""
    try:
        yield
    except AudioError as error:
        if isinstance(source, Utterance):
            raise type(error)(f"utterance {source.id}: {error}") from error
        raise


def open_recording(index: int, source: Source, settings: FeatureSettings, options: TranscribeOptions) -> Recording:
    """Open a recording, and read it unless it is long. Raise AudioError if it cannot be read."""
    recording = Recording(index, source)
    offset, duration = _part(source)
    with _named(source), ExitStack() as stack:
        strict = options.strict or isinstance(source, Utterance)
        file = source.audio if isinstance(source, Utterance) else source
        reader = open_reader(file, settings, strict, options.audio_track)
        stack.callback(reader.close)
        recording.notes = reader.notes
        recording.duration = reader.info.duration if duration is None else duration
        channels: list[int | None] = list(range(reader.info.channels)) if options.split_channels else [None]
        if recording.duration > options.whole:
            recording.channels, recording.reader = channels, reader
            stack.pop_all()  # it stays open
        else:
            recording.waveforms = of_channels(
                channels, lambda channel: reader.read(settings.sample_rate, offset, duration, channel)
            )
            recording.duration = reader.info.duration if duration is None else duration
    return recording


def of_channels(channels: Iterable[int | None], read: Callable[[int | None], Result]) -> list[Result | None]:
    """Return what `read` returns for each channel, None for a silent one. Raise SilenceError if all are silent."""
    results: list[Result | None] = []
    silence: SilenceError | None = None
    for channel in channels:
        try:
            results.append(read(channel))
        except SilenceError as error:
            silence = silence or error
            results.append(None)
    if silence and all(result is None for result in results):
        raise silence
    return results


@dataclass(frozen=True)
class Plan:
    """How recordings are read and batched: `batch_seconds` of audio together, `jobs` batches at a time."""

    features: FeatureSettings
    batch_seconds: float
    options: TranscribeOptions
    jobs: int = 1

    def run(self, sources: Iterable[Source], work: Callable[[list[Recording]], list[Result]]) -> Iterator[Result]:
        """Yield the results of `work` on batches of recordings, one for each recording, in the order of the sources.

        `work` is called with recordings that can be computed together, or with a single one, which may be long or have
        an error.
        """
        waiting: dict[int, Result] = {}
        number = 0

        def process(batch: list[Recording]) -> dict[int, Result]:
            try:
                return dict(zip((recording.index for recording in batch), work(batch), strict=True))
            finally:
                for recording in batch:
                    if recording.reader:
                        recording.reader.close()

        recordings = prefetch(self._open, enumerate(sources), self.jobs)
        try:
            for results in map_threads(process, self._batches(recordings), self.jobs):
                waiting |= results
                while number in waiting:
                    yield waiting.pop(number)
                    number += 1
        finally:
            # With more jobs, a thread may still be taking recordings.
            if self.jobs == 1:
                recordings.close()

    def _open(self, numbered: tuple[int, Source]) -> Recording:
        index, source = numbered
        try:
            return open_recording(index, source, self.features, self.options)
        except AudioError as error:
            return Recording(index, source, error=str(error))

    def _batches(self, recordings: Iterable[Recording]) -> Iterator[list[Recording]]:
        """Yield batches, nearly in order; a long recording, and one with an error, is alone."""
        waiting: list[Recording] = []
        total = 0.0
        for recording in recordings:
            seconds = recording.duration * max(1, len(recording.waveforms), len(recording.channels))
            # Long recordings count, so that no short one waits for hours of them.
            total += seconds
            if not recording.waveforms or seconds > self.batch_seconds:
                yield [recording]
            else:
                waiting.append(recording)
            if len(waiting) == _SORTED or total >= self.batch_seconds * max(_SORTED_BATCHES, self.jobs):
                yield from self._sorted(waiting)
                waiting, total = [], 0.0
        yield from self._sorted(waiting)

    def _sorted(self, recordings: list[Recording]) -> Iterator[list[Recording]]:
        if len(recordings) == 1:
            yield recordings
            return
        lengths = [round(1000 * recording.duration * len(recording.waveforms)) for recording in recordings]
        longest = round(1000 * self.batch_seconds)
        if self.jobs > 1:
            longest = min(longest, -(-sum(lengths) // self.jobs))
        for batch in batching.plan(lengths, longest):
            yield [recordings[index] for index in batch]
