"""The network: a strided convolutional front, stacked recurrent layers, and the output layer.

Dimension letters, here and everywhere:
B batch, T input frames, T' output frames, F features, H hidden units of one direction, V tokens, L target length.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

CELLS = ("rnn-tanh", "rnn-relu", "gru", "lstm")
KERNEL = 3


@dataclass(frozen=True)
class ModelSettings:
    """The shape of the network. `time_reduction`: input frames for one output frame; `dropout` follows every layer."""

    cell: str = "lstm"
    layers: int = 3
    hidden: int = 192
    bidirectional: bool = True
    channels: int = 32
    time_reduction: int = 4
    dropout: float = 0.2
    residual: bool = True
    layer_norm: bool = True

    def __post_init__(self) -> None:
        if self.cell not in CELLS:
            raise ValueError(f"cell = {self.cell!r} is not one of {', '.join(CELLS)}")
        for name, lowest, highest in (("layers", 1, 32), ("hidden", 1, 8192), ("channels", 1, 1024)):
            if not lowest <= getattr(self, name) <= highest:
                raise ValueError(f"{name} = {getattr(self, name)} is not within {lowest} to {highest}")
        if self.time_reduction not in _STRIDES:
            raise ValueError(f"time_reduction = {self.time_reduction} is not one of {', '.join(map(str, _STRIDES))}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout = {self.dropout} is not within 0 to 1")


_STRIDES = {2: (2, 1), 3: (3, 1), 4: (2, 2)}


@dataclass(frozen=True)
class State:
    """Where a forward-only model stands in a stream: the last input frames of each convolution and h (and c) of each
    recurrent layer, all for a batch B."""

    front: tuple[Tensor, ...]
    recurrent: tuple[Tensor | tuple[Tensor, Tensor], ...]


@dataclass(frozen=True)
class Output:
    """`log_probs` (B, T', V), natural log; `lengths` (B,) integers; `state` of a forward-only model."""

    log_probs: Tensor
    lengths: Tensor
    state: State | None


def output_length(frames: int, time_reduction: int) -> int:
    """Return T' for T input frames: each stride rounds up."""
    for stride in _STRIDES[time_reduction]:
        frames = -(-frames // stride)
    return frames


def reverse(sequences: Tensor, lengths: Tensor) -> Tensor:
    """Reverse each sequence of a padded batch (B, T, …) within its own length; padding stays where it is."""
    steps = torch.arange(sequences.shape[1], device=sequences.device)
    index = lengths[:, None] - 1 - steps
    index = torch.where(index >= 0, index, steps)
    return sequences.gather(1, index[:, :, None].expand_as(sequences))


def _mask(lengths: Tensor, size: int) -> Tensor:
    return torch.arange(size, device=lengths.device) < lengths[:, None]


class Front(nn.Module):
    """Two 3 x 3 convolutions with ReLU that shorten time by `time_reduction` and frequency by 4.

    In a bidirectional model a frame sees one neighbour on either side; in a forward-only one the two before it.
    """

    def __init__(self, features: int, settings: ModelSettings) -> None:
        super().__init__()
        self.strides = _STRIDES[settings.time_reduction]
        self.causal = not settings.bidirectional
        sizes = (1, settings.channels, settings.channels)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(sizes[i], sizes[i + 1], KERNEL, stride=(stride, 2), padding=(0, 1))
            for i, stride in enumerate(self.strides)
        )
        for _ in self.strides:
            features = -(-features // 2)
        self.dimension = settings.channels * features

    def forward(
        self, x: Tensor, lengths: Tensor, history: Sequence[Tensor] | None = None
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """Map (B, T, F) to (B, T', dimension), the lengths, and what the next chunk must see of this one."""
        x = x[:, None]
        seen: list[Tensor] = []
        for index, (convolution, stride) in enumerate(zip(self.convolutions, self.strides, strict=True)):
            # What lies beyond an utterance's end must be zero, as it is when the utterance is alone.
            x = x * _mask(lengths, x.shape[2])[:, None, :, None]
            if self.causal:
                past = history[index] if history else x.new_zeros(x.shape[0], x.shape[1], KERNEL - 1, x.shape[3])
                x = torch.cat([past, x], dim=2)
                seen.append(x[:, :, x.shape[2] - (KERNEL - 1) :].detach())
            else:
                # A stride of 3 begins at the first frame, or the last would go unseen.
                before = 0 if stride == KERNEL else 1
                x = functional.pad(x, (0, 0, before, KERNEL - 1 - before))
            x = torch.relu(convolution(x))
            lengths = torch.div(lengths + stride - 1, stride, rounding_mode="floor")
        return x.permute(0, 2, 1, 3).flatten(2), lengths, tuple(seen)


class RecurrentLayer(nn.Module):
    """One recurrent layer, h_t = f(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh) or its gated forms, in one or two directions.

    The backward direction runs a second recurrence over each sequence reversed by its own length. That is exact in a
    padded batch and, on a CPU, about four times as fast as a packed sequence.
    """

    def __init__(self, size: int, settings: ModelSettings) -> None:
        super().__init__()
        directions = 2 if settings.bidirectional else 1
        self.directions = nn.ModuleList(_recurrence(settings.cell, size, settings.hidden) for _ in range(directions))

    def forward(
        self, x: Tensor, lengths: Tensor, state: Tensor | tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor | tuple[Tensor, Tensor]]:
        """Map (B, T', size) to (B, T', H · directions) and the last state of the forward direction."""
        forward, last = self.directions[0](x, state)
        if len(self.directions) == 1:
            return forward, last
        backward, _ = self.directions[1](reverse(x, lengths))
        return torch.cat([forward, reverse(backward, lengths)], dim=2), last


def _recurrence(cell: str, size: int, hidden: int) -> nn.RNNBase:
    if cell == "lstm":
        made: nn.RNNBase = nn.LSTM(size, hidden, batch_first=True)
    elif cell == "gru":
        made = nn.GRU(size, hidden, batch_first=True)
    else:
        made = nn.RNN(size, hidden, nonlinearity=cell.removeprefix("rnn-"), batch_first=True)
    for name, parameter in made.named_parameters():
        if name.startswith("bias"):
            nn.init.zeros_(parameter)
        for gate in torch.split(parameter.data, hidden):
            if name.startswith("weight_ih"):
                nn.init.xavier_uniform_(gate)
            elif name.startswith("weight_hh"):
                nn.init.orthogonal_(gate)
    if cell == "lstm":
        # A forget gate that starts open lets gradients reach far back (Jozefowicz et al., 2015).
        nn.init.ones_(dict(made.named_parameters())["bias_ih_l0"].data[hidden : 2 * hidden])
    return made


class Model(nn.Module):
    """Features -> log-probabilities of the tokens for each output frame."""

    def __init__(self, features: int, tokens: int, settings: ModelSettings) -> None:
        super().__init__()
        self.settings = settings
        self.features, self.tokens = features, tokens
        self.front = Front(features, settings)
        width = settings.hidden * (2 if settings.bidirectional else 1)
        sizes = [self.front.dimension] + [width] * (settings.layers - 1)
        norm = nn.LayerNorm if settings.layer_norm else nn.Identity
        self.norms = nn.ModuleList(norm(size) for size in sizes)
        self.layers = nn.ModuleList(RecurrentLayer(size, settings) for size in sizes)
        self.last_norm = norm(width)
        self.output = nn.Linear(width, tokens)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, features: Tensor, lengths: Tensor, state: State | None = None) -> Output:
        """Map features (B, T, F) with lengths (B,) to `Output`.

        A forward-only model continues a stream from `state`, its last output's: B is then 1 or all utterances of the
        batch have the same length, a multiple of `time_reduction` in every chunk but the last. Raises ValueError when
        a bidirectional model is given a state.
        """
        if state is not None and self.settings.bidirectional:
            raise ValueError("a bidirectional model needs the whole utterance: it cannot continue from a state")
        x, lengths, front = self.front(features, lengths, state.front if state else None)
        recurrent = []
        for index, (norm, layer) in enumerate(zip(self.norms, self.layers, strict=True)):
            y, last = layer(norm(x), lengths, state.recurrent[index] if state else None)
            y = self.dropout(y)
            x = x + y if self.settings.residual and x.shape == y.shape else y
            recurrent.append(last)
        log_probs = torch.log_softmax(self.output(self.last_norm(x)), dim=2)
        following = None if self.settings.bidirectional else State(front, tuple(recurrent))
        return Output(log_probs, lengths, following)
