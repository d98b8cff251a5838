"""The network against its written equations, finite differences, and itself in chunks."""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from asr.model import CELLS, ModelSettings, output_length
from asr.model.network import Dropout, Model, Output, RecurrentLayer, StreamState, reverse

FEATURES, TOKENS = 6, 4
REDUCTIONS = (2, 3, 4)
Array = NDArray[np.float64]


def tiny(cell: str = "lstm", **changed: Any) -> ModelSettings:
    chosen: dict[str, Any] = {"cell": cell, "layers": 2, "hidden": 3, "channels": 2, "dropout": 0.0}
    return ModelSettings(**(chosen | changed))


def make(shape: ModelSettings, seed: int = 0, features: int = FEATURES) -> Model:
    """Make a model whose every parameter, biases and scales too, is random, for inference."""
    torch.manual_seed(seed)
    model = Model(features, TOKENS, shape)
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return model.eval()


def run(
    model: Model, features: Tensor, lengths: list[int], state: StreamState | None = None, last: bool = True
) -> Output:
    with torch.no_grad():
        output = model(features, torch.tensor(lengths), state, last=last)
    assert isinstance(output, Output)
    return output


def alone(model: Model, features: Tensor) -> Tensor:
    return run(model, features[None], [len(features)]).log_probs[0]


# --- the recurrences, written out -------------------------------------------------------------------------------


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def step_rnn(f: Callable[[Array], Array]) -> Callable[[Array, Array, Array, Array], tuple[Array, Array]]:
    def step(x: Array, recurrent: Array, h: Array, c: Array) -> tuple[Array, Array]:
        return f(x + recurrent), c

    return step


def step_gru(x: Array, recurrent: Array, h: Array, c: Array) -> tuple[Array, Array]:
    (x_r, x_z, x_n), (h_r, h_z, h_n) = np.split(x, 3), np.split(recurrent, 3)
    r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
    n = np.tanh(x_n + r * h_n)
    return (1 - z) * n + z * h, c


def step_lstm(x: Array, recurrent: Array, h: Array, c: Array) -> tuple[Array, Array]:
    i, f, g, o = np.split(x + recurrent, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


STEPS = {
    "rnn-tanh": step_rnn(np.tanh),
    "rnn-relu": step_rnn(lambda x: np.maximum(x, 0)),
    "gru": step_gru,
    "lstm": step_lstm,
}


def recurrence(cell: str, weights: dict[str, Array], inputs: Array) -> tuple[Array, Array, Array]:
    """Return all h (T, H) and the last h and c."""
    h = c = np.zeros(weights["weight_hh_l0"].shape[1])
    every = []
    for x in inputs:
        from_input = weights["weight_ih_l0"] @ x + weights["bias_ih_l0"]
        from_past = weights["weight_hh_l0"] @ h + weights["bias_hh_l0"]
        h, c = STEPS[cell](from_input, from_past, h, c)
        every.append(h)
    return np.array(every), h, c


def directions(layer: RecurrentLayer) -> list[dict[str, Array]]:
    """Return the weights of each direction of a layer by their names in the forward one."""
    every = {name: value.detach().numpy() for name, value in layer.recurrence.named_parameters()}
    forward = {name: value for name, value in every.items() if not name.endswith("_reverse")}
    backward = {name.removesuffix("_reverse"): value for name, value in every.items() if name.endswith("_reverse")}
    assert forward.keys() == backward.keys() or not backward
    return [forward, backward]


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_layer_equals_its_recurrence_equations(cell: str, bidirectional: bool) -> None:
    torch.manual_seed(1)
    layer = RecurrentLayer(5, tiny(cell, hidden=4, bidirectional=bidirectional)).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    lengths = [9, 5, 1]
    x = torch.randn(3, 9, 5, dtype=torch.float64)
    with torch.no_grad():
        output, last = layer(x, torch.tensor(lengths))
    assert output.shape == (3, 9, 8 if bidirectional else 4)
    for row, length in enumerate(lengths):
        inputs = x[row, :length].numpy()
        weights = directions(layer)
        expected = [recurrence(cell, weights[0], inputs)[0]]
        if bidirectional:
            expected.append(recurrence(cell, weights[1], inputs[::-1])[0][::-1])
        np.testing.assert_allclose(output[row, :length].numpy(), np.concatenate(expected, axis=1), atol=1e-12)
    _, h, c = recurrence(cell, weights[0], x[0].numpy())
    states = last if cell == "lstm" else (last,)
    for actual, wanted in zip(states, (h, c), strict=False):
        np.testing.assert_allclose(actual[0, 0].numpy(), wanted, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_initial_weights(cell: str) -> None:
    hidden = 7
    gates = {"lstm": 4, "gru": 3}.get(cell, 1)
    forget = np.zeros(gates * hidden)
    if cell == "lstm":
        forget[hidden : 2 * hidden] = 1
    both = directions(RecurrentLayer(5, tiny(cell, hidden=hidden)))
    for weights in both:
        np.testing.assert_array_equal(weights["bias_ih_l0"], forget)
        assert not weights["bias_hh_l0"].any()
        for gate in np.split(weights["weight_hh_l0"], gates):
            np.testing.assert_allclose(gate @ gate.T, np.eye(hidden), atol=1e-5)
        assert weights["weight_ih_l0"].std() > 0.1
    assert np.abs(both[0]["weight_hh_l0"] - both[1]["weight_hh_l0"]).max() > 0.1


# --- backpropagation through time -------------------------------------------------------------------------------


def weighted(model: Model, features: Tensor, lengths: Tensor) -> Tensor:
    """Return a random linear function of the log-probabilities of all valid frames."""
    output: Output = model(features, lengths)
    weights = torch.randn(output.log_probs.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    valid = torch.arange(output.log_probs.shape[1]) < output.lengths[:, None]
    return (output.log_probs * weights)[valid].sum()


def ctc(model: Model, features: Tensor, lengths: Tensor) -> Tensor:
    output = model(features, lengths)
    targets, sizes = torch.tensor([[1, 2, 2], [3, 1, 0]]), torch.tensor([3, 2])
    return functional.ctc_loss(output.log_probs.transpose(0, 1), targets, output.lengths, sizes, reduction="sum")


@pytest.mark.parametrize(
    ("cell", "bidirectional", "loss"),
    [(cell, bidirectional, weighted) for cell, bidirectional in product(CELLS, (True, False))]
    + [("lstm", True, ctc), ("gru", False, ctc)],
)
def test_gradients_equal_finite_differences(
    cell: str, bidirectional: bool, loss: Callable[[Model, Tensor, Tensor], Tensor]
) -> None:
    model = make(tiny(cell, bidirectional=bidirectional, time_reduction=2), seed=3).double().train()
    random = np.random.default_rng(4)
    features = torch.from_numpy(random.standard_normal((2, 13, FEATURES))).requires_grad_()
    lengths = torch.tensor([13, 8])
    loss(model, features, lengths).backward()  # type: ignore[no-untyped-call]
    reached = 0
    for name, tensor in [*model.named_parameters(), ("features", features)]:
        assert tensor.grad is not None, name
        flat, gradient = tensor.data.view(-1), tensor.grad.view(-1)
        for entry in random.choice(len(flat), min(4, len(flat)), replace=False).tolist():
            kept, step = flat[entry].item(), 2e-7
            with torch.no_grad():
                flat[entry] = kept + step
                above = loss(model, features, lengths)
                flat[entry] = kept - step
                below = loss(model, features, lengths)
                flat[entry] = kept
            difference = ((above - below) / (2 * step)).item()
            assert gradient[entry].item() == pytest.approx(difference, rel=1e-5, abs=1e-7), f"{name}[{entry}]"
            reached += gradient[entry].item() != 0
    assert reached > 40


# --- padding, direction, streams --------------------------------------------------------------------------------


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("time_reduction", REDUCTIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_padded_batch_equals_single_utterances(cell: str, time_reduction: int, bidirectional: bool) -> None:
    model = make(tiny(cell, time_reduction=time_reduction, bidirectional=bidirectional))
    lengths = [23, 22, 14, 9, 5, 2, 1]
    features = torch.randn(len(lengths), 23, FEATURES)
    for row, length in enumerate(lengths):
        features[row, length:] = 1e3 * torch.randn(23 - length, FEATURES)
    output = run(model, features, lengths)
    for row, length in enumerate(lengths):
        expected = alone(model, features[row, :length])
        assert len(expected) == output.lengths[row]
        torch.testing.assert_close(output.log_probs[row, : len(expected)], expected, atol=1e-5, rtol=0)


# The packed path, which is cuDNN's on a GPU, taken on the CPU.

SHAPES: list[dict[str, Any]] = [
    {},
    {"residual": False},
    {"layer_norm": False},
    {"residual": False, "layer_norm": False},
    {"bidirectional": False},
    {"bidirectional": False, "residual": False, "layer_norm": False},
]


def both_paths(shape: ModelSettings, lengths: list[int], features: Tensor, tap: int) -> list[dict[str, Tensor]]:
    """Return log_probs of valid frames, tapped ones, and the gradients of all parameters, padded and packed."""
    found = []
    for packs in (False, True):
        model = make(shape, seed=6).train()
        model.use_packing = packs
        output = model(features, torch.tensor(lengths), tap=tap)
        size = max(output.lengths.tolist())
        assert output.log_probs.shape == (len(lengths), size, TOKENS)
        valid = torch.arange(size) < output.lengths[:, None]
        assert output.tapped is not None
        weights = torch.randn(2, len(lengths), size, TOKENS, generator=torch.Generator().manual_seed(5))
        loss = (output.log_probs * weights[0])[valid].sum() + (output.tapped * weights[1])[valid].sum()
        loss.backward()
        values = {"": output.log_probs[valid], "tapped": output.tapped[valid], "lengths": output.lengths}
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            values[name] = parameter.grad
        found.append({name: value.detach() for name, value in values.items()})
    return found


@pytest.mark.parametrize("changed", SHAPES, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_packed_batch_equals_padded_batch(cell: str, changed: dict[str, Any]) -> None:
    lengths = [14, 23, 1, 9, 22]  # the longest is not the first
    features = torch.randn(len(lengths), 23, FEATURES, generator=torch.Generator().manual_seed(8))
    padded, packed = both_paths(tiny(cell, layers=3, **changed), lengths, features, tap=2)
    assert padded.keys() == packed.keys()
    for name, value in padded.items():
        size = max(1.0, float(value.abs().max()))
        assert (packed[name] - value).abs().max() <= 1e-5 * size, name
        # A layer of ReLU cells may be dead.
        assert cell == "rnn-relu" or value.abs().max() > 0, name


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_packed_batch_equals_single_utterances(cell: str, bidirectional: bool) -> None:
    model = make(tiny(cell, bidirectional=bidirectional))
    lengths = [5, 23, 14, 1]
    features = 10 * torch.randn(len(lengths), 23, FEATURES)
    expected = [alone(model, features[row, :length]) for row, length in enumerate(lengths)]
    model.use_packing = True
    output = run(model, features, lengths)
    for row, one in enumerate(expected):
        torch.testing.assert_close(output.log_probs[row, : len(one)], one, atol=1e-5, rtol=0)


@pytest.mark.parametrize("packs", [False, True])
@pytest.mark.parametrize("changed", SHAPES, ids=str)
def test_tap_equals_output_of_shorter_model(changed: dict[str, Any], packs: bool) -> None:
    lengths = [20, 13]
    features = torch.randn(2, 20, FEATURES)
    model = make(tiny(layers=3, **changed))
    model.use_packing = packs
    assert run(model, features, lengths).tapped is None
    for tap in (1, 2, 3):
        with torch.no_grad():
            output = model(features, torch.tensor(lengths), tap=tap)
        # The same network with its upper layers taken away ends where the tap is.
        shorter = make(tiny(**(changed | {"layers": tap})))
        shorter.use_packing = packs
        shorter.load_state_dict(
            {name: value for name, value in model.state_dict().items() if name in shorter.state_dict()}
        )
        expected = run(shorter, features, lengths).log_probs
        assert output.tapped is not None
        torch.testing.assert_close(output.tapped[0], expected[0], atol=1e-6, rtol=0)
        torch.testing.assert_close(output.tapped[1, :4], expected[1, :4], atol=1e-6, rtol=0)
        torch.testing.assert_close(output.log_probs, run(model, features, lengths).log_probs, atol=1e-6, rtol=0)
        if tap < 3:
            assert (output.tapped - output.log_probs).abs().max() > 1e-3


def test_tap_is_output_layer_of_intermediate_layer() -> None:
    model = make(tiny(layers=2, residual=False))
    seen: list[Tensor] = []
    model.layers[0].register_forward_hook(lambda _, __, output: seen.append(output[0]))
    with torch.no_grad():
        output = model(torch.randn(2, 16, FEATURES), torch.tensor([16, 9]), tap=1)
        expected = torch.log_softmax(model.output(model.last_norm(seen[0])), dim=2)
    torch.testing.assert_close(output.tapped, expected, atol=1e-6, rtol=0)


def sensitivity(model: Model, frames: int) -> NDArray[np.bool_]:
    """Return (T', T): whether an output frame changes with an input frame."""
    features = torch.randn(1, frames, FEATURES, requires_grad=True)
    log_probs = model(features, torch.tensor([frames])).log_probs[0]
    rows = []
    for frame in log_probs:
        (gradient,) = torch.autograd.grad(frame @ torch.arange(1.0, TOKENS + 1), features, retain_graph=True)
        rows.append(gradient[0].abs().sum(1).numpy() > 0)
    return np.array(rows)


@pytest.mark.parametrize("time_reduction", REDUCTIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_bidirectional_output_depends_on_all_frames(cell: str, time_reduction: int) -> None:
    # With this many channels no frame's paths through the ReLUs are all dead.
    seen = sensitivity(make(tiny(cell, time_reduction=time_reduction, channels=8, hidden=8)), 24)
    assert seen.all()


@pytest.mark.parametrize("time_reduction", REDUCTIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_forward_only_output_depends_on_past_frames_only(cell: str, time_reduction: int) -> None:
    shape = tiny(cell, time_reduction=time_reduction, bidirectional=False, channels=8, hidden=8)
    seen = sensitivity(make(shape), 21)
    output, frame = np.indices(seen.shape)
    np.testing.assert_array_equal(seen, frame <= output * time_reduction)


@pytest.mark.parametrize("lookahead", [0, 2])
@pytest.mark.parametrize("chunk", [1, 3])
@pytest.mark.parametrize("time_reduction", REDUCTIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_output_of_chunks_depends_on_frames_up_to_the_end_of_the_lookahead(
    cell: str, time_reduction: int, chunk: int, lookahead: int
) -> None:
    shape = tiny(cell, time_reduction=time_reduction, chunk=chunk, lookahead=lookahead, channels=8, hidden=8)
    seen = sensitivity(make(shape), 28)
    output, frame = np.indices(seen.shape)
    last = np.minimum(output - output % chunk + chunk + lookahead, len(seen)) - 1
    np.testing.assert_array_equal(seen, frame <= last * time_reduction)


def test_chunks_need_a_backward_direction() -> None:
    with pytest.raises(ValueError, match="chunk = 3 needs bidirectional = true"):
        tiny(chunk=3, bidirectional=False)
    with pytest.raises(ValueError, match="lookahead = 2 needs a chunk"):
        tiny(lookahead=2)


@pytest.mark.parametrize("cell", CELLS)
def test_a_lookahead_to_the_end_gives_the_outputs_of_the_whole_utterance(cell: str) -> None:
    whole = make(tiny(cell, layers=3))
    windows = make(tiny(cell, layers=3, chunk=4, lookahead=30))
    windows.load_state_dict(whole.state_dict())
    # The convolutions of a streaming model see other frames.
    windows.front, windows.use_packing = whole.front, whole.use_packing
    features = torch.randn(2, 60, FEATURES)
    expected, found = run(whole, features, [60, 41]), run(windows, features, [60, 41])
    for row, length in enumerate(expected.lengths.tolist()):
        torch.testing.assert_close(found.log_probs[row, :length], expected.log_probs[row, :length], atol=1e-5, rtol=0)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("streaming", [{"bidirectional": False}, {"chunk": 2}, {"chunk": 2, "lookahead": 3}], ids=str)
@pytest.mark.parametrize("time_reduction", REDUCTIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_stream_in_chunks_equals_whole_utterance(
    cell: str, time_reduction: int, streaming: dict[str, Any], batch: int
) -> None:
    model = make(tiny(cell, time_reduction=time_reduction, layers=3, **streaming))
    frames, step = 37, model.settings.step
    features = torch.randn(batch, frames, FEATURES)
    whole = run(model, features, [frames] * batch)
    for chunk in (step, 2 * step, 5 * step, 48):
        state, pieces, lengths = None, [], torch.zeros(batch, dtype=torch.int64)
        parts = torch.split(features, chunk, dim=1)
        for index, piece in enumerate(parts):
            output = run(model, piece, [piece.shape[1]] * batch, state, last=index + 1 == len(parts))
            state = output.state
            assert state is not None
            pieces.append(output.log_probs)
            lengths += output.lengths
        torch.testing.assert_close(torch.cat(pieces, dim=1), whole.log_probs, atol=1e-5, rtol=0)
        assert torch.equal(lengths, whole.lengths)


def test_stream_state_is_used_and_not_changed() -> None:
    model = make(tiny(bidirectional=False))
    features = torch.randn(1, 16, FEATURES)
    state = run(model, features[:, :8], [8]).state
    first = run(model, features[:, 8:], [8], state).log_probs
    assert not torch.allclose(first, run(model, features[:, 8:], [8]).log_probs, atol=1e-3)
    assert torch.equal(first, run(model, features[:, 8:], [8], state).log_probs)


def test_bidirectional_model_has_no_state() -> None:
    state = run(make(tiny(bidirectional=False)), torch.randn(1, 8, FEATURES), [8]).state
    model = make(tiny())
    assert run(model, torch.randn(1, 8, FEATURES), [8]).state is None
    with pytest.raises(ValueError, match="this model needs the whole utterance"):
        run(model, torch.randn(1, 8, FEATURES), [8], state)


# --- lengths ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("time_reduction", REDUCTIONS)
def test_output_length_equals_model_output(time_reduction: int, bidirectional: bool) -> None:
    shape = tiny("rnn-tanh", time_reduction=time_reduction, bidirectional=bidirectional, layers=1, hidden=1, channels=1)
    model = make(shape, features=3)
    frames = list(range(1, 201))
    output = run(model, torch.randn(200, 200, 3), frames)
    assert not output.lengths.is_floating_point()
    assert output.lengths.tolist() == [output_length(length, time_reduction) for length in frames]
    for length in range(1, 30):
        assert run(model, torch.randn(1, length, 3), [length]).log_probs.shape[1] == output_length(
            length, time_reduction
        )


@pytest.mark.parametrize("time_reduction", REDUCTIONS)
def test_output_length_rounds_up(time_reduction: int) -> None:
    for frames in range(201):
        assert output_length(frames, time_reduction) == -(-frames // time_reduction)
    every = np.arange(201)
    np.testing.assert_array_equal(output_length(every, time_reduction), -(-every // time_reduction))


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 7), min_size=1, max_size=5), st.integers(0, 2))
def test_reverse(lengths: list[int], more: int) -> None:
    size = max(lengths) + more
    sequences = torch.arange(len(lengths) * size * 2).reshape(len(lengths), size, 2)
    reversed_ = reverse(sequences, torch.tensor(lengths))
    for row, length in enumerate(lengths):
        assert torch.equal(reversed_[row, :length], sequences[row, :length].flip(0))
        assert torch.equal(reversed_[row, length:], sequences[row, length:])
    assert torch.equal(reverse(reversed_, torch.tensor(lengths)), sequences)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("time_reduction", REDUCTIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_one_frame(cell: str, time_reduction: int, bidirectional: bool) -> None:
    model = make(tiny(cell, time_reduction=time_reduction, bidirectional=bidirectional))
    output = run(model, torch.randn(1, 1, FEATURES), [1])
    assert output.log_probs.shape == (1, 1, TOKENS)
    assert output.lengths.tolist() == [1]
    assert output.log_probs.isfinite().all()


# --- probabilities, dropout, the optional parts -----------------------------------------------------------------


@pytest.mark.parametrize("cell", CELLS)
def test_log_probs_sum_to_one(cell: str) -> None:
    output = run(make(tiny(cell)), 100 * torch.randn(2, 20, FEATURES), [20, 11])
    torch.testing.assert_close(output.log_probs.exp().sum(dim=2), torch.ones(2, 5))


def test_dropout_is_active_in_training_only() -> None:
    model = make(tiny(dropout=0.5))
    features = torch.randn(1, 20, FEATURES)
    assert torch.equal(alone(model, features[0]), alone(model, features[0]))
    without = make(tiny(dropout=0.0))
    assert torch.equal(alone(model, features[0]), alone(without, features[0]))
    model.train()
    assert not torch.allclose(alone(model, features[0]), alone(model, features[0]), atol=1e-3)
    assert torch.equal(alone(without.train(), features[0]), alone(without.eval(), features[0]))


def test_dropout_follows_every_layer() -> None:
    model = make(tiny(dropout=0.9, layers=1)).train()
    features = torch.randn(20, FEATURES)
    assert not torch.allclose(alone(model, features), alone(model, features), atol=1e-3)


def silence(layer: nn.Module) -> None:
    """Zero a layer's parameters, so that its output is 0."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_residual(cell: str, layer_norm: bool) -> None:
    features = torch.randn(17, FEATURES)
    one = make(tiny(cell, layers=1, layer_norm=layer_norm))
    for residual in (True, False):
        two = make(tiny(cell, residual=residual, layer_norm=layer_norm), seed=9)
        two.load_state_dict(one.state_dict(), strict=False)
        silence(two.layers[1])
        log_probs = alone(two, features)
        if residual:
            torch.testing.assert_close(log_probs, alone(one, features))
        else:
            torch.testing.assert_close(log_probs, log_probs[:1].expand_as(log_probs))
            assert not torch.allclose(log_probs, alone(one, features), atol=1e-3)


def test_residual_is_skipped_for_different_sizes() -> None:
    model = make(tiny(layers=1))
    silence(model.layers[0])
    log_probs = alone(model, torch.randn(17, FEATURES))
    torch.testing.assert_close(log_probs, log_probs[:1].expand_as(log_probs))


@pytest.mark.parametrize("layer_norm", [False, True])
def test_layer_norm(layer_norm: bool) -> None:
    torch.manual_seed(0)
    model = Model(FEATURES, TOKENS, tiny(layer_norm=layer_norm, hidden=16)).eval()
    inputs: list[Tensor] = []
    for module in (*model.layers, model.output):
        module.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    alone(model, 10 * torch.randn(17, FEATURES))
    assert len(inputs) == 3
    assert any("norm" in name for name in model.state_dict()) == layer_norm
    for x in inputs[1:]:
        normal = torch.allclose(x.mean(dim=2), torch.tensor(0.0), atol=1e-5) and torch.allclose(
            x.var(dim=2, unbiased=False), torch.tensor(1.0), atol=1e-2
        )
        assert normal == layer_norm


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"cell": "GRU"}, r"^cell = 'GRU' is not one of rnn-tanh, rnn-relu, gru, lstm$"),
        ({"cell": ""}, r"^cell = '' is not one of"),
        ({"layers": 0}, r"^layers = 0 is not between 1 and 32$"),
        ({"layers": 33}, r"^layers = 33 is not"),
        ({"hidden": 0}, r"^hidden = 0 is not between 1 and 8192$"),
        ({"hidden": 8193}, r"^hidden = 8193 is not"),
        ({"channels": 0}, r"^channels = 0 is not between 1 and 1024$"),
        ({"channels": 1025}, r"^channels = 1025 is not"),
        ({"time_reduction": 1}, r"^time_reduction = 1 is not one of 2, 3, 4$"),
        ({"time_reduction": 5}, r"^time_reduction = 5 is not"),
        ({"dropout": -0.1}, r"^dropout = -0.1 is neither 0 nor between 0.002 and 0.996$"),
        ({"dropout": 0.001}, r"^dropout = 0.001 is neither 0 nor between 0.002 and 0.996$"),
        ({"dropout": 0.999}, r"^dropout = 0.999 is neither"),
        ({"dropout": 1.0}, r"^dropout = 1.0 is neither"),
        ({"dropout": float("nan")}, r"^dropout = nan is neither"),
    ],
)
def test_settings_out_of_range_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelSettings(**changed)


def test_settings_at_their_limits_are_accepted() -> None:
    assert ModelSettings(layers=1, hidden=1, channels=1, dropout=0.0).hidden == 1
    assert ModelSettings(layers=32, hidden=8192, channels=1024, dropout=0.996).hidden == 8192


def test_default_model_size() -> None:
    assert sum(parameter.numel() for parameter in Model(40, 29, ModelSettings()).parameters()) == 2_588_797


# Dropout


@pytest.mark.parametrize("chance", [0.002, 0.1, 0.25, 0.3, 0.5, 0.996])
def test_dropout_keeps_its_share_and_the_mean(chance: float) -> None:
    dropout = Dropout(chance)
    x = torch.ones(101, 1003, requires_grad=True)
    torch.manual_seed(3)
    y = dropout(x)
    kept = y != 0
    # Seven standard deviations.
    assert abs(float(kept.float().mean()) - (1 - chance)) < 1 / 512 + 7 * (chance * (1 - chance) / x.numel()) ** 0.5
    assert torch.unique(y.detach()).tolist() == pytest.approx([0, 256 / (256 - round(256 * chance))])
    # Every column and every row has its turn, none more often than chance has it.
    for axis in (0, 1):
        share = kept.float().mean(dim=axis)
        assert float((share - (1 - chance)).abs().max()) < 0.25
    y.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, y.detach())


def test_dropout_is_seeded_and_active_in_training_only() -> None:
    dropout, x = Dropout(0.3), torch.randn(7, 5, 3)
    torch.manual_seed(1)
    first, second = dropout(x), dropout(x)
    torch.manual_seed(1)
    assert torch.equal(dropout(x), first)
    assert not torch.equal(first, second)
    assert dropout.eval()(x) is x
    assert Dropout(0.0)(x) is x
    assert dropout.train()(x.double()).dtype == torch.float64
    assert dropout(x[:0]).shape == (0, 5, 3)
