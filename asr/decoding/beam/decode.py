"""CTC prefix beam search of log-probabilities, by the extension `native` or by its reference, `search`.

The extension is missing if asr was installed without a C++ compiler. Then numba compiles the reference where that pays:
compiling, once on a machine, takes about half a minute. Until the interpreter has spent about as much, it runs the same
source, so that at most twice the least possible time is spent (the ski-rental rule).
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.compiling import interpreted
from asr.decoding.alignment import LogProbs
from asr.decoding.beam.compiling import Doubles, is_compiled
from asr.decoding.beam.fusion import Fusion, Scorer
from asr.decoding.beam.pruning import Pruning
from asr.decoding.beam.recurrent import PrefixStates, search_with_network
from asr.decoding.beam.search import SearchResult, search
from asr.decoding.greedy import check_log_probs
from asr.lm.recurrent import RnnLm
from asr.text import Alphabet
from asr.transcripts.records import Hypothesis

try:
    from asr.decoding.beam import native
except ImportError:
    native = None  # type: ignore[assignment]

# Frames times beam width that the interpreter searches in the time that compiling takes: 60 seconds of speech with a
# width of 100.
INTERPRETED_LIMIT = 200_000
_interpreted_so_far = [0]


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
            raise ValueError(f"beam_width = {self.beam_width} is less than 1")
        for name in ("token_threshold", "beam_threshold"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} = {getattr(self, name)} is not positive")
        if not self.blank_skip > 0.5:
            raise ValueError(f"blank_skip = {self.blank_skip} is not greater than 0.5")


# Prunes by beam width alone: for tests, and where time does not matter.
EXACT = BeamSettings(100, np.inf, np.inf, np.inf)


def beam_search(
    log_probs: LogProbs,
    alphabet: Alphabet,
    settings: BeamSettings = BeamSettings(),
    scorer: Scorer | None = None,
    count: int | None = None,
) -> list[Hypothesis]:
    """Decode (T', V) by CTC prefix beam search (Graves, 2012, section 7.5.3; Hannun et al., 2014, algorithm 1).

    Returns the `count` best of at most `beam_width` hypotheses with different texts, best first. `acoustic_score` is
    the log of a text's probability summed over all paths that the beam kept: exact if no prefix is pruned. `lm_score`
    is what `scorer`, made for the same alphabet, adds. Impossible texts are left out; if all are, the result is an
    empty text with a score of -inf. Raises DecodingError.
    """
    check_log_probs(log_probs, alphabet)
    matrix = np.ascontiguousarray(log_probs, dtype=np.float64)
    scorer = scorer or Scorer(alphabet)
    fusion = scorer.fusion
    # The look-ahead of a hotword may be taken back, so it must not prune other prefixes.
    beam_threshold = float(settings.beam_threshold) + float(fusion.hot.lookahead.max())
    pruning = Pruning(
        settings.beam_width, float(settings.token_threshold), beam_threshold, float(np.log(settings.blank_skip))
    )
    if native:
        result = native_search(matrix, pruning, fusion, scorer.network)
    elif scorer.network:
        result = search_with_network(scorer.network, matrix, pruning, fusion)
    else:
        result = _search(matrix, pruning, fusion)
    ends = [0, *result.ends[:count].tolist()]
    scores = zip(result.acoustic[:count].tolist(), result.lm[:count].tolist(), strict=True)
    hypotheses = [
        Hypothesis(alphabet.decode(result.tokens[start:end].tolist()), acoustic, lm)
        for start, end, (acoustic, lm) in zip(ends, ends[1:], scores, strict=False)
    ]
    # Texts can be equal after their unfinished last words were dropped: keep the best one.
    different: dict[str, Hypothesis] = {}
    for hypothesis in hypotheses:
        different.setdefault(hypothesis.text, hypothesis)
    return list(different.values()) or [Hypothesis("", float("-inf"))]


def compiling_pays(frames: float, beam_width: int) -> bool:
    """Return whether interpreting a search of so many frames takes longer than compiling it."""
    return frames * beam_width > INTERPRETED_LIMIT - _interpreted_so_far[0]


def search_is_native() -> bool:
    """Return whether asr was installed with the extension."""
    return native is not None


def search_is_compiled() -> bool:
    """Return whether the search is compiled, in the extension, in this process or in the cache."""
    return search_is_native() or is_compiled(search)


def compile_search() -> None:
    """Compile the search or load it from the cache, unless there is the extension."""
    if not native:
        search(np.zeros((1, 2)), Pruning(1, 1.0, 1.0, 0.0), Scorer(Alphabet("A")).fusion)


def native_search(log_probs: Doubles, pruning: Pruning, fusion: Fusion, network: RnnLm | None = None) -> SearchResult:
    """Search (T', V) with the extension."""
    update = PrefixStates(network).update_buffers if network else None
    tokens, ends, acoustic, lm = native.search(log_probs, log_probs.shape[1], pruning, fusion, update)
    return SearchResult(
        np.frombuffer(tokens, np.int32), np.frombuffer(ends, np.int32), np.frombuffer(acoustic), np.frombuffer(lm)
    )


def _search(log_probs: Doubles, pruning: Pruning, fusion: Fusion) -> SearchResult:
    """Search (T', V) with compiled code if there is some or if compiling pays; the result is the same."""
    if search_is_compiled() or compiling_pays(len(log_probs), pruning.width):
        return search(log_probs, pruning, fusion)
    _interpreted_so_far[0] += len(log_probs) * pruning.width
    return interpreted_search(log_probs, pruning, fusion)


class _AsDoubles:
    """Float32 values that become float64 when read. Converting all would copy a whole language model."""

    def __init__(self, values: NDArray[np.float32]) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: int) -> np.float64:
        return np.float64(self._values[index])


def interpreted_search(log_probs: Doubles, pruning: Pruning, fusion: Fusion) -> SearchResult:
    """Search (T', V) without compiling.

    For numpy a float32 and a Python float give a float32, for compiled code a float64. So all floats are made float64.
    """
    doubles: dict[str, Any] = {
        name: np.float64(value) for name, value in fusion.weights._asdict().items() if isinstance(value, float)
    }
    arrays: Any = fusion.arrays
    arrays = arrays._replace(log_probs=_AsDoubles(arrays.log_probs), backoffs=_AsDoubles(arrays.backoffs))
    with np.errstate(all="ignore"):
        return interpreted(search)(
            log_probs, pruning, fusion._replace(weights=fusion.weights._replace(**doubles), arrays=arrays)
        )
