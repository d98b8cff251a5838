"""What synthesizers share: their result, their errors, the range of speeds, and the choice of voices."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from asr.audio import Waveform
from asr.corpora.manifest import CorpusError

# Factors of the speaking rate between which the speed of an utterance is drawn.
SLOWEST, FASTEST = 0.85, 1.2


class SynthesisError(CorpusError):
    """A text that could not be synthesised; the message does not name the text."""


class TooLongError(SynthesisError):
    """A text that is longer than the synthesizer allows."""


@dataclass(frozen=True, slots=True)
class Speech:
    """A synthesised text: the waveform, float32 (samples,) at SAMPLE_RATE, and the name of the voice or mix."""

    waveform: Waveform
    speaker: str


def select_voices(available: Iterable[str], include: Sequence[str], exclude: Sequence[str]) -> list[str]:
    """Return the sorted names that match one of the patterns `include`, or all if there is none, and none of `exclude`.

    Raises CorpusError for a pattern that matches no name, and if none is left.
    """
    names = sorted(available)
    for pattern in (*include, *exclude):
        if not any(fnmatchcase(name, pattern) for name in names):
            raise CorpusError(f"no voice {pattern!r}; the voices are {', '.join(names)}")
    selected = [
        name
        for name in names
        if (not include or any(fnmatchcase(name, pattern) for pattern in include))
        and not any(fnmatchcase(name, pattern) for pattern in exclude)
    ]
    if not selected:
        raise CorpusError("all voices are excluded; exclude fewer")
    return selected
