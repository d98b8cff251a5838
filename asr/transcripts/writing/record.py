"""What became of one recording."""

from dataclasses import dataclass

from asr.transcripts.records import Hypothesis


@dataclass(frozen=True)
class Transcript:
    """What became of one file: a hypothesis and others that were found, or the error that kept it from one.

    `duration` of the recording in seconds, 0 where unknown; `id`: the utterance's, where it has one; `channel`: from 1
    on where channels are kept apart, 0 of a file that failed then, None where they are mixed.
    """

    audio: str
    hypothesis: Hypothesis | None
    error: str = ""
    alternatives: tuple[Hypothesis, ...] = ()
    duration: float = 0.0
    id: str = ""
    channel: int | None = None

    @property
    def text(self) -> str:
        """Return the best text, empty where the file failed."""
        return self.hypothesis.text if self.hypothesis else ""
