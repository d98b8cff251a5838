"""The recurrent language model: probabilities, the carried state, steps and scores."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from asr.lm.recurrent import (
    BOUNDARY,
    RnnLmSettings,
)
from asr.lm.recurrent import model as model_module
from asr.model import CELLS
from asr.text import TextError
from tests.lm.samples import SMALL, close, make_rnn, output_weight, random_tokens


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_probabilities_sum_to_one(cell: str, tied: bool) -> None:
    model = make_rnn(replace(SMALL, cell=cell, tied=tied, embedding=7))
    log_probs, state = model(random_tokens(3, 9))
    assert log_probs.shape == (3, 9, 4)
    assert close(log_probs.exp().sum(dim=2), torch.ones(3, 9).double())
    assert state.hidden.shape == (2, 3, 7)
    assert (state.cell is not None) == (cell == "lstm")
    assert tied == (model.output is None)


def test_forward_is_the_recurrence_by_hand() -> None:
    model = make_rnn(replace(SMALL, cell="rnn-tanh", layers=1))
    tokens = random_tokens(1, 4)
    weights = dict(model.layers[0].named_parameters())
    h = torch.zeros(7).double()
    for token, found in zip(tokens[0], model(tokens)[0][0], strict=True):
        h = torch.tanh(weights["weight_ih_l0"] @ model.embedding.weight[token] + weights["weight_hh_l0"] @ h)
        assert close(found, functional.log_softmax(output_weight(model) @ h + model.bias, dim=0))


@pytest.mark.parametrize("length", [1, 2, 5, 11, 12, 13])
@pytest.mark.parametrize("cell", CELLS)
def test_carried_state_makes_chunks_one_sequence(cell: str, length: int) -> None:
    model = make_rnn(replace(SMALL, cell=cell))
    tokens = random_tokens(3, 12)
    whole, last = model(tokens)
    parts, state = [], None
    for start in range(0, 12, length):
        found, state = model(tokens[:, start : start + length], state)
        parts.append(found)
    assert close(torch.cat(parts, dim=1), whole)
    assert state is not None
    assert close(state.hidden, last.hidden)
    # Without the state it is another text.
    assert not close(model(tokens[:, 6:])[0], whole[:, 6:], 1e-3)


def test_log_probs_do_not_depend_on_later_tokens() -> None:
    model, tokens = make_rnn(), random_tokens(1, 8)
    other = tokens.clone()
    other[0, 5] = (other[0, 5] + 1) % 4
    one, two = model(tokens)[0], model(other)[0]
    assert close(one[:, :5], two[:, :5])
    assert not close(one[:, 5:], two[:, 5:], 1e-4)


def test_dropout_is_used_in_training_only() -> None:
    model = make_rnn(replace(SMALL, dropout=0.5)).train()
    tokens = random_tokens(1, 8)
    assert not close(model(tokens)[0], model(tokens)[0], 1e-4)
    assert model.inference().score(["AB"]) == model.inference().score(["AB"])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"cell": "elman"}, "cell = 'elman' is not one of rnn-tanh, "),
        ({"layers": 0}, "layers = 0 is not between 1 and 32"),
        ({"embedding": 0}, "embedding = 0"),
        ({"hidden": 10_000}, "hidden = 10000"),
        ({"dropout": 1.0}, "dropout = 1.0"),
        ({"tied": True}, "tied = true needs embedding = hidden, not 64 and 512"),
    ],
)
def test_invalid_shapes(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RnnLmSettings(**wrong)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.text(" AB", max_size=12), max_size=8), st.sampled_from(CELLS), st.sampled_from([1, 16, 2**14]))
def test_score_is_the_sum_of_its_steps(texts: list[str], cell: str, batch: int) -> None:
    model = make_rnn(replace(SMALL, cell=cell)).inference()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_module, "_BATCH", batch)
        patch.setattr(model_module, "_CHUNK", 5)
        found = model.score(texts)
        assert model.score(texts[::-1]) == found[::-1]
    for text, score in zip(texts, found, strict=True):
        state, token, total = model.initial_state(1), BOUNDARY, 0.0
        for following in [*model.alphabet.encode(text), BOUNDARY]:
            log_probs, state = model.step(state, np.array([token]))
            total += float(log_probs[0, following])
            token = following
        assert score == pytest.approx(total, abs=1e-9)


def test_probabilities_of_all_texts_sum_to_one() -> None:
    # Texts of up to 6 characters of one letter, and of longer ones what is left.
    model = make_rnn(alphabet="A").inference()
    short = math.fsum(map(math.exp, model.score(["A" * length for length in range(7)])))
    longer = math.exp(model.score(["A" * 7])[0])
    assert short + longer <= 1
    rest = 0.0
    state, log_prob = model.initial_state(1), 0.0
    for token in [BOUNDARY, *[1] * 6]:
        log_probs, state = model.step(state, np.array([token]))
        log_prob += float(log_probs[0, 1])
    rest = math.exp(log_prob)
    assert short + rest == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_step_of_a_batch_with_selected_states(cell: str) -> None:
    network = make_rnn(replace(SMALL, cell=cell))
    model = network.inference()
    log_probs, state = model.step(model.initial_state(3), np.array([0, 0, 0]))
    assert log_probs.shape == (3, 4)
    _, state = model.step(state, np.array([1, 2, 3]))
    # The beam kept the last text twice and the first once.
    found, _ = model.step(state.select([2, 0, 2]), np.array([1, 1, 2]))
    expected = [network(torch.tensor([[0, *pair]]))[0][0, -1] for pair in ((3, 1), (1, 1), (3, 2))]
    assert close(torch.from_numpy(found), torch.stack(expected))


def test_score_of_a_character_outside_the_alphabet() -> None:
    with pytest.raises(TextError, match="'Z' is not in the alphabet"):
        make_rnn().inference().score(["AB", "AZ"])


def test_perplexity_by_hand() -> None:
    model = make_rnn()
    for parameter in model.parameters():
        parameter.data.zero_()
    # Every character and every end has the chance 1/4: 2 + 5 + 0 characters, 1 + 2 + 0 words, 3 ends.
    found = model.inference().perplexity(["AB", "A BAB", ""])
    assert (found.sentences, found.words, found.characters) == (3, 3, 7)
    assert found.log_prob == pytest.approx(10 * math.log(1 / 4))
    assert found.per_character == pytest.approx(4.0)
    assert found.per_word == pytest.approx(4 ** (10 / 6))
