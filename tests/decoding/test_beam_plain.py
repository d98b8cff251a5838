"""The interpreter searches as the compiled search does, and no longer than compiling takes."""

import numpy as np
import pytest

from asr.decoding import decoder
from asr.decoding.beam import EXACT, BeamSettings, plain
from asr.decoding.beam.ending import Found, search
from asr.decoding.beam.language import LmSettings, Prior
from asr.decoding.decoder import DecoderSettings
from asr.lm.ngram.estimate import EstimateSettings, estimate
from asr.text import Alphabet

ALPHABET = Alphabet(" ABC")


def log_probs(frames: int, seed: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    logits = np.random.default_rng(seed).normal(0, 3, (frames, len(ALPHABET)))
    return np.asarray(logits - np.log(np.exp(logits).sum(1, keepdims=True)))


def same(left: Found, right: Found) -> bool:
    return (
        np.array_equal(left.tokens, right.tokens)
        and np.array_equal(left.ends, right.ends)
        and np.allclose(left.acoustic, right.acoustic, rtol=1e-12)
        and np.allclose(left.share, right.share, rtol=1e-12)
    )


@pytest.mark.parametrize("settings", [BeamSettings(8), EXACT])
@pytest.mark.parametrize("hot", [{}, {"AB": 3.0}])
def test_it_finds_the_same_as_the_compiled_search(settings: BeamSettings, hot: dict[str, float]) -> None:
    model = estimate([["A", "AB"], ["CAB", "B"], ["AB", "CC", "A"]], EstimateSettings(2))
    for seed in range(5):
        guide = Prior(ALPHABET, LmSettings(0.7, 1.0), model, hot).guide
        matrix = log_probs(12, seed)
        found = plain.interpret(matrix, settings.limits, guide)
        assert same(found, search(matrix, settings.limits, guide))


def test_the_interpreter_gives_way_when_compiling_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []
    monkeypatch.setattr(plain, "is_compiled", lambda function: False)
    monkeypatch.setattr(plain, "_spent", [0])
    monkeypatch.setattr(plain, "PATIENCE", 250)
    monkeypatch.setattr(plain, "_interpreted", lambda *given: ran.append("plain"))
    monkeypatch.setattr(plain, "search", lambda *given: ran.append("compiled"))
    guide = Prior(ALPHABET).guide
    for _ in range(3):
        plain.run(log_probs(10, 0), BeamSettings(10).limits, guide)
    assert ran == ["plain", "plain", "compiled"]
    monkeypatch.setattr(plain, "is_compiled", lambda function: True)
    monkeypatch.setattr(plain, "_spent", [0])
    plain.run(log_probs(10, 0), BeamSettings(10).limits, guide)
    assert ran[3:] == ["compiled"]


def test_what_is_brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "_spent", [0])
    width = DecoderSettings().search.beam_width
    assert decoder.is_brief(DecoderSettings(), plain.PATIENCE / width)
    assert not decoder.is_brief(DecoderSettings(), plain.PATIENCE / width + 1)
    assert not decoder.is_brief(DecoderSettings(lm="letters.safetensors"), 1)
    assert decoder.is_brief(DecoderSettings(greedy=True), np.inf)
