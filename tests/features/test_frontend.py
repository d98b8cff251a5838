"""Features by NumPy against those by librosa."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.features import FeatureSettings
from asr.features.frontend import Frontend
from asr.features.reference import matrices, mfcc
from tests.features.test_reference import SETTINGS, WAVEFORMS, noise


def frontend(chosen: FeatureSettings) -> Frontend:
    return Frontend(chosen, matrices(chosen))


VARIANTS = {
    "plain": {},
    "normalised": {"normalisation": "utterance"},
    "deltas": {"deltas": 2, "normalisation": "utterance"},
    "no floor but the least": {"top_db": 0.0},
    "a near floor": {"top_db": 20.0},
}


CASES = [
    case
    for case in itertools.product(WAVEFORMS, SETTINGS, VARIANTS)
    # Where a band holds nothing but the rounding of a transform, two transforms differ.
    if case[0] != "chirp" or case[2] not in ("no floor but the least", "plain")
]


@pytest.mark.parametrize(("waveform", "chosen", "variant"), CASES)
def test_frontend_equals_librosa(waveform: str, chosen: str, variant: str) -> None:
    shape = dataclasses.replace(SETTINGS[chosen], **VARIANTS[variant])  # type: ignore[arg-type]
    result = frontend(shape)(WAVEFORMS[waveform])
    expected = mfcc(WAVEFORMS[waveform], shape)
    assert result.shape == expected.shape
    # Energies of hundreds of decibels, in single precision; of what is normalised, 1 is the deviation.
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=5e-4 if shape.normalisation == "none" else 2e-3)


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.integers(0, 3000), st.integers(0, 2**31))
def test_frontend_equals_librosa_for_any_length(samples: int, seed: int) -> None:
    shape = FeatureSettings()
    waveform = noise(samples, seed)
    result = frontend(shape)(waveform)
    np.testing.assert_allclose(result, mfcc(waveform, shape), atol=1e-3)


def test_corpus_normalisation_uses_mean_and_scale() -> None:
    mean, scale = tuple(range(40)), (2.0,) * 40
    shape = FeatureSettings(normalisation="corpus", mean=mean, scale=scale)
    plain = dataclasses.replace(shape, normalisation="none", mean=(), scale=())
    result, raw = frontend(shape)(noise()), frontend(plain)(noise())
    np.testing.assert_allclose(result, (raw - np.arange(40)) / 2, atol=1e-4)
