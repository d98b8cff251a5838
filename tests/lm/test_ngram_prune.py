"""Entropy pruning: the loss is as defined, sums stay at 1, and a higher threshold drops more."""

import math

import numpy as np
import pytest

from asr.lm import LmError
from asr.lm.ngram import END, NgramModel
from asr.lm.ngram.estimate import EstimateSettings, estimate
from asr.lm.ngram.model import advance_each
from asr.lm.ngram.prune import prune, renormalised
from asr.lm.ngram.trie import keep, parents_of, spans
from asr.lm.text import BEGIN
from tests.lm.samples import sentences
from tests.lm.test_ngram_arpa import same
from tests.lm.test_ngram_estimate import sums, table


@pytest.fixture(scope="module")
def model() -> NgramModel:
    return estimate(sentences(200, "abcdef"), EstimateSettings(3))


def after(model: NgramModel, state: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the log-probabilities of all words but <s> after a state."""
    words = np.array([i for i, word in enumerate(model.words) if word != BEGIN], np.int32)
    log_probs, _ = advance_each(model.arrays, np.full(len(words), state, np.int32), words)
    return log_probs


def test_higher_threshold_keeps_fewer_ngrams_and_the_sums(model: NgramModel) -> None:
    before = model
    for threshold in (1e-6, 1e-5, 1e-4, 1e-3, 1e-2):
        pruned = prune(model, threshold)
        assert sums(pruned) == pytest.approx([1.0] * len(pruned.arrays.backoffs), abs=1e-6)
        assert set(table(pruned)) <= set(table(before))
        before = pruned
    assert 0 < len(table(prune(model, 1e-4))) < len(table(model))


def test_lowest_highest_and_invalid_thresholds(model: NgramModel) -> None:
    assert same(prune(model, 0.0), model)
    unigrams = prune(model, 1e9)
    assert unigrams.counts == model.counts[:1]
    assert sums(unigrams) == pytest.approx([1.0], abs=1e-6)
    for threshold in (-1.0, math.nan):
        with pytest.raises(LmError, match="must be 0 or more"):
            prune(model, threshold)


def test_renormalising_a_normalised_model_changes_nothing(model: NgramModel) -> None:
    np.testing.assert_allclose(renormalised(model).arrays.backoffs, model.arrays.backoffs, atol=1e-4)


@pytest.mark.parametrize("nth", [0, 7, 50, 120])
def test_ngram_is_dropped_by_its_relative_entropy(nth: int, model: NgramModel) -> None:
    start, end = spans(model.counts)[2]
    entry = start + nth
    context = int(parents_of(model.arrays, start, end)[nth])
    kept = np.ones(len(model.arrays.words), np.bool_)
    kept[entry] = False
    log_probs, without = after(model, context), after(renormalised(keep(model, kept)), context)
    first = int(parents_of(model.arrays, context, context + 1)[0])
    marker = model.vocabulary[END] if first == 1 + model.vocabulary[BEGIN] else first - 1
    log_context = float(model.arrays.log_probs[1 + marker] + model.arrays.log_probs[context])
    loss = math.exp(log_context) * float((np.exp(log_probs) * (log_probs - without)).sum())
    rise = math.expm1(loss)
    name = " ".join([*_names(model, context, first), model.words[model.arrays.words[entry]]])
    assert name in table(prune(model, rise * 0.98))
    assert name not in table(prune(model, rise * 1.02))


def _names(model: NgramModel, context: int, first: int) -> list[str]:
    return [model.words[model.arrays.words[first]], model.words[model.arrays.words[context]]]
