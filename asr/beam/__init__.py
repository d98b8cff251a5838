"""Log-probabilities -> hypotheses: CTC prefix beam search."""

from dataclasses import dataclass

import numpy as np

from asr.beam import core
from asr.decoding import Hypothesis, LogProbs, check
from asr.text import Alphabet


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


# Nothing is left out but by the width: for tests, and where time does not matter.
EXACT = BeamSettings(100, np.inf, np.inf, np.inf)


def beam_search(log_probs: LogProbs, alphabet: Alphabet, settings: BeamSettings = BeamSettings()) -> list[Hypothesis]:
    """Decode (T', V) by CTC prefix beam search (Graves, 2012, section 7.5.3; Hannun et al., 2014, algorithm 1).

    Returns at most `beam_width` hypotheses of different texts, best first, each with the log of its probability summed
    over all paths that the beam kept: exact where the beam is as wide as there are prefixes and the margins are
    infinite. Texts that no path gives are left out. Raises DecodingError.
    """
    check(log_probs, alphabet)
    parents, tokens, nodes, found = core.search(
        np.ascontiguousarray(log_probs, dtype=np.float64),
        settings.beam_width,
        settings.token_margin,
        settings.beam_margin,
        float(np.log(settings.blank_skip)),
    )
    # Prefixes that differ in white space alone are one text.
    scores: dict[str, float] = {}
    for node, score in zip(nodes.tolist(), found.tolist(), strict=True):
        prefix = []
        while node:
            prefix.append(int(tokens[node]))
            node = int(parents[node])  # noqa: PLW2901
        text = " ".join(alphabet.decode(reversed(prefix)).split())
        scores[text] = float(np.logaddexp(scores.get(text, -np.inf), score))
    ranked = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    return [Hypothesis(text, score) for text, score in ranked] or [Hypothesis("", float("-inf"))]
