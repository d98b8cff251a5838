"""Records of what was recognised: words, hypotheses, segments, transcripts and the results of files."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

# Seconds without a word that end a segment.
PAUSE = 0.8
# The mean confidence below which a segment is marked: its words are more often wrong than right.
LOW_CONFIDENCE = 0.5
# Times are sums of frames: a pause of exactly the limit may come out slightly shorter.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Word:
    """A word with its start and end in seconds and its confidence from 0 to 1."""

    text: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True)
class Hypothesis:
    """A text with its scores.

    `acoustic_score`: the natural log-probability of the best path (greedy) or of the text (beam search), minus a share
    of that of the priors if the decoder settings have them. `lm_score`: the weighted sum of language models and
    hotwords. `words` are empty unless word times were asked for.
    """

    text: str
    acoustic_score: float
    lm_score: float = 0.0
    words: tuple[Word, ...] = ()

    @property
    def score(self) -> float:
        """Return the sum of both scores, by which hypotheses are ranked."""
        return self.acoustic_score + self.lm_score


@dataclass(frozen=True)
class Segment:
    """Consecutive words with their start and end in seconds and their mean confidence.

    `text` joins the words with spaces; in a subtitle, line feeds separate its lines.
    """

    start: float
    end: float
    text: str
    words: tuple[Word, ...]
    confidence: float

    @classmethod
    def from_words(cls, words: Sequence[Word]) -> "Segment":
        """Return the segment of one or more words."""
        text = " ".join(word.text for word in words)
        confidence = sum(word.confidence for word in words) / len(words)
        return cls(words[0].start, words[-1].end, text, tuple(words), confidence)


@dataclass(frozen=True)
class Transcript:
    """What was recognised in a recording, or in one channel of it.

    `alternatives`: other hypotheses, best first. `duration` of the recording in seconds, 0 where unknown. The last
    frame may exceed the recording: times after the duration become the duration. `notes`: what is missing of the
    recording or was unusual in reading it.
    """

    text: str
    words: tuple[Word, ...] = ()
    alternatives: tuple[Hypothesis, ...] = ()
    acoustic_score: float = 0.0
    lm_score: float = 0.0
    duration: float = 0.0
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        others = (replace(other, words=_words_until(other.words, self.duration)) for other in self.alternatives)
        object.__setattr__(self, "words", _words_until(self.words, self.duration))
        object.__setattr__(self, "alternatives", tuple(others))

    @classmethod
    def from_hypotheses(
        cls, hypotheses: Sequence[Hypothesis], duration: float = 0.0, notes: Sequence[str] = ()
    ) -> "Transcript":
        """Return the transcript of a list of hypotheses, best first."""
        best, *others = hypotheses
        return cls(best.text, best.words, tuple(others), best.acoustic_score, best.lm_score, duration, tuple(notes))

    @property
    def score(self) -> float:
        """Return the sum of the acoustic and the language model score."""
        return self.acoustic_score + self.lm_score

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Return the words split at pauses of `PAUSE` seconds or more."""
        return tuple(map(Segment.from_words, split_at_pauses(self.words)))


@dataclass(frozen=True)
class FileResult:
    """The result of one file, or of one of its channels: a transcript or an error.

    `channel`: counted from 1 where channels are separate, 0 for a file that failed then, None where they are mixed.
    `id`: of the utterance, where it has one.
    """

    audio: str
    transcript: Transcript | None = None
    error: str = ""
    channel: int | None = None
    id: str = ""

    @property
    def text(self) -> str:
        """Return the text, empty where the file failed."""
        return self.transcript.text if self.transcript else ""


def split_at_pauses(words: Sequence[Word], pause: float = PAUSE) -> list[list[Word]]:
    """Return runs of words without a pause of `pause` seconds or more.

    No word of the result starts before the previous one ends, or ends before it starts.
    """
    runs: list[list[Word]] = []
    end = 0.0
    for word in words:
        start = max(word.start, end)
        if not runs or start - end >= pause - _ROUNDING:
            runs.append([])
        end = max(word.end, start)
        runs[-1].append(replace(word, start=start, end=end))
    return runs


def _words_until(words: Sequence[Word], duration: float) -> tuple[Word, ...]:
    if not duration or all(word.end <= duration for word in words):
        return tuple(words)
    return tuple(replace(word, start=min(word.start, duration), end=min(word.end, duration)) for word in words)
