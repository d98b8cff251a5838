"""The shape of the network: its settings, the length of its output and its parameters.

Dimension letters, here and in all packages:
B batch, T input frames, T' output frames, F features, H hidden units of one direction, V tokens, P phonemes, L target
length.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from asr.config import check_choices, check_ranges

# Each recurrent cell with the number of its gates.
GATES = {"rnn-tanh": 1, "rnn-relu": 1, "gru": 3, "lstm": 4}
CELLS = tuple(GATES)
# Frames and features that a convolution covers.
KERNEL = 3
# By `time_reduction`, the strides of the convolutions in time.
_STRIDES = {2: (2, 1), 3: (3, 1), 4: (2, 2)}

NO_STREAM = "this model needs the whole utterance: it cannot continue from a state"

Shape = tuple[int, ...]
Frames = TypeVar("Frames", int, NDArray[np.int64])


@dataclass(frozen=True)
class ModelSettings:
    """The shape of the network. `time_reduction`: input frames for one output frame; `dropout` follows every layer.

    `chunk`: the network computes so many output frames at a time, for streams, as the latency-controlled BLSTM of Zhang
    et al. (2016); 0: the whole utterance. `lookahead`: how many output frames after a chunk the backward directions
    begin. These frames are computed twice: with their chunk and with the one before it.
    """

    cell: str = "lstm"
    layers: int = 3
    hidden: int = 192
    bidirectional: bool = True
    channels: int = 32
    time_reduction: int = 4
    dropout: float = 0.2
    residual: bool = True
    layer_norm: bool = True
    chunk: int = 0
    lookahead: int = 0

    def __post_init__(self) -> None:
        check_choices(self, cell=CELLS, time_reduction=tuple(_STRIDES))
        check_ranges(
            self, layers=(1, 32), hidden=(1, 8192), channels=(1, 1024), chunk=(0, 10_000), lookahead=(0, 10_000)
        )
        check_dropout(self.dropout)
        if self.chunk and not self.bidirectional:
            raise ValueError(f"chunk = {self.chunk} needs bidirectional = true: there is no backward direction")
        if self.lookahead and not self.chunk:
            raise ValueError(f"lookahead = {self.lookahead} needs a chunk: without chunks all frames are seen")

    @property
    def streams(self) -> bool:
        """Return whether the network can compute a stream: whether no output depends on frames after its chunk."""
        return not self.bidirectional or self.chunk > 0

    @property
    def step(self) -> int:
        """Return the number of input frames of which a stream is computed in multiples."""
        return self.time_reduction * max(self.chunk, 1)

    @property
    def window(self) -> int:
        """Return the number of output frames that are computed together: a chunk and its lookahead."""
        return max(self.chunk, 1) + self.lookahead

    @property
    def strides(self) -> tuple[int, int]:
        """Return the strides of the convolutions in time; in frequency they are 2."""
        return _STRIDES[self.time_reduction]

    @property
    def width(self) -> int:
        """Return the number of values that a recurrent layer gives for a frame."""
        return self.hidden * (2 if self.bidirectional else 1)

    def padding(self, convolution: int) -> tuple[int, int]:
        """Return how many frames of zeros a convolution sees before and after the frames."""
        if self.streams:
            return KERNEL - 1, 0
        # A stride of 3 starts at the first frame; otherwise it would miss the last.
        before = 0 if self.strides[convolution] == KERNEL else 1
        return before, KERNEL - 1 - before

    def shapes(self, features: int, tokens: int) -> dict[str, Shape]:
        """Return the shape of each parameter of a network of so many features and tokens."""
        shapes: dict[str, Shape] = {}
        inputs = 1
        for index in range(len(self.strides)):
            shapes[f"front.convolutions.{index}.weight"] = (self.channels, inputs, KERNEL, KERNEL)
            shapes[f"front.convolutions.{index}.bias"] = (self.channels,)
            inputs, features = self.channels, -(-features // 2)
        sizes = [self.channels * features] + [self.width] * (self.layers - 1)
        norms = {f"norms.{index}": size for index, size in enumerate(sizes)} | {"last_norm": self.width}
        for name, size in norms.items() if self.layer_norm else ():
            shapes |= {f"{name}.weight": (size,), f"{name}.bias": (size,)}
        for index, size in enumerate(sizes):
            shapes |= recurrence_shapes(f"layers.{index}.recurrence", self.cell, size, self.hidden, self.bidirectional)
        return shapes | {"output.weight": (tokens, self.width), "output.bias": (tokens,)}


def recurrence_shapes(name: str, cell: str, size: int, hidden: int, bidirectional: bool = False) -> dict[str, Shape]:
    """Return the shapes of the parameters of a recurrent layer, named as PyTorch names them."""
    rows = GATES[cell] * hidden
    shapes: dict[str, Shape] = {}
    for suffix in ("_l0", "_l0_reverse") if bidirectional else ("_l0",):
        shapes |= {f"{name}.weight_ih{suffix}": (rows, size), f"{name}.weight_hh{suffix}": (rows, hidden)}
        shapes |= {f"{name}.bias_ih{suffix}": (rows,), f"{name}.bias_hh{suffix}": (rows,)}
    return shapes


def check_dropout(probability: float) -> None:
    """Raise ValueError for a dropout probability that `Dropout` would round to 0 or 1."""
    if probability != 0 and not 0.002 <= probability <= 0.996:
        raise ValueError(f"dropout = {probability} is neither 0 nor between 0.002 and 0.996")


def output_length(frames: Frames, time_reduction: int) -> Frames:
    """Return T' for T input frames: each stride rounds up."""
    for stride in _STRIDES[time_reduction]:
        frames = -(-frames // stride)
    return frames
