"""Log-probabilities -> hypotheses: CTC prefix beam search, with a language model and hotwords."""

from dataclasses import dataclass

import numpy as np

from asr.decoding.beam.bound import Limits
from asr.decoding.beam.language import LmSettings as LmSettings
from asr.decoding.beam.language import Prior
from asr.decoding.beam.network import search_along
from asr.decoding.beam.plain import pays as pays
from asr.decoding.beam.plain import run
from asr.decoding.greedy import LogProbs, check
from asr.text import Alphabet
from asr.transcripts.records import Hypothesis


@dataclass(frozen=True)
class BeamSettings:
    """How widely is searched.

    `beam_width`: prefixes kept after each frame. `token_margin`, `beam_margin`: nats under the frame's likeliest token
    and under the best prefix beyond which nothing is tried. `blank_skip`: where blank has this probability or more, no
    other token is tried.
    """

    beam_width: int = 100
    token_margin: float = 12.0
    beam_margin: float = 20.0
    blank_skip: float = 0.9999

    def __post_init__(self) -> None:
        if self.beam_width < 1:
            raise ValueError(f"beam_width = {self.beam_width} is not 1 or more")
        for name in ("token_margin", "beam_margin"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} = {getattr(self, name)} is not more than 0")
        if not self.blank_skip > 0.5:
            raise ValueError(f"blank_skip = {self.blank_skip} is not more than 0.5")

    @property
    def limits(self) -> Limits:
        """Return what the compiled search takes."""
        margins = float(self.token_margin), float(self.beam_margin)
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
    check(log_probs, alphabet)
    matrix = np.ascontiguousarray(log_probs, dtype=np.float64)
    prior = prior or Prior(alphabet)
    limits, guide = settings.limits, prior.guide
    # What a hotword promises a rival is no reason to prune: it may be taken back.
    limits = limits._replace(beam_margin=limits.beam_margin + float(guide.hot.promise.max()))
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
