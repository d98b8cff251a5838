"""What language models and hotwords say of a prefix: a word is judged as it grows, letter by letter, and as it ends."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.decoding.beam.compiling import Ints, Rows, compiled, inlined
from asr.decoding.beam.hotwords import Hotwords
from asr.decoding.beam.lexicon import OUTSIDE, UNKNOWN
from asr.decoding.beam.scores import NOTHING
from asr.lm.ngram import Arrays, advance
from asr.text import BLANK

UNASKED = -1

# Prefixes as a tree, 0 the empty one: each one's parent, last token, first child and next sibling, and its place in
# the beam, `at`, or -1. `state`: of the word model before the word that grows; `spot`: that word's in the lexicon (0:
# no letter of it yet); `gain`: what the word comes to if it ends here, and `after` the state then, once `after` is not
# UNASKED; `letters`: the state of the character model; `row`: the network's; `hot`: the hotwords'; `born`: a bit for
# each token, modulo 31, that it has a child by. `score`: what is sure; `promise`: with what the growing word promises.
PREFIX = np.dtype(
    [(name, np.int32) for name in ("parent", "token", "child", "sibling", "at", "state", "spot", "after")]
    + [(name, np.int32) for name in ("letters", "row", "hot", "born")]
    + [(name, np.float64) for name in ("gain", "score", "promise")]
)


class Scales(NamedTuple):
    """How much is made of what a guide knows.

    `space`: the token between words, or a number that no token has; `bonus` is added for each word. `words`, `letters`,
    `network`, `hot`: whether there is a word n-gram model, a character one, a recurrent one, hotwords; `weight`
    multiplies the models' natural log-probabilities.

    Of a word model: `unknown` is what a word that the lexicon does not have adds, -inf locks the search to the lexicon.
    An unknown word has at least `floor` from the model; with no context it comes to `stranger`. `begin`: the n-gram
    model's state at the start, `end`: what ends a sentence. `rise`: by how much a letter may raise a promise.
    """

    space: int
    bonus: float
    words: bool
    letters: bool
    network: bool
    hot: bool
    weight: float
    unknown: float
    floor: float
    stranger: float
    begin: int
    end: int
    rise: float


class Guide(NamedTuple):
    """All that is said of a text besides its sound.

    `arrays`: those of the n-gram model; `lexicon`: its words; `ids` (V,): a character model's id of each token; `rows`
    (prefixes, V): the recurrent model's log-probabilities of the next token, column 0 that of the end.
    """

    scales: Scales
    arrays: Arrays
    lexicon: Rows
    ids: Ints
    rows: NDArray[np.float32]
    hot: Hotwords


@inlined
def judge(guide: Guide, lexicon: Rows, prefix: Any, token: int, grown: Any) -> None:
    """Set what is known of a prefix that is another one and a token; its spot in the guide's lexicon is set."""
    scales = guide.scales
    score, promise = prefix["score"], 0.0
    if scales.letters:
        log_prob, after = advance(guide.arrays, prefix["letters"], guide.ids[token])
        grown["letters"] = after
        score += scales.weight * log_prob
    if scales.network:
        score += scales.weight * guide.rows[prefix["row"], token]
    if token == scales.space:
        if prefix["after"] == UNASKED:
            end_word(guide, prefix)
        grown["state"] = prefix["after"]
        score += prefix["gain"]
    elif scales.words:
        grown["state"] = prefix["state"]
        word = scales.stranger
        if grown["spot"] >= 0:
            word = max(word, scales.weight * lexicon[grown["spot"]]["best"])
        promise += scales.bonus + word
    if scales.hot:
        hot = guide.hot.after[prefix["hot"], token]
        grown["hot"] = hot
        score += guide.hot.gain[hot]
        promise += guide.hot.promise[hot]
    grown["after"] = UNASKED
    grown["score"] = score
    grown["promise"] = score + promise


@compiled
def end_word(guide: Guide, prefix: Any) -> None:
    """Find what the growing word comes to if it ends here: kept, for many frames ask for it."""
    scales = guide.scales
    prefix["gain"], prefix["after"] = scales.bonus, 0
    if not scales.words:
        return
    spot = prefix["spot"]
    word = guide.lexicon[spot]["word"] if spot > 0 else OUTSIDE
    if word < 0:
        prefix["gain"] += scales.unknown
        if scales.unknown == NOTHING:
            return
        word = UNKNOWN
    log_prob, after = advance(guide.arrays, prefix["state"], word)
    if word == UNKNOWN:
        log_prob = max(log_prob, scales.floor)
    prefix["gain"] += scales.weight * log_prob
    prefix["after"] = after


@compiled
def final(guide: Guide, prefixes: Rows, node: int) -> float:
    """Return the score of a prefix, not of a space at its end, that is the whole text: its last word has ended."""
    scales = guide.scales
    score, state = prefixes[node]["score"], prefixes[node]["state"]
    if node and scales.space >= 0:
        end_word(guide, prefixes[node])
        score, state = score + prefixes[node]["gain"], prefixes[node]["after"]
        if scales.hot:
            score += guide.hot.gain[guide.hot.after[prefixes[node]["hot"], scales.space]]
    if scales.words:
        score += scales.weight * advance(guide.arrays, state, scales.end)[0]
    if scales.letters:
        score += scales.weight * advance(guide.arrays, prefixes[node]["letters"], scales.end)[0]
    if scales.network:
        score += scales.weight * guide.rows[prefixes[node]["row"], BLANK]
    return float(score)
