"""Sound files -> what was said in each; short ones are computed several together.

A file that cannot be used, or is not understood, has its error as its result; the others' stand.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from asr import audio
from asr.audio import AudioError, Waveform
from asr.decoding import DecodingError
from asr.decoding.alignment import AlignmentError
from asr.features import batching
from asr.recognition.recognizer import Recognizer, of_channels
from asr.transcripts.records import Hypothesis

# Files of so many batches, or so many files, are sorted by length: similar ones leave little padding.
_AHEAD, _MOST = 4, 4096
# Is told the share of a file that is done, from 0 to 1, and the file's seconds.
Tell = Callable[[float, float], None]


@dataclass(frozen=True)
class Way:
    """How files are transcribed: the `count` best texts, the best with its `words`; `split`: of each channel.

    `threads` search the files of a batch; 0: one for each core.
    """

    count: int = 1
    words: bool = False
    split: bool = False
    threads: int = 0


@dataclass(frozen=True)
class Heard:
    """What became of a file: hypotheses of each channel, best first (of one, where all are mixed), or the error.

    `duration` in seconds.
    """

    channels: tuple[list[Hypothesis], ...] = ()
    duration: float = 0.0
    error: str = ""


def plan(recognizer: Recognizer, paths: Iterable[Path], split: bool = False, jobs: int = 1) -> Iterator[list[int]]:
    """Yield which files are to be transcribed together, by their indices; nearly in order, as headers are read.

    A batch has no more audio than the recogniser's, nor more than leaves work for all jobs. A long file is alone.
    """
    waiting: list[int] = []
    lengths: list[int] = []
    total = 0
    for index, path in enumerate(paths):
        seconds, alone = _seconds(recognizer, path, split)
        # Of those that are alone, too: while hours of them go by, no short one is to wait.
        total += round(1000 * seconds)
        if alone:
            yield [index]
        else:
            waiting.append(index)
            lengths.append(round(1000 * seconds))
        if len(waiting) == _MOST or total >= 1000 * recognizer.batch_seconds * max(_AHEAD, jobs):
            yield from _batches(recognizer, waiting, lengths, jobs)
            waiting, lengths, total = [], [], 0
    yield from _batches(recognizer, waiting, lengths, jobs)


def _seconds(recognizer: Recognizer, path: Path, split: bool) -> tuple[float, bool]:
    """Return the seconds of a file's channels that are heard, and whether it is to be alone."""
    try:
        header = audio.info(path)
    except AudioError:
        return 0.0, True
    seconds = header.duration * (header.channels if split else 1)
    return seconds, not recognizer.takes_whole(header.duration) or seconds > recognizer.batch_seconds


def _batches(recognizer: Recognizer, indices: Sequence[int], lengths: Sequence[int], jobs: int) -> Iterator[list[int]]:
    most = round(1000 * recognizer.batch_seconds)
    if jobs > 1:
        most = min(most, -(-sum(lengths) // jobs))
    for batch in batching.plan(lengths, most):
        yield [indices[place] for place in batch]


def transcribe(recognizer: Recognizer, paths: Sequence[Path], way: Way, tell: Tell | None = None) -> list[Heard]:
    """Transcribe files that `plan` puts together; `tell` is told how far a single one is."""
    if len(paths) > 1:
        try:
            return _together(recognizer, paths, way)
        except (AlignmentError, DecodingError, torch.OutOfMemoryError):
            pass  # whose fault it is shows when each is alone
    return [_alone(recognizer, path, way, tell) for path in paths]


def _together(recognizer: Recognizer, paths: Sequence[Path], way: Way) -> list[Heard]:
    read = [_read(recognizer, path, way) for path in paths]
    waveforms = [one for parts, _ in read for one in parts if one is not None]
    decoded = iter(recognizer.transcribe_together(waveforms, way.count, way.words, way.threads))

    def heard(part: Waveform | None) -> list[Hypothesis]:
        return [Hypothesis("", 0.0)] if part is None else next(decoded)

    return [
        found if found.error else Heard(tuple(heard(part) for part in parts), found.duration) for parts, found in read
    ]


def _read(recognizer: Recognizer, path: Path, way: Way) -> tuple[list[Waveform | None], Heard]:
    """Return the waveform of each channel, or of all mixed, None of a silent one; and what is known of the file."""
    rate = recognizer.sample_rate
    try:
        header = audio.info(path)
        if way.split:
            parts = of_channels(header.channels, lambda channel: audio.load(path, rate, channel=channel))
        else:
            parts = [audio.load(path, rate)]
    except AudioError as error:
        return [], Heard(error=str(error))
    return parts, Heard(duration=header.duration)


def _alone(recognizer: Recognizer, path: Path, way: Way, tell: Tell | None) -> Heard:
    try:
        duration = audio.info(path).duration
        share = None if tell is None else lambda done: tell(done, duration)
        if way.split:
            channels = recognizer.alternatives_of_channels(path, way.count, way.words, share)
        else:
            channels = [recognizer.alternatives(path, way.count, way.words, share)]
    except AudioError as error:
        return Heard(error=str(error))
    except (AlignmentError, DecodingError) as error:
        return Heard(error=f"{path}: {error}")
    except torch.OutOfMemoryError:
        return Heard(error=f"{path}: the device has not enough memory for it")
    return Heard(tuple(channels), duration)
