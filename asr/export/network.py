"""The network as an ONNX graph; utterances of a batch have lengths, and padding has no effect on them."""

from collections.abc import Sequence

import numpy as np

from asr.export.graph import FLOAT, INT32, INT64, Graph
from asr.model.checkpoint import ModelFileSettings
from asr.model.settings import GATES, KERNEL, ModelSettings
from asr.model.weights import Tensors

# The order of the gates in ONNX, as indices of those in PyTorch: input, output, forget, cell; update, reset, new.
_ORDER = {"lstm": [0, 3, 1, 2], "gru": [1, 0, 2], "rnn-tanh": [0], "rnn-relu": [0]}
_EPSILON = 1e-5


class NetworkGraph:
    """Adds the network to a graph: features (B, T, F) and lengths (B,) -> log-probabilities and lengths.

    With `stream`, the state of a streaming network is an input and an output for each of its parts; B is then 1.
    """

    def __init__(self, graph: Graph, settings: ModelFileSettings, tensors: Tensors, stream: bool = False) -> None:
        self._graph, self._settings, self._shape = graph, settings, settings.model
        self._tensors = {name: tensor.astype(np.float32) for name, tensor in tensors.items()}
        self._stream = stream

    def add(self, features: str, lengths: str) -> None:
        """Add the nodes and the outputs `log_probs` (B, T', V), natural log, and `log_prob_lengths` (B,)."""
        graph, shape = self._graph, self._shape
        x, lengths = self._front(graph.unsqueeze(features, 1), lengths)
        x = graph.node("Reshape", graph.node("Transpose", x, perm=[2, 0, 1, 3]), graph.ints(0, 0, -1))
        size = self._tensors["layers.0.recurrence.weight_ih_l0"].shape[1]
        short = graph.cast(lengths, INT32)
        for index in range(shape.layers):
            y = self._recurrence(self._norm(x, f"norms.{index}"), short, index)
            x = graph.node("Add", x, y) if shape.residual and size == shape.width else y
            size = shape.width
        weight = graph.tensor(self._tensors["output.weight"].T, "output.weight")
        logits = graph.node("MatMul", self._norm(x, "last_norm"), weight)
        logits = graph.node("Add", logits, self._tensor("output.bias"))
        log_probs = graph.node("Transpose", graph.node("LogSoftmax", logits, axis=2), perm=[1, 0, 2])
        graph.output("log_probs", log_probs, FLOAT, ("batch", "output_frames", len(self._settings.alphabet)))
        if not self._stream:
            graph.output("log_prob_lengths", lengths, INT64, ("batch",))

    def _tensor(self, name: str) -> str:
        return self._graph.tensor(self._tensors[name], name)

    def _front(self, x: str, lengths: str) -> tuple[str, str]:
        """Map (B, 1, T, F) to (B, channels, T', F')."""
        graph, shape = self._graph, self._shape
        features, channels = self._settings.features.dimension, 1
        for index, stride in enumerate(shape.strides):
            if self._stream:
                name = f"front_{index}"
                past = graph.input(name, FLOAT, (1, channels, KERNEL - 1, features))
                x = graph.node("Concat", past, x, axis=2)
                last = graph.node("Slice", x, graph.ints(1 - KERNEL), graph.ints(2**31 - 1), graph.ints(2))
                graph.output(f"next_{name}", last, FLOAT, (1, channels, KERNEL - 1, features))
                before = after = 0
            else:
                inside = graph.node("Less", graph.range(graph.size(x, 2)), graph.unsqueeze(lengths, 1))
                x = graph.node("Where", graph.unsqueeze(inside, 1, 3), x, graph.number(0))
                before, after = shape.padding(index)
            name = f"front.convolutions.{index}"
            weights = self._tensor(f"{name}.weight"), self._tensor(f"{name}.bias")
            x = graph.node("Conv", x, *weights, strides=[stride, 2], pads=[before, 1, after, 1])
            x = graph.node("Relu", x)
            rounded = graph.node("Add", lengths, graph.integer(stride - 1))
            lengths = graph.node("Div", rounded, graph.integer(stride))
            features, channels = -(-features // 2), shape.channels
        return x, lengths

    def _norm(self, x: str, name: str) -> str:
        if not self._shape.layer_norm:
            return x
        weights = self._tensor(f"{name}.weight"), self._tensor(f"{name}.bias")
        return self._graph.node("LayerNormalization", x, *weights, axis=-1, epsilon=_EPSILON)

    def _recurrence(self, x: str, lengths: str, index: int) -> str:
        """Map (T', B, size) to (T', B, H · directions)."""
        graph, shape = self._graph, self._shape
        name = f"layers.{index}.recurrence"
        weights = [graph.tensor(value, f"{name}.{part}") for part, value in self._parameters(name).items()]
        if shape.chunk:
            return self._chunked(x, lengths, weights, index)
        return self._layer(x, lengths, weights, index, "bidirectional" if shape.bidirectional else "forward")

    def _chunked(self, x: str, lengths: str, weights: Sequence[str], index: int) -> str:
        """Map (T', B, size) to (T', B, 2 H); the backward direction begins anew after every `chunk` frames."""
        graph, chunk = self._graph, self._shape.chunk
        halves = [graph.nodes("Split", [weight, graph.ints(1, 1)], 2, axis=0) for weight in weights]
        forward = self._layer(x, lengths, [half[0] for half in halves], index, "forward")
        frames, batch, size = (graph.unsqueeze(graph.size(x, axis), 0) for axis in range(3))
        count = graph.node("Div", graph.node("Add", frames, graph.ints(chunk - 1)), graph.ints(chunk))
        missing = graph.node("Sub", graph.node("Mul", count, graph.ints(chunk)), frames)
        pads = graph.node("Concat", graph.ints(0, 0, 0), missing, graph.ints(0, 0), axis=0)
        # (n, chunk, B, size) -> (chunk, n · B, size), with the length of each chunk.
        shape = graph.node("Concat", count, graph.ints(chunk), batch, size, axis=0)
        chunks = graph.node("Reshape", graph.node("Pad", x, pads), shape)
        chunks = graph.node("Transpose", chunks, perm=[1, 0, 2, 3])
        chunks = graph.node("Reshape", chunks, graph.node("Concat", graph.ints(chunk, -1), size, axis=0))
        starts = graph.range(graph.node("Squeeze", count, graph.ints(0)))
        starts = graph.node("Mul", graph.cast(starts, INT32), graph.tensor(np.array(chunk, np.int32)))
        inside = graph.node("Sub", lengths, graph.unsqueeze(starts, 1))
        # A chunk after the end of an utterance has a frame of padding.
        limits = (graph.tensor(np.array(limit, np.int32)) for limit in (1, chunk))
        inside = graph.node("Reshape", graph.node("Clip", inside, *limits), graph.ints(-1))
        backward = self._layer(chunks, inside, [half[1] for half in halves], index, "reverse")
        backward = graph.node(
            "Reshape", backward, graph.node("Concat", graph.ints(chunk), count, batch, graph.ints(-1), axis=0)
        )
        backward = graph.node("Transpose", backward, perm=[1, 0, 2, 3])
        backward = graph.node(
            "Reshape", backward, graph.node("Concat", graph.ints(-1), batch, graph.ints(self._shape.hidden), axis=0)
        )
        backward = graph.node("Slice", backward, graph.ints(0), frames, graph.ints(0))
        return graph.node("Concat", forward, backward, axis=2)

    def _layer(self, x: str, lengths: str, weights: Sequence[str], index: int, direction: str) -> str:
        graph, shape = self._graph, self._shape
        attributes = _attributes(shape, direction)
        states: list[str] = []
        parts = ("hidden", "cell")[: 2 if shape.cell == "lstm" else 1]
        continues = self._stream and direction == "forward"
        if continues:
            states = [graph.input(f"{part}_{index}", FLOAT, (1, 1, shape.hidden)) for part in parts]
        kind = {"lstm": "LSTM", "gru": "GRU"}.get(shape.cell, "RNN")
        y, *last = graph.nodes(kind, [x, *weights, "" if continues else lengths, *states], 1 + len(parts), **attributes)
        if continues:
            for part, value in zip(parts, last, strict=True):
                graph.output(f"next_{part}_{index}", value, FLOAT, (1, 1, shape.hidden))
        # (T', directions, B, H)
        return graph.node("Reshape", graph.node("Transpose", y, perm=[0, 2, 1, 3]), graph.ints(0, 0, -1))

    def _parameters(self, name: str) -> Tensors:
        """Return the weights and biases of both directions in ONNX's order."""
        gates, hidden = GATES[self._shape.cell], self._shape.hidden
        suffixes = ("_l0", "_l0_reverse") if self._shape.bidirectional else ("_l0",)

        def ordered(part: str, suffix: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
            tensor = self._tensors[f"{name}.{part}{suffix}"]
            rows = tensor.reshape(gates, hidden, -1)[_ORDER[self._shape.cell]]
            return rows.reshape(tensor.shape)

        def both(part: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
            return np.stack([ordered(part, suffix) for suffix in suffixes])

        biases = np.concatenate([both("bias_ih"), both("bias_hh")], axis=1)
        return {"weight_ih": both("weight_ih"), "weight_hh": both("weight_hh"), "bias": biases}


def _attributes(shape: ModelSettings, direction: str) -> dict[str, object]:
    directions = 2 if direction == "bidirectional" else 1
    attributes: dict[str, object] = {"hidden_size": shape.hidden, "direction": direction}
    if shape.cell == "gru":
        attributes["linear_before_reset"] = 1
    elif shape.cell != "lstm":
        attributes["activations"] = ["Tanh" if shape.cell == "rnn-tanh" else "Relu"] * directions
    return attributes
