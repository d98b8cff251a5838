"""Priors of the outputs: measured, applied in searches of characters and of phonemes, and tuned."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.decoding import DecodingError
from asr.decoding.beam import EXACT, LmSettings
from asr.decoding.decoder import Decoder, DecoderSettings, LanguageModels
from asr.decoding.priors import PriorSettings, corrections, measure
from asr.decoding.tuning import DevSet, TrialRunner, tune
from asr.lm.ngram.estimate import EstimateSettings, estimate
from asr.text import Alphabet
from asr.text.pronunciations import Pronunciations
from tests.decoding.test_greedy import WORDS, Matrix, path, random_log_probs

LETTERS = Alphabet(" AB")
BOTH = Alphabet(" AB", "ab")
MODEL = estimate([["A", "B"], ["B", "A", "B"], ["AB", "A"]], EstimateSettings(2))
SPOKEN = Pronunciations({"A": ("a",), "B": ("b",), "AB": ("ab",)})
KNOWN = LmSettings(0.7, 0.2, lexicon_only=True)


def test_priors_are_the_mean_outputs() -> None:
    rows = [np.log([[0.5, 0.25, 0.25], [0.7, 0.2, 0.1]]), np.zeros((0, 3)), np.log([[0.6, 0.3, 0.1]])]
    assert measure(rows) == pytest.approx((0.6, 0.25, 0.15))
    assert measure([np.full((2, 2), -np.inf)]) == (0, 0)
    assert measure([]) == measure([np.zeros((0, 3))]) == ()


def test_corrections_are_relative_to_the_blank_of_each_part() -> None:
    probabilities = (0.5, 0.25, 0.125, 0.125, 0.8, 0.1, 0.1, 0.0)
    found = corrections(PriorSettings(0.5, probabilities), BOTH)
    assert found is not None
    # A token that does not occur has the least prior.
    np.testing.assert_allclose(found, 0.5 * np.log(np.array([1, 2, 4, 4, 1, 8, 8, 0.8 / 1e-5])))
    assert corrections(PriorSettings(0.0, probabilities[:2]), BOTH) is None


def test_priors_of_another_model_are_an_error() -> None:
    settings = DecoderSettings(priors=PriorSettings(0.5, (0.5, 0.5)))
    message = "have the priors of 2 outputs, but the model has 4; run asr tune for this model"
    with pytest.raises(DecodingError, match=message):
        Decoder(LETTERS, 0.03, settings)
    with pytest.raises(DecodingError, match=message):
        Decoder(LETTERS, 0.03).with_settings(settings)


@given(st.integers(0, 10_000), st.floats(0.1, 1.5), st.integers(0, 8), st.booleans())
def test_a_search_with_priors_is_one_of_corrected_log_probs(seed: int, scale: float, parts: int, spoken: bool) -> None:
    alphabet = BOTH if spoken else LETTERS
    row = np.concatenate([random_log_probs(seed + part, 8, 4) for part in range(1 + spoken)], axis=1)
    models = LanguageModels(MODEL, pronunciations=SPOKEN if spoken else None)
    plain = DecoderSettings(search=EXACT, weights=KNOWN)
    priors = PriorSettings(scale, measure([random_log_probs(seed, 50, alphabet.outputs)]))
    added = corrections(priors, alphabet)
    assert added is not None
    expected = Decoder(alphabet, 0.03, plain, models).decode(row + added, 5)
    decoder = Decoder(alphabet, 0.03, replace(plain, priors=priors), models)
    assert decoder.decode(row, 5) == expected
    search = decoder.begin()
    for part in np.split(row, [parts]):
        search.extend(part)
    assert decoder.finish(search, row, 5) == expected


def dev() -> DevSet:
    """Return texts of a frequent and a rare word; the network hears the frequent one a little more often than it is."""
    texts = ["A", "A", "A", "B"] * 5
    rows: list[Matrix] = []
    for text in texts:
        row = np.exp(path(f"{text}-", WORDS, 0.96))
        if text == "B":
            row[0] = 0.01, 0.01, 0.55, 0.43
        rows.append(np.log(row))
    return DevSet(rows, texts, 10.0, 0.03)


def test_tuning_finds_the_scale_of_the_priors() -> None:
    flat = LanguageModels(estimate([["A"], ["B"]], EstimateSettings(1)))
    found = tune(TrialRunner(dev(), WORDS, flat), DecoderSettings(lm="flat.arpa")).settings
    assert found.priors.scale > 0 and found.priors.probabilities == measure(dev().rows)
    exact = replace(dev(), rows=[path(f"{text}-", WORDS, 0.96) for text in dev().texts])
    runner = TrialRunner(replace(exact, texts=["A", "B", *exact.texts[2:]]), WORDS, flat)
    assert tune(runner, DecoderSettings(lm="flat.arpa")).settings.priors == PriorSettings()
