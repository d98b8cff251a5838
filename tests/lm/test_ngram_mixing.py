"""Interpolated models: the weighted mean of probabilities, sums of 1, and the weights with the highest likelihood."""

import math

import numpy as np
import pytest

from asr.lm import LmError
from asr.lm.ngram import END, SPACE, NgramModel
from asr.lm.ngram.estimate import EstimateSettings, estimate
from asr.lm.ngram.mixing import best_weights, mix
from asr.lm.ngram.model import EMPTY_STATE, advance
from asr.lm.ngram.prune import prune
from tests.lm.samples import ngram_scores, sentences
from tests.lm.test_ngram_estimate import sums, table


@pytest.fixture(scope="module")
def models() -> list[NgramModel]:
    # The first model lacks f, the second a. One is pruned, so that it lacks suffixes of its n-grams.
    first = estimate(sentences(200, "abcde"), EstimateSettings(3))
    return [prune(first, 1e-4), estimate(sentences(60, "fedcb", seed=2), EstimateSettings(4))]


def prob(model: NgramModel, words: list[str]) -> float:
    """Return the probability of the last word after the others, 0 if it is unknown."""
    state = EMPTY_STATE
    for word in words:
        log_prob, state = advance(model.arrays, state, model.vocabulary.get(word, 0))
    return math.exp(log_prob) if words[-1] in model.vocabulary else 0.0


def test_bigrams_by_hand() -> None:
    one = estimate([["a", "b"], ["a"]], EstimateSettings(order=2))
    two = estimate([["b"], ["b"]], EstimateSettings(order=2))
    # Model one as in test_ngram_estimate. Model two: unigrams b and </s> (1 - 0.5) / 2 + 1/2 * 1/3; bigrams "<s> b" and
    # "b </s>" (2 - 1) / 2 + 1/2 * 5/12.
    b, b_first = 5 / 12, 0.5 + 0.5 * 5 / 12
    found = table(mix([one, two], [0.75, 0.25]))
    assert found == pytest.approx(
        {
            "<unk>": 0.75 * 0.125 + 0.25 / 6,
            "<s>": 1.0,
            "</s>": 0.75 * 0.375 + 0.25 * b,
            "a": 0.75 * 0.25,
            "b": 0.75 * 0.25 + 0.25 * b,
            "<s> a": 0.75 * 0.625,
            # Model one backs off from <s> with a weight of 1/2.
            "<s> b": 0.75 * 0.5 * 0.25 + 0.25 * b_first,
            "a b": 0.75 * 0.375 + 0.25 * b,
            # Model two knows no a, so that it backs off from its unknown word.
            "a </s>": 0.75 * 0.4375 + 0.25 * b,
            "b </s>": 0.75 * 0.6875 + 0.25 * b_first,
        }
    )


@pytest.mark.parametrize("weights", [[0.3, 0.7], [0.999, 0.001]])
def test_each_ngram_has_the_weighted_mean_of_its_probabilities(models: list[NgramModel], weights: list[float]) -> None:
    mixed = mix(models, weights)
    assert mixed.order == 4
    expected = {
        text: sum(weight * prob(model, text.split()) for weight, model in zip(weights, models, strict=True))
        for model in models
        for text in table(model)
    }
    assert table(mixed) == pytest.approx(expected | {"<s>": 1.0}, rel=1e-5)
    assert sums(mixed) == pytest.approx([1.0] * len(mixed.arrays.backoffs), abs=1e-5)


def test_mixing_a_model_with_itself_changes_nothing(models: list[NgramModel]) -> None:
    _, model = models
    for mixed in (mix([model], [1.0]), mix([model, model], [0.4, 0.6])):
        assert mixed.words == model.words and mixed.counts == model.counts
        for name in ("words", "first_child", "suffix"):
            assert np.array_equal(getattr(mixed.arrays, name), getattr(model.arrays, name))
        np.testing.assert_allclose(mixed.arrays.log_probs, model.arrays.log_probs, atol=1e-5)
        np.testing.assert_allclose(mixed.arrays.backoffs, model.arrays.backoffs, atol=1e-4)


def test_best_weights_have_the_highest_likelihood(models: list[NgramModel]) -> None:
    texts = sentences(30, "edcb", seed=3)

    def log_prob(weight: float) -> float:
        pairs = zip(*(np.concatenate([ngram_scores(model, text) for text in texts]) for model in models), strict=True)
        return sum(math.log(weight * math.exp(one) + (1 - weight) * math.exp(two)) for one, two in pairs)

    weights = best_weights(models, texts)
    assert sum(weights) == pytest.approx(1.0)
    assert log_prob(weights[0]) == pytest.approx(
        max(log_prob(weight) for weight in np.linspace(0.01, 0.99, 99)), abs=0.01
    )
    # A text of words that only one model knows.
    assert best_weights(models, [["f"]] * 20)[1] > 0.5
    # Words that no model knows do not count.
    assert best_weights(models, [[*text, "zz"] for text in texts]) == pytest.approx(weights, abs=0.05)


def test_invalid_weights_and_models(models: list[NgramModel]) -> None:
    for weights in ([1.0], [0.5, 0.6], [0.0, 1.0], [-0.5, 1.5], [math.nan, 1.0]):
        with pytest.raises(LmError, match="expected 2 positive weights that sum to 1"):
            mix(models, weights)
    characters = estimate([["a", SPACE, "b"]], EstimateSettings(2))
    for wrong in (
        lambda: mix([models[0], characters], [0.5, 0.5]),
        lambda: best_weights([models[0], characters], [["a"]]),
    ):
        with pytest.raises(LmError, match="word and character models cannot be mixed"):
            wrong()
    with pytest.raises(LmError, match="no sentences"):
        best_weights(models, [])


def test_end_of_sentence_is_mixed_too(models: list[NgramModel]) -> None:
    mixed = mix(models, [0.5, 0.5])
    found = ngram_scores(mixed, ["b"])[-1]
    expected = [ngram_scores(model, ["b"])[-1] for model in models]
    assert END in mixed.vocabulary and min(expected) - 1e-6 <= found <= max(expected) + 1e-6
