"""What a language model says of a prefix, letter by letter: a word is judged as it grows and scored as it ends."""

from typing import NamedTuple

import numpy as np

from asr.beam.compiling import Doubles, Ints, compiled
from asr.beam.lexicon import OUTSIDE, Lexicon, descend
from asr.ngram import Arrays, advance

NOTHING = -np.inf
# The n-gram model's id of an unknown word.
_UNKNOWN = 0


class Guide(NamedTuple):
    """A word n-gram model and how much it counts.

    `space`: the token between words, or a number that no token has. `weight` multiplies the model's natural
    log-probabilities, `bonus` is added for each word, `unknown` is what a word that the model does not have adds
    beside the model's own score for it; -inf locks the search to the lexicon. `begin`: the state at the start, `end`:
    the word that ends a sentence. Without `active` nothing of this counts.
    """

    active: bool
    arrays: Arrays
    lexicon: Lexicon
    space: int
    weight: float
    bonus: float
    unknown: float
    begin: int
    end: int


class Verdict(NamedTuple):
    """What is known of prefixes, by node: the model's `state` before the word that grows, the `place` of that word in
    the lexicon (0: no letter of it yet), the `score` of the words that have ended, and with what the growing one
    promises, `promise`.
    """

    state: Ints
    place: Ints
    score: Doubles
    promise: Doubles


@compiled
def _unknown_score(guide: Guide) -> float:
    return float(guide.weight * advance(guide.arrays, 0, _UNKNOWN)[0] + guide.unknown)


@compiled
def judge(guide: Guide, verdict: Verdict, node: int, child: int, token: int) -> None:
    """Set what is known of a prefix that is another one and a token."""
    if not guide.active:
        verdict.score[child] = verdict.promise[child] = 0.0
        return
    state, place, score = verdict.state[node], verdict.place[node], verdict.score[node]
    if token == guide.space:
        verdict.state[child], verdict.score[child] = ended(guide, state, place, score)
        verdict.place[child] = 0
        verdict.promise[child] = verdict.score[child]
        return
    place = descend(guide.lexicon, place, token)
    verdict.state[child], verdict.place[child], verdict.score[child] = state, place, score
    promise = _unknown_score(guide)
    if place >= 0:
        promise = max(promise, guide.weight * guide.lexicon.best[place])
    verdict.promise[child] = score + promise + guide.bonus


@compiled
def ended(guide: Guide, state: int, place: int, score: float) -> tuple[int, float]:
    """Return the state and the score once the growing word, if there is one, has ended."""
    if place == 0:
        return int(state), score
    word = int(guide.lexicon.word[place]) if place > 0 else OUTSIDE
    if word < 0:
        score += guide.unknown
        word = _UNKNOWN
    log_prob, after = advance(guide.arrays, state, word)
    return int(after), score + guide.weight * log_prob + guide.bonus


@compiled
def final(guide: Guide, verdict: Verdict, node: int) -> float:
    """Return the score of a prefix that is the whole text: its last word has ended, and the sentence."""
    if not guide.active:
        return 0.0
    state, score = ended(guide, verdict.state[node], verdict.place[node], verdict.score[node])
    return float(score + guide.weight * advance(guide.arrays, state, guide.end)[0])
