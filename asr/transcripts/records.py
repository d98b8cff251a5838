"""What was recognised: words with their times, and hypotheses."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Word:
    """A word, when it starts and ends (seconds) and how sure the model is of it (0 to 1)."""

    text: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True)
class Hypothesis:
    """What was said.

    `acoustic_score`: the natural log-probability of the best path (greedy) or of the text (beam search). `lm_score`:
    what language models and hotwords add, weighted. `words`: when each was said and how sure that is, if asked for.
    """

    text: str
    acoustic_score: float
    lm_score: float = 0.0
    words: tuple[Word, ...] = ()

    @property
    def score(self) -> float:
        """Return both scores together, by which hypotheses are ranked."""
        return self.acoustic_score + self.lm_score
