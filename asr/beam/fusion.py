"""What language models and hotwords say of a prefix, token by token: a word is judged as it grows, scored as it ends."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.beam.compiling import Ints, Rows, compiled, inlined
from asr.beam.hotwords import Hotwords
from asr.beam.lexicon import OUTSIDE, UNKNOWN, descend
from asr.ngram import Arrays, advance
from asr.text import BLANK

NOTHING = -np.inf
UNASKED = -1

# Prefixes as a tree, 0 the empty one: each one's parent, last token, first child and next sibling, and its place in
# the beam, `at`, or -1. `state`: of the word model before the word that grows; `spot`: that word's in the lexicon (0: no
# letter of it yet); `gain`: what the word comes to if it ends here, and `after` the state then, once `after` is not
# UNASKED; `letters`: the state of the character model; `row`: the network's; `hot`: the hotwords'. `score`: what is
# sure; `promise`: with what the growing word promises.
PREFIX = np.dtype(
    [(name, np.int32) for name in ("parent", "token", "child", "sibling", "at", "state", "spot", "after")]
    + [(name, np.int32) for name in ("letters", "row", "hot", "unused")]
    + [(name, np.float64) for name in ("gain", "score", "promise")]
)


class Words(NamedTuple):
    """A word n-gram model and how much it counts; without `active` it counts for nothing.

    `weight` multiplies the model's natural log-probabilities; `unknown` is what a word that the lexicon does not have
    adds, -inf locks the search to the lexicon. An unknown word has at least `floor` from the model; with no context it
    comes to `stranger`. `begin`: the state at the start, `end`: the word that ends a sentence.
    """

    active: bool
    arrays: Arrays
    lexicon: Rows
    weight: float
    unknown: float
    floor: float
    stranger: float
    begin: int
    end: int


class Letters(NamedTuple):
    """A character n-gram model: as Words; `ids` (V,) has the model's id of each token."""

    active: bool
    arrays: Arrays
    ids: Ints
    weight: float
    begin: int
    end: int


class Network(NamedTuple):
    """A recurrent language model's log-probabilities of the next token, (prefixes, V); column 0 is the end."""

    active: bool
    rows: NDArray[np.float32]
    weight: float


class Guide(NamedTuple):
    """All that is said of a text besides its sound.

    `space`: the token between words, or a number that no token has; `bonus` is added for each word. `rise`: by how much
    a letter may raise what a prefix promises.
    """

    space: int
    bonus: float
    rise: float
    words: Words
    letters: Letters
    network: Network
    hot: Hotwords


@inlined
def judge(guide: Guide, lexicon: Rows, prefixes: Rows, node: int, token: int, grown: Rows, at: int) -> None:
    """Set what is known of a prefix that is another one and a token."""
    score, promise = prefixes[node]["score"], 0.0
    if guide.letters.active:
        log_prob, after = advance(guide.letters.arrays, prefixes[node]["letters"], guide.letters.ids[token])
        grown[at]["letters"] = after
        score += guide.letters.weight * log_prob
    if guide.network.active:
        score += guide.network.weight * guide.network.rows[prefixes[node]["row"], token]
    if token == guide.space:
        end_word(guide, prefixes, node)
        grown[at]["state"], grown[at]["spot"] = prefixes[node]["after"], 0
        score += prefixes[node]["gain"]
    elif guide.words.active:
        spot = descend(lexicon, prefixes[node]["spot"], token)
        grown[at]["state"], grown[at]["spot"] = prefixes[node]["state"], spot
        word = guide.words.stranger
        if spot >= 0:
            word = max(word, guide.words.weight * lexicon[spot]["best"])
        promise += guide.bonus + word
    if guide.hot.active:
        hot = guide.hot.after[prefixes[node]["hot"], token]
        grown[at]["hot"] = hot
        score += guide.hot.gain[hot]
        promise += guide.hot.promise[hot]
    grown[at]["after"] = UNASKED
    grown[at]["score"] = score
    grown[at]["promise"] = score + promise


@compiled
def end_word(guide: Guide, prefixes: Rows, node: int) -> None:
    """Find what the growing word comes to if it ends here, once for each prefix: many frames ask for it."""
    if prefixes[node]["after"] != UNASKED:
        return
    words = guide.words
    prefixes[node]["gain"], prefixes[node]["after"] = guide.bonus, 0
    if not words.active:
        return
    spot = prefixes[node]["spot"]
    word = words.lexicon[spot]["word"] if spot > 0 else OUTSIDE
    if word < 0:
        prefixes[node]["gain"] += words.unknown
        if words.unknown == NOTHING:
            return
        word = UNKNOWN
    log_prob, after = advance(words.arrays, prefixes[node]["state"], word)
    if word == UNKNOWN:
        log_prob = max(log_prob, words.floor)
    prefixes[node]["gain"] += words.weight * log_prob
    prefixes[node]["after"] = after


@compiled
def final(guide: Guide, prefixes: Rows, node: int) -> float:
    """Return the score of a prefix, not of a space at its end, that is the whole text: its last word has ended."""
    score, state = prefixes[node]["score"], prefixes[node]["state"]
    if node and guide.space >= 0:
        end_word(guide, prefixes, node)
        score, state = score + prefixes[node]["gain"], prefixes[node]["after"]
    if guide.hot.active and node and guide.space >= 0:
        score += guide.hot.gain[guide.hot.after[prefixes[node]["hot"], guide.space]]
    if guide.words.active:
        score += guide.words.weight * advance(guide.words.arrays, state, guide.words.end)[0]
    if guide.letters.active:
        letters = guide.letters
        score += letters.weight * advance(letters.arrays, prefixes[node]["letters"], letters.end)[0]
    if guide.network.active:
        score += guide.network.weight * guide.network.rows[prefixes[node]["row"], BLANK]
    return float(score)
