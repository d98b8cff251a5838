"""A back-off n-gram model in flat arrays, and its queries.

The entries of all orders are stored in one forward trie, breadth first. Entry 0 is the empty n-gram, entry 1 + w the
unigram of word w; then follow the bigrams, and so on. The children of an entry, the n-grams that are longer by one
word on the right, are adjacent and sorted by word. A state is the entry of the context that the next word depends on.

In a character model each word of the ARPA file is one character, and SPACE is the space between words. A character
model has SPACE in its vocabulary even if its texts have no spaces.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from asr.compiling import Compiler, interpreted
from asr.lm.evaluation import Perplexity
from asr.lm.text import BEGIN, END, SPACE, characters

compiled = Compiler(Path(__file__).parent).compiled

UNKNOWN_WORD = "<unk>"
UNKNOWN_ID = 0
EMPTY_STATE = 0
LOG_10 = math.log(10.0)
# KenLM's log-probability of an unknown word if the model has no <unk>.
UNKNOWN_LOG_PROB = -100.0 * LOG_10

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


class Arrays(NamedTuple):
    """The trie: N entries, of which the first M are below the highest order. All arrays are read-only.

    A named tuple, not a dataclass, because numba takes it as an argument.
    """

    words: Ints  # (N,) the last word of the n-gram; -1 for the empty one
    log_probs: Floats  # (N,) natural log
    backoffs: Floats  # (M,) natural log
    first_child: Ints  # (M + 1,) the children of entry e are first_child[e] to first_child[e + 1] - 1
    suffix: Ints  # (N,) the longest proper suffix of the n-gram that is in the model


@compiled
def shortest_state(arrays: Arrays, entry: int) -> int:
    """Return the shortest context that gives every word the same probability, so that hypotheses recombine early."""
    state = int(entry)
    while state > 0 and arrays.first_child[state] == arrays.first_child[state + 1] and arrays.backoffs[state] == 0:
        state = int(arrays.suffix[state])
    return state


@compiled
def child(arrays: Arrays, entry: int, word: int) -> int:
    """Return the entry that is longer by a word, or -1 if there is none."""
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
    """Return the natural log-probability of a word after a state, and the next state, without range checks."""
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
    """Return the natural log-probability of each word of a sequence."""
    log_probs = np.empty(len(words), np.float64)
    for i in range(len(words)):
        log_probs[i], state = advance(arrays, state, words[i])
    return log_probs


@compiled
def advance_each(arrays: Arrays, states: Ints, words: Ints) -> tuple[Doubles, Ints]:
    """Return the natural log-probability of each word after its own state, and the next states."""
    log_probs, following = np.empty(len(words), np.float64), np.empty(len(words), np.int32)
    for i in range(len(words)):
        log_probs[i], following[i] = advance(arrays, states[i], words[i])
    return log_probs, following


@dataclass(frozen=True, eq=False)
class NgramModel:
    """A back-off language model over tokens: words or characters."""

    words: tuple[str, ...]  # by word id; word UNKNOWN_ID is <unk>
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
        """Return the state at the beginning of a sentence."""
        if self.order == 1:
            return EMPTY_STATE
        # Compiling takes longer than one interpreted call.
        return interpreted(shortest_state)(self.arrays, 1 + self.vocabulary[BEGIN])

    def ids(self, words: Iterable[str]) -> Longs:
        """Return the ids of words, UNKNOWN_ID for an unknown word."""
        return np.array([self.vocabulary.get(word, UNKNOWN_ID) for word in words], np.int64)

    def unigram_log_probs(self, ids: Longs) -> Doubles:
        """Return the natural log-probability of each word without context."""
        return self.arrays.log_probs[1 + ids].astype(np.float64)

    def perplexity(self, texts: Iterable[str]) -> Perplexity:
        """Measure the model on normalised texts; an empty sequence gives zeros."""
        by_characters = is_character_model(self)
        markers = [self.vocabulary[BEGIN], self.vocabulary[END]]
        total = Perplexity()
        for text in texts:
            words = text.split()
            tokens = characters(text) if by_characters else words
            ids = self.ids([*tokens, END])
            inner = ids[:-1]
            inner[np.isin(inner, markers)] = UNKNOWN_ID
            log_probs = walk(self.arrays, self.begin_state, ids)
            unknown = inner == UNKNOWN_ID
            unknown_words = unknown_characters = int(np.count_nonzero(unknown))
            if unknown_words and by_characters:
                spaces = np.array([token == SPACE for token in tokens])
                word_numbers = np.cumsum(spaces)
                unknown_numbers = np.unique(word_numbers[unknown])
                unknown = np.isin(word_numbers, unknown_numbers) & ~spaces
                unknown_words, unknown_characters = len(unknown_numbers), int(np.count_nonzero(unknown))
            elif unknown_words:
                unknown_characters = sum(len(words[index]) for index in np.flatnonzero(unknown))
            log_prob, unknown_log_prob = float(log_probs.sum()), float(log_probs[:-1][unknown].sum())
            counts = (1, len(words), len(text), unknown_words, unknown_characters)
            total += Perplexity(*counts, log_prob, unknown_log_prob)
        return total


def is_character_model(model: NgramModel) -> bool:
    """Return whether this is a character model: SPACE is a word, and all others but the markers have one character."""
    markers = (BEGIN, END, UNKNOWN_WORD)
    return SPACE in model.vocabulary and all(len(word) == 1 or word in markers for word in model.words)
