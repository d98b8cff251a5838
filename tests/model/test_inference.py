"""The network in NumPy against the network in torch."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence

from asr.model import CELLS, ModelSettings
from asr.model.inference import Network
from asr.model.network import Model

FEATURES, TOKENS = 7, 5
SHAPES = [
    ModelSettings(cell, 2, 6, bidirectional, 3, reduction, 0.0, residual, layer_norm)
    for cell, bidirectional, reduction, (residual, layer_norm) in product(
        CELLS, (True, False), (2, 3, 4), ((True, True), (False, False))
    )
] + [ModelSettings(cell, 2, 6, True, 3, 3, 0.0, chunk=chunk) for cell in CELLS for chunk in (1, 3, 8)]
SHAPES += [
    ModelSettings(cell, 3, 6, True, 3, 3, 0.0, chunk=chunk, lookahead=lookahead)
    for cell in CELLS
    for chunk, lookahead in ((1, 2), (3, 2), (2, 9))
]


def make(shape: ModelSettings) -> tuple[Model, Network]:
    """Return a network of random weights, whose biases are not 0, in both forms."""
    # With seed 1 the networks of three layers amplify rounding tenfold.
    torch.manual_seed(2)
    model = Model(FEATURES, TOKENS, shape).eval()
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return model, Network(shape, {name: tensor.numpy() for name, tensor in model.state_dict().items()})


def noise(*lengths: int) -> list[NDArray[np.float32]]:
    random = np.random.default_rng(sum(lengths))
    return [random.normal(size=(length, FEATURES)).astype(np.float32) for length in lengths]


def expected(model: Model, rows: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    lengths = torch.tensor(list(map(len, rows)))
    with torch.inference_mode():
        output = model(pad_sequence([torch.from_numpy(row) for row in rows], batch_first=True), lengths)
    return [row[:length] for row, length in zip(output.log_probs.numpy(), output.lengths.tolist(), strict=True)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_log_probs_are_those_of_torch(shape: ModelSettings) -> None:
    model, network = make(shape)
    for rows in (noise(1), noise(23), noise(23, 9, 1, 14)):
        for found, log_probs in zip(network(rows), expected(model, rows), strict=True):
            np.testing.assert_allclose(found, log_probs, atol=1e-5)


@pytest.mark.parametrize("chunk", [0, 4])
def test_log_probs_of_characters_and_phonemes_are_those_of_torch(chunk: int) -> None:
    shape = ModelSettings("lstm", 2, 6, True, 3, 3, 0.0, chunk=chunk)
    torch.manual_seed(4)
    model = Model(FEATURES, TOKENS, shape, phonemes=3).eval()
    network = Network(shape, {name: tensor.numpy() for name, tensor in model.state_dict().items()}, phonemes=3)
    rows = noise(23, 9)
    for found, log_probs in zip(network(rows), expected(model, rows), strict=True):
        np.testing.assert_allclose(found, log_probs, atol=1e-5)
        assert found.shape[1] == TOKENS + 3
        for part in (found[:, :TOKENS], found[:, TOKENS:]):
            np.testing.assert_allclose(np.exp(part).sum(axis=1), 1, atol=1e-5)


# Of 2 to 15 sequences the matrices are multiplied in pieces, if they are large.
@pytest.mark.parametrize("count", [1, 2, 12, 16])
def test_large_layers_are_those_of_torch(count: int) -> None:
    model, network = make(ModelSettings("lstm", 1, 320, True, 4, 3, 0.0))
    rows = noise(*range(10, 10 + count))
    for found, log_probs in zip(network(rows), expected(model, rows), strict=True):
        np.testing.assert_allclose(found, log_probs, atol=1e-4)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("reduction", [2, 3, 4])
@pytest.mark.parametrize(("chunk", "lookahead"), [(0, 0), (1, 0), (3, 0), (1, 2), (3, 2), (2, 20)])
def test_a_stream_gives_the_log_probs_of_the_whole(cell: str, reduction: int, chunk: int, lookahead: int) -> None:
    _, network = make(ModelSettings(cell, 2, 6, chunk > 0, 3, reduction, 0.0, chunk=chunk, lookahead=lookahead))
    (frames,) = noise(41)
    state, parts, size = None, [], 2 * network.settings.step
    for start in range(0, 41, size):
        log_probs, state = network.proceed(frames[start : start + size], state)
        parts.append(log_probs)
    assert state is not None
    parts.append(network.finish(state))
    np.testing.assert_allclose(np.concatenate(parts), network([frames])[0], atol=1e-6)


def test_a_bidirectional_network_cannot_continue() -> None:
    _, network = make(ModelSettings("gru", 1, 4))
    with pytest.raises(ValueError, match="this model needs the whole utterance"):
        network.proceed(noise(8)[0])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes_of_the_parameters_are_those_of_torch(shape: ModelSettings) -> None:
    model, _ = make(shape)
    assert shape.shapes(FEATURES, TOKENS) == {name: tuple(part.shape) for name, part in model.state_dict().items()}
