"""Windows: which there are, and that what is joined of them is what the network says of the whole."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.features.streaming import FrameRange
from asr.model import Model, ModelSettings, output_length
from asr.recognition import windows

TINY = {"layers": 2, "hidden": 12, "channels": 4, "dropout": 0.0}


def tiny(reduction: int, bidirectional: bool, cell: str = "gru") -> Model:
    torch.manual_seed(reduction)
    settings = ModelSettings(cell=cell, time_reduction=reduction, bidirectional=bidirectional, **TINY)  # type: ignore[arg-type]
    return Model(5, 6, settings).eval()


def whole(model: Model, frames: torch.Tensor) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    with torch.inference_mode():
        return model(frames[None], torch.tensor([len(frames)])).log_probs[0].numpy()  # type: ignore[no-any-return]


def joined(
    model: Model, frames: torch.Tensor, window: int, overlap: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.floating]]:
    planned = windows.plan([FrameRange(0, len(frames))], window, overlap, model.settings.time_reduction)
    pieces = list(windows.log_probs(model, torch.split(frames, 23), planned, 1000))
    assert [piece.first for piece in pieces[1:]] == np.cumsum([len(piece.log_probs) for piece in pieces])[:-1].tolist()
    assert [piece.ends for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    return np.concatenate([piece.log_probs for piece in pieces])


@given(
    st.lists(st.integers(1, 300), min_size=1, max_size=4),
    st.integers(1, 90),
    st.integers(0, 45),
    st.sampled_from([2, 3, 4]),
)
@settings(deadline=None, max_examples=200)
def test_every_output_frame_of_the_spans_is_kept_once(
    sizes: list[int], window: int, overlap: int, reduction: int
) -> None:
    spans, first = [], 0
    for size in sizes:
        spans.append(FrameRange(first, first + size))
        first += size + 7 * reduction - (first + size) % reduction
    planned = windows.plan(spans, window, overlap, reduction)
    expected = [
        np.arange(one.first // reduction, one.first // reduction + output_length(one.end - one.first, reduction))
        for one in spans
    ]
    kept = [np.arange(one.kept.first, one.kept.end) for one in planned]
    np.testing.assert_array_equal(np.concatenate(kept), np.concatenate(expected))
    assert sum(one.begins for one in planned) == sum(one.ends for one in planned) == len(spans)
    for one in planned:
        assert one.heard.first % reduction == 0
        assert one.heard.first <= one.kept.first * reduction < one.heard.end
        assert one.kept.end <= output_length(one.heard.end, reduction)


@pytest.mark.parametrize("reduction", [2, 3, 4])
@pytest.mark.parametrize("frames", [1, 239, 240, 241, 480, 801])
def test_two_directions_say_of_windows_what_they_say_of_the_whole(reduction: int, frames: int) -> None:
    model, sound = tiny(reduction, bidirectional=True), torch.randn(frames, 5)
    expected = whole(model, sound)
    # Random weights forget within some frames; a shift by one frame would differ by far more.
    found = joined(model, sound, 240, 192)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=0.03)
    if frames > 240:
        assert np.abs(found[1:] - expected[:-1]).max() > 0.3


def test_the_edges_are_where_windows_differ() -> None:
    model, sound = tiny(2, bidirectional=True), torch.randn(400, 5)
    expected = whole(model, sound)
    errors = [np.abs(joined(model, sound, 100, overlap) - expected).max() for overlap in (0, 16, 48)]
    assert errors[0] > 3 * errors[1] > 9 * errors[2]


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("reduction", [2, 3, 4])
def test_one_direction_goes_on_from_its_state(reduction: int, cell: str) -> None:
    model, sound = tiny(reduction, bidirectional=False, cell=cell), torch.randn(401, 5)
    np.testing.assert_allclose(joined(model, sound, 50, 0), whole(model, sound), atol=1e-5)


def test_spans_are_heard_apart_and_what_lies_between_is_not() -> None:
    sound = torch.randn(400, 5)
    for both in (True, False):
        model = tiny(4, bidirectional=both)
        planned = windows.plan([FrameRange(8, 31), FrameRange(200, 399)], 160, 140 if both else 0, 4)
        pieces = list(windows.log_probs(model, torch.split(sound, 10), planned, 50))
        np.testing.assert_allclose(pieces[0].log_probs, whole(model, sound[8:31]), atol=1e-5)
        assert (pieces[0].first, pieces[0].ends, pieces[1].first) == (2, True, 50)
        rest = np.concatenate([piece.log_probs for piece in pieces[1:]])
        np.testing.assert_allclose(rest, whole(model, sound[200:399]), atol=0.1)
