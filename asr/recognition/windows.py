"""The features of a long recording -> its log-probabilities, by windows of them.

A network that hears both directions needs what follows, too: it gets windows that overlap, each from a zero state, and
what it says is joined in the middle of the overlaps, far from their edges. One that hears forward only goes on from its
state, and says what it would say of the whole.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from asr.decoding import LogProbs
from asr.features.streaming import FrameRange
from asr.model import Model, StreamState, output_length


@dataclass(frozen=True)
class Window:
    """Frames that are heard at once, and which output frames of the recording are kept of that (`first` to `end`).

    `begins`, `ends`: whether it is the first and the last of its span.
    """

    heard: FrameRange
    kept: FrameRange
    begins: bool
    ends: bool


@dataclass(frozen=True, eq=False)
class Piece:
    """What the network says (n, V) of the output frames from `first` on; `ends`: whether their span ends there."""

    first: int
    log_probs: LogProbs
    ends: bool


def plan(spans: Iterable[FrameRange], window: int, overlap: int, reduction: int) -> list[Window]:
    """Return the windows of spans, of which each begins at a multiple of `reduction`, the model's time reduction.

    `window` and `overlap` in frames; both become whole output frames. So the frames are those of the whole recording.
    """
    overlap -= overlap % (2 * reduction)
    window = max(window - window % reduction, 2 * overlap, reduction)
    found = []
    for span in spans:
        first = kept = span.first
        while kept < span.end:
            end = min(first + window, span.end)
            until = end if end == span.end else end - overlap // 2
            output = FrameRange(kept // reduction, output_length(until, reduction))
            found.append(Window(FrameRange(first, end), output, first == span.first, end == span.end))
            first, kept = end - overlap, until
    return found


def log_probs(model: Model, frames: Iterable[Tensor], windows: Sequence[Window], together: int) -> Iterator[Piece]:
    """Yield what the network says in each window, of the frames (T, F) of a recording in blocks.

    Windows that depend on none before are computed `together`: so many frames with their padding, or one window.
    """
    rows = zip(windows, _rows(frames, windows), strict=True)
    yield from _joined(model, rows, together) if model.settings.bidirectional else _continued(model, rows)


def _rows(frames: Iterable[Tensor], windows: Sequence[Window]) -> Iterator[Tensor]:
    """Yield the frames (n, F) of each window."""
    source = iter(frames)
    waiting: list[Tensor] = []
    first = end = 0
    for window in windows:
        while end < window.heard.end:
            waiting.append(next(source))
            end += len(waiting[-1])
            while waiting and first + len(waiting[0]) <= window.heard.first:
                first += len(waiting.pop(0))
        yield torch.cat(waiting)[window.heard.first - first : window.heard.end - first]


def _joined(model: Model, rows: Iterable[tuple[Window, Tensor]], together: int) -> Iterator[Piece]:
    batch: list[tuple[Window, Tensor]] = []
    longest = 0
    for window, row in rows:
        if batch and max(longest, len(row)) * (len(batch) + 1) > together:
            yield from _heard(model, batch)
            batch, longest = [], 0
        batch.append((window, row))
        longest = max(longest, len(row))
    if batch:
        yield from _heard(model, batch)


def _heard(model: Model, batch: Sequence[tuple[Window, Tensor]]) -> Iterator[Piece]:
    with torch.inference_mode():
        lengths = torch.tensor([len(row) for _, row in batch], device=batch[0][1].device)
        found = model(pad_sequence([row for _, row in batch], batch_first=True), lengths).log_probs.cpu().numpy()
    for (window, _), scores in zip(batch, found, strict=True):
        start = window.heard.first // model.settings.time_reduction
        # A copy, or what is kept would keep the batch.
        kept = scores[window.kept.first - start : window.kept.end - start].copy()
        yield Piece(window.kept.first, kept, window.ends)


def _continued(model: Model, rows: Iterable[tuple[Window, Tensor]]) -> Iterator[Piece]:
    state: StreamState | None = None
    for window, row in rows:
        with torch.inference_mode():
            output = model(row[None], torch.tensor([len(row)], device=row.device), None if window.begins else state)
        state = output.state
        yield Piece(window.kept.first, output.log_probs[0].cpu().numpy(), window.ends)
