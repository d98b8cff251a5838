"""Damaged sound files are read, or refused in one line; tests/benchmarks/fuzz_audio.py does the same for longer."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from asr import audio
from tests.conftest import SAMPLE_RATE
from tests.hostile import CONTAINERS, KINDS, Change, changed, encoded, outcome

changes = st.lists(
    st.builds(Change, st.sampled_from(KINDS), st.floats(0, 1, exclude_max=True), st.integers(0, 2**32 - 1)),
    min_size=1,
    max_size=6,
)


@cache
def whole(name: str) -> bytes:
    """Return a stereo file of a container."""
    samples = np.random.default_rng(3).normal(0, 0.1, (6000, 2))
    with TemporaryDirectory() as folder:
        return encoded(Path(folder), name, samples, SAMPLE_RATE)


def in_blocks(path: Path) -> NDArray[np.float32]:
    with audio.AudioReader(path) as reader:
        return np.concatenate(list(reader.blocks()))


@pytest.mark.parametrize("name", CONTAINERS)
@given(damages=changes)
@example(damages=[])
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_file_is_read_or_refused(name: str, damages: list[Change], tmp_path: Path) -> None:
    path = tmp_path / f"damaged{CONTAINERS[name][2]}"
    path.write_bytes(changed(whole(name), damages))
    said = outcome(path, audio.load)
    assert outcome(path, in_blocks) == said
    if said == "read":
        np.testing.assert_allclose(in_blocks(path), audio.load(path), atol=1e-5)
    if not damages:
        assert said == "read"
