"""The interpreted search equals the compiled one, and is used until compiling pays."""

import numpy as np
import pytest

from asr.decoding import beam, decoder
from asr.decoding.beam import LmSettings, Scorer, decode
from asr.decoding.beam.decode import interpreted_finish, interpreted_search
from asr.decoding.beam.pruning import Pruning
from asr.decoding.beam.search import SearchResult, begin, finish, search
from asr.decoding.decoder import DecoderSettings
from asr.lm.ngram.estimate import EstimateSettings, estimate
from asr.text import Alphabet

ALPHABET = Alphabet(" ABC")


def log_probs(frames: int, seed: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    logits = np.random.default_rng(seed).normal(0, 3, (frames, len(ALPHABET)))
    return np.asarray(logits - np.log(np.exp(logits).sum(1, keepdims=True)))


def same(left: SearchResult, right: SearchResult) -> bool:
    return (
        np.array_equal(left.tokens, right.tokens)
        and np.array_equal(left.ends, right.ends)
        and np.allclose(left.acoustic, right.acoustic, rtol=1e-12)
        and np.allclose(left.lm, right.lm, rtol=1e-12)
    )


@pytest.mark.parametrize("pruning", [Pruning(8, 12.0, 20.0, np.log(0.9999)), Pruning(100, np.inf, np.inf, np.inf)])
@pytest.mark.parametrize("hot", [{}, {"AB": 3.0}])
def test_interpreted_and_compiled_search_agree(pruning: Pruning, hot: dict[str, float]) -> None:
    model = estimate([["A", "AB"], ["CAB", "B"], ["AB", "CC", "A"]], EstimateSettings(2))
    for seed in range(5):
        fusion = Scorer(ALPHABET, LmSettings(0.7, 1.0), model, hot).fusion
        matrix = log_probs(12, seed)
        slow = interpreted_search(begin(fusion), matrix, pruning, fusion)
        fast = search(begin(fusion), matrix, pruning, fusion)
        assert same(interpreted_finish(slow, fusion), finish(fast, fusion))


def test_compiling_pays_for_long_audio_and_wide_beams(monkeypatch: pytest.MonkeyPatch) -> None:
    assert beam.compiling_pays(decode.INTERPRETED_LIMIT / 100 + 1, 100)
    monkeypatch.setattr(decode, "INTERPRETED_LIMIT", np.inf)
    assert not beam.compiling_pays(1, 100)


def test_the_compiled_search_is_used_if_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beam, "search_is_compiled", lambda: False)
    monkeypatch.setattr(beam, "compiling_pays", lambda frames, beam_width: frames * beam_width > 1000)
    assert not decoder.uses_compiled_search(DecoderSettings(), 1)
    assert decoder.uses_compiled_search(DecoderSettings(), np.inf)
    assert decoder.uses_compiled_search(DecoderSettings(lm="characters.safetensors"), 1)
    assert not decoder.uses_compiled_search(DecoderSettings(greedy=True), np.inf)
    monkeypatch.setattr(beam, "search_is_compiled", lambda: True)
    assert decoder.uses_compiled_search(DecoderSettings(), 1)
