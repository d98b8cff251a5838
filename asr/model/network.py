"""The network in torch, for training: strided convolutions, stacked recurrent layers, and the output layer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from asr.model import checkpoint
from asr.model.checkpoint import Contents, ModelFileSettings
from asr.model.settings import KERNEL, NO_STREAM, ModelSettings, check_dropout
from asr.text import BLANK, Alphabet

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class StreamState:
    """The state of a streaming model in a stream of B utterances.

    `front`: the last input frames of each convolution; `recurrent`: h, or h and c, of each recurrent layer; `waiting`:
    the outputs of the convolutions (B, n, dimension) after the last whole chunk, which were lookahead only.
    """

    front: tuple[Tensor, ...]
    recurrent: tuple[Tensor | tuple[Tensor, Tensor], ...]
    waiting: Tensor


@dataclass(frozen=True)
class Output:
    """`log_probs` (B, T', V + P), natural log; `lengths` (B,) integers; `state` of a streaming model.

    Those of the characters come first, then those of the phonemes, if the model has them; each V and each P
    probabilities add up to 1. `tapped`: log_probs that the same output layer computes from an intermediate layer.
    """

    log_probs: Tensor
    lengths: Tensor
    state: StreamState | None
    tapped: Tensor | None = None


class _Permutation(torch.autograd.Function):
    """Rows in another order, which is its own inverse, as is then its gradient; torch's own gradient is slower."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, order: Tensor) -> Tensor:
        """Return rows (N, …) in the order (N,)."""
        ctx.save_for_backward(order)
        return rows.index_select(0, order)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Return the gradient in the same order."""
        (order,) = ctx.saved_tensors
        return gradients[0].index_select(0, order), None


def reverse(sequences: Tensor, lengths: Tensor) -> Tensor:
    """Reverse each sequence of a padded batch (B, T, …) within its own length; padding stays in place."""
    count, size = sequences.shape[:2]
    steps = torch.arange(size, device=sequences.device)
    index = lengths[:, None] - 1 - steps
    index = torch.where(index >= 0, index, steps) + size * torch.arange(count, device=sequences.device)[:, None]
    permute: Any = _Permutation.apply  # typed in some releases of torch only
    reversed_rows: Tensor = permute(sequences.flatten(0, 1), index.flatten())
    return reversed_rows.view_as(sequences)


class Front(nn.Module):
    """Two 3 x 3 convolutions with ReLU that reduce time by `time_reduction` and frequency by 4.

    Each covers a frame and one neighbour on either side, or in a streaming model the two frames before it.
    """

    def __init__(self, features: int, settings: ModelSettings) -> None:
        super().__init__()
        self.settings = settings
        self.causal = settings.streams
        sizes = (1, settings.channels, settings.channels)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(sizes[i], sizes[i + 1], KERNEL, stride=(stride, 2), padding=(0, 1))
            for i, stride in enumerate(settings.strides)
        )
        for _ in settings.strides:
            features = -(-features // 2)
        self.dimension = settings.channels * features

    def forward(
        self, x: Tensor, lengths: Tensor, history: Sequence[Tensor] | None = None
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """Map (B, T, F) to (B, T', dimension), the output lengths, and the history for the next chunk."""
        x = x[:, None]
        following: list[Tensor] = []
        for index, (convolution, stride) in enumerate(zip(self.convolutions, self.settings.strides, strict=True)):
            # Padding must be zero, as it is at the end of an utterance on its own.
            mask = torch.arange(x.shape[2], device=lengths.device) < lengths[:, None]
            x = x * mask[:, None, :, None]
            if self.causal:
                past = history[index] if history else x.new_zeros(x.shape[0], x.shape[1], KERNEL - 1, x.shape[3])
                x = torch.cat([past, x], dim=2)
                following.append(x[:, :, x.shape[2] - (KERNEL - 1) :].detach())
            else:
                x = functional.pad(x, (0, 0, *self.settings.padding(index)))
            x = torch.relu(convolution(x))
            lengths = torch.div(lengths + stride - 1, stride, rounding_mode="floor")
        return x.permute(0, 2, 1, 3).flatten(2), lengths, tuple(following)


LayerState = Tensor | tuple[Tensor, Tensor]


class Dropout(nn.Module):
    """Dropout (Srivastava et al., 2014), its probability rounded to a multiple of 1/256.

    On a CPU one random number serves eight values; torch's own dropout draws a double for each value, which takes a
    tenth of a training step.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        check_dropout(probability)
        self.threshold = round(256 * probability)

    def forward(self, x: Tensor) -> Tensor:
        """Set random values of x to 0 and scale up the others; return x itself outside training."""
        if not self.training or not self.threshold:
            return x
        if x.device.type != "cpu":
            return functional.dropout(x, self.threshold / 256)
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
        kept = (words.view(torch.uint8)[: x.numel()] >= self.threshold).view(x.shape)
        return x * (kept * (256 / (256 - self.threshold))).to(x.dtype)


class RecurrentLayer(nn.Module):
    """One recurrent layer, h_t = f(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh) or its gated forms, in one or two directions.

    `forward` computes the backward direction as a second recurrence over each sequence reversed within its length.
    That is exact in a padded batch and, on a CPU, about four times as fast as `packed`, the form for cuDNN.
    """

    def __init__(self, size: int, settings: ModelSettings) -> None:
        super().__init__()
        self.recurrence = _recurrence(size, settings)

    def forward(self, x: Tensor, lengths: Tensor, state: LayerState | None = None) -> tuple[Tensor, LayerState]:
        """Map (B, T', size) to (B, T', H · directions) and the last state of the forward direction."""
        forward, last = self._direction(x, "", state)
        if not self.recurrence.bidirectional:
            return forward, last
        return torch.cat([forward, self._backward(x, lengths)], dim=2), last

    def windows(
        self, x: Tensor, lengths: Tensor, count: int, chunk: int, state: LayerState
    ) -> tuple[Tensor, LayerState]:
        """Map windows (B · count, W, size) of chunks and their lookahead to (B · count, W, 2 H).

        The forward direction continues from chunk to chunk, and from each chunk into its lookahead, which changes
        neither the next chunk nor, by the gradient of its first state, the chunks before it. Return the state after
        the last chunk, too.
        """
        chunks = x[:, :chunk].reshape(-1, count * chunk, x.shape[2])
        forward, last = self._direction(chunks, "", state)
        parts = [forward.reshape(-1, chunk, forward.shape[2])]
        if x.shape[1] > chunk:
            ends = self._states(chunks, forward, state, chunk)
            parts.append(self._direction(x[:, chunk:], "", ends)[0])
        return torch.cat([torch.cat(parts, dim=1), self._backward(x, lengths)], dim=2), last

    def packed(self, x: PackedSequence, state: LayerState | None = None) -> tuple[Tensor, LayerState]:
        """Map packed frames (frames, size) to (frames, H · directions) and the last state."""
        y, last = self.recurrence(x, state)
        return y.data, last

    def _backward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return reverse(self._direction(reverse(x, lengths), "_reverse", None)[0], lengths)

    @torch.no_grad()
    def _states(self, x: Tensor, outputs: Tensor, state: LayerState, chunk: int) -> LayerState:
        """Return the states of the forward direction after every `chunk` frames, each (1, B · n, H).

        x: (B, n · chunk, size), outputs: (B, n · chunk, H) and state: before the first frame. torch returns the last c
        of an LSTM only: the others are computed from the gates.
        """
        network = self.recurrence
        hidden = outputs[:, chunk - 1 :: chunk].reshape(1, -1, network.hidden_size)
        if isinstance(state, Tensor):
            return hidden
        h, cell = state
        before = torch.cat([h.transpose(0, 1).to(outputs.dtype), outputs[:, :-1]], dim=1)
        weights = cast(dict[str, Tensor], dict(network.named_parameters()))
        gates = functional.linear(x, weights["weight_ih_l0"], weights["bias_ih_l0"])
        gates += functional.linear(before, weights["weight_hh_l0"], weights["bias_hh_l0"])
        i, f, g, _ = gates.float().chunk(4, dim=2)
        added, kept = i.sigmoid() * g.tanh(), f.sigmoid()
        cell, cells = cell[0], []
        for step in range(x.shape[1]):
            cell = torch.addcmul(added[:, step], kept[:, step], cell)
            if (step + 1) % chunk == 0:
                cells.append(cell)
        return hidden, torch.stack(cells, dim=1).reshape(1, -1, network.hidden_size).to(outputs.dtype)

    def _direction(self, x: Tensor, suffix: str, state: LayerState | None) -> tuple[Tensor, LayerState]:
        network = self.recurrence
        weights = [getattr(network, f"{name}_l0{suffix}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        zeros = x.new_zeros(1, x.shape[0], network.hidden_size)
        # Biases, layers, dropout, training, bidirectional, batch first.
        options = (True, 1, 0.0, network.training, False, True)
        if isinstance(network, nn.LSTM):
            y, h, c = torch.lstm(x, state if isinstance(state, tuple) else (zeros, zeros), weights, *options)
            return y, (h, c)
        function = {"GRU": torch.gru, "RNN_TANH": torch.rnn_tanh, "RNN_RELU": torch.rnn_relu}[network.mode]
        y, h = function(x, state if isinstance(state, Tensor) else zeros, weights, *options)
        return y, h


def _windows(x: Tensor, lengths: Tensor, count: int, chunk: int, size: int) -> tuple[Tensor, Tensor]:
    """Return windows (B · count, size, dimension), one after every `chunk` frames of (B, T', dimension).

    They are padded with zeros; return their lengths (B · count,), too.
    """
    x = functional.pad(x, (0, 0, 0, max(0, (count - 1) * chunk + size - x.shape[1])))
    windows = x.unfold(1, size, chunk)[:, :count].permute(0, 1, 3, 2)
    starts = chunk * torch.arange(count, device=lengths.device)
    return windows.flatten(0, 1), (lengths[:, None] - starts).clamp(0, size).flatten()


def _recurrence(size: int, settings: ModelSettings) -> nn.RNNBase:
    cell, hidden = settings.cell, settings.hidden
    options: dict[str, Any] = {"batch_first": True, "bidirectional": settings.bidirectional}
    if cell.startswith("rnn-"):
        options["nonlinearity"] = cell.removeprefix("rnn-")
    network: nn.RNNBase = {"lstm": nn.LSTM, "gru": nn.GRU}.get(cell, nn.RNN)(size, hidden, **options)
    if network.weight_ih_l0.is_meta:
        # The weights will be read from a file; random numbers on the meta device import torch's compiler, a second.
        return network
    for name, parameter in network.named_parameters():
        if name.startswith("bias"):
            nn.init.zeros_(parameter)
        for gate in torch.split(parameter.data, hidden):
            if name.startswith("weight_ih"):
                nn.init.xavier_uniform_(gate)
            elif name.startswith("weight_hh"):
                nn.init.orthogonal_(gate)
        if cell == "lstm" and name.startswith("bias_ih"):
            # An open forget gate carries gradients over many steps (Jozefowicz et al., 2015).
            nn.init.ones_(parameter.data[hidden : 2 * hidden])
    return network


class Model(nn.Module):
    """Features -> log-probabilities of the tokens, V characters and P phonemes, for each output frame."""

    def __init__(self, features: int, tokens: int, settings: ModelSettings, phonemes: int = 0) -> None:
        super().__init__()
        self.settings = settings
        self.features, self.tokens, self.phonemes = features, tokens, phonemes
        self.front = Front(features, settings)
        sizes = [self.front.dimension] + [settings.width] * (settings.layers - 1)
        norm = nn.LayerNorm if settings.layer_norm else nn.Identity
        self.norms = nn.ModuleList(norm(size) for size in sizes)
        self.layers = nn.ModuleList(RecurrentLayer(size, settings) for size in sizes)
        self.last_norm = norm(settings.width)
        self.output = nn.Linear(settings.width, tokens + phonemes)
        self.dropout = Dropout(settings.dropout)
        # Whether the layers compute packed frames, without padding; None: on a GPU, whose layers are cuDNN's.
        self.use_packing: bool | None = None

    def forward(
        self, features: Tensor, lengths: Tensor, state: StreamState | None = None, tap: int = 0, last: bool = True
    ) -> Output:
        """Map features (B, T, F) with lengths (B,) to `Output`; `tapped` comes from the first `tap` layers, if not 0.

        A streaming model continues a stream from the `state` of its last output: B is then 1 or all utterances of the
        batch have the same length, a multiple of `settings.step` in every part but the last. `last`: whether the
        utterances end here; if not, output frames whose lookahead is not there yet wait in the state. Raises ValueError
        for another model with a state.
        """
        if state is not None and not self.settings.streams:
            raise ValueError(NO_STREAM)
        x, lengths, front = self.front(features, lengths, state.front if state else None)
        if self.settings.chunk:
            state = replace(state, front=front) if state else StreamState(front, self._zeros(x), x[:, :0])
            return self._chunked(x, lengths, state, tap, last)
        packing = None
        use_packing = x.is_cuda if self.use_packing is None else self.use_packing
        if state is None and use_packing:
            packing = pack_padded_sequence(x, lengths.cpu(), True, enforce_sorted=False)
            x = packing.data
        recurrent, tapped = [], None
        for index, (norm, layer) in enumerate(zip(self.norms, self.layers, strict=True)):
            before = state.recurrent[index] if state else None
            if packing:
                y, after = cast(RecurrentLayer, layer).packed(packing._replace(data=norm(x)), before)
            else:
                y, after = layer(norm(x), lengths, before)
            x = self._add(x, y)
            recurrent.append(after)
            if index + 1 == tap:
                tapped = self._log_probs(x, packing)
        following = (
            StreamState(front, tuple(recurrent), x.new_zeros(len(lengths), 0, self.front.dimension))
            if self.settings.streams
            else None
        )
        return Output(self._log_probs(x, packing), lengths, following, tapped)

    def finish(self, state: StreamState) -> Output:
        """Return the output of the frames that wait in the state at the end of a stream."""
        rows = state.waiting
        lengths = torch.full((len(rows),), rows.shape[1], device=rows.device)
        return self._chunked(rows[:, :0], lengths * 0, state)

    def _chunked(self, x: Tensor, lengths: Tensor, state: StreamState, tap: int = 0, last: bool = True) -> Output:
        """Continue by outputs of the convolutions (B, T', dimension), in chunks that have their lookahead."""
        chunk, lookahead = self.settings.chunk, self.settings.lookahead
        x, lengths = torch.cat([state.waiting, x], dim=1), lengths + state.waiting.shape[1]
        frames = x.shape[1]
        if not last:
            frames = max(0, frames - lookahead) // chunk * chunk
            lengths = lengths.clamp(max=frames + lookahead)
        waiting = x[:, frames:].detach()
        if not frames:
            return Output(
                x.new_zeros(len(x), 0, self.tokens + self.phonemes), 0 * lengths, replace(state, waiting=waiting)
            )
        count = -(-frames // chunk)
        x, inside = _windows(x, lengths, count, chunk, chunk + lookahead)
        recurrent, tapped = [], None

        def log_probs() -> Tensor:
            return self._log_probs(x[:, :chunk].reshape(len(lengths), count * chunk, -1)[:, :frames], None)

        for index, (norm, layer) in enumerate(zip(self.norms, self.layers, strict=True)):
            y, after = cast(RecurrentLayer, layer).windows(norm(x), inside, count, chunk, state.recurrent[index])
            x = self._add(x, y)
            recurrent.append(after)
            if index + 1 == tap:
                tapped = log_probs()
        following = StreamState(state.front, tuple(recurrent), waiting)
        return Output(log_probs(), lengths.clamp(max=frames), following, tapped)

    def _zeros(self, x: Tensor) -> tuple[LayerState, ...]:
        """Return the states of the layers before the first frame of x (B, T', dimension)."""
        zeros = x.new_zeros(1, len(x), self.settings.hidden)
        return (((zeros, zeros) if self.settings.cell == "lstm" else zeros),) * self.settings.layers

    def _add(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the input of the next layer from the input and the output of this one."""
        y = self.dropout(y)
        return x + y if self.settings.residual and x.shape == y.shape else y

    def change_alphabet(self, old: Alphabet, new: Alphabet) -> None:
        """Make an output layer for another alphabet; the blanks and the tokens of both keep their weights."""
        layer = nn.Linear(self.settings.width, new.outputs)
        pairs = _shared(old, new)
        if old.phonemes and new.phonemes:
            pairs += [(len(old) + row, len(new) + other) for row, other in _shared(old.phonemes, new.phonemes)]
        before, rows = (list(column) for column in zip(*pairs, strict=True))
        with torch.no_grad():
            layer.weight[rows] = self.output.weight[before]
            layer.bias[rows] = self.output.bias[before]
        self.output, self.tokens, self.phonemes = layer, len(new), new.outputs - len(new)

    def _log_probs(self, x: Tensor, packing: PackedSequence | None) -> Tensor:
        logits = self.output(self.last_norm(x))
        if packing:
            logits, _ = pad_packed_sequence(packing._replace(data=logits), batch_first=True)
        parts = logits.split([self.tokens, self.phonemes], dim=2) if self.phonemes else [logits]
        kind = torch.promote_types(logits.dtype, torch.float32)
        log_probs = [torch.log_softmax(part, dim=2, dtype=kind) for part in parts]
        return torch.cat(log_probs, dim=2) if self.phonemes else log_probs[0]


def _shared(old: Alphabet, new: Alphabet) -> list[tuple[int, int]]:
    """Return the ids in both alphabets of the blank and of the characters that they share."""
    shared = "".join(character for character in new.characters if not old.unknown(character))
    return list(zip([BLANK, *old.encode(shared)], [BLANK, *new.encode(shared)], strict=True))


def build(settings: ModelFileSettings) -> Model:
    """Return the network of a model file with initial weights."""
    alphabet = settings.alphabet
    phonemes = alphabet.outputs - len(alphabet)
    return Model(settings.features.dimension, len(alphabet), settings.model, phonemes)


def load(path: str | Path) -> tuple[Model, Contents]:
    """Load the network of a model file in evaluation mode, on the CPU. Raises ModelFileError."""
    contents, tensors = checkpoint.read(path)
    return restore(lambda: build(contents.settings), tensors), contents


def restore(build_network: Callable[[], Network], tensors: Mapping[str, NDArray[np.floating]]) -> Network:
    """Build a network with the weights of a file, in evaluation mode, on the CPU."""
    with torch.device("meta"):
        network = build_network()
    network.load_state_dict(
        {name: torch.from_numpy(tensor).to(torch.float32) for name, tensor in tensors.items()}, assign=True
    )
    return network.eval()
