"""Features in passes over blocks against those of the whole waveform."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from asr.audio import AudioError
from asr.features import FeatureSettings
from asr.features import streaming as passes
from asr.features.streaming import Passes, Span
from tests.features.test_features import noise
from tests.features.test_frontend import frontend

VARIANTS = {
    "normalised": {},
    "plain": {"normalisation": "none"},
    "corpus": {"normalisation": "corpus", "mean": (1.0,) * 13, "scale": (2.0,) * 13},
    "deltas": {"deltas": 2},
    "no floor": {"top_db": 0.0},
    "a near floor": {"top_db": 20.0, "deltas": 1},
}


def chosen(variant: str) -> FeatureSettings:
    return dataclasses.replace(FeatureSettings(coefficients=13, mel_bands=40), **VARIANTS[variant])  # type: ignore[arg-type]


def in_blocks(waveform: NDArray[np.float32], size: int) -> passes.Blocks:
    def blocks() -> Iterator[NDArray[np.float32]]:
        yield from (waveform[first : first + size] for first in range(0, len(waveform), size))

    return blocks


def frames(found: Passes) -> NDArray[np.float32]:
    survey = found.survey()
    return torch.cat(list(found.frames(survey, [Span(0, len(survey.levels))]))).numpy()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("size", [100, 1234, 16_000])
def test_features_are_those_of_the_whole(variant: str, size: int) -> None:
    waveform = noise(20_000) * np.linspace(0.0001, 1, 20_000, dtype=np.float32)
    whole = frontend(chosen(variant))
    found = frames(Passes(whole, in_blocks(waveform, size)))
    np.testing.assert_allclose(found, whole(waveform).numpy(), rtol=1e-5, atol=1e-4)


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.integers(1, 4000), st.integers(1, 4000), st.sampled_from(["normalised", "deltas"]))
def test_any_length_in_any_blocks(samples: int, size: int, variant: str) -> None:
    waveform, whole = noise(samples), frontend(chosen(variant))
    # Of one frame the deviation is rounding.
    found = frames(Passes(whole, in_blocks(waveform, size)))
    assert len(found) == 1 + samples // 160
    np.testing.assert_allclose(found, whole(waveform).numpy(), rtol=1e-4, atol=2e-2)


def test_the_frames_of_the_spans_normalise_all() -> None:
    waveform, whole = noise(32_000), frontend(chosen("normalised"))
    waveform[:16_000] *= 1e-3
    found = Passes(whole, in_blocks(waveform, 5000))
    rows = torch.cat(list(found.frames(found.survey(), [Span(110, 150), Span(160, 190)]))).numpy()
    spoken = np.concatenate([rows[110:150], rows[160:190]])
    np.testing.assert_allclose(spoken.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(spoken.std(axis=0), 1, atol=1e-4)
    assert abs(rows[:90].mean(axis=0)).max() > 3


def test_levels_follow_the_waveform() -> None:
    waveform = noise(32_000)
    waveform[16_000:] *= 0.01
    survey = Passes(frontend(chosen("plain")), in_blocks(waveform, 4000)).survey()
    assert len(survey.levels) == 201
    assert survey.levels[10:90].mean() - survey.levels[110:190].mean() == pytest.approx(40, abs=1)
    assert survey.loudest > survey.levels.max()


def test_a_waveform_in_pieces_is_the_waveform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "_BLOCK", 7)
    waveform = noise(100)
    assert [len(piece) for piece in passes.pieces(waveform)] == [7] * 14 + [2]
    np.testing.assert_array_equal(np.concatenate(list(passes.pieces(waveform))), waveform)


@pytest.mark.parametrize("later", [9000, 10_000, 10_001, 20_000])
def test_a_recording_that_changes_between_passes_is_refused(later: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "_BLOCK", 1000)
    sizes = iter([10_000, later, later])

    def blocks() -> Iterator[NDArray[np.float32]]:
        yield from passes.pieces(noise(next(sizes)))

    found = Passes(frontend(chosen("normalised")), blocks)
    if later == 10_000:
        assert len(frames(found)) == 63
        return
    with pytest.raises(AudioError, match=r"^the recording changed while it was read$"):
        frames(found)


@pytest.mark.parametrize("count", [2, 3])
def test_how_far_the_work_is_rises_to_all_of_it(count: int) -> None:
    shares: list[float] = []
    blocks = passes.told(lambda: [np.zeros(30, np.float32)] * 10, 300, count, shares.append)
    ends = []
    for _ in range(count):
        assert sum(len(block) for block in blocks()) == 300
        ends.append(shares[-1])
    assert shares == sorted(shares) and len(set(shares)) == 10 * count
    assert ends == pytest.approx([1 / 5, 1.0] if count == 2 else [1 / 6, 2 / 6, 1.0])
    assert len(list(blocks())) == 10 and shares[-1] == 1.0  # once more does no harm
