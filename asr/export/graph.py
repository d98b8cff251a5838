"""Building an ONNX graph node by node."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

# 17 is the first with LayerNormalization; onnxruntime reads it since 1.12.
OPSET, _IR_VERSION = 17, 8

INT64, FLOAT, DOUBLE, INT32 = TensorProto.INT64, TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT32
# The sizes of a value: numbers, or names of sizes that vary.
Sizes = Sequence[int | str]


class Graph:
    """A graph in the making. Values are named by strings; `scope` is the prefix of the names of new nodes."""

    def __init__(self) -> None:
        self.scope = ""
        self._nodes: list[NodeProto] = []
        self._tensors: list[TensorProto] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def input(self, name: str, kind: int, sizes: Sizes) -> str:
        """Add an input and return its name."""
        self._inputs.append(helper.make_tensor_value_info(name, kind, list(sizes)))
        return name

    def output(self, name: str, value: str, kind: int, sizes: Sizes) -> None:
        """Make a value an output, the first one if it is `log_probs`."""
        self._nodes.append(helper.make_node("Identity", [value], [name], name=f"{self.scope}output_{name}"))
        position = 0 if name == "log_probs" else len(self._outputs)
        self._outputs.insert(position, helper.make_tensor_value_info(name, kind, list(sizes)))

    def tensor(self, values: NDArray[Any], name: str = "") -> str:
        """Add a constant, a weight of the network for example."""
        name = name or f"{self.scope}constant_{len(self._tensors)}"
        self._tensors.append(numpy_helper.from_array(np.asarray(values, order="C"), name))
        return name

    def ints(self, *values: int) -> str:
        """Add a vector of integers."""
        return self.tensor(np.array(values, np.int64))

    def integer(self, value: int) -> str:
        """Add an integer."""
        return self.tensor(np.array(value, np.int64))

    def number(self, value: float) -> str:
        """Add a number of single precision."""
        return self.tensor(np.array(value, np.float32))

    def nodes(self, kind: str, inputs: Sequence[str], outputs: int, **attributes: Any) -> list[str]:
        """Add a node with several outputs and return their names."""
        name = f"{self.scope}{kind}_{len(self._nodes)}"
        names = [f"{name}:{index}" for index in range(outputs)]
        self._nodes.append(helper.make_node(kind, list(inputs), names, name=name, **attributes))
        return names

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output and return its name."""
        return self.nodes(kind, inputs, 1, **attributes)[0]

    def cast(self, value: str, kind: int) -> str:
        """Convert a value to another type."""
        return self.node("Cast", value, to=kind)

    def size(self, value: str, axis: int) -> str:
        """Return the size of an axis, an integer."""
        return self.node("Gather", self.node("Shape", value), self.integer(axis), axis=0)

    def range(self, end: str) -> str:
        """Return the integers below `end`."""
        return self.node("Range", self.integer(0), end, self.integer(1))

    def unsqueeze(self, value: str, *axes: int) -> str:
        """Add axes of size 1."""
        return self.node("Unsqueeze", value, self.ints(*axes))

    def scan(self, body: "Graph", states: Sequence[str], rows: Sequence[str]) -> list[str]:
        """Run a graph over the first axis of rows; return its last states, and its other outputs of all steps.

        The inputs and the first outputs of the body are the states, in the same order; its other inputs are one row of
        each of `rows`.
        """
        graph = helper.make_graph(body._nodes, f"{self.scope}step", body._inputs, body._outputs, body._tensors)
        return self.nodes("Scan", [*states, *rows], len(body._outputs), body=graph, num_scan_inputs=len(rows))

    def model(self, name: str, version: str) -> ModelProto:
        """Return the finished model."""
        graph = helper.make_graph(self._nodes, name, self._inputs, self._outputs, self._tensors)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="asr", producer_version=version
        )
        model.ir_version = _IR_VERSION
        return model
