"""Words and phrases that a text is likelier to have: what each letter of them promises, and their ends bring."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from asr.decoding.beam.compiling import Doubles, Ints
from asr.decoding.greedy import DecodingError
from asr.text import Alphabet, TextError


class Hotwords(NamedTuple):
    """An automaton over tokens (Aho and Corasick, 1975).

    `after` (states, V): the next state; `gain`: what is added on reaching a state, the weights of the phrases that end
    there; `promise`: what the phrase that grows there may still bring, in the measure of its letters that stand.
    """

    after: Ints
    gain: Doubles
    promise: Doubles
    begin: int


def nothing() -> Hotwords:
    """Return no hotwords."""
    return Hotwords(np.zeros((1, 1), np.int32), np.zeros(1), np.zeros(1), 0)


def build(phrases: Mapping[str, float], alphabet: Alphabet) -> Hotwords:
    """Return the automaton of phrases and the nats that each occurrence of one adds.

    A phrase counts as whole words: it begins and ends at a space or at an end of the text, where the alphabet has a
    space. Raises DecodingError for a phrase that the alphabet cannot write and for a weight that is no number.
    """
    if not phrases:
        return nothing()
    space = alphabet.encode(" ")[0] if " " in alphabet.characters else -1
    patterns = {_pattern(phrase, weight, alphabet, space): weight for phrase, weight in phrases.items()}
    # A trie of the patterns, and how much each of its states promises.
    children: list[dict[int, int]] = [{}]
    gains, promises = [0.0], [0.0]
    for pattern, weight in patterns.items():
        state = 0
        for length, token in enumerate(pattern, 1):
            if token not in children[state]:
                children[state][token] = len(children)
                children.append({})
                gains.append(0.0)
                promises.append(0.0)
            state = children[state][token]
            # The space before a phrase is no part of it yet, and its last letter all but brings it.
            if length < len(pattern):
                share = (length - 1) / (len(pattern) - 2) if space >= 0 else length / len(pattern)
                promises[state] = max(promises[state], weight * share)
        gains[state] += weight
    return _automaton(children, gains, promises, len(alphabet), space)


def _pattern(phrase: str, weight: float, alphabet: Alphabet, space: int) -> tuple[int, ...]:
    if not math.isfinite(weight):
        raise DecodingError(f"hotword {phrase!r}: its weight {weight} is no number")
    tidy = " ".join(phrase.split())
    if not tidy:
        raise DecodingError("a hotword has no letters")
    try:
        tokens = alphabet.encode(tidy if space >= 0 else tidy.replace(" ", ""))
    except TextError as error:
        raise DecodingError(f"hotword {phrase!r}: {error}") from error
    return (space, *tokens, space) if space >= 0 else tuple(tokens)


def _automaton(
    children: list[dict[int, int]], gains: list[float], promises: list[float], size: int, space: int
) -> Hotwords:
    """Return the automaton of a trie: where no longer pattern goes on, the longest one that began later does."""
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
            promises[child] = max(promises[child], promises[fallen])
            queue.append(child)
    begin = int(after[0, space]) if space >= 0 else 0
    return Hotwords(after, np.array(gains), np.array(promises), begin)
