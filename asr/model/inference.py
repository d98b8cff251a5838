"""The network in NumPy, for recognition on a CPU: the same values as `asr.model.network`, without torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.model.recurrence import Floats, Recurrence, State, windows_of
from asr.model.settings import KERNEL, NO_STREAM, ModelSettings

# As in torch.nn.LayerNorm.
_EPSILON = 1e-5


@dataclass(frozen=True)
class StreamState:
    """The state of a streaming network.

    `front`: the last input frames (channels, n, features) of each convolution; `recurrent`: of each recurrent layer;
    `waiting`: the outputs of the convolutions (n, dimension) after the last whole chunk, which were lookahead only.
    """

    front: tuple[Floats, ...]
    recurrent: tuple[State, ...]
    waiting: Floats


class Network:
    """Features -> log-probabilities of the tokens, V characters and P phonemes, for each output frame."""

    def __init__(self, settings: ModelSettings, tensors: Mapping[str, NDArray[Any]], phonemes: int = 0) -> None:
        self.settings = settings
        self._phonemes = phonemes
        self._tensors = {
            name: tensor.astype(np.float32, copy=False)
            for name, tensor in tensors.items()
            if not name.startswith("layers.")
        }
        self._convolutions = [
            (
                _kernel(self._tensors[f"front.convolutions.{index}.weight"]),
                self._tensors[f"front.convolutions.{index}.bias"],
            )
            for index in range(len(settings.strides))
        ]
        self._layers = [
            Recurrence(settings.cell, tensors, f"layers.{index}.recurrence") for index in range(settings.layers)
        ]

    def __call__(self, features: Sequence[Floats]) -> list[Floats]:
        """Map the features (T, F) of each utterance, T > 0, to its log-probabilities (T', V + P), natural log."""
        rows = [self._front(frames)[0] for frames in features]
        lengths = [len(part) for part in rows]
        log_probs, _ = self._log_probs(np.concatenate(rows), lengths, [None] * len(self._layers))
        return np.split(log_probs, np.cumsum(lengths)[:-1])

    def proceed(self, features: Floats, state: StreamState | None = None) -> tuple[Floats, StreamState]:
        """Continue a stream by features (T, F), T > 0; return log-probabilities (T', V + P) and the state.

        T is a multiple of `settings.step` in every part but the last. Frames whose chunk and lookahead are not complete
        wait in the state. Raises ValueError if the network cannot stream.
        """
        if not self.settings.streams:
            raise ValueError(NO_STREAM)
        rows, front = self._front(features, state.front if state else None)
        if state:
            rows = np.concatenate([state.waiting, rows])
        frames, lookahead = len(rows), self.settings.lookahead
        if self.settings.chunk:
            frames = max(0, frames - lookahead) // self.settings.chunk * self.settings.chunk
        before = state.recurrent if state else tuple(layer.zeros(1) for layer in self._layers)
        log_probs, after = self._continued(rows[: frames + lookahead], frames, before)
        return log_probs, StreamState(front, after, rows[frames:].copy())

    def finish(self, state: StreamState) -> Floats:
        """Return the log-probabilities (n, V + P) of the frames that wait in the state at the end of a stream."""
        return self._continued(state.waiting, len(state.waiting), state.recurrent)[0]

    def _continued(self, rows: Floats, frames: int, state: tuple[State, ...]) -> tuple[Floats, tuple[State, ...]]:
        """Return the log-probabilities of the first rows of a stream, and the state after them."""
        if not frames:
            return np.zeros((0, len(self._tensors["output.bias"])), np.float32), state
        log_probs, after = self._log_probs(rows, [frames], state, [len(rows)])
        return log_probs, tuple(after)

    def _front(self, frames: Floats, history: Sequence[Floats] | None = None) -> tuple[Floats, tuple[Floats, ...]]:
        """Map (T, F) to (T', channels · F'); return the history for the next part of a stream."""
        x: Floats = np.ascontiguousarray(frames, np.float32)[None]
        following: list[Floats] = []
        for index, ((kernel, bias), stride) in enumerate(zip(self._convolutions, self.settings.strides, strict=True)):
            if not self.settings.streams:
                x = np.pad(x, ((0, 0), self.settings.padding(index), (1, 1)))
            else:
                past = history[index] if history else np.zeros((len(x), KERNEL - 1, x.shape[2]), np.float32)
                x = np.concatenate([past, x], axis=1)
                following.append(x[:, x.shape[1] - (KERNEL - 1) :].copy())
                x = np.pad(x, ((0, 0), (0, 0), (1, 1)))
            windows = np.lib.stride_tricks.sliding_window_view(x, (KERNEL, KERNEL), axis=(1, 2))[:, ::stride, ::2]
            channels, steps, bands = windows.shape[:3]
            columns = windows.transpose(1, 2, 0, 3, 4).reshape(steps * bands, channels * KERNEL**2)
            product = columns @ kernel
            product += bias
            np.maximum(product, 0, out=product)
            x = product.reshape(steps, bands, -1).transpose(2, 0, 1)
        return x.transpose(1, 0, 2).reshape(x.shape[1], -1), tuple(following)

    def _log_probs(
        self, x: Floats, lengths: Sequence[int], before: Sequence[State | None], seen: Sequence[int] | None = None
    ) -> tuple[Floats, list[State]]:
        """Return the log-probabilities of sequences of these lengths in the rows x, and the states after them.

        seen: how many rows there are of each sequence, if a chunk has lookahead after the end.
        """
        windows, chunk = None, self.settings.chunk
        if chunk:
            windows = windows_of(lengths, seen or lengths, chunk, self.settings.lookahead)
            x = x[windows.frames]
        states = []
        for index, (layer, state) in enumerate(zip(self._layers, before, strict=True)):
            rows = self._norm(x, f"norms.{index}")
            y, last = layer.windows(rows, lengths, windows, chunk, state) if windows else layer(rows, lengths, state)
            x = x + y if self.settings.residual and x.shape == y.shape else y
            states.append(last)
        if windows:
            x = x[windows.chunks]
        logits = self._norm(x, "last_norm") @ self._tensors["output.weight"].T
        logits += self._tensors["output.bias"]
        for part in np.split(logits, [logits.shape[1] - self._phonemes], axis=1) if self._phonemes else [logits]:
            log_softmax(part)
        return logits, states

    def _norm(self, x: Floats, name: str) -> Floats:
        if not self.settings.layer_norm:
            return x
        centred = x - x.mean(axis=1, keepdims=True)
        scale = np.sqrt(np.square(centred).mean(axis=1, keepdims=True) + np.float32(_EPSILON))
        centred /= scale
        centred *= self._tensors[f"{name}.weight"]
        centred += self._tensors[f"{name}.bias"]
        result: Floats = centred
        return result


def _kernel(weight: NDArray[Any]) -> Floats:
    """Return the weights (out, in, 3, 3) of a convolution as a matrix (in · 9, out)."""
    return np.ascontiguousarray(weight.reshape(len(weight), -1).T, np.float32)


def log_softmax(logits: Floats) -> Floats:
    """Return the log-probabilities of logits (N, V), which are changed."""
    logits -= logits.max(axis=1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return logits
