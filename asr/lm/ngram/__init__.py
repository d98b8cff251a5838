"""N-gram language models: a back-off model in flat arrays, and what can be asked of it.

The entries of all orders stand in one forward trie, breadth first. Entry 0 is the empty n-gram and entry 1 + w the
unigram of word w; then come the bigrams, and so on. The children of an entry, that is the n-grams longer by one word on
the right, stand together and are sorted by word. A state is the entry of the context that the next word needs.

A model may be over characters: then each word of the ARPA is one character, and the space is the visible ▁ (U+2581),
since ARPA files part words by spaces. Such a model has ▁ among its words even where the texts have no space.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from asr.lm.compiling import Compiler
from asr.lm.text import LmError

compiled = Compiler(Path(__file__).parent).compiled

UNKNOWN = "<unk>"
BEGIN = "<s>"
END = "</s>"
# How models over characters write the space between words.
SPACE = "▁"
EMPTY_STATE = 0
LOG_10 = math.log(10.0)
# What KenLM gives an unknown word if the model has no <unk>.
UNKNOWN_LOG_PROB = -100.0 * LOG_10

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


class Arrays(NamedTuple):
    """The trie; N entries, of which the first M are not of the highest order. All arrays are read-only.

    The type is a tuple, not a record, because compiled code takes it as an argument.
    """

    words: Ints  # (N,) the last word of the n-gram; -1 for the empty one
    log_probs: Floats  # (N,) natural log
    backoffs: Floats  # (M,) natural log
    first_child: Ints  # (M + 1,) the children of e are first_child[e] ... first_child[e + 1] - 1
    suffix: Ints  # (N,) the longest n-gram of the model that ends this one and is shorter


@compiled
def shortest_state(arrays: Arrays, entry: int) -> int:
    """Return the shortest context that gives every word the same probability, so that hypotheses meet early."""
    state = int(entry)
    while state > 0 and arrays.first_child[state] == arrays.first_child[state + 1] and arrays.backoffs[state] == 0:
        state = int(arrays.suffix[state])
    return state


@compiled
def child(arrays: Arrays, entry: int, word: int) -> int:
    """Return the entry that has one word more, or -1 if there is none."""
    low, high = int(arrays.first_child[entry]), int(arrays.first_child[entry + 1])
    if entry == 0:
        return low + word
    end = high
    while low < end:
        middle = (low + end) >> 1
        if arrays.words[middle] < word:
            low = middle + 1
        else:
            end = middle
    return low if low < high and arrays.words[low] == word else -1


@compiled
def advance(arrays: Arrays, state: int, word: int) -> tuple[float, int]:
    """Return the natural log-probability of a word after a state, and the state after it; nothing is checked."""
    log_prob = 0.0
    context = int(state)
    entry = child(arrays, context, word)
    while entry < 0:
        log_prob += arrays.backoffs[context]
        context = int(arrays.suffix[context])
        entry = child(arrays, context, word)
    log_prob += arrays.log_probs[entry]
    return log_prob, shortest_state(arrays, entry if entry < len(arrays.backoffs) else arrays.suffix[entry])


@compiled
def walk(arrays: Arrays, state: int, words: Longs) -> Doubles:
    """Return the natural log-probability of each of some words in a row."""
    log_probs = np.empty(len(words), np.float64)
    for i in range(len(words)):
        log_probs[i], state = advance(arrays, state, words[i])
    return log_probs


@compiled
def score_each(arrays: Arrays, states: Longs, words: Longs) -> Doubles:
    """Return the natural log-probability of each word after its own state."""
    log_probs = np.empty(len(words), np.float64)
    for i in range(len(words)):
        log_probs[i] = advance(arrays, states[i], words[i])[0]
    return log_probs


@dataclass(frozen=True)
class Perplexity:
    """How well a model foretells some sentences, per word; the end of a sentence counts as a word."""

    sentences: int
    words: int  # the ends of the sentences included
    unknown: int
    with_unknown: float
    without_unknown: float  # the unknown words are left out of the sum and of the count; nan if nothing is left


@dataclass(frozen=True, eq=False)
class NgramModel:
    """A back-off language model over any tokens: words, characters or pieces."""

    words: tuple[str, ...]  # by word id; word 0 is <unk>
    counts: tuple[int, ...]  # entries of each order
    arrays: Arrays

    @property
    def order(self) -> int:
        """Return the length of the longest n-grams."""
        return len(self.counts)

    @cached_property
    def vocabulary(self) -> Mapping[str, int]:
        """Return the id of each word."""
        return {word: i for i, word in enumerate(self.words)}

    @cached_property
    def begin_state(self) -> int:
        """Return the state at the begin of a sentence."""
        if self.order == 1:
            return EMPTY_STATE
        # Once is not worth compiling for.
        plain = getattr(shortest_state, "py_func", shortest_state)
        return int(plain(self.arrays, 1 + self.vocabulary[BEGIN]))

    def ids(self, words: Iterable[str]) -> Longs:
        """Return the ids of words; an unknown word is 0."""
        return np.array([self.vocabulary.get(word, 0) for word in words], np.int64)

    def alone(self, ids: Longs) -> Doubles:
        """Return the natural log-probability of each word with no context."""
        return self.arrays.log_probs[1 + ids].astype(np.float64)

    def advance(self, state: int, word: str) -> tuple[float, int]:
        """Return the natural log-probability of a word after a state, and the state after it.

        Raises LmError if the model has no such state.
        """
        if not 0 <= state < len(self.arrays.backoffs):
            raise LmError(f"state {state}: the model has the states 0 to {len(self.arrays.backoffs) - 1}")
        log_prob, after = advance(self.arrays, state, self.vocabulary.get(word, 0))
        return float(log_prob), int(after)

    def score(self, words: Sequence[str], begin: bool = True, end: bool = True) -> list[float]:
        """Return the natural log-probability of each word, and of the end of the sentence if `end`.

        With `begin` the words are the first of a sentence, else nothing is known of what stands before them.
        """
        state = self.begin_state if begin else EMPTY_STATE
        log_probs: list[float] = walk(self.arrays, state, self.ids([*words, END] if end else words)).tolist()
        return log_probs

    def perplexity(self, sentences: Iterable[Sequence[str]]) -> Perplexity:
        """Measure the model on sentences; raises LmError if there is none."""
        count = words = unknown = 0
        known_sum = unknown_sum = 0.0
        for sentence in sentences:
            ids = self.ids([*sentence, END])
            log_probs = walk(self.arrays, self.begin_state, ids)
            count += 1
            words += len(ids)
            unknown += int(np.count_nonzero(ids == 0))
            known_sum += float(log_probs[ids != 0].sum())
            unknown_sum += float(log_probs[ids == 0].sum())
        if not count:
            raise LmError("perplexity: no sentences")
        return Perplexity(
            count,
            words,
            unknown,
            _perplexity(known_sum + unknown_sum, words),
            _perplexity(known_sum, words - unknown),
        )


def is_character_model(model: NgramModel) -> bool:
    """Say whether the model is over characters: all its words but the markers have one, and ▁ is among them."""
    markers = (BEGIN, END, UNKNOWN)
    return SPACE in model.vocabulary and all(len(word) == 1 or word in markers for word in model.words)


def _perplexity(log_prob: float, words: int) -> float:
    # Beyond this a double overflows; a model that gives an unknown word 1e-100 comes near.
    return math.exp(min(-log_prob / words, 700.0)) if words else math.nan
