"""Training of the recurrent language model: chunks, gradients, and what is learned."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from asr.lm import LmError
from asr.lm.recurrent import BOUNDARY, LmFileSettings, RnnLmSettings, training
from asr.lm.recurrent.network import NetworkState, RnnLmNetwork
from asr.lm.recurrent.training import LmEpoch, LmStep, RnnLmTraining
from asr.model import CELLS
from asr.text import Alphabet, TextError
from tests.lm.samples import SMALL, TEXT, close, gradients, make_rnn, output_weight


def corpus(*texts: str) -> training.Corpus:
    return training.encode_characters(texts, Alphabet(" AB"), "train")


def test_corpus_is_one_sequence_with_boundaries_around_each_text() -> None:
    found = corpus("AB", "", "B A")
    assert found.tokens.tolist() == [2, 3, 0, 0, 3, 1, 2, 0]
    assert found.lengths.tolist() == [3, 1, 4]
    (chunk,) = training.chunks(found, 1, 99)
    assert chunk.inputs.tolist() == [[0, 2, 3, 0, 0, 3, 1, 2]]
    assert chunk.targets.tolist() == [[2, 3, 0, 0, 3, 1, 2, 0]]
    assert corpus("", "").tokens.tolist() == [0, 0]


def test_chunks_are_parallel_streams_and_only_the_last_is_padded() -> None:
    found = list(training.chunks(corpus("AB", "", "B A"), 3, 2))
    assert [chunk.inputs.tolist() for chunk in found] == [[[0, 2], [0, 0], [1, 2]], [[3], [3], [0]]]
    assert [chunk.targets.tolist() for chunk in found] == [[[2, 3], [0, 3], [2, 0]], [[0], [1], [-100]]]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text(" AB", max_size=6), min_size=1, max_size=9), st.integers(1, 5), st.integers(1, 7))
def test_every_token_is_a_target_once(texts: list[str], streams: int, length: int) -> None:
    whole = corpus(*texts)
    found = list(training.chunks(whole, streams, length))
    targets = torch.cat([chunk.targets for chunk in found], dim=1).flatten()
    assert targets[targets >= 0].tolist() == whole.tokens.tolist()
    inputs = torch.cat([chunk.inputs for chunk in found], dim=1).flatten()
    assert inputs[: len(whole.tokens)].tolist() == [BOUNDARY, *whole.tokens[:-1].tolist()]
    shuffled = whole.shuffled(np.random.default_rng(1))
    ends = np.cumsum(shuffled.lengths)[:-1]
    again = [Alphabet(" AB").decode(part.tolist()) for part in np.split(shuffled.tokens, ends)]
    assert sorted(again) == sorted(texts)


def whole_gradients(model: RnnLmNetwork, found: training.Corpus, streams: int) -> list[Tensor]:
    """Return the gradients of the mean loss through the whole of each stream, by torch's own layers."""
    (chunk,) = training.chunks(found, streams, 10_000)
    x = model.embedding(chunk.inputs)
    for layer in model.layers:
        x, _ = layer(x)
    logits = functional.linear(x, output_weight(model), model.bias)
    functional.cross_entropy(logits.flatten(0, 1), chunk.targets.flatten()).backward()  # type: ignore[no-untyped-call]
    return gradients(model)


@pytest.mark.parametrize("streams", [1, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_gradient_of_one_chunk_is_the_full_gradient(cell: str, streams: int) -> None:
    model, found = make_rnn(replace(SMALL, cell=cell)), corpus("AB BA", "A", "BBAB A")
    expected = whole_gradients(model, found, streams)
    (chunk,) = training.chunks(found, streams, len(found.tokens))
    total, _ = training.backward(model, chunk, None)
    for one, other in zip(gradients(model), expected, strict=True):
        assert close(one, other)
    log_probs = model(chunk.inputs)[0]
    kept = chunk.targets >= 0
    picked = log_probs[kept].gather(1, chunk.targets[kept][:, None])
    assert float(total) == pytest.approx(-float(picked.detach().sum()), rel=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_state_is_carried_between_chunks_without_its_gradient(cell: str) -> None:
    model, found = make_rnn(replace(SMALL, cell=cell)), corpus("AB BA", "BBAB A")
    first, second = training.chunks(found, 1, 7)
    _, state = training.backward(model, first, None)
    assert not state.hidden.requires_grad
    model.zero_grad()
    _, last = training.backward(model, second, state)
    truncated = gradients(model)
    # The same losses, with a gradient through both chunks.
    log_probs, end = model(torch.cat([first.inputs, second.inputs], dim=1))
    assert close(last.hidden, end.hidden.detach())
    functional.nll_loss(log_probs[0, 7:], second.targets[0]).backward()  # type: ignore[no-untyped-call]
    full = gradients(model)
    assert not all(close(one, other, 1e-4) for one, other in zip(truncated, full, strict=True))
    # The output's bias has no part in the recurrence, so there nothing is cut off.
    names = [name for name, _ in model.named_parameters()]
    assert close(truncated[names.index("bias")], full[names.index("bias")])


# Three words, each as likely as the other two, and after each word one chance in three that the text ends.
GRAMMAR = ("AB", "BA", "BBB")
TINY = LmFileSettings(TEXT, RnnLmSettings(cell="gru", layers=1, embedding=8, hidden=24, dropout=0.0))
QUICK = RnnLmTraining(epochs=6, streams=16, chunk=16, learning_rate=2e-2)


def sentences(count: int, seed: int) -> list[str]:
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(GRAMMAR, random.geometric(1 / 3))) for _ in range(count)]


def truth(text: str) -> float:
    """Return the log-probability of a text under the grammar."""
    count = len(text.split())
    return count * math.log(1 / 3) + (count - 1) * math.log(2 / 3) + math.log(1 / 3)


@pytest.fixture(scope="module")
def trained() -> training.Trained:
    return training.train(TINY, QUICK, sentences(1000, 1), sentences(150, 2))


def test_training_learns_a_grammar(trained: training.Trained) -> None:
    texts = sentences(300, 3)
    best = sum(map(truth, texts))
    assert 1.06 * best < sum(trained.model.inference().score(texts)) < 0.99 * best
    assert trained.model.inference().score(["AB BBB BA"])[0] == pytest.approx(truth("AB BBB BA"), abs=0.5)
    assert trained.model.inference().score(["AA"])[0] < -5
    first, last = trained.epochs[0], trained.epochs[-1]
    assert last.train_loss < first.train_loss
    assert last.dev.per_word == pytest.approx(math.exp(-sum(map(truth, sentences(150, 2))) / words_and_ends()), rel=0.1)


def words_and_ends() -> int:
    return sum(len(text.split()) + 1 for text in sentences(150, 2))


def test_training_keeps_the_best_epoch() -> None:
    seen: list[LmEpoch] = []
    weights: list[dict[str, Tensor]] = []

    def on_event(event: LmStep | LmEpoch, model: RnnLmNetwork) -> None:
        if isinstance(event, LmEpoch):
            seen.append(event)
            weights.append({name: tensor.clone() for name, tensor in model.state_dict().items()})

    # The texts trained on are of one kind, so in the end those of dev surprise more than at the start.
    texts = ["AB BA"] * 8, sentences(30, 2)
    found = training.train(TINY, replace(QUICK, epochs=25, streams=4), *texts, on_event)
    assert found.epochs == tuple(seen)
    assert [epoch.number for epoch in seen] == list(range(1, 26))
    lowest = min(range(25), key=lambda index: seen[index].dev.per_character)
    assert lowest < 24
    assert seen[lowest].best
    assert [epoch.best for epoch in seen] == [
        all(epoch.dev.per_character < other.dev.per_character for other in seen[:index])
        for index, epoch in enumerate(seen)
    ]
    for name, tensor in found.model.state_dict().items():
        assert torch.equal(tensor, weights[lowest][name])
    assert not found.model.training


def test_steps_report_the_progress_of_an_epoch() -> None:
    events: list[LmStep | LmEpoch] = []
    texts = (text for text in ["AB BA", "AB", "BA"])
    run = RnnLmTraining(epochs=2, streams=5, chunk=2)
    training.train(TINY, run, texts, ["AB"], lambda event, _: events.append(event))
    # 12 tokens in streams of 3, of which the last have nothing at their ends.
    steps = [event for event in events if isinstance(event, LmStep)]
    assert [(step.epoch, step.done, step.total) for step in steps] == [(1, 8, 12), (1, 12, 12), (2, 8, 12), (2, 12, 12)]
    ends = [event for event in events if isinstance(event, LmEpoch)]
    assert [epoch.train_loss for epoch in ends] == [steps[1].loss, steps[3].loss]


def test_encoding_in_blocks_gives_the_same_corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = sentences(50, 1)
    whole, order = corpus(*texts), corpus(*texts).shuffled(np.random.default_rng(1))
    monkeypatch.setattr(training, "_BLOCK", 7)
    parts = corpus(*texts)
    assert np.array_equal(parts.tokens, whole.tokens)
    assert parts.tokens.dtype == whole.tokens.dtype == np.uint8
    assert np.array_equal(parts.shuffled(np.random.default_rng(1)).tokens, order.tokens)
    with pytest.raises(TextError, match=r"^train text 9: 'Z'"):
        training.encode_characters([*["A"] * 8, "Z"], Alphabet(" AB"), "train")


def test_training_stops_after_a_step() -> None:
    events: list[LmStep | LmEpoch] = []

    def on_event(event: LmStep | LmEpoch, model: RnnLmNetwork) -> bool:
        events.append(event)
        return len(events) > 3

    run = RnnLmTraining(epochs=5, streams=5, chunk=2)
    found = training.train(TINY, run, ["AB BA", "AB", "BA"], ["AB"], on_event)
    # An epoch has two steps, so training stops after the first step of the second epoch.
    assert [(epoch.number, epoch.done) for epoch in found.epochs] == [(1, 1.0), (2, pytest.approx(8 / 12))]
    assert found.stopped
    best = max(found.epochs, key=lambda epoch: epoch.dev.log_prob)
    assert found.model.inference().perplexity(["AB"]) == best.dev


def test_same_seed_gives_the_same_weights_and_leaves_the_global_random_state() -> None:
    shape = replace(TINY, model=replace(TINY.model, dropout=0.2))
    runs: list[training.Trained] = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(runs))
        before = torch.get_rng_state()
        found = training.train(shape, replace(QUICK, epochs=2, seed=seed), sentences(60, 1), sentences(5, 2))
        assert torch.equal(torch.get_rng_state(), before)
        runs.append(found)
    assert runs[0].epochs == runs[1].epochs
    assert runs[0].epochs != runs[2].epochs
    assert all(map(torch.equal, runs[0].model.state_dict().values(), runs[1].model.state_dict().values()))


def test_state_is_reset_at_the_start_of_an_epoch_only(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[bool] = []
    inner = training.backward

    def spy(
        model: RnnLmNetwork, chunk: training.Chunk, state: NetworkState | None, precision: str
    ) -> tuple[Tensor, NetworkState]:
        begun.append(state is None)
        return inner(model, chunk, state, precision)

    monkeypatch.setattr(training, "backward", spy)
    training.train(TINY, RnnLmTraining(epochs=2, streams=2, chunk=4), ["AB BA", "AB", "BA"], ["AB"])
    # 12 tokens in two streams of 6: two chunks an epoch.
    assert begun == [True, False, True, False]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": 0}, "epochs = 0 is not between"),
        ({"seed": -1}, "seed = -1"),
        ({"streams": -1}, "streams = -1"),
        ({"chunk": 0}, "chunk = 0"),
        ({"warmup": 1.1}, "warmup = 1.1"),
        ({"learning_rate": 0.0}, "learning_rate = 0.0 is not more than 0"),
        ({"clip": math.nan}, "clip = nan"),
        ({"weight_decay": -1.0}, "weight_decay = -1.0 is not 0 or more"),
        ({"precision": "float16"}, "precision = 'float16' is not one of float32, bfloat16"),
    ],
)
def test_invalid_training_settings(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RnnLmTraining(**wrong)


def test_invalid_texts() -> None:
    with pytest.raises(TextError, match=r"^train text 2: 'é' is not in the alphabet ' AB'$"):
        training.train(TINY, QUICK, ["AB", "Bé"], ["AB"])
    with pytest.raises(TextError, match=r"^dev text 1: 'Z' is not"):
        training.train(TINY, QUICK, ["AB"], ["Z"])
    for texts, which in ((([], ["A"]), "train"), ((["A"], []), "dev")):
        with pytest.raises(LmError, match=f"^no {which} texts$"):
            training.train(TINY, QUICK, *texts)


def test_diverging_training_raises_lm_error() -> None:
    shape = replace(TINY, model=replace(TINY.model, cell="rnn-relu"))
    wild = RnnLmTraining(epochs=20, learning_rate=1e30, clip=1e30, warmup=0.0, streams=1, chunk=8)
    with pytest.raises(LmError, match=r"^epoch \d+: the loss is not finite; a lower learning_rate"):
        training.train(shape, wild, sentences(20, 1), ["AB"])
