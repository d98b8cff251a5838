"""The network on a GPU, with torch."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch.nn.utils.rnn import pad_sequence

from asr.decoding import LogProbs
from asr.features import Features
from asr.model import network
from asr.model.checkpoint import ModelFileSettings
from asr.model.network import StreamState
from asr.model.weights import Tensors
from asr.recognition.inference import DeviceMemoryError

Result = TypeVar("Result")


class DeviceNetwork:
    """The same as `asr.model.inference.Network`, on a device of torch. Its methods raise DeviceMemoryError."""

    def __init__(self, settings: ModelFileSettings, tensors: Tensors, device: torch.device) -> None:
        self._device = device
        self._network = network.restore(lambda: network.build(settings), tensors).to(self._device)

    def __call__(self, features: Sequence[Features]) -> list[LogProbs]:
        """Map the features (T, F) of each utterance, T > 0, to its log-probabilities (T', V), natural log."""
        rows = [torch.from_numpy(frames) for frames in features]

        def compute() -> list[LogProbs]:
            lengths = torch.tensor([len(row) for row in rows], device=self._device)
            output = self._network(pad_sequence(rows, batch_first=True).to(self._device), lengths)
            log_probs = output.log_probs.cpu().numpy()
            return [row[:length] for row, length in zip(log_probs, output.lengths.tolist(), strict=True)]

        return _run(compute)

    def proceed(self, features: Features, state: StreamState | None = None) -> tuple[LogProbs, StreamState | None]:
        """Continue a stream by features (T, F), T > 0; return log-probabilities (T', V) and the state.

        Frames whose chunk and lookahead are not complete wait in the state.
        """

        def compute() -> tuple[LogProbs, StreamState | None]:
            lengths = torch.tensor([len(features)], device=self._device)
            rows = torch.from_numpy(features)[None].to(self._device)
            output = self._network(rows, lengths, state, last=False)
            return output.log_probs[0].cpu().numpy(), output.state

        return _run(compute)

    def finish(self, state: StreamState) -> LogProbs:
        """Return the log-probabilities (n, V) of the frames that wait in the state at the end of a stream."""
        return _run(lambda: self._network.finish(state).log_probs[0].cpu().numpy())


def _run(compute: Callable[[], Result]) -> Result:
    try:
        with torch.inference_mode():
            return compute()
    except torch.OutOfMemoryError:
        raise DeviceMemoryError("the device does not have enough memory for it") from None
