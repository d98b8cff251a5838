"""What language models and hotwords say of a prefix, token by token: a word is judged as it grows, scored as it ends."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.beam.compiling import Doubles, Ints, compiled
from asr.beam.hotwords import Hotwords
from asr.beam.lexicon import OUTSIDE, UNKNOWN, Lexicon, descend
from asr.ngram import Arrays, advance
from asr.text import BLANK


class Words(NamedTuple):
    """A word n-gram model and how much it counts; without `active` it counts for nothing.

    `weight` multiplies the model's natural log-probabilities; `unknown` is what a word that the lexicon does not have
    adds, -inf locks the search to the lexicon. An unknown word has at least `floor` from the model. `begin`: the state
    at the start, `end`: the word that ends a sentence.
    """

    active: bool
    arrays: Arrays
    lexicon: Lexicon
    weight: float
    unknown: float
    floor: float
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

    `space`: the token between words, or a number that no token has; `bonus` is added for each word.
    """

    space: int
    bonus: float
    words: Words
    letters: Letters
    network: Network
    hot: Hotwords


class Verdict(NamedTuple):
    """What is known of prefixes, by node.

    `state`: of the word model before the word that grows; `place`: that word's in the lexicon (0: no letter of it yet);
    `letters`: the state of the character model; `row`: the network's; `hot`: the state of the hotwords; `score`: what
    is sure; `promise`: with what the growing word promises.
    """

    state: Ints
    place: Ints
    letters: Ints
    row: Ints
    hot: Ints
    score: Doubles
    promise: Doubles


@compiled
def blank_verdict(size: int) -> Verdict:
    """Return a verdict on nothing, with room for so many prefixes."""
    ints, scores = np.zeros((5, size), np.int32), np.zeros((2, size))
    return Verdict(ints[0], ints[1], ints[2], ints[3], ints[4], scores[0], scores[1])


@compiled
def copy_verdict(old: Verdict, new: Verdict, count: int) -> None:
    """Copy what is known of the first prefixes."""
    new.state[:count], new.place[:count] = old.state[:count], old.place[:count]
    new.letters[:count], new.row[:count], new.hot[:count] = old.letters[:count], old.row[:count], old.hot[:count]
    new.score[:count], new.promise[:count] = old.score[:count], old.promise[:count]


@compiled
def judge(guide: Guide, verdict: Verdict, node: int, child: int, token: int) -> None:
    """Set what is known of a prefix that is another one and a token."""
    score, promise = verdict.score[node], 0.0
    if guide.letters.active:
        log_prob, verdict.letters[child] = advance(guide.letters.arrays, verdict.letters[node], guide.letters.ids[token])
        score += guide.letters.weight * log_prob
    if guide.network.active:
        score += guide.network.weight * guide.network.rows[verdict.row[node], token]
    if token == guide.space:
        verdict.state[child], gain = _ended(guide, verdict.state[node], verdict.place[node])
        verdict.place[child] = 0
        score += gain
    elif guide.words.active:
        verdict.state[child] = verdict.state[node]
        verdict.place[child] = place = descend(guide.words.lexicon, verdict.place[node], token)
        promise += _promised(guide, place)
    if guide.hot.active:
        verdict.hot[child] = hot = guide.hot.after[verdict.hot[node], token]
        score += guide.hot.gain[hot]
        promise += guide.hot.promise[hot]
    verdict.score[child] = score
    verdict.promise[child] = score + promise


@compiled
def _promised(guide: Guide, place: int) -> float:
    """Return the most that a growing word may come to with no context."""
    words = guide.words
    unknown = words.weight * max(advance(words.arrays, 0, UNKNOWN)[0], words.floor) + words.unknown
    if place < 0:
        return float(unknown) + guide.bonus
    return max(float(unknown), words.weight * words.lexicon.best[place]) + guide.bonus


@compiled
def _ended(guide: Guide, state: int, place: int) -> tuple[int, float]:
    """Return the state after the growing word, and what the word comes to."""
    words = guide.words
    if not words.active:
        return int(state), guide.bonus
    word = int(words.lexicon.word[place]) if place > 0 else OUTSIDE
    gain = guide.bonus
    if word < 0:
        gain += words.unknown
        word = UNKNOWN
    log_prob, after = advance(words.arrays, state, word)
    if word == UNKNOWN:
        log_prob = max(log_prob, words.floor)
    return int(after), gain + words.weight * log_prob


@compiled
def final(guide: Guide, verdict: Verdict, node: int) -> float:
    """Return the score of a prefix, not of a space at its end, that is the whole text: its last word has ended."""
    score, state = verdict.score[node], verdict.state[node]
    if node and guide.space >= 0:
        state, gain = _ended(guide, state, verdict.place[node])
        score += gain
    if guide.hot.active and node and guide.space >= 0:
        score += guide.hot.gain[guide.hot.after[verdict.hot[node], guide.space]]
    if guide.words.active:
        score += guide.words.weight * advance(guide.words.arrays, state, guide.words.end)[0]
    if guide.letters.active:
        letters = guide.letters
        score += letters.weight * advance(letters.arrays, verdict.letters[node], letters.end)[0]
    if guide.network.active:
        score += guide.network.weight * guide.network.rows[verdict.row[node], BLANK]
    return float(score)
