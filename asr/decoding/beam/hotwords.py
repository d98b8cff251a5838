"""Hotwords: words and phrases whose occurrences get a higher score."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from asr.decoding.beam.compiling import Doubles, Ints
from asr.decoding.greedy import DecodingError
from asr.text import Alphabet, TextError


class Hotwords(NamedTuple):
    """An automaton over tokens or, if words are pronounced, over words (Aho and Corasick, 1975).

    `after` (states, V): the next state. `gain`: the score on reaching a state, which is the weight of the phrases that
    end there. `lookahead`: the share of an unfinished phrase's weight that its tokens so far are given in advance.
    `keys`: for each word of the lexicon the column of `after`, 0 for words of no phrase; empty if the columns are those
    of tokens.
    """

    after: Ints
    gain: Doubles
    lookahead: Doubles
    begin: int
    keys: Ints


# Entries of `after`: 256 MiB.
_LARGEST = 1 << 26
_NO_KEYS = np.zeros(0, np.int32)


def build(phrases: Mapping[str, float], alphabet: Alphabet) -> Hotwords:
    """Return the automaton of phrases and the nats that each occurrence of one adds.

    A phrase counts as whole words: if the alphabet has a space, it begins and ends at a space or at an end of the text.
    Raises DecodingError for a phrase that the alphabet cannot write and for a weight that is not finite.
    """
    if not phrases:
        return Hotwords(np.zeros((1, 1), np.int32), np.zeros(1), np.zeros(1), 0, _NO_KEYS)
    space = alphabet.encode(" ")[0] if " " in alphabet.characters else -1
    patterns = {_pattern(phrase, weight, alphabet, space): weight for phrase, weight in phrases.items()}
    # The share is 0 after the space before the phrase and 1 after its last character.
    return _automaton(patterns, len(alphabet), space, around=2 if space >= 0 else 0)


def build_of_words(phrases: Mapping[str, float], numbers: Mapping[str, int], count: int) -> Hotwords:
    """Return the automaton of phrases of words that have these numbers among the `count` words of the lexicon.

    Raises DecodingError for a word without a number, and as `build` does.
    """
    keys = np.zeros(count, np.int32)
    used = 0
    patterns: dict[tuple[int, ...], float] = {}
    for phrase, weight in phrases.items():
        _check(phrase, weight)
        for word in phrase.split():
            if word not in numbers:
                raise DecodingError(f"hotword {phrase!r}: {word!r} has no pronunciation")
            if not keys[numbers[word]]:
                used += 1
                keys[numbers[word]] = used
        pattern = tuple(keys[[numbers[word] for word in phrase.split()]].tolist())
        patterns[pattern] = weight
    return _automaton(patterns, 1 + used, -1, around=0)._replace(keys=keys)


def check_hotwords(phrases: Mapping[str, float], alphabet: Alphabet) -> None:
    """Raise DecodingError for a phrase that the alphabet cannot write and for a weight that is not finite."""
    for phrase, weight in phrases.items():
        _pattern(phrase, weight, alphabet, -1)


def _check(phrase: str, weight: float) -> None:
    if not math.isfinite(weight):
        raise DecodingError(f"hotword {phrase!r}: the weight {weight} is not finite")
    if not phrase.split():
        raise DecodingError("a hotword is empty")


def _pattern(phrase: str, weight: float, alphabet: Alphabet, space: int) -> tuple[int, ...]:
    _check(phrase, weight)
    text = " ".join(phrase.split())
    try:
        tokens = alphabet.encode(text if space >= 0 else text.replace(" ", ""))
    except TextError as error:
        raise DecodingError(f"hotword {phrase!r}: {error}") from error
    return (space, *tokens, space) if space >= 0 else tuple(tokens)


def _automaton(patterns: Mapping[tuple[int, ...], float], size: int, space: int, around: int) -> Hotwords:
    """Return the automaton of patterns, of which the first and the last token may be spaces `around` the phrase.

    It begins as after a space. A state without a child for a token continues its longest suffix in the trie.
    """
    # A trie of the patterns, with the gain and the look-ahead of each state.
    children: list[dict[int, int]] = [{}]
    gains, lookaheads = [0.0], [0.0]
    for pattern, weight in patterns.items():
        state = 0
        for length, token in enumerate(pattern, 1):
            if token not in children[state]:
                children[state][token] = len(children)
                children.append({})
                gains.append(0.0)
                lookaheads.append(0.0)
            state = children[state][token]
            if length < len(pattern):
                share = (length - around // 2) / (len(pattern) - around)
                lookaheads[state] = max(lookaheads[state], weight * share)
        gains[state] += weight
    if len(children) * size > _LARGEST:
        raise DecodingError(f"{len(patterns):,} hotwords are too many; give those that are likely to occur")
    after = np.zeros((len(children), size), np.int32)
    failure = [0] * len(children)
    # Breadth first, so that the state to fall back to is complete before it is needed.
    queue = [0]
    for state in queue:
        fallback = after[failure[state]].copy()
        after[state] = fallback
        for token, child in children[state].items():
            fallen = int(fallback[token]) if state else 0
            after[state, token] = child
            failure[child] = fallen
            gains[child] += gains[fallen]
            lookaheads[child] = max(lookaheads[child], lookaheads[fallen])
            queue.append(child)
    begin = int(after[0, space]) if space >= 0 else 0
    return Hotwords(after, np.array(gains), np.array(lookaheads), begin, _NO_KEYS)
