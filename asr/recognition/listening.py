"""How a model hears recordings: short ones whole and together, long ones in passes and windows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence

from asr.decoding import LogProbs
from asr.features.frontend import Frontend
from asr.features.streaming import BlockFeatures, Blocks, FrameRange
from asr.model import Model
from asr.recognition import vad, windows
from asr.recognition.windows import Piece

# Where nothing is asked for: seconds of audio that are computed together, a GPU gaining from more than a CPU does; and
# windows of a long recording, which are few rows for their length.
_BATCH, _GPU_BATCH, _WINDOWS = 120.0, 600.0, 4


@dataclass(frozen=True)
class Listening:
    """How recordings are heard. All in seconds.

    `vad`: leave out what is no speech by its energy; nothing is written of it. Recordings up to `whole` are heard and
    decoded whole. Longer ones are heard in windows of `window`, which share `overlap` with the next one: the longer
    both are, the closer to hearing the whole. They are decoded in segments that end at pauses. `batch`: so much audio
    is computed together, padding and all, which is a matter of speed and memory; None leaves it to the device.
    """

    vad: bool = False
    whole: float = 120.0
    window: float = 60.0
    overlap: float = 10.0
    batch: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.whole <= 24 * 3600:
            raise ValueError(f"whole = {self.whole} is not within 0 to {24 * 3600}")
        if not 1 <= self.window <= 3600:
            raise ValueError(f"window = {self.window} is not within 1 to 3600")
        if not 0 <= self.overlap <= self.window / 2:
            raise ValueError(f"overlap = {self.overlap} is not within 0 to half the window ({self.window / 2:g})")
        if self.batch is not None and not 1 <= self.batch <= 3600:
            raise ValueError(f"batch = {self.batch} is not within 1 to 3600")


class Listener:
    """A model that is being listened with."""

    def __init__(self, model: Model, frontend: Frontend, listening: Listening) -> None:
        self.listening = listening
        self._model = model
        self._frontend = frontend

    @property
    def batch(self) -> float:
        """Return the seconds of audio that are computed together."""
        return self.listening.batch or (_BATCH if self._frontend.device.type == "cpu" else _GPU_BATCH)

    def takes_whole(self, seconds: float) -> bool:
        """Say whether a recording of so many seconds is heard by `together`, and not by `pieces`."""
        return not self.listening.vad and seconds <= self.listening.whole

    def together(self, waveforms: Sequence[NDArray[np.float32]]) -> list[LogProbs]:
        """Return what the network says of waveforms (samples,), (T', V) of each."""
        with torch.inference_mode():
            rows = [self._frontend(waveform) for waveform in waveforms]
            lengths = torch.tensor([len(row) for row in rows], device=self._frontend.device)
            output = self._model(pad_sequence(rows, batch_first=True), lengths)
        log_probs = output.log_probs.cpu().numpy()
        return [row[:length] for row, length in zip(log_probs, output.lengths.tolist(), strict=True)]

    def pieces(self, blocks: Blocks) -> Iterator[Piece]:
        """Yield what the network says of a recording of any length, piece by piece."""
        features, settings = BlockFeatures(self._frontend, blocks), self._frontend.settings
        energy = features.measure_levels()
        reduction = self._model.settings.time_reduction
        spans = [FrameRange(0, len(energy.levels))]
        if self.listening.vad:
            spans = vad.speech(energy.levels, settings.hop, reduction)
        if not spans:
            return
        overlap = self.listening.overlap if self._model.settings.bidirectional else 0.0
        window, shared = (round(seconds / settings.hop) for seconds in (self.listening.window, overlap))
        planned = windows.plan(spans, window, shared, reduction)
        together = self.listening.batch or max(self.batch, _WINDOWS * self.listening.window)
        frames = features.frames(energy, spans)
        yield from windows.log_probs(self._model, frames, planned, round(together / settings.hop))
