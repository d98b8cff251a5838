"""The network as an ONNX graph; utterances of a batch have lengths, and padding has no effect on them."""

from collections.abc import Callable, Sequence

import numpy as np

from asr.export.graph import FLOAT, INT32, INT64, Graph
from asr.model.checkpoint import ModelFileSettings
from asr.model.settings import GATES, KERNEL, ModelSettings
from asr.model.weights import Tensors

# The order of the gates in ONNX, as indices of those in PyTorch: input, output, forget, cell; update, reset, new.
_ORDER = {"lstm": [0, 3, 1, 2], "gru": [1, 0, 2], "rnn-tanh": [0], "rnn-relu": [0]}
_EPSILON = 1e-5
_DIRECTIONS = ("_l0", "_l0_reverse")


class NetworkGraph:
    """Adds the network to a graph: features (B, T, F) and lengths (B,) -> log-probabilities and lengths.

    With `stream`, the state of a streaming network is an input and an output for each of its parts; B is then 1.
    """

    def __init__(self, graph: Graph, settings: ModelFileSettings, tensors: Tensors, stream: bool = False) -> None:
        self._graph, self._settings, self._shape = graph, settings, settings.model
        self._tensors = {name: tensor.astype(np.float32) for name, tensor in tensors.items()}
        # Without the output of phonemes, which a beam search needs and greedy decoding does not.
        for name in ("output.weight", "output.bias"):
            self._tensors[name] = self._tensors[name][: len(settings.alphabet)]
        self._stream = stream

    def add(self, features: str, lengths: str) -> None:
        """Add the nodes and the outputs `log_probs` (B, T', V), natural log, and `log_prob_lengths` (B,)."""
        graph, shape = self._graph, self._shape
        x, lengths = self._front(graph.unsqueeze(features, 1), lengths)
        x = graph.node("Reshape", graph.node("Transpose", x, perm=[2, 0, 1, 3]), graph.ints(0, 0, -1))
        if shape.chunk:
            log_probs = self._chunked(x, lengths)
        else:
            short = graph.cast(lengths, INT32)
            log_probs = self._layers(x, lambda x, index: self._whole(x, short, index))
        log_probs = graph.node("Transpose", log_probs, perm=[1, 0, 2])
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

    def _layers(self, x: str, recurrence: Callable[[str, int], str]) -> str:
        """Map (T', B, size) to log-probabilities (T', B, V). recurrence: maps the input of a layer to its output."""
        graph, shape = self._graph, self._shape
        size = self._tensors["layers.0.recurrence.weight_ih_l0"].shape[1]
        for index in range(shape.layers):
            y = recurrence(self._norm(x, f"norms.{index}"), index)
            x = graph.node("Add", x, y) if shape.residual and size == shape.width else y
            size = shape.width
        weight = graph.tensor(self._tensors["output.weight"].T, "output.weight")
        logits = graph.node("MatMul", self._norm(x, "last_norm"), weight)
        logits = graph.node("Add", logits, self._tensor("output.bias"))
        return graph.node("LogSoftmax", logits, axis=2)

    def _whole(self, x: str, lengths: str, index: int) -> str:
        """Map (T', B, size) to (T', B, H · directions)."""
        shape = self._shape
        states: dict[str, str] = {}
        if self._stream:
            states = {part: self._graph.input(part, FLOAT, (1, 1, shape.hidden)) for part in self._states(index)}
            lengths = ""
        direction = "bidirectional" if shape.bidirectional else "forward"
        weights = self._weights(index, _DIRECTIONS[: 1 + shape.bidirectional])
        y, last = self._recurrence(x, lengths, weights, direction, tuple(states.values()))
        for part, value in zip(states, last, strict=False):
            self._graph.output(f"next_{part}", value, FLOAT, (1, 1, shape.hidden))
        return y

    def _chunked(self, x: str, lengths: str) -> str:
        """Map (T', B, size) to log-probabilities (T', B, V), window by window.

        In a stream the last `lookahead` rows are kept for the next step, too.
        """
        graph, shape = self._graph, self._shape
        chunk, window, size = shape.chunk, shape.window, self._tensors["layers.0.recurrence.weight_ih_l0"].shape[1]
        names = [part for index in range(shape.layers) for part in self._states(index)]
        if self._stream and shape.lookahead:
            x = graph.node("Concat", graph.input("lookahead", FLOAT, ("lookahead", 1, size)), x, axis=0)
            last = graph.node("Slice", x, graph.ints(-shape.lookahead), graph.ints(2**31 - 1), graph.ints(0))
            graph.output("next_lookahead", last, FLOAT, ("lookahead", 1, size))
            lengths = graph.unsqueeze(graph.size(x, 0), 0)
        frames = graph.size(x, 0)
        # The frames that chunks cover; in a stream the lookahead is not yet among them.
        covered = graph.node("Sub", frames, graph.integer(shape.lookahead)) if self._stream else frames
        count = graph.node("Div", graph.node("Add", covered, graph.integer(chunk - 1)), graph.integer(chunk))
        count = graph.node("Max", count, graph.integer(1))
        starts = graph.node("Mul", graph.range(count), graph.integer(chunk))
        rows = graph.node("Add", graph.unsqueeze(starts, 1), graph.tensor(np.arange(window)))
        padded = graph.node("Pad", x, graph.ints(0, 0, 0, window + chunk, 0, 0))
        windows = graph.node("Gather", padded, rows, axis=0)
        # A window after the end of an utterance has a frame of padding.
        inside = graph.node("Sub", graph.unsqueeze(lengths, 0), graph.unsqueeze(starts, 1))
        inside = graph.node("Max", graph.node("Min", inside, graph.integer(window)), graph.integer(1))
        if self._stream:
            before = [graph.input(name, FLOAT, (1, shape.hidden)) for name in names]
        else:
            sizes = graph.node("Concat", graph.unsqueeze(graph.size(x, 1), 0), graph.ints(shape.hidden), axis=0)
            before = [graph.node("ConstantOfShape", sizes)] * len(names)
        *after, log_probs = graph.scan(self._window(names), before, [windows, graph.cast(inside, INT32)])
        for name, value in zip(names if self._stream else (), after, strict=False):
            graph.output(f"next_{name}", value, FLOAT, (1, shape.hidden))
        # (n, W, B, V): the chunks of all windows, and what follows the chunk of the last one.
        chunks = graph.node("Slice", log_probs, graph.ints(0), graph.ints(chunk), graph.ints(1))
        tail = graph.node("Slice", log_probs, graph.ints(-1, chunk), graph.ints(2**31 - 1, window), graph.ints(0, 1))
        parts = [graph.node("Reshape", part, self._joined(part)) for part in (chunks, tail)]
        joined = graph.node("Concat", *parts, axis=0)
        return graph.node("Slice", joined, graph.ints(0), graph.unsqueeze(frames, 0), graph.ints(0))

    def _joined(self, rows: str) -> str:
        """Return the shape (n · W, B, V) of rows (n, W, B, V)."""
        graph = self._graph
        batch = graph.unsqueeze(graph.size(rows, 2), 0)
        return graph.node("Concat", graph.ints(-1), batch, graph.ints(len(self._settings.alphabet)), axis=0)

    def _window(self, states: Sequence[str]) -> Graph:
        """Return the graph from states (B, H), the rows of a window (W, B, size) and lengths (B,) to log-probabilities.

        Its first outputs are the states after the chunk.
        """
        shape, body = self._shape, Graph()
        body.scope = "network/window/"
        for name in states:
            body.input(f"{name}_before", FLOAT, ("batch", shape.hidden))
        body.input("window", FLOAT, (shape.window, "batch", self._tensors["layers.0.recurrence.weight_ih_l0"].shape[1]))
        body.input("inside", INT32, ("batch",))
        network = NetworkGraph(body, self._settings, self._tensors)
        log_probs = network._layers("window", network._layer_of_window)
        body.output("window_log_probs", log_probs, FLOAT, (shape.window, "batch", len(self._settings.alphabet)))
        return body

    def _layer_of_window(self, x: str, index: int) -> str:
        """Map (W, B, size) to (W, B, 2 H); the state after the chunk is an output."""
        graph, shape = self._graph, self._shape
        ours, theirs = (self._weights(index, [suffix]) for suffix in _DIRECTIONS)
        before = [graph.unsqueeze(f"{name}_before", 0) for name in self._states(index)]
        # Each window twice: as a whole, and up to the end of the chunk for the state there.
        twice = graph.node("Concat", x, x, axis=1)
        batch = graph.unsqueeze(graph.size(x, 1), 0)
        counts = (graph.tensor(np.array([size], np.int32)) for size in (shape.window, shape.chunk))
        lengths = graph.node("Concat", *(graph.node("Expand", count, batch) for count in counts), axis=0)
        before = [graph.node("Concat", state, state, axis=1) for state in before]
        forward, last = self._recurrence(twice, lengths, ours, "forward", before)
        forward = graph.node("Slice", forward, graph.ints(0), batch, graph.ints(1))
        last = [graph.node("Slice", state, batch, graph.ints(2**31 - 1), graph.ints(1)) for state in last]
        for name, value in zip(self._states(index), last, strict=True):
            graph.output(f"{name}_after", graph.node("Squeeze", value, graph.ints(0)), FLOAT, ("batch", shape.hidden))
        backward, _ = self._recurrence(x, "inside", theirs, "reverse")
        return graph.node("Concat", forward, backward, axis=2)

    def _states(self, index: int) -> list[str]:
        parts = ("hidden", "cell")[: 2 if self._shape.cell == "lstm" else 1]
        return [f"{part}_{index}" for part in parts]

    def _weights(self, index: int, directions: Sequence[str]) -> list[str]:
        """Add the weights and biases of directions of a layer."""
        name = f"layers.{index}.recurrence"
        parameters = self._parameters(name, directions)
        return [self._graph.tensor(value, f"{name}.{part}{directions[0]}") for part, value in parameters.items()]

    def _recurrence(
        self, x: str, lengths: str, weights: Sequence[str], direction: str, states: Sequence[str] = ()
    ) -> tuple[str, list[str]]:
        """Map (T', B, size) to (T', B, H · directions) and the last states (directions, B, H)."""
        graph, shape = self._graph, self._shape
        kind = {"lstm": "LSTM", "gru": "GRU"}.get(shape.cell, "RNN")
        outputs = 3 if shape.cell == "lstm" else 2
        attributes = _attributes(shape, direction)
        y, *last = graph.nodes(kind, [x, *weights, lengths, *states], outputs, **attributes)
        # (T', directions, B, H)
        return graph.node("Reshape", graph.node("Transpose", y, perm=[0, 2, 1, 3]), graph.ints(0, 0, -1)), last

    def _parameters(self, name: str, directions: Sequence[str]) -> Tensors:
        """Return the weights and biases of directions in ONNX's order."""
        gates, hidden = GATES[self._shape.cell], self._shape.hidden

        def ordered(part: str, suffix: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
            tensor = self._tensors[f"{name}.{part}{suffix}"]
            rows = tensor.reshape(gates, hidden, -1)[_ORDER[self._shape.cell]]
            return rows.reshape(tensor.shape)

        def both(part: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
            return np.stack([ordered(part, suffix) for suffix in directions])

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
