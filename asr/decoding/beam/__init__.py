"""Log-probabilities -> hypotheses: CTC prefix beam search, with a language model and hotwords."""

from dataclasses import dataclass, field

import numpy as np

from asr.decoding.beam.bound import Limits
from asr.decoding.beam.language import LmSettings as LmSettings
from asr.decoding.beam.language import Prior
from asr.decoding.beam.network import search_along
from asr.decoding.beam.plain import pays as pays
from asr.decoding.beam.plain import run
from asr.decoding.greedy import LogProbs, check_log_probs
from asr.text import Alphabet
from asr.transcripts.records import Hypothesis


@dataclass(frozen=True)
class BeamSettings:
    """Beam width and pruning thresholds.

    `beam_width`: prefixes kept after each frame. `token_threshold`: tokens more than this many nats below the best
    token of the frame are pruned. `beam_threshold`: so are prefixes more than this many nats below the best prefix.
    `blank_skip`: no other token is tried in frames where blank has at least this probability.
    """

    beam_width: int = 100
    token_threshold: float = field(default=12.0, metadata={"old_name": "token_margin"})
    beam_threshold: float = field(default=20.0, metadata={"old_name": "beam_margin"})
    blank_skip: float = 0.9999

    def __post_init__(self) -> None:
        if self.beam_width < 1:
            raise ValueError(f"beam_width = {self.beam_width} is not 1 or more")
        for name in ("token_threshold", "beam_threshold"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} = {getattr(self, name)} is not more than 0")
        if not self.blank_skip > 0.5:
            raise ValueError(f"blank_skip = {self.blank_skip} is not more than 0.5")

    @property
    def limits(self) -> Limits:
        """Return what the compiled search takes."""
        margins = float(self.token_threshold), float(self.beam_threshold)
        return Limits(self.beam_width, *margins, float(np.log(self.blank_skip)))


# Nothing is left out but by the width: for tests, and where time does not matter.
EXACT = BeamSettings(100, np.inf, np.inf, np.inf)


def beam_search(
    log_probs: LogProbs,
    alphabet: Alphabet,
    settings: BeamSettings = BeamSettings(),
    prior: Prior | None = None,
    count: int | None = None,
) -> list[Hypothesis]:
    """Decode (T', V) by CTC prefix beam search (Graves, 2012, section 7.5.3; Hannun et al., 2014, algorithm 1).

    Returns the `count` best of at most `beam_width` hypotheses of different texts, best first. `acoustic_score` is the
    log of a text's probability summed over all paths that the beam kept: exact where the beam is as wide as there are
    prefixes and the margins are infinite. `lm_score` is what `prior`, made for the same alphabet, adds. Texts that no
    path gives are left out. Raises DecodingError.
    """
    check_log_probs(log_probs, alphabet)
    matrix = np.ascontiguousarray(log_probs, dtype=np.float64)
    prior = prior or Prior(alphabet)
    limits, guide = settings.limits, prior.guide
    # What a hotword promises a rival is no reason to prune: it may be taken back.
    limits = limits._replace(beam_threshold=limits.beam_threshold + float(guide.hot.promise.max()))
    if prior.network is not None:
        found = search_along(prior.network, matrix, limits, guide)
    else:
        found = run(matrix, limits, guide)
    ends = [0, *found.ends[:count].tolist()]
    scores = zip(found.acoustic[:count].tolist(), found.share[:count].tolist(), strict=True)
    hypotheses = [
        Hypothesis(alphabet.decode(found.tokens[start:end].tolist()), acoustic, share)
        for start, end, (acoustic, share) in zip(ends, ends[1:], scores, strict=False)
    ]
    # Texts whose unfinished last words were given up may be the same: the first is the likeliest.
    different: dict[str, Hypothesis] = {}
    for one in hypotheses:
        different.setdefault(one.text, one)
    return list(different.values()) or [Hypothesis("", float("-inf"))]
