"""Beam search with a character n-gram model, against enumerated paths and the model's own scores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr import lm
from asr.decoding import beam
from asr.decoding.beam import BeamSettings, LmSettings, Scorer
from asr.lm.ngram import SPACE, NgramModel
from asr.lm.ngram.estimate import EstimateSettings, estimate
from asr.text import Alphabet
from tests.decoding.test_beam_hotwords import added
from tests.decoding.test_greedy import enumerate_paths, random_log_probs, spoken
from tests.lm.samples import ngram_scores

LETTERS = Alphabet(" AB")
SOLID = Alphabet("BA")
WIDE = BeamSettings(5000, np.inf, np.inf, np.inf)
TEXTS = ["AB A", "AB AB BA", "ABB A", "BA AB", "A", "AAB AB"]
WEIGHTS = [LmSettings(0.5), LmSettings(1.5, 2.0), LmSettings(0.8, -1.0), LmSettings(0.0, 0.5)]


def model(order: int) -> NgramModel:
    return estimate(map(lm.characters, TEXTS), EstimateSettings(order=order, vocabulary=lm.characters(" AB")))


def share(text: str, model: NgramModel, weights: LmSettings, alphabet: Alphabet = LETTERS) -> float:
    """Return what the model adds to a text, from its own scores of the characters and the end."""
    words = len(text.split()) if " " in alphabet.characters else 0
    return weights.lm_weight * sum(ngram_scores(model, [SPACE if one == " " else one for one in text])) + (
        weights.word_bonus * words
    )


@settings(deadline=None, derandomize=True, max_examples=24)
@given(st.integers(0, 2**32), st.integers(0, 6), st.integers(1, 4), st.sampled_from(WEIGHTS), st.booleans())
def test_scores_equal_enumerated_paths_and_the_model(
    seed: int, frames: int, order: int, weights: LmSettings, impossible: bool
) -> None:
    letters = model(order)
    log_probs = random_log_probs(seed, frames, 4, 0.2 * impossible)
    expected = {
        text: score + share(text, letters, weights) for text, score in enumerate_paths(log_probs, LETTERS).items()
    }
    found = beam.beam_search(log_probs, LETTERS, WIDE, Scorer(LETTERS, weights, letters))
    assert {one.text: one.score for one in found} == pytest.approx(expected, abs=1e-5)
    assert {one.text: one.lm_score for one in found} == pytest.approx(
        {text: share(text, letters, weights) for text in expected}, abs=1e-5
    )


@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
def test_alphabet_without_space(weights: LmSettings) -> None:
    letters = model(3)
    log_probs = random_log_probs(4, 7, 3)
    expected = {
        text: score + share(text, letters, weights, SOLID) for text, score in enumerate_paths(log_probs, SOLID).items()
    }
    found = beam.beam_search(log_probs, SOLID, WIDE, Scorer(SOLID, weights, letters))
    assert {one.text: one.score for one in found} == pytest.approx(expected, abs=1e-5)


def test_character_outside_the_model_is_unknown() -> None:
    alphabet = Alphabet("X A")
    letters, weights = model(2), LmSettings(0.7, 0.3)
    log_probs = random_log_probs(9, 5, 4)
    expected = {
        text: score + share(text, letters, weights, alphabet)
        for text, score in enumerate_paths(log_probs, alphabet).items()
    }
    found = beam.beam_search(log_probs, alphabet, WIDE, Scorer(alphabet, weights, letters))
    assert {one.text: one.score for one in found} == pytest.approx(expected, abs=1e-5)


def test_hotwords_with_a_character_model() -> None:
    letters, weights, hot = model(3), LmSettings(0.6, 0.2), {"AB": 2.0, "B A": 3.0}
    log_probs = random_log_probs(2, 6, 4)
    expected = {
        text: score + share(text, letters, weights) + added(text, hot)
        for text, score in enumerate_paths(log_probs, LETTERS).items()
    }
    found = beam.beam_search(log_probs, LETTERS, WIDE, Scorer(LETTERS, weights, letters, hot))
    assert {one.text: one.score for one in found} == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("width", [1, 4, 30])
@pytest.mark.parametrize("seed", range(4))
def test_narrow_beam_scores_whole_texts(seed: int, width: int) -> None:
    letters, weights = model(3), LmSettings(0.8, 0.5)
    log_probs = random_log_probs(seed, 60, 4)
    for one in beam.beam_search(log_probs, LETTERS, BeamSettings(width), Scorer(LETTERS, weights, letters)):
        assert one.lm_score == pytest.approx(share(one.text, letters, weights), abs=1e-4)


def test_model_decides_between_equal_acoustics() -> None:
    log_probs = spoken("AB AB", LETTERS, 3, (10.0, 11.0))
    frame = np.flatnonzero(log_probs.argmax(axis=1))[-1]
    a, b = LETTERS.encode("AB")
    log_probs[frame, a] = log_probs[frame, b] + 0.1
    assert beam.beam_search(log_probs, LETTERS)[0].text == "AB AA"
    assert beam.beam_search(log_probs, LETTERS, scorer=Scorer(LETTERS, LmSettings(0.5), model(3)))[0].text == "AB AB"


def test_scorer_log_probs_equal_the_search() -> None:
    letters, log_probs = model(3), random_log_probs(5, 9, 4)
    scorer = Scorer(LETTERS, LmSettings(0.7, 0.0), letters)
    found = beam.beam_search(log_probs, LETTERS, WIDE, scorer, 50)
    expected = [0.7 * value for value in scorer.log_probs([one.text for one in found])]
    assert [one.lm_score for one in found] == pytest.approx(expected)
    assert Scorer(LETTERS).log_probs(["AB", ""]) == [0.0, 0.0]
