"""Linear interpolation of n-gram models into one back-off model, as SRILM's `ngram -mix-lm` makes it.

An n-gram of any of the models gets the weighted mean of its probabilities in all of them, backed off where a model does
not have it. The back-off weights make the probabilities after each context sum to 1. A word that is not in the
vocabulary of a model has the probability 0 there; as context it is that model's unknown word.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from asr.lm.ngram.model import (
    EMPTY_STATE,
    UNKNOWN_ID,
    Doubles,
    Ints,
    NgramModel,
    advance_each,
    is_character_model,
    walk,
)
from asr.lm.ngram.prune import renormalised
from asr.lm.ngram.trie import WORD_BITS, WORD_MASK, Level, assemble, keys_of, parents_of, spans, suffixes
from asr.lm.text import END, LmError

_MISSING = -1
# Expectation maximisation stops when no weight changes by more, or after this many steps.
_TOLERANCE, _STEPS = 1e-5, 1000


def mix(models: Sequence[NgramModel], weights: Sequence[float]) -> NgramModel:
    """Interpolate models with weights that sum to 1. The words of the first model keep their ids.

    Raises LmError if the weights do not fit, or for word and character models together.
    """
    _check(models)
    if len(weights) != len(models) or not all(weight > 0 for weight in weights) or abs(sum(weights) - 1) > 1e-6:
        raise LmError(f"weights = {list(weights)}: expected {len(models)} positive weights that sum to 1")
    words = list(dict.fromkeys(word for model in models for word in model.words))
    # By model: its id of each word, its state after each n-gram of the mixture, the mixture's entry of each of its own.
    own_ids = [np.array([model.vocabulary.get(word, _MISSING) for word in words], np.int32) for model in models]
    states: list[Ints] = [np.full(1, EMPTY_STATE, np.int32) for _ in models]
    entries: list[Ints] = [np.zeros(len(model.arrays.words), np.int32) for model in models]
    keys, suffix = np.empty(0, np.int64), np.zeros(1, np.int32)
    levels: list[Level] = []
    ids = {word: number for number, word in enumerate(words)}
    mixed_ids = [np.array([ids[word] for word in model.words], np.int32) for model in models]
    for order in range(max(model.order for model in models)):
        first = 1 + len(keys)
        own_keys = []
        for model, own_entries, mixed in zip(models, entries, mixed_ids, strict=True):
            start, end = spans(model.counts)[order] if order < model.order else (0, 0)
            parents = own_entries[parents_of(model.arrays, start, end)]
            own_keys.append((slice(start, end), keys_of(parents, mixed[model.arrays.words[start:end]])))
        added = np.unique(np.concatenate([part for _, part in own_keys]))
        for own_entries, (span, part) in zip(entries, own_keys, strict=True):
            own_entries[span] = first + np.searchsorted(added, part)
        parents, last = (added >> WORD_BITS).astype(np.int32), (added & WORD_MASK).astype(np.int32)
        probs = np.zeros(len(added))
        for i, model in enumerate(models):
            own = own_ids[i][last]
            found, after = advance_each(model.arrays, states[i][parents], np.where(own < 0, UNKNOWN_ID, own))
            probs += weights[i] * np.where(own < 0, 0.0, np.exp(found))
            states[i] = np.concatenate([states[i], after])
        shorter = suffixes(keys, suffix, parents, last) if order else np.zeros(len(added), np.int32)
        levels.append(Level(parents, last, np.log(probs), np.zeros(len(added)), shorter))
        keys, suffix = np.concatenate([keys, added]), np.concatenate([suffix, shorter])
    levels[-1] = Level(levels[-1].parents, levels[-1].words, levels[-1].log_probs, np.empty(0), levels[-1].suffix)
    return renormalised(assemble(words, levels))


def best_weights(models: Sequence[NgramModel], sentences: Iterable[Sequence[str]]) -> tuple[float, ...]:
    """Return the weights with the highest probability of some sentences, by expectation maximisation.

    Words that no model knows are left out. Raises LmError if there are no sentences, or for word and character models
    together.
    """
    _check(models)
    parts = [np.stack([_probabilities(model, sentence) for model in models]) for sentence in sentences]
    if not parts:
        raise LmError("no sentences to find the weights with")
    probs = np.concatenate(parts, axis=1)
    probs = probs[:, probs.any(axis=0)]
    weights = np.full(len(models), 1 / len(models))
    for _ in range(_STEPS):
        shares = weights[:, None] * probs
        before, weights = weights, (shares / shares.sum(axis=0)).mean(axis=1)
        if np.abs(weights - before).max() < _TOLERANCE:
            break
    return tuple(weights.tolist())


def _check(models: Sequence[NgramModel]) -> None:
    if len({is_character_model(model) for model in models}) > 1:
        raise LmError("word and character models cannot be mixed")


def _probabilities(model: NgramModel, sentence: Sequence[str]) -> Doubles:
    """Return the probability of each word of a sentence and of its end, 0 for unknown words."""
    ids = model.ids([*sentence, END])
    probs: Doubles = np.exp(walk(model.arrays, model.begin_state, ids))
    probs[ids == UNKNOWN_ID] = 0.0
    return probs
