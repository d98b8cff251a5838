"""CTC prefix beam search of log-probabilities, by the extension `native` or by its reference, `search`.

The extension is missing if asr was installed without a C++ compiler. Then numba compiles the reference where that pays:
compiling, once on a machine, takes about half a minute. Until the interpreter has spent about as much, it runs the same
source, so that at most twice the least possible time is spent (the ski-rental rule).
"""

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.compiling import interpreted
from asr.decoding.alignment import LogProbs
from asr.decoding.beam import search
from asr.decoding.beam.compiling import Doubles, Ints, is_compiled
from asr.decoding.beam.fusion import Fusion, Scorer
from asr.decoding.beam.pruning import Pruning
from asr.decoding.beam.recurrent import PrefixStates, RecurrentSearch
from asr.decoding.beam.search import SearchResult, SearchState
from asr.decoding.greedy import check_log_probs
from asr.lm.recurrent import RnnLm
from asr.text import Alphabet
from asr.transcripts.records import Hypothesis

try:
    from asr.decoding.beam import native

    if getattr(native, "INTERFACE", 1) != 4:
        raise ImportError("an editable install has the extension of an older version")
except ImportError:
    native = None  # type: ignore[assignment]

# Frames times beam width that the interpreter searches in the time that compiling takes: 60 seconds of speech with a
# width of 100.
INTERPRETED_LIMIT = 200_000
_interpreted: Any = cache(interpreted)
_interpreted_so_far = [0]


# A search of this width takes gigabytes.
WIDEST = 1_000_000


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
        if not 1 <= self.beam_width <= WIDEST:
            raise ValueError(f"beam_width = {self.beam_width} is not between 1 and {WIDEST:,}")
        for name in ("token_threshold", "beam_threshold"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} = {getattr(self, name)} is not positive")
        if not self.blank_skip > 0.5:
            raise ValueError(f"blank_skip = {self.blank_skip} is not greater than 0.5")


# Prunes by beam width alone: for tests, and where time does not matter.
EXACT = BeamSettings(100, np.inf, np.inf, np.inf)


class NativeSearch:
    """A search by the extension."""

    def __init__(self, pruning: Pruning, fusion: Fusion, network: RnnLm | None = None) -> None:
        update = PrefixStates(network).update_buffers if network else None
        self._state = native.begin(fusion.rows.shape[1], pruning, fusion, update)

    def extend(self, log_probs: Doubles) -> None:
        """Search the next frames (T', V)."""
        native.extend(self._state, log_probs)

    def leading(self, rescored: bool) -> tuple[Ints, Ints, int]:
        """Do what `search.leading` does."""
        tokens, words, final = native.leading(self._state, rescored)
        return np.frombuffer(tokens, np.int32), np.frombuffer(words, np.int32), final

    def finish(self) -> SearchResult:
        """Return the texts of the beam."""
        *integers, acoustic, lm = native.finish(self._state)
        tokens, words, ends = (np.frombuffer(part, np.int32) for part in integers)
        return SearchResult(tokens, words, ends, np.frombuffer(acoustic), np.frombuffer(lm))


class ReferenceSearch:
    """A search by the reference, compiled if it has been or if that pays; the results are the same."""

    def __init__(self, pruning: Pruning, fusion: Fusion, network: RnnLm | None = None) -> None:
        self._pruning, self._fusion = pruning, fusion
        self._network = RecurrentSearch(network, pruning, fusion) if network else None
        self._state = search.begin(fusion)

    def extend(self, log_probs: Doubles) -> None:
        """Search the next frames (T', V)."""
        if self._network:
            self._network.extend(log_probs)
            self._state, self._fusion = self._network.state, self._network.fusion
        elif is_compiled(search.search) or compiling_pays(len(log_probs), self._pruning.width):
            self._state = search.search(self._state, log_probs, self._pruning, self._fusion)
        else:
            _interpreted_so_far[0] += len(log_probs) * self._pruning.width
            self._state = interpreted_search(self._state, log_probs, self._pruning, self._fusion)

    def leading(self, rescored: bool) -> tuple[Ints, Ints, int]:
        """Do what `search.leading` does."""
        leading = search.leading if is_compiled(search.search) else _interpreted(search.leading)
        tokens, words, final = leading(self._state, self._fusion, rescored)
        return tokens, words, final

    def finish(self) -> SearchResult:
        """Return the texts of the beam."""
        if self._network or is_compiled(search.search):
            return search.finish(self._state, self._fusion)
        return interpreted_finish(self._state, self._fusion)


class BeamSearch:
    """A search of log-probabilities that arrive in parts. The results are those of all frames at once."""

    def __init__(
        self,
        alphabet: Alphabet,
        settings: BeamSettings = BeamSettings(),
        scorer: Scorer | None = None,
        rescored: bool = False,
        corrections: NDArray[np.float64] | None = None,
    ) -> None:
        """Begin a search; `scorer` is made for the same alphabet. `rescored`: any hypothesis may win in the end.

        `corrections` (V + P,) are added to the log-probabilities of each frame.
        """
        scorer = scorer or Scorer(alphabet)
        fusion = scorer.fusion
        self._alphabet, self._scorer, self._rescored, self._corrections = alphabet, scorer, rescored, corrections
        # The look-ahead of a hotword may be taken back, so it must not prune other prefixes.
        beam_threshold = float(settings.beam_threshold) + float(fusion.hot.lookahead.max())
        pruning = Pruning(
            settings.beam_width, float(settings.token_threshold), beam_threshold, float(np.log(settings.blank_skip))
        )
        kind = NativeSearch if native else ReferenceSearch
        self._search = kind(pruning, fusion, scorer.network)
        self._best: tuple[str, int] | None = None
        self._words = 0

    def extend(self, log_probs: LogProbs) -> None:
        """Search the next frames (T', V + P). Raises DecodingError."""
        alphabet = self._alphabet
        check_log_probs(log_probs, alphabet)
        phonemes = alphabet.phonemes and self._scorer.pronounces
        if self._corrections is not None:
            log_probs = log_probs + self._corrections
        log_probs = alphabet.phonemes_of(log_probs) if phonemes else alphabet.characters_of(log_probs)
        self._search.extend(np.ascontiguousarray(log_probs, dtype=np.float64))
        self._best = None

    @property
    def text(self) -> str:
        """Return the most probable text so far; its last word may be unfinished.

        An unfinished word that is pronounced is the likeliest word of its phonemes, or left out if there is none.
        """
        return self._leading[0]

    @property
    def stable(self) -> str:
        """Return the words at its beginning that are final: all prefixes that can still win begin with them."""
        text, words = self._leading
        return " ".join(text.split(" ")[:words])

    def hypotheses(self, count: int | None = None) -> list[Hypothesis]:
        """Return the `count` best hypotheses, as `beam_search` does."""
        result = self._search.finish()
        # Words have several pronunciations, and texts can be equal after their unfinished last words were dropped: keep
        # the best one.
        different: dict[str, Hypothesis] = {}
        scores, start = zip(result.acoustic.tolist(), result.lm.tolist(), strict=True), 0
        for end, (acoustic, lm) in zip(result.ends.tolist(), scores, strict=True):
            if len(different) == count:
                break
            text = self._scorer.text(result.tokens[start:end], result.words[start:end])
            different.setdefault(text, Hypothesis(text, acoustic, lm))
            start = end
        return list(different.values()) or [Hypothesis("", float("-inf"))]

    @property
    def _leading(self) -> tuple[str, int]:
        if self._best is None:
            tokens, words, final = self._search.leading(self._rescored)
            # Sums may bring a beaten prefix nearer, but not so near that it wins.
            self._words = max(final, self._words)
            self._best = self._scorer.text(tokens, words).rstrip(), self._words
        return self._best


def beam_search(
    log_probs: LogProbs,
    alphabet: Alphabet,
    settings: BeamSettings = BeamSettings(),
    scorer: Scorer | None = None,
    count: int | None = None,
) -> list[Hypothesis]:
    """Decode (T', V) by CTC prefix beam search (Graves, 2012, section 7.5.3; Hannun et al., 2014, algorithm 1).

    Returns the `count` best hypotheses with different texts, best first. There is at most one for each of the
    `beam_width` prefixes, or with pronunciations one for each word that may end it. `acoustic_score` is the log of a
    text's probability (of its pronunciation's) summed over all paths that the beam kept: exact if no prefix is pruned.
    `lm_score` is what `scorer`, made for the same alphabet, adds. Impossible texts are left out; if all are, the result
    is an empty text with a score of -inf. Raises DecodingError.
    """
    beam = BeamSearch(alphabet, settings, scorer)
    beam.extend(log_probs)
    return beam.hypotheses(count)


def compiling_pays(frames: float, beam_width: int) -> bool:
    """Return whether interpreting a search of so many frames takes longer than compiling it."""
    return frames * beam_width > INTERPRETED_LIMIT - _interpreted_so_far[0]


def search_is_native() -> bool:
    """Return whether asr was installed with the extension."""
    return native is not None


def search_is_compiled() -> bool:
    """Return whether the search is compiled, in the extension, in this process or in the cache."""
    return search_is_native() or is_compiled(search.search)


def compile_search() -> None:
    """Compile the search or load it from the cache, unless there is the extension."""
    if native:
        return
    fusion = Scorer(Alphabet("A")).fusion
    state = search.begin(fusion)
    # The search last: it stands for all.
    search.leading(state, fusion, False)
    search.finish(state, fusion)
    search.search(state, np.zeros((1, 2)), Pruning(1, 1.0, 1.0, 0.0), fusion)


class _AsDoubles:
    """Float32 values that become float64 when read. Converting all would copy a whole language model."""

    def __init__(self, values: NDArray[np.float32]) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: int) -> np.float64:
        return np.float64(self._values[index])


def interpreted_search(state: SearchState, log_probs: Doubles, pruning: Pruning, fusion: Fusion) -> SearchState:
    """Return the state after the next frames (T', V), without compiling."""
    with np.errstate(all="ignore"):
        after: SearchState = _interpreted(search.search)(state, log_probs, pruning, _as_doubles(fusion))
    return after


def interpreted_finish(state: SearchState, fusion: Fusion) -> SearchResult:
    """Return the texts of the beam, without compiling."""
    with np.errstate(all="ignore"):
        result: SearchResult = _interpreted(search.finish)(state, _as_doubles(fusion))
    return result


def _as_doubles(fusion: Fusion) -> Fusion:
    """Return data with float64 only: for numpy a float32 and a Python float give a float32, for compiled code not."""
    doubles: dict[str, Any] = {
        name: np.float64(value) for name, value in fusion.weights._asdict().items() if isinstance(value, float)
    }
    arrays: Any = fusion.arrays
    arrays = arrays._replace(log_probs=_AsDoubles(arrays.log_probs), backoffs=_AsDoubles(arrays.backoffs))
    return fusion._replace(weights=fusion.weights._replace(**doubles), arrays=arrays)
