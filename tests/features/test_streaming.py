"""Features computed block by block against those of the whole waveform."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from asr.audio import AudioError
from asr.features import FeatureSettings
from asr.features.streaming import BlockFeatures, Blocks, split, with_progress
from tests.features.test_frontend import frontend
from tests.features.test_reference import noise

VARIANTS = {
    "normalised": {},
    "plain": {"normalisation": "none"},
    "corpus": {"normalisation": "corpus", "mean": (1.0,) * 13, "scale": (2.0,) * 13},
    "running": {"normalisation": "running", "mean": (-9.0,) * 13, "scale": (9.0,) * 13},
    "deltas": {"deltas": 2},
    "no floor": {"top_db": 0.0},
    "a near floor": {"top_db": 20.0, "deltas": 1},
}


def chosen(variant: str) -> FeatureSettings:
    return dataclasses.replace(FeatureSettings(coefficients=13, mel_bands=40), **VARIANTS[variant])  # type: ignore[arg-type]


def in_blocks(waveform: NDArray[np.float32], size: int) -> Blocks:
    def blocks() -> Iterator[NDArray[np.float32]]:
        yield from (waveform[first : first + size] for first in range(0, len(waveform), size))

    return blocks


def frames(features: BlockFeatures) -> NDArray[np.float32]:
    return np.concatenate(list(features.frames(features.measure().level)))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("size", [100, 1234, 16_000])
def test_block_features_equal_features_of_the_waveform(variant: str, size: int) -> None:
    waveform = noise(20_000) * np.linspace(0.0001, 1, 20_000, dtype=np.float32)
    whole = frontend(chosen(variant))
    result = frames(BlockFeatures(whole, in_blocks(waveform, size)))
    np.testing.assert_allclose(result, whole(waveform), rtol=1e-5, atol=1e-4)


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.integers(1, 4000), st.integers(1, 4000), st.sampled_from(["normalised", "deltas"]))
def test_block_features_any_length_and_block_size(samples: int, size: int, variant: str) -> None:
    waveform, whole = noise(samples), frontend(chosen(variant))
    # The deviation of a single frame is rounding error.
    result = frames(BlockFeatures(whole, in_blocks(waveform, size)))
    assert len(result) == 1 + samples // 160
    np.testing.assert_allclose(result, whole(waveform), rtol=1e-4, atol=2e-2)


def test_level_and_length_are_those_of_the_waveform() -> None:
    waveform, whole = noise(32_000), frontend(chosen("plain"))
    waveform[16_000:] *= 0.01
    measured = BlockFeatures(whole, in_blocks(waveform, 4000)).measure()
    assert measured.frames == 201
    assert measured.level == pytest.approx(float(whole.energies(waveform).max()))


def test_split_blocks_join_to_the_waveform() -> None:
    waveform = noise(300_000)
    blocks = list(split(waveform))
    assert len(blocks) > 1
    np.testing.assert_array_equal(np.concatenate(blocks), waveform)


@pytest.mark.parametrize("later", [9000, 10_000, 10_001, 20_000])
def test_recording_that_changes_between_passes_is_refused(later: int) -> None:
    sizes = iter([10_000, later, later])

    def blocks() -> Iterator[NDArray[np.float32]]:
        yield from in_blocks(noise(next(sizes)), 1000)()

    features = BlockFeatures(frontend(chosen("normalised")), blocks)
    if later == 10_000:
        assert len(frames(features)) == 63
        return
    with pytest.raises(AudioError, match=r"^the recording changed while it was read$"):
        frames(features)


@pytest.mark.parametrize("passes", [2, 3])
def test_progress_rises_to_the_total(passes: int) -> None:
    shares: list[float] = []

    def on_progress(done: float, total: float) -> None:
        shares.append(done / total)

    blocks = with_progress(lambda: [np.zeros(30, np.float32)] * 10, 300, passes, on_progress)
    ends = []
    for _ in range(passes):
        assert sum(len(block) for block in blocks()) == 300
        ends.append(shares[-1])
    assert shares == sorted(shares) and len(set(shares)) == 10 * passes
    assert ends == pytest.approx([1 / 5, 1.0] if passes == 2 else [1 / 6, 2 / 6, 1.0])
    # A further pass leaves the progress at the total.
    assert len(list(blocks())) == 10 and shares[-1] == 1.0
