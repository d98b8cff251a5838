"""A recurrent layer in NumPy: the same values as torch's, for recognition on a CPU.

Sigmoids are computed as tanh(x / 2) / 2 + 1/2, of weights that are halved beforehand, which is exact. Products of a few
sequences are computed in pieces so small that OpenBLAS multiplies without copying the weights first.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.model.settings import GATES

Floats = NDArray[np.floating]
# OpenBLAS has a fast path for products with at most as many multiplications; it gains nothing from this many rows on.
_SMALL, _FEW = 1_000_000, 16


class State(NamedTuple):
    """The state of B sequences: h (B, H), and c (B, H) of an LSTM."""

    hidden: Floats
    cell: Floats | None = None


class Windows(NamedTuple):
    """Chunks of sequences, each with its lookahead, as rows one after the other.

    `frames` (N,): the frame of each row. `chunks`: the rows of the chunks, one for each frame in order. `starts`,
    `sizes`, `sequences` and `numbers` (W,): of each window its first row, its rows, its sequence and its place there.
    """

    frames: NDArray[np.int64]
    chunks: NDArray[np.int64]
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]
    sequences: NDArray[np.int64]
    numbers: NDArray[np.int64]


class _Direction(NamedTuple):
    """The weights of one direction: to the gates from the input (size, G, H) and from the state (G, H, H)."""

    inputs: Floats
    bias: Floats
    hidden: Floats
    hidden_bias: Floats

    def gates(self, rows: Floats) -> Floats:
        """Return the inputs to the gates (N, G, H) from rows (N, size)."""
        product = rows @ self.inputs.reshape(len(self.inputs), -1)
        product += self.bias
        return product.reshape(len(rows), *self.inputs.shape[1:])


class Recurrence:
    """One recurrent layer in one or two directions."""

    def __init__(self, cell: str, tensors: Mapping[str, NDArray[Any]], name: str) -> None:
        """Take the parameters of the layer `name`, as PyTorch names them."""
        self._cell = cell
        self._directions = [
            _direction(cell, {part: tensors[f"{name}.{part}{suffix}"] for part in _PARTS})
            for suffix in ("_l0", "_l0_reverse")
            if f"{name}.weight_ih{suffix}" in tensors
        ]
        self.hidden, self._type = self._directions[0].hidden.shape[2], self._directions[0].hidden.dtype

    def zeros(self, batch: int) -> State:
        """Return the state before the first frame."""
        zeros = np.zeros((batch, self.hidden), self._type)
        return State(zeros, zeros if self._cell == "lstm" else None)

    def __call__(self, rows: Floats, lengths: Sequence[int], state: State | None = None) -> tuple[Floats, State]:
        """Map the frames (N, size) of sequences, one after the other, to (N, H · directions).

        Return the last state of the forward direction too: of one sequence, or of sequences of one length.
        """
        outputs = np.empty((len(rows), len(self._directions), self.hidden), self._type)
        order, inside = _order(lengths)
        before = state or self.zeros(len(lengths))
        last = self._fill(outputs, 0, self._directions[0].gates(rows), order, inside, before)
        # One after the other: the weights of one direction may fit into the cache of a core, those of both do not.
        if len(self._directions) == 2:
            self._fill_backward(outputs, rows, lengths)
        return outputs.reshape(len(rows), -1), last

    def windows(
        self, rows: Floats, lengths: Sequence[int], windows: Windows, chunk: int, state: State | None = None
    ) -> tuple[Floats, State]:
        """Map the rows of windows (N, size) of sequences of these lengths to (N, 2 H).

        The forward direction continues from chunk to chunk, and from each chunk into its lookahead, which does not
        change the next chunk. Return the state after the last chunk, too.
        """
        outputs = np.empty((len(rows), 2, self.hidden), self._type)
        gates = self._directions[0].gates(rows)
        order, inside = _order(lengths)
        ends: list[Floats] = []
        before = state or self.zeros(len(lengths))
        last = self._fill(outputs, 0, gates, windows.chunks[order], inside, before, chunk, ends)
        longer = np.flatnonzero(windows.sizes > chunk)
        if len(longer):
            hidden = outputs[windows.starts[longer] + chunk - 1, 0]
            cell = np.stack(ends)[windows.numbers[longer], windows.sequences[longer]] if ends else None
            order, inside = _order(windows.sizes[longer] - chunk)
            first = np.cumsum(windows.sizes[longer] - chunk) - (windows.sizes[longer] - chunk)
            order += windows.starts[longer] + chunk - first
            self._fill(outputs, 0, gates, order, inside, State(hidden, cell))
        self._fill_backward(outputs, rows, windows.sizes)
        return outputs.reshape(len(rows), -1), last

    def step(self, rows: Floats, state: State) -> State:
        """Extend B sequences by one frame each (B, size), in the forward direction."""
        return self._scan(self._directions[0], self._directions[0].gates(rows)[None], state)[1]

    def _fill_backward(self, outputs: Floats, rows: Floats, lengths: "Sequence[int] | NDArray[np.int64]") -> None:
        """Compute the backward direction of sequences, one after the other in the rows (N, size)."""
        order, inside = _order(lengths, reverse=True)
        self._fill(outputs, 1, self._directions[1].gates(rows), order, inside, self.zeros(len(lengths)))

    def _fill(  # noqa: PLR0913, PLR0917 - what is computed, from what, and where it goes
        self,
        outputs: Floats,
        index: int,
        gates: Floats,
        order: NDArray[np.int64],
        inside: NDArray[np.bool_],
        state: State,
        every: int = 0,
        cells: list[Floats] | None = None,
    ) -> State:
        """Run a direction over the rows `order` (T, B) of `gates` (N, G, H); write those `inside` to outputs (N, D, H).

        Return the last state, and add the c (B, H) of an LSTM after `every` steps to `cells`.
        """
        values, last = self._scan(self._directions[index], gates[order], state, every, cells)
        outputs[order[inside], index] = values[inside]
        return last

    def _scan(
        self,
        direction: "_Direction",
        inputs: Floats,
        state: State,
        every: int = 0,
        cells: list[Floats] | None = None,
    ) -> tuple[Floats, State]:
        """Run the recurrence over the inputs to the gates (T, B, G, H); return the outputs (T, B, H)."""
        frames, batch, gates, hidden = inputs.shape
        pieces = _pieces(batch, hidden)
        # Each piece has some values of every gate: (T, G, pieces, B, H / pieces).
        split = np.ascontiguousarray(inputs.reshape(frames, batch, gates, pieces, -1).transpose(0, 2, 3, 1, 4))
        # Weights in one piece are not copied.
        weights = direction.hidden.reshape(gates, hidden, pieces, -1).transpose(0, 2, 1, 3)
        weights, bias = np.ascontiguousarray(weights), direction.hidden_bias.reshape(pieces, 1, -1)
        outputs = np.empty((frames, batch, hidden), self._type)
        h, c = (_split(state.hidden if part is None else part, pieces) for part in state)
        cell = _CELLS[self._cell]
        product = np.empty((gates, pieces, batch, hidden // pieces), self._type)
        for step, (values, output) in enumerate(zip(split, outputs, strict=True), 1):
            np.matmul(_joined(h), weights, out=product)
            h = cell(product, values, bias, h, c)
            output[:] = _joined(h)
            if cells is not None and state.cell is not None and step % every == 0:
                cells.append(_joined(c).copy())
        return outputs, State(_joined(h), None if state.cell is None else _joined(c))


def _order(
    lengths: "Sequence[int] | NDArray[np.int64]", reverse: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the row of each step of each sequence (T, B), and which steps are inside their sequence."""
    steps, ends = np.arange(max(lengths))[:, None], np.array(lengths)
    # Frames after the end of a sequence are any others: they follow the last one in both directions.
    order = np.maximum(ends - 1 - steps, 0) if reverse else np.minimum(steps, ends - 1)
    return np.cumsum(ends) - ends + order, steps < ends


def windows_of(lengths: Sequence[int], seen: Sequence[int], chunk: int, lookahead: int) -> Windows:
    """Divide sequences of these lengths into chunks of so many frames, each with a lookahead.

    seen: how many frames there are of each sequence, one after the other; those after its length are lookahead only.
    """
    counts = -(-np.array(lengths) // chunk)
    sequences = np.repeat(np.arange(len(lengths)), counts)
    numbers = np.arange(len(sequences)) - np.repeat(np.cumsum(counts) - counts, counts)
    sizes = np.minimum(np.array(seen)[sequences] - chunk * numbers, chunk + lookahead)
    starts = np.cumsum(sizes) - sizes
    places = np.arange(sizes.sum()) - np.repeat(starts, sizes)
    first = (np.cumsum(seen) - seen)[sequences] + chunk * numbers
    return Windows(np.repeat(first, sizes) + places, np.flatnonzero(places < chunk), starts, sizes, sequences, numbers)


_PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def _direction(cell: str, tensors: Mapping[str, NDArray[Any]]) -> _Direction:
    gates = GATES[cell]
    hidden = tensors["weight_hh"].shape[1]
    # Gates with a sigmoid first: of an LSTM the input, forget and output gate, of a GRU the reset and update gate.
    order = [0, 1, 3, 2] if cell == "lstm" else list(range(gates))
    kind = np.result_type(tensors["weight_hh"], np.float32)
    factors = np.where(np.arange(gates) < gates - 1, 0.5, 1.0).astype(kind).reshape(-1, 1, 1)
    rows = {name: tensor.reshape(gates, hidden, -1)[order] * factors for name, tensor in tensors.items()}
    inputs = np.ascontiguousarray(rows["weight_ih"].transpose(2, 0, 1))
    weights = np.ascontiguousarray(rows["weight_hh"].transpose(0, 2, 1))
    bias, hidden_bias = rows["bias_ih"][..., 0], rows["bias_hh"][..., 0]
    # Of a GRU's new values, the reset gate multiplies the bias of the state, too.
    added = bias.copy()
    added[: 2 if cell == "gru" else gates] += hidden_bias[: 2 if cell == "gru" else gates]
    return _Direction(inputs, added.ravel(), weights, hidden_bias[-1])


def _pieces(batch: int, hidden: int) -> int:
    """Return in how many pieces the values of a gate are computed."""
    if not 1 < batch < _FEW:
        return 1
    fitting = (count for count in range(1, hidden + 1) if hidden % count == 0 and batch * hidden**2 // count <= _SMALL)
    return next(fitting, 1)


def _split(values: Floats, pieces: int) -> Floats:
    """Return values (B, H) as a copy (pieces, B, H / pieces)."""
    return values.reshape(len(values), pieces, -1).transpose(1, 0, 2).copy()


def _joined(values: Floats) -> Floats:
    """Return values (pieces, B, H / pieces) as (B, H)."""
    pieces, batch, _ = values.shape
    return values[0] if pieces == 1 else values.transpose(1, 0, 2).reshape(batch, -1)


# Each returns h after a frame from the product of h with the weights (G, pieces, B, H / pieces) and the inputs to the
# gates; an LSTM's changes c.


def _lstm(product: Floats, values: Floats, bias: Floats, h: Floats, c: Floats) -> Floats:
    product += values
    np.tanh(product, out=product)
    gates = product[:3]
    gates *= 0.5
    gates += 0.5
    c *= product[1]
    product[0] *= product[3]
    c += product[0]
    after: Floats = np.tanh(c)
    after *= product[2]
    return after


def _gru(product: Floats, values: Floats, bias: Floats, h: Floats, c: Floats) -> Floats:
    gates = product[:2]
    gates += values[:2]
    np.tanh(gates, out=gates)
    gates *= 0.5
    gates += 0.5
    after: Floats = product[2] + bias
    after *= gates[0]
    after += values[2]
    np.tanh(after, out=after)
    after += gates[1] * (h - after)
    return after


def _tanh(product: Floats, values: Floats, bias: Floats, h: Floats, c: Floats) -> Floats:
    after: Floats = np.tanh(product[0] + values[0])
    return after


def _relu(product: Floats, values: Floats, bias: Floats, h: Floats, c: Floats) -> Floats:
    after: Floats = np.maximum(product[0] + values[0], 0)
    return after


_CELLS = {"lstm": _lstm, "gru": _gru, "rnn-tanh": _tanh, "rnn-relu": _relu}
