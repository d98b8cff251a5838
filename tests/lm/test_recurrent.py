"""The recurrent language model: its gradient, the state it carries, its probabilities, and its file."""

import json
import math
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from asr import config
from asr.lm import LmError
from asr.lm import recurrent as rnnlm
from asr.lm.recurrent import (
    BOUNDARY,
    LmEpoch,
    LmFileSettings,
    LmState,
    LmStep,
    Perplexity,
    RnnLm,
    RnnLmSettings,
    RnnLmTraining,
    WordLm,
    file,
    scoring,
    training,
)
from asr.model import CELLS
from asr.text import Alphabet, TextError, TextSettings

SMALL = RnnLmSettings(layers=2, embedding=5, hidden=7, dropout=0.0)
TEXT = TextSettings(normaliser="none", alphabet=" AB")
CARD: dict[str, Any] = {"corpus": "é\n日", "dev": 1.5}


def make(shape: RnnLmSettings = SMALL, alphabet: str = " AB", seed: int = 0) -> RnnLm:
    """Return a network in double precision, in which equal means equal."""
    torch.manual_seed(seed)
    model = RnnLm(Alphabet(alphabet), shape).eval().double()
    # Large enough that characters far back matter.
    for parameter in model.parameters():
        parameter.data *= 1.3
    return model


def random_tokens(*shape: int, size: int = 4) -> Tensor:
    return torch.randint(size, shape, generator=torch.Generator().manual_seed(1))


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-6) -> bool:
    found, expected = found.detach(), expected.detach()
    return bool(((found - expected).abs() <= tolerance * max(1.0, float(expected.abs().max()))).all())


def gradients(model: nn.Module) -> list[Tensor]:
    found = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
    assert len(found) == len(list(model.parameters()))
    model.zero_grad()
    return found


# --- the network ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_probabilities_sum_to_one(cell: str, tied: bool) -> None:
    model = make(replace(SMALL, cell=cell, tied=tied, embedding=7))
    log_probs, state = model(random_tokens(3, 9))
    assert log_probs.shape == (3, 9, 4)
    assert close(log_probs.exp().sum(dim=2), torch.ones(3, 9).double())
    assert state.hidden.shape == (2, 3, 7)
    assert (state.cell is not None) == (cell == "lstm")
    assert tied == (model.output is None)


def test_each_layer_is_the_recurrence_written_out() -> None:
    model = make(replace(SMALL, cell="rnn-tanh", layers=1))
    tokens = random_tokens(1, 4)
    weights = dict(model.layers[0].named_parameters())
    h = torch.zeros(7).double()
    for token, found in zip(tokens[0], model(tokens)[0][0], strict=True):
        h = torch.tanh(weights["weight_ih_l0"] @ model.embedding.weight[token] + weights["weight_hh_l0"] @ h)
        assert close(found, functional.log_softmax(output_weight(model) @ h + model.bias, dim=0))


def output_weight(model: RnnLm) -> Tensor:
    assert model.output is not None
    return model.output.weight


@pytest.mark.parametrize("length", [1, 2, 5, 11, 12, 13])
@pytest.mark.parametrize("cell", CELLS)
def test_the_carried_state_makes_chunks_one_long_sequence(cell: str, length: int) -> None:
    model = make(replace(SMALL, cell=cell))
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


def test_the_future_is_not_seen() -> None:
    model, tokens = make(), random_tokens(1, 8)
    other = tokens.clone()
    other[0, 5] = (other[0, 5] + 1) % 4
    one, two = model(tokens)[0], model(other)[0]
    assert close(one[:, :5], two[:, :5])
    assert not close(one[:, 5:], two[:, 5:], 1e-4)


def test_dropout_is_of_training_alone() -> None:
    model = make(replace(SMALL, dropout=0.5)).train()
    tokens = random_tokens(1, 8)
    assert not close(model(tokens)[0], model(tokens)[0], 1e-4)
    assert model.score(["AB"]) == model.score(["AB"])
    assert model.training
    assert all(layer.training for layer in model.layers)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"cell": "elman"}, "cell = 'elman' is not one of rnn-tanh, "),
        ({"layers": 0}, "layers = 0 is not within 1 to 32"),
        ({"embedding": 0}, "embedding = 0"),
        ({"hidden": 10_000}, "hidden = 10000"),
        ({"dropout": 1.0}, "dropout = 1.0"),
        ({"tied": True}, "tied = true needs embedding = hidden, not 64 and 512"),
    ],
)
def test_shapes_that_cannot_be_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RnnLmSettings(**wrong)


# --- truncated backpropagation through time -----------------------------------------------------------------------


def corpus(*texts: str) -> training.Corpus:
    return training.encode(texts, Alphabet(" AB"), "train")


def test_the_corpus_is_one_sequence_with_boundaries_around_each_text() -> None:
    found = corpus("AB", "", "B A")
    assert found.tokens.tolist() == [2, 3, 0, 0, 3, 1, 2, 0]
    assert found.lengths.tolist() == [3, 1, 4]
    (chunk,) = training.chunks(found, 1, 99)
    assert chunk.inputs.tolist() == [[0, 2, 3, 0, 0, 3, 1, 2]]
    assert chunk.targets.tolist() == [[2, 3, 0, 0, 3, 1, 2, 0]]
    assert corpus("", "").tokens.tolist() == [0, 0]


def test_streams_lie_side_by_side_and_only_the_last_is_filled_up() -> None:
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


def whole_gradients(model: RnnLm, found: training.Corpus, streams: int) -> list[Tensor]:
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
def test_with_a_chunk_of_the_whole_sequence_the_gradient_is_the_full_one(cell: str, streams: int) -> None:
    model, found = make(replace(SMALL, cell=cell)), corpus("AB BA", "A", "BBAB A")
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
def test_the_state_crosses_the_border_of_a_chunk_and_the_gradient_does_not(cell: str) -> None:
    model, found = make(replace(SMALL, cell=cell)), corpus("AB BA", "BBAB A")
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


# --- training ---------------------------------------------------------------------------------------------------

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
    return rnnlm.train(TINY, QUICK, sentences(1000, 1), sentences(150, 2))


def test_it_learns_a_grammar(trained: training.Trained) -> None:
    texts = sentences(300, 3)
    best = sum(map(truth, texts))
    assert 1.06 * best < sum(trained.model.score(texts)) < 0.99 * best
    assert trained.model.score(["AB BBB BA"])[0] == pytest.approx(truth("AB BBB BA"), abs=0.5)
    assert trained.model.score(["AA"])[0] < -5
    first, last = trained.epochs[0], trained.epochs[-1]
    assert last.train_loss < first.train_loss
    assert last.dev.per_word == pytest.approx(math.exp(-sum(map(truth, sentences(150, 2))) / words_and_ends()), rel=0.1)


def words_and_ends() -> int:
    return sum(len(text.split()) + 1 for text in sentences(150, 2))


def test_the_best_epoch_is_kept() -> None:
    seen: list[LmEpoch] = []
    weights: list[dict[str, Tensor]] = []

    def report(event: LmStep | LmEpoch, model: RnnLm | WordLm) -> None:
        if isinstance(event, LmEpoch):
            seen.append(event)
            weights.append({name: tensor.clone() for name, tensor in model.state_dict().items()})

    # The texts trained on are of one kind, so in the end those of dev surprise more than at the start.
    texts = ["AB BA"] * 8, sentences(30, 2)
    found = rnnlm.train(TINY, replace(QUICK, epochs=25, streams=4), *texts, report)
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


def test_steps_say_how_far_an_epoch_has_come() -> None:
    events: list[LmStep | LmEpoch] = []
    texts = (text for text in ["AB BA", "AB", "BA"])
    rnnlm.train(TINY, RnnLmTraining(epochs=2, streams=5, chunk=2), texts, ["AB"], lambda event, _: events.append(event))
    # 12 tokens in streams of 3, of which the last have nothing at their ends.
    steps = [event for event in events if isinstance(event, LmStep)]
    assert [(step.epoch, step.done, step.total) for step in steps] == [(1, 8, 12), (1, 12, 12), (2, 8, 12), (2, 12, 12)]
    ends = [event for event in events if isinstance(event, LmEpoch)]
    assert [epoch.train_loss for epoch in ends] == [steps[1].loss, steps[3].loss]


def test_many_texts_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = sentences(50, 1)
    whole, order = corpus(*texts), corpus(*texts).shuffled(np.random.default_rng(1))
    monkeypatch.setattr(training, "_TOGETHER", 7)
    parts = corpus(*texts)
    assert np.array_equal(parts.tokens, whole.tokens)
    assert parts.tokens.dtype == whole.tokens.dtype == np.uint8
    assert np.array_equal(parts.shuffled(np.random.default_rng(1)).tokens, order.tokens)
    with pytest.raises(TextError, match=r"^train text 9: 'Z'"):
        training.encode([*["A"] * 8, "Z"], Alphabet(" AB"), "train")


def test_a_seed_repeats_every_number_and_leaves_torch_its_own() -> None:
    shape = replace(TINY, model=replace(TINY.model, dropout=0.2))
    runs: list[training.Trained] = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(runs))
        before = torch.get_rng_state()
        found = rnnlm.train(shape, replace(QUICK, epochs=2, seed=seed), sentences(60, 1), sentences(5, 2))
        assert torch.equal(torch.get_rng_state(), before)
        runs.append(found)
    assert runs[0].epochs == runs[1].epochs
    assert runs[0].epochs != runs[2].epochs
    assert all(map(torch.equal, runs[0].model.state_dict().values(), runs[1].model.state_dict().values()))


def test_the_state_begins_anew_with_an_epoch_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[bool] = []
    inner = training.backward

    def spy(model: RnnLm, chunk: training.Chunk, state: LmState | None) -> tuple[Tensor, LmState]:
        begun.append(state is None)
        return inner(model, chunk, state)

    monkeypatch.setattr(training, "backward", spy)
    rnnlm.train(TINY, RnnLmTraining(epochs=2, streams=2, chunk=4), ["AB BA", "AB", "BA"], ["AB"])
    # 12 tokens in two streams of 6: two chunks an epoch.
    assert begun == [True, False, True, False]


def test_the_learning_rate_rises_and_falls() -> None:
    found = RnnLmTraining(learning_rate=1.0, warmup=0.2)
    rates = [found.rate(progress / 10) for progress in range(11)]
    assert rates[:3] == pytest.approx([1e-3, 0.5, 1.0])
    assert rates[6] == pytest.approx(0.5)
    assert rates[10] == pytest.approx(0.0)
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert RnnLmTraining(learning_rate=1.0, warmup=1.0).rate(1.0) == pytest.approx(1.0)
    assert RnnLmTraining(learning_rate=1.0, warmup=0.0).rate(0.0) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": 0}, "epochs = 0 is not within"),
        ({"seed": -1}, "seed = -1"),
        ({"streams": -1}, "streams = -1"),
        ({"chunk": 0}, "chunk = 0"),
        ({"warmup": 1.1}, "warmup = 1.1"),
        ({"learning_rate": 0.0}, "learning_rate = 0.0 is not more than 0"),
        ({"clip": math.nan}, "clip = nan"),
        ({"weight_decay": -1.0}, "weight_decay = -1.0 is not 0 or more"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RnnLmTraining(**wrong)


def test_texts_that_cannot_be_trained_on_are_named() -> None:
    with pytest.raises(TextError, match=r"^train text 2: 'é' is not in the alphabet ' AB'$"):
        rnnlm.train(TINY, QUICK, ["AB", "Bé"], ["AB"])
    with pytest.raises(TextError, match=r"^dev text 1: 'Z' is not"):
        rnnlm.train(TINY, QUICK, ["AB"], ["Z"])
    for texts, which in ((([], ["A"]), "train"), ((["A"], []), "dev")):
        with pytest.raises(LmError, match=f"^no {which} texts$"):
            rnnlm.train(TINY, QUICK, *texts)


def test_a_run_that_diverges_ends_with_a_message() -> None:
    shape = replace(TINY, model=replace(TINY.model, cell="rnn-relu"))
    wild = RnnLmTraining(epochs=20, learning_rate=1e30, clip=1e30, warmup=0.0, streams=1, chunk=8)
    with pytest.raises(LmError, match=r"^epoch \d+: the loss is no number; a lower learning_rate"):
        rnnlm.train(shape, wild, sentences(20, 1), ["AB"])


# --- score, step, perplexity --------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=20)
@given(st.lists(st.text(" AB", max_size=12), max_size=8), st.sampled_from(CELLS), st.sampled_from([1, 16, 2**14]))
def test_a_score_is_the_sum_of_its_steps(texts: list[str], cell: str, batch: int) -> None:
    model = make(replace(SMALL, cell=cell))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "_BATCH", batch)
        patch.setattr(scoring, "_CHUNK", 5)
        found = model.score(texts)
        assert model.score(texts[::-1]) == found[::-1]
    for text, score in zip(texts, found, strict=True):
        state, token, total = model.start(1), BOUNDARY, 0.0
        for following in [*model.alphabet.encode(text), BOUNDARY]:
            log_probs, state = model.step(state, torch.tensor([token]))
            total += float(log_probs[0, following])
            token = following
        assert score == pytest.approx(total, abs=1e-9)


def test_all_texts_together_have_probability_one() -> None:
    # Texts of up to 6 characters of one letter, and of longer ones what is left.
    model = make(alphabet="A")
    short = math.fsum(map(math.exp, model.score(["A" * length for length in range(7)])))
    longer = math.exp(model.score(["A" * 7])[0])
    assert short + longer <= 1
    rest = 0.0
    state, log_prob = model.start(1), 0.0
    for token in [BOUNDARY, *[1] * 6]:
        log_probs, state = model.step(state, torch.tensor([token]))
        log_prob += float(log_probs[0, 1])
    rest = math.exp(log_prob)
    assert short + rest == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_steps_of_a_batch_are_those_of_each_text_and_states_can_be_chosen(cell: str) -> None:
    model = make(replace(SMALL, cell=cell))
    log_probs, state = model.step(model.start(3), torch.tensor([0, 0, 0]))
    assert log_probs.shape == (3, 4)
    assert not log_probs.requires_grad
    _, state = model.step(state, torch.tensor([1, 2, 3]))
    # The beam kept the last text twice and the first once.
    found, _ = model.step(state.select(torch.tensor([2, 0, 2])), torch.tensor([1, 1, 2]))
    expected = [model(torch.tensor([[0, *pair]]))[0][0, -1] for pair in ((3, 1), (1, 1), (3, 2))]
    assert close(found, torch.stack(expected).detach())


def test_a_character_outside_the_alphabet_is_refused() -> None:
    with pytest.raises(TextError, match="'Z' is not in the alphabet"):
        make().score(["AB", "AZ"])


def test_perplexity_by_hand() -> None:
    model = make()
    for parameter in model.parameters():
        parameter.data.zero_()
    # Every character and every end has the chance 1/4: 2 + 5 + 0 characters, 1 + 2 + 0 words, 3 ends.
    found = model.perplexity(["AB", "A BAB", ""])
    assert found == Perplexity(pytest.approx(10 * math.log(1 / 4)), 3, 7, 3)  # type: ignore[arg-type]
    assert found.per_character == pytest.approx(4.0)
    assert found.per_word == pytest.approx(4 ** (10 / 6))
    assert Perplexity(-1e6, 1, 1, 1).per_word == math.inf
    with pytest.raises(LmError, match="no texts"):
        model.perplexity([])


# --- the file -----------------------------------------------------------------------------------------------------


def single(shape: RnnLmSettings = SMALL, alphabet: str = " AB") -> RnnLm:
    return make(shape, alphabet).float()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A good file."""
    path = tmp_path / "lm.safetensors"
    rnnlm.save(path, single(), LmFileSettings(TEXT, SMALL), CARD)
    return path


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_round_trip(cell: str, tied: bool, tmp_path: Path) -> None:
    shape = LmFileSettings(
        TextSettings("none", "é' 日"), replace(SMALL, cell=cell, tied=tied, embedding=7, dropout=0.25)
    )
    model = single(shape.model, shape.text.alphabet)
    rnnlm.save(tmp_path / "lm", model, shape, CARD)
    loaded, contents = rnnlm.load(tmp_path / "lm")
    assert loaded.score(["é日", " '"]) == model.score(["é日", " '"])
    assert not loaded.training
    assert contents == rnnlm.inspect(tmp_path / "lm")
    assert (contents.schema, contents.settings, contents.card) == (3, shape, CARD)
    assert contents.shapes == {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    # A model that was loaded can be trained on.
    (chunk,) = training.chunks(training.encode(["é日"], loaded.alphabet, "train"), 1, 9)
    training.backward(loaded.train(), chunk, None)
    assert len(gradients(loaded)) == len(contents.shapes)


def refused(path: Path) -> str:
    """Return why a file is refused, in one line that names it."""
    messages = []
    for read in (rnnlm.load, rnnlm.inspect):
        with pytest.raises(LmError) as caught:
            read(path)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert messages[0].startswith(f"{path}: ")
    assert "\n" not in messages[0]
    return messages[0].removeprefix(f"{path}: ")


def rewrite(path: Path, tensors: dict[str, Tensor] | None = None, **changed: str | None) -> None:
    """Write the good file again with other tensors or metadata (None: without that key)."""
    good = {
        "format": file.FORMAT,
        "schema": "1",
        "settings": json.dumps(config.to_dict(LmFileSettings(TEXT, SMALL))),
        "card": "{}",
    }
    kept = {key: value for key, value in (good | changed).items() if value is not None}
    save_file(single().state_dict() if tensors is None else tensors, path, kept)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"format": "asr-model"}, "a safetensors file of something else"),
        ({"format": None}, "a safetensors file of something else"),
        ({"schema": None}, "damaged metadata: its schema is no number"),
        ({"schema": "one"}, "damaged metadata: its schema is no number"),
        ({"schema": "4"}, "of schema 4, this asr reads up to 3"),
        ({"settings": None}, "damaged metadata: settings is not a JSON object"),
        ({"settings": "{"}, "damaged metadata: "),
        ({"settings": '{"model": {"hiden": 3}}'}, "damaged metadata: unknown key 'model.hiden'"),
        ({"settings": '{"text": {"alphabet": "auto"}}'}, "damaged metadata: text.alphabet = 'auto'"),
        ({"settings": "{}"}, "its weights do not fit its settings: 'bias' and "),
        ({"card": "[]"}, "damaged metadata: card is not a JSON object"),
    ],
)
def test_damaged_metadata_is_named(changed: dict[str, str | None], message: str, path: Path) -> None:
    rewrite(path, None, **changed)
    assert refused(path).startswith(message)


def test_damaged_weights_are_named(path: Path) -> None:
    good = load_file(path)
    rewrite(path, {name: tensor for name, tensor in good.items() if name != "bias"})
    assert refused(path) == "its weights do not fit its settings: 'bias' and 0 more"
    rewrite(path, good | {"extra": torch.zeros(1)})
    assert refused(path) == "its weights do not fit its settings: 'extra' and 0 more"
    rewrite(path, {name: tensor.double() for name, tensor in good.items()})
    assert refused(path) == "its weights are of float64; float32, float16, or int8 with scales is meant"
    for value in (math.nan, math.inf):
        rewrite(path, good | {"bias": torch.tensor([0.0, value, 0.0, 0.0])})
        assert refused(path) == "its weights are not all finite numbers"


def test_other_files_are_named(path: Path, tmp_path: Path) -> None:
    whole = path.read_bytes()
    for part in (b"", whole[:7], whole[:100], whole[:-1], pickle.dumps({"weight": 1}), b"\xff" * 64):
        path.write_bytes(part)
        assert refused(path) == "not a safetensors file, or a truncated one"
    assert refused(tmp_path) == "a folder; a language model file is meant"
    assert refused(tmp_path / "none") == "no such file; a language model file is meant"


def test_what_cannot_be_written_leaves_what_was_there(path: Path) -> None:
    before = path.read_bytes()
    broken = single()
    broken.bias.data[0] = math.nan
    for model, shape, message in (
        (broken, SMALL, "its weights are not all finite numbers"),
        (single(), replace(SMALL, hidden=3), "its weights do not fit its settings"),
    ):
        with pytest.raises(LmError, match=message) as caught:
            rnnlm.save(path, model, LmFileSettings(TEXT, shape), CARD)
        assert str(caught.value).startswith(f"{path}: cannot be written: ")
    with pytest.raises(TypeError, match="not JSON serializable"):
        rnnlm.save(path, single(), LmFileSettings(TEXT, SMALL), {"path": path})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(LmError, match="cannot be written"):
        rnnlm.save(path / "below", single(), LmFileSettings(TEXT, SMALL), CARD)
