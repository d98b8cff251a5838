"""Entropy pruning (Stolcke 1998): drop the n-grams whose removal changes the model least.

For an n-gram h w the relative entropy between the model and the one without it is, by equation 5 of the paper,

    -p(h) { p(w|h) [log p(w|h') + log a'(h) - log p(w|h)] + [log a'(h) - log a(h)] (1 - sum of p(v|h) over seen v) }

where h' is h without its first word, a(h) the back-off weight, and a'(h) the weight after h w is removed.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from asr.lm.ngram.model import Arrays, Doubles, Longs, NgramModel, advance_each
from asr.lm.ngram.trie import keep, parents_of, spans
from asr.lm.text import BEGIN, END, LmError

# Below this, the probability left for unseen words is a rounding error and determines no back-off weight.
_SMALLEST_MASS = 1e-6


@dataclass(frozen=True, eq=False)
class _Order:
    """The n-grams of one order above the first, with the probabilities after their contexts."""

    span: slice  # entries
    contexts: slice  # the entries one order lower
    parents: Longs
    log_probs: Doubles
    lower: Doubles  # the log-probabilities without the first word of the context
    rest: Doubles  # by context: 1 - the sum of the probabilities of the words seen
    rest_lower: Doubles  # the same without the first word of the context


def prune(model: NgramModel, threshold: float) -> NgramModel:
    """Drop each n-gram whose removal would raise the perplexity by less than the fraction `threshold`.

    Unigrams and the prefixes of kept n-grams stay. Each n-gram is evaluated in the unpruned model, so a higher
    threshold always keeps a subset of what a lower one keeps. Raises LmError if `threshold` is negative or NaN.
    """
    if not threshold >= 0:
        raise LmError(f"threshold = {threshold} must be 0 or more")
    if threshold == 0:
        return model
    arrays = model.arrays
    contexts = _context_log_probs(model)
    kept = np.ones(len(arrays.words), np.bool_)
    needed = np.zeros(len(arrays.words), np.bool_)
    for lower, upper in reversed(list(pairwise(spans(model.counts)))):
        order = _order(arrays, lower, upper)
        # The perplexity rises by the fraction exp(loss) - 1.
        kept[order.span] = (np.expm1(_losses(arrays, order, contexts)) >= threshold) | needed[order.span]
        needed[order.parents[kept[order.span]]] = True
    return renormalised(keep(model, kept))


def renormalised(model: NgramModel) -> NgramModel:
    """Return the model with back-off weights that make the probabilities after each context sum to 1."""
    backoffs = model.arrays.backoffs.copy()
    # A read-only view, because numba compiles a second version for writable arrays.
    view = backoffs.view()
    view.setflags(write=False)
    arrays = model.arrays._replace(backoffs=view)
    # Lower orders come first: the probabilities of an order depend on the back-off weights below it.
    for lower, upper in pairwise(spans(model.counts)):
        order = _order(arrays, lower, upper)
        usable = (order.rest > _SMALLEST_MASS) & (order.rest_lower > _SMALLEST_MASS)
        weights = backoffs[order.contexts].astype(np.float64)
        weights[usable] = np.log(order.rest[usable]) - np.log(order.rest_lower[usable])
        weights[np.diff(arrays.first_child[lower[0] : lower[1] + 1]) == 0] = 0.0
        backoffs[order.contexts] = weights
    return NgramModel(model.words, model.counts, arrays)


def _order(arrays: Arrays, lower: tuple[int, int], upper: tuple[int, int]) -> _Order:
    parents = parents_of(arrays, *upper).astype(np.int64)
    log_probs = arrays.log_probs[slice(*upper)].astype(np.float64)
    backed_off, _ = advance_each(arrays, arrays.suffix[parents], arrays.words[slice(*upper)])
    contexts, size = parents - lower[0], lower[1] - lower[0]
    rest, rest_lower = (
        1.0 - np.bincount(contexts, np.exp(logs), minlength=size).astype(np.float64) for logs in (log_probs, backed_off)
    )
    return _Order(slice(*upper), slice(*lower), parents, log_probs, backed_off, rest, rest_lower)


def _context_log_probs(model: NgramModel) -> Doubles:
    """Return log p(h) of each entry as a context; <s> has the value of </s>, since each sentence has one of both."""
    arrays, vocabulary = model.arrays, model.vocabulary
    log_probs = arrays.log_probs.astype(np.float64)
    log_probs[1 + vocabulary[BEGIN]] = log_probs[1 + vocabulary[END]]
    for start, end in spans(model.counts)[1:]:
        log_probs[start:end] += log_probs[parents_of(arrays, start, end)]
    return log_probs


def _losses(arrays: Arrays, order: _Order, contexts: Doubles) -> Doubles:
    """Return the relative entropy caused by removing each n-gram of an order."""
    local = order.parents - order.contexts.start
    rest, rest_lower = np.maximum(order.rest, 0.0)[local], np.maximum(order.rest_lower, 0.0)[local]
    probs = np.exp(order.log_probs)
    backoffs = np.log(rest + probs) - np.log(rest_lower + np.exp(order.lower))
    change = probs * (order.lower + backoffs - order.log_probs) + rest * (backoffs - arrays.backoffs[order.parents])
    losses: Doubles = -np.exp(contexts[order.parents]) * change
    return losses
