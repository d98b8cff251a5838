"""Beam search with a recurrent model, against enumerated paths and the model's own scores."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.decoding import DecodingError, beam
from asr.decoding.beam import BeamSettings, LmSettings, Scorer
from asr.decoding.beam.compiling import Ints
from asr.decoding.beam.recurrent import PrefixStates
from asr.lm.recurrent import RnnLm, RnnLmSettings
from asr.lm.recurrent.network import RnnLmNetwork
from asr.model import CELLS
from asr.text import Alphabet
from asr.transcripts.records import Hypothesis
from tests.decoding.test_beam_hotwords import added
from tests.decoding.test_greedy import enumerate_paths, random_log_probs

LETTERS = Alphabet(" AB")
WIDE = BeamSettings(5000, np.inf, np.inf, np.inf)
SHAPE = RnnLmSettings(layers=2, embedding=4, hidden=5, dropout=0.5)


def make(cell: str = "gru", alphabet: Alphabet = LETTERS, seed: int = 0) -> RnnLm:
    """Return a network of random weights, large enough that what came before matters."""
    torch.manual_seed(seed)
    network = RnnLmNetwork(alphabet, replace(SHAPE, cell=cell))
    for parameter in network.parameters():
        parameter.data *= 2.5
    return network.inference()


def share(text: str, model: RnnLm, weights: LmSettings) -> float:
    words = len(text.split()) if " " in model.alphabet.characters else 0
    return weights.lm_weight * model.score([text])[0] + weights.word_bonus * words


@pytest.mark.parametrize("weights", [LmSettings(0.7, 0.5), LmSettings(2.0, -1.0), LmSettings(0.0)], ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_scores_equal_enumerated_paths_and_the_model(cell: str, weights: LmSettings) -> None:
    model = make(cell)
    for frames in (0, 1, 5):
        log_probs = random_log_probs(frames, frames, 4, 0.1)
        expected = {
            text: score + share(text, model, weights) for text, score in enumerate_paths(log_probs, LETTERS).items()
        }
        found = beam.beam_search(log_probs, LETTERS, WIDE, Scorer(LETTERS, weights, model))
        assert {one.text: one.score for one in found} == pytest.approx(expected, abs=1e-4, rel=1e-5)
        assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


def test_hotwords_and_more_prefixes_than_the_initial_capacity() -> None:
    alphabet = Alphabet(" ABC")
    model, hot = make("lstm", alphabet), {"A": 1.0, "AB C": 3.0}
    weights = LmSettings(0.9, 0.2)
    log_probs = random_log_probs(11, 6, 5)
    scores = enumerate_paths(log_probs, alphabet)
    shares = weights.lm_weight * np.array(model.score(list(scores)))
    expected = {
        text: score + more + weights.word_bonus * len(text.split()) + added(text, hot)
        for (text, score), more in zip(scores.items(), shares.tolist(), strict=True)
    }
    assert len(expected) > 256
    found = beam.beam_search(log_probs, alphabet, WIDE, Scorer(alphabet, weights, model, hot))
    assert {one.text: one.score for one in found} == pytest.approx(expected, abs=1e-4, rel=1e-5)


def test_an_alphabet_without_space() -> None:
    alphabet = Alphabet("AB")
    model, weights = make("rnn-tanh", alphabet), LmSettings(0.6, 5.0)
    log_probs = random_log_probs(3, 6, 3)
    expected = {
        text: score + share(text, model, weights) for text, score in enumerate_paths(log_probs, alphabet).items()
    }
    found = beam.beam_search(log_probs, alphabet, WIDE, Scorer(alphabet, weights, model))
    assert {one.text: one.score for one in found} == pytest.approx(expected, abs=1e-4, rel=1e-5)


@settings(deadline=None, derandomize=True, max_examples=25)
@given(st.integers(0, 2**32), st.integers(1, 6), st.sampled_from([0.0, 0.4]), st.sampled_from(CELLS))
def test_narrow_beam_scores_whole_texts(seed: int, width: int, impossible: float, cell: str) -> None:
    model, weights = make(cell, seed=seed % 7), LmSettings(0.8, 0.5)
    log_probs = random_log_probs(seed, 30, 4, impossible)
    limits = BeamSettings(width, token_threshold=6.0, beam_threshold=8.0, blank_skip=0.9)
    found = beam.beam_search(log_probs, LETTERS, limits, Scorer(LETTERS, weights, model))
    assert 1 <= len(found) <= width
    assert len({one.text for one in found}) == len(found)
    for one in found:
        assert one.lm_score == pytest.approx(share(one.text, model, weights), abs=1e-4, rel=1e-5)


def test_prefix_that_returns_to_the_beam_keeps_its_state(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[int]] = []

    def watched(states: PrefixStates, nodes: Ints, parents: Ints, tokens: Ints) -> Any:
        seen.append(set(nodes.tolist()))
        return update(states, nodes, parents, tokens)

    update = PrefixStates.update
    monkeypatch.setattr(PrefixStates, "update", watched)
    model, weights, returned = make(), LmSettings(1.0), 0
    for seed in range(6):
        seen.clear()
        found = beam.beam_search(
            random_log_probs(seed, 40, 4), LETTERS, BeamSettings(4), Scorer(LETTERS, weights, model)
        )
        for one in found:
            assert one.lm_score == pytest.approx(share(one.text, model, weights), abs=1e-4, rel=1e-5)
        gone: set[int] = set()
        for before, after in pairwise(seen):
            returned += len(gone & after)
            gone |= before
            gone -= after
    assert returned > 5


def test_impossible_frames() -> None:
    found = beam.beam_search(np.full((3, 4), -np.inf), LETTERS, BeamSettings(4), Scorer(LETTERS, lm=make()))
    assert found == [Hypothesis("", -np.inf)]


def test_zero_weight_changes_nothing() -> None:
    log_probs = random_log_probs(8, 50, 4)
    plain = beam.beam_search(log_probs, LETTERS, BeamSettings(10))
    assert beam.beam_search(log_probs, LETTERS, BeamSettings(10), Scorer(LETTERS, LmSettings(0.0), make())) == plain


@pytest.mark.parametrize("other", ["AB", " ABC", " BA"])
def test_model_of_another_alphabet_is_an_error(other: str) -> None:
    with pytest.raises(DecodingError, match=f"the language model's alphabet is '{other}', the acoustic model's ' AB'"):
        Scorer(LETTERS, lm=make(alphabet=Alphabet(other)))
