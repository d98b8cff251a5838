"""Log-probabilities -> hypotheses: CTC prefix beam search."""

from dataclasses import dataclass

import numpy as np

from asr.beam.core import Limits, search
from asr.beam.fusion import Guide
from asr.beam.lexicon import Lexicon, build
from asr.decoding import Hypothesis, LogProbs, check
from asr.ngram import END, Arrays, NgramModel
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


@dataclass(frozen=True)
class LmSettings:
    """How much a word n-gram model counts.

    `lm_weight` multiplies its natural log-probabilities; `word_bonus` is added for each word, and `unknown_score` for
    each that the model does not have, beside the model's own score for it. `lexicon_only`: no other words at all.
    """

    lm_weight: float = 0.5
    word_bonus: float = 0.0
    unknown_score: float = -5.0
    lexicon_only: bool = False


class WordLm:
    """A word n-gram model made ready for an alphabet. Raises ValueError for an alphabet without space."""

    def __init__(self, model: NgramModel, alphabet: Alphabet, settings: LmSettings = LmSettings()) -> None:
        if " " not in alphabet.characters:
            raise ValueError(f"the alphabet {alphabet.characters!r} has no space: there are no words to score")
        self._model = model
        self._lexicon = build(model, alphabet)
        self._space = alphabet.encode(" ")[0]
        self.settings = settings

    def guide(self) -> Guide:
        """Return what the compiled search takes."""
        settings, model = self.settings, self._model
        unknown = -np.inf if settings.lexicon_only else settings.unknown_score
        begin, end = model.begin_state, model.vocabulary[END]
        weights = (float(settings.lm_weight), float(settings.word_bonus), float(unknown))
        return Guide(True, model.arrays, self._lexicon, self._space, *weights, begin, end)


def _unguided() -> Guide:
    """Return a guide that says nothing."""
    ints, floats = np.zeros(1, np.int32), np.zeros(1, np.float32)
    for array in (ints, floats):
        array.flags.writeable = False
    arrays = Arrays(ints, floats, floats, ints, ints)
    lexicon = Lexicon(np.zeros(2, np.int32), np.zeros(1, np.int32), np.zeros(1, np.int32), np.zeros(1))
    return Guide(False, arrays, lexicon, -1, 0.0, 0.0, 0.0, 0, 0)


def beam_search(
    log_probs: LogProbs, alphabet: Alphabet, settings: BeamSettings = BeamSettings(), lm: WordLm | None = None
) -> list[Hypothesis]:
    """Decode (T', V) by CTC prefix beam search (Graves, 2012, section 7.5.3; Hannun et al., 2014, algorithm 1).

    Returns at most `beam_width` hypotheses of different texts, best first. The score of each is the log of its
    probability summed over all paths that the beam kept, and the language model's share: exact where the beam is as
    wide as there are prefixes and the margins are infinite. Texts that no path gives are left out. Raises
    DecodingError.
    """
    check(log_probs, alphabet)
    limits = Limits(
        settings.beam_width, settings.token_margin, settings.beam_margin, float(np.log(settings.blank_skip))
    )
    matrix = np.ascontiguousarray(log_probs, dtype=np.float64)
    parents, tokens, nodes, acoustic, shares = search(matrix, limits, lm.guide() if lm else _unguided())
    # Prefixes that differ in white space alone are one text, and the language model says the same of them.
    found: dict[str, tuple[float, float]] = {}
    for node, score, share in zip(nodes.tolist(), acoustic.tolist(), shares.tolist(), strict=True):
        prefix = []
        while node:
            prefix.append(int(tokens[node]))
            node = int(parents[node])  # noqa: PLW2901
        text = " ".join(alphabet.decode(reversed(prefix)).split())
        found[text] = (float(np.logaddexp(found.get(text, (-np.inf, 0.0))[0], score)), share)
    hypotheses = [Hypothesis(text, score + share) for text, (score, share) in found.items() if share > -np.inf]
    return sorted(hypotheses, key=lambda one: (-one.score, one.text)) or [Hypothesis("", float("-inf"))]
