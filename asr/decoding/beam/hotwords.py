"""Hotwords: words and phrases whose occurrences get a higher score."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from asr.decoding.beam.compiling import Doubles, Ints
from asr.decoding.greedy import DecodingError
from asr.text import Alphabet, TextError


class Hotwords(NamedTuple):
    """An automaton over tokens (Aho and Corasick, 1975).

    `after` (states, V): the next state. `gain`: the score on reaching a state, which is the weight of the phrases that
    end there. `lookahead`: the share of an unfinished phrase's weight that its characters so far are given in advance.
    """

    after: Ints
    gain: Doubles
    lookahead: Doubles
    begin: int


def build(phrases: Mapping[str, float], alphabet: Alphabet) -> Hotwords:
    """Return the automaton of phrases and the nats that each occurrence of one adds.

    A phrase counts as whole words: if the alphabet has a space, it begins and ends at a space or at an end of the text.
    Raises DecodingError for a phrase that the alphabet cannot write and for a weight that is not finite.
    """
    if not phrases:
        return Hotwords(np.zeros((1, 1), np.int32), np.zeros(1), np.zeros(1), 0)
    space = alphabet.encode(" ")[0] if " " in alphabet.characters else -1
    patterns = {_pattern(phrase, weight, alphabet, space): weight for phrase, weight in phrases.items()}
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
            # The share is 0 after the space before the phrase and 1 after its last character.
            if length < len(pattern):
                share = (length - 1) / (len(pattern) - 2) if space >= 0 else length / len(pattern)
                lookaheads[state] = max(lookaheads[state], weight * share)
        gains[state] += weight
    return _automaton(children, gains, lookaheads, len(alphabet), space)


def _pattern(phrase: str, weight: float, alphabet: Alphabet, space: int) -> tuple[int, ...]:
    if not math.isfinite(weight):
        raise DecodingError(f"hotword {phrase!r}: the weight {weight} is not finite")
    text = " ".join(phrase.split())
    if not text:
        raise DecodingError("a hotword is empty")
    try:
        tokens = alphabet.encode(text if space >= 0 else text.replace(" ", ""))
    except TextError as error:
        raise DecodingError(f"hotword {phrase!r}: {error}") from error
    return (space, *tokens, space) if space >= 0 else tuple(tokens)


def _automaton(
    children: list[dict[int, int]], gains: list[float], lookaheads: list[float], size: int, space: int
) -> Hotwords:
    """Return the automaton of a trie: a state without a child for a token continues its longest suffix in the trie."""
    after = np.zeros((len(children), size), np.int32)
    failure = [0] * len(children)
    # Breadth first, so that the state to fall back to is complete before it is needed.
    queue = [0]
    for state in queue:
        for token in range(size):
            child = children[state].get(token)
            fallen = int(after[failure[state], token]) if state else 0
            if child is None:
                after[state, token] = fallen
                continue
            after[state, token] = child
            failure[child] = fallen
            gains[child] += gains[fallen]
            lookaheads[child] = max(lookaheads[child], lookaheads[fallen])
            queue.append(child)
    begin = int(after[0, space]) if space >= 0 else 0
    return Hotwords(after, np.array(gains), np.array(lookaheads), begin)
