"""Shallow fusion: the scores of prefixes by language models and hotwords, character by character and word by word."""

import math
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.compiling import interpreted
from asr.decoding.beam import hotwords, lexicon
from asr.decoding.beam.compiling import Ints, Rows, compiled, inlined
from asr.decoding.beam.hotwords import Hotwords
from asr.decoding.beam.lexicon import OUTSIDE, UNKNOWN, Lexicon
from asr.decoding.beam.pruning import IMPOSSIBLE
from asr.decoding.beam.spelling import check_spelling
from asr.decoding.greedy import DecodingError
from asr.lm.ngram import END, UNKNOWN_LOG_PROB, Arrays, NgramModel, advance, is_character_model
from asr.lm.ngram import SPACE as VISIBLE_SPACE
from asr.lm.recurrent import RnnLm
from asr.text import BLANK, Alphabet

NO_HOTWORDS: Mapping[str, float] = MappingProxyType({})
NOT_SCORED = -2
_advance = interpreted(advance)

# Prefixes form a tree, in which 0 is the empty prefix: `parent`, last `token`, first `child` and next `sibling`.
# `position`: in the beam, or -1. `children`: a bit for each token, modulo 31, by which the prefix has a child.
# `score`: of the complete words and of the characters. `estimate`: the score plus the look-ahead of the unfinished word
# and phrase. `state`: of the word n-gram model before the unfinished word; `spot`: that word's node in the lexicon, 0
# without a character. `word_score`: the score of the unfinished word if it ends here as the word `scored_word`, and
# `next_state` the model's state then; scored_word is NOT_SCORED as long as they are not known. `word`: the word of the
# lexicon that ended with the last token if that is a space, or OUTSIDE. Children with the same token have different
# words. `char_state`: of the character n-gram model; `row`: in the recurrent model's log-probabilities; `hot`: the
# state of the hotwords.
PREFIX = np.dtype(
    [(name, np.int32) for name in ("parent", "token", "child", "sibling", "position", "state", "spot", "next_state")]
    + [(name, np.int32) for name in ("char_state", "row", "hot", "children", "word", "scored_word")]
    + [(name, np.float64) for name in ("word_score", "score", "estimate")]
)


class Weights(NamedTuple):
    """The parameters of the scores.

    `space`: the token between words, or -1; `word_bonus`: of each word; `lm_weight`: factor of the models' natural
    log-probabilities; `words`, `characters`, `network`, `hot`: whether there is a word n-gram model, a character n-gram
    model, a recurrent model, hotwords; `begin`: the n-gram model's initial state; `end`: its end of a sentence.

    Of a word n-gram model: `known` is the number of its words, others of the lexicon are unknown to it;
    `unknown_score` is added for a word outside the lexicon, -inf forbids such words; `floor` is
    the least log-probability of an unknown word, `unknown_word` the score of one without context; `homophones`: in how
    many ways, at most, a space can end a word. `rise`: by how much a token can raise an estimate.
    """

    space: int
    word_bonus: float
    words: bool
    characters: bool
    network: bool
    hot: bool
    lm_weight: float
    known: int
    unknown_score: float
    floor: float
    unknown_word: float
    begin: int
    end: int
    homophones: int
    rise: float


class Fusion(NamedTuple):
    """The data of the compiled scoring functions.

    `arrays`: of the n-gram model; `lexicon`: its words; `ids` (V,): a character n-gram model's id of each token; `rows`
    (prefixes, V): the recurrent model's log-probabilities of the next token, with the end in column 0.
    """

    weights: Weights
    arrays: Arrays
    lexicon: Lexicon
    ids: Ints
    rows: NDArray[np.float32]
    hot: Hotwords


@inlined
def extend(fusion: Fusion, nodes: Rows, prefix: Any, token: int, extended: Any) -> None:
    """Set the scores and states of `extended`, a prefix plus a token; its `spot` and `word` must be set.

    `nodes`: of the lexicon.
    """
    weights = fusion.weights
    score, lookahead = prefix["score"], 0.0
    if weights.characters:
        log_prob, after = advance(fusion.arrays, prefix["char_state"], fusion.ids[token])
        extended["char_state"] = after
        score += weights.lm_weight * log_prob
    if weights.network:
        score += weights.lm_weight * fusion.rows[prefix["row"], token]
    if token == weights.space:
        if prefix["scored_word"] != extended["word"]:
            end_word(fusion, prefix, extended["word"])
        extended["state"] = prefix["next_state"]
        score += prefix["word_score"]
    elif weights.words:
        extended["state"] = prefix["state"]
        word = weights.unknown_word
        if extended["spot"] >= 0:
            word = max(word, weights.lm_weight * nodes[extended["spot"]]["best"])
        lookahead += weights.word_bonus + word
    if weights.hot:
        hot = prefix["hot"]
        if token == weights.space or len(fusion.hot.keys) == 0:
            hot = hot_after(fusion, hot, token, extended["word"])
            score += fusion.hot.gain[hot]
        extended["hot"] = hot
        lookahead += fusion.hot.lookahead[hot]
    extended["scored_word"] = NOT_SCORED
    extended["score"] = score
    extended["estimate"] = score + lookahead


@inlined
def hot_after(fusion: Fusion, state: int, token: int, word: int) -> int:
    """Return the state of the hotwords after a token; a space ends the word."""
    column, keys = token, fusion.hot.keys
    if len(keys):
        column = keys[word] if word >= 0 else 0
    return int(fusion.hot.after[state, column])


@compiled
def end_word(fusion: Fusion, prefix: Any, word: int) -> None:
    """Set a prefix's `word_score` and `next_state` for a word, which many frames use."""
    weights = fusion.weights
    prefix["word_score"], prefix["next_state"], prefix["scored_word"] = weights.word_bonus, 0, word
    if not weights.words:
        return
    if word < 0:
        prefix["word_score"] += weights.unknown_score
        if weights.unknown_score == IMPOSSIBLE:
            return
    if not 0 <= word < weights.known:
        word = UNKNOWN
    log_prob, after = advance(fusion.arrays, prefix["state"], word)
    if word == UNKNOWN:
        log_prob = max(log_prob, weights.floor)
    prefix["word_score"] += weights.lm_weight * log_prob
    prefix["next_state"] = after


@compiled
def final_score(fusion: Fusion, prefixes: Rows, node: int, word: int) -> float:
    """Return the score of a prefix as the whole text, which ends with a word; it must not end in a space."""
    weights = fusion.weights
    score, state = prefixes[node]["score"], prefixes[node]["state"]
    if node and weights.space >= 0:
        end_word(fusion, prefixes[node], word)
        score, state = score + prefixes[node]["word_score"], prefixes[node]["next_state"]
        if weights.hot:
            score += fusion.hot.gain[hot_after(fusion, prefixes[node]["hot"], weights.space, word)]
    if weights.words:
        score += weights.lm_weight * advance(fusion.arrays, state, weights.end)[0]
    if weights.characters:
        score += weights.lm_weight * advance(fusion.arrays, prefixes[node]["char_state"], weights.end)[0]
    if weights.network:
        score += weights.lm_weight * fusion.rows[prefixes[node]["row"], BLANK]
    return float(score)


@dataclass(frozen=True)
class LmSettings:
    """The weights of a language model.

    `lm_weight`: factor of its natural log-probabilities. `word_bonus`: word insertion bonus, added for each word. Of a
    word n-gram model: `unknown_score` is added for each word outside its vocabulary, besides the model's own score;
    `lexicon_only` forbids such words.
    """

    lm_weight: float = 0.5
    word_bonus: float = 0.0
    unknown_score: float = -5.0
    lexicon_only: bool = False

    def __post_init__(self) -> None:
        for name in ("lm_weight", "word_bonus", "unknown_score"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name} = {getattr(self, name)} is not finite")
        if self.lm_weight < 0:
            raise ValueError(f"lm_weight = {self.lm_weight} is negative")


class Scorer:
    """A language model and hotwords, prepared for an alphabet. `network`: the model if it is a recurrent one.

    `lm`: a word or character n-gram model or a recurrent one. `hot`: the nats that each occurrence of a word or phrase
    adds, whether or not the language model has it. Raises DecodingError if they do not fit the alphabet.

    `pronunciations`: of each word, if the alphabet is a space and the phonemes. Texts are then made of those words of
    `lm`, a word n-gram model, and of `hot` that have a pronunciation. `settings` must allow no others.
    """

    def __init__(
        self,
        alphabet: Alphabet,
        settings: LmSettings = LmSettings(),
        lm: NgramModel | RnnLm | None = None,
        hot: Mapping[str, float] = NO_HOTWORDS,
        pronunciations: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.settings = settings
        self.network = lm if isinstance(lm, RnnLm) else None
        self._ngram = lm if isinstance(lm, NgramModel) else None
        self._alphabet = alphabet
        self._space = alphabet.encode(" ")[0] if " " in alphabet.characters else -1
        self._hot = tuple(hot)
        self._pronunciations = pronunciations
        self._of_characters = self._ngram is not None and is_character_model(self._ngram)
        # Words outside the model; their ids in the lexicon follow those of its words.
        words = dict.fromkeys(word for phrase in hot for word in phrase.split())
        self._others = [word for word in words if self._ngram and word not in self._ngram.vocabulary]
        characters = alphabet.characters
        if self._ngram and not self._of_characters and self._space < 0:
            raise DecodingError(f"a word language model needs a space in the alphabet {characters!r}")
        if pronunciations is not None:
            self._check_pronunciations(settings)
        elif self._ngram:
            check_spelling(self._ngram, alphabet)
        if self._ngram and pronunciations is not None and hot:
            numbers = {word: number for number, word in enumerate(self._others, len(self._ngram.words))}
            numbers |= {word: self._ngram.vocabulary[word] for word in words if word not in numbers}
            pronounced = {
                word: number
                for word, number in numbers.items()
                if not all(map(alphabet.unknown, pronunciations.get(word, ())))
            }
            count = len(self._ngram.words) + len(self._others)
            self._hotwords = hotwords.build_of_words(hot, pronounced, count)
        else:
            self._hotwords = hotwords.build(hot, alphabet)
        if self.network and self.network.alphabet.characters != characters:
            other = self.network.alphabet.characters
            raise DecodingError(f"the language model's alphabet is {other!r}, the acoustic model's {characters!r}")

    def with_settings(self, settings: LmSettings) -> "Scorer":
        """Return a scorer with other settings that shares the prepared models."""
        if self._pronunciations is not None:
            self._check_pronunciations(settings)
        # The copy shares what is cached by now.
        _ = self._lexicon, self._ids
        other = copy(self)
        other.settings = settings
        other.__dict__.pop("fusion", None)
        return other

    @property
    def pronounces(self) -> bool:
        """Return whether words are made of phonemes."""
        return self._pronunciations is not None

    def text(self, tokens: Ints, words: Ints) -> str:
        """Return the text of a prefix: its words if they are pronounced, its characters if they are spelled.

        `words`: for each token the word that ends with it, or OUTSIDE.
        """
        if self._pronunciations is None or self._ngram is None:
            return self._alphabet.decode(tokens.tolist())
        known, count = self._ngram.words, len(self._ngram.words)
        numbers = words[words != OUTSIDE].tolist()
        return " ".join(known[number] if number < count else self._others[number - count] for number in numbers)

    def log_probs(self, texts: Sequence[str]) -> list[float]:
        """Return the language model's natural-log probability of each text with its end; 0 without a model."""
        if self.network:
            return self.network.score(texts)
        if self._ngram is None:
            return [0.0] * len(texts)
        model, floor = self._ngram, self._floor
        # The texts of an utterance share most of their n-grams, so that the interpreter is fast enough.
        known: dict[tuple[int, int], tuple[float, int]] = {}
        totals = []
        for text in texts:
            state, total = model.begin_state, 0.0
            words = list(text.replace(" ", VISIBLE_SPACE)) if self._of_characters else text.split()
            for word in model.ids([*words, END]).tolist():
                if (state, word) not in known:
                    known[state, word] = _advance(model.arrays, state, word)
                log_prob, state = known[state, word]
                total += max(float(log_prob), floor) if word == UNKNOWN else float(log_prob)
            totals.append(total)
        return totals

    @cached_property
    def fusion(self) -> Fusion:
        """Return the data of the compiled search."""
        arrays = self._ngram.arrays if self._ngram else _no_arrays()
        rows = np.zeros((1, len(self._alphabet)), np.float32)
        return Fusion(self._weights(), arrays, self._lexicon, self._ids, rows, self._hotwords)

    def _weights(self) -> Weights:
        settings, model, hot = self.settings, self._ngram, self._hotwords
        unknown = -math.inf if settings.lexicon_only else float(settings.unknown_score)
        alone = max(float(model.arrays.log_probs[1 + UNKNOWN]), self._floor) if model else 0.0
        bonus = float(settings.word_bonus)
        return Weights(
            space=self._space,
            word_bonus=bonus,
            words=model is not None and not self._of_characters,
            characters=self._of_characters,
            network=self.network is not None,
            hot=bool(self._hot),
            lm_weight=float(settings.lm_weight),
            known=len(model.words) if model else 0,
            unknown_score=unknown,
            floor=self._floor,
            unknown_word=float(settings.lm_weight * alone + unknown),
            begin=model.begin_state if model else 0,
            end=model.vocabulary[END] if model else 0,
            homophones=max(1, int(np.diff(self._lexicon.nodes["first_word"]).max())),
            rise=max(bonus, 0.0) + max(float(settings.unknown_score), 0.0) + float((hot.gain + hot.lookahead).max()),
        )

    @cached_property
    def _floor(self) -> float:
        """Return the least log-probability of a word. A model without <unk> would forbid unknown words."""
        model = self._ngram
        if model is None or model.arrays.log_probs[1 + UNKNOWN] > UNKNOWN_LOG_PROB + 1:
            return -math.inf
        known = np.array([number for word, number in model.vocabulary.items() if word[:1] != "<"], np.int64)
        return float(model.unigram_log_probs(known).min(initial=0.0))

    def _check_pronunciations(self, settings: LmSettings) -> None:
        if self._ngram is None or self._of_characters:
            raise DecodingError("pronunciations need a word n-gram model")
        if not settings.lexicon_only:
            raise DecodingError("pronunciations need lexicon_only = true: other words cannot be written")
        if not len(self._lexicon.words):
            raise DecodingError(
                f"no word of the language model has a pronunciation with the alphabet {self._alphabet.characters!r}"
            )

    @cached_property
    def _lexicon(self) -> Lexicon:
        if self._ngram is None or self._of_characters:
            return lexicon.empty()
        return lexicon.build(self._ngram, self._alphabet, self._others, self._floor, self._pronunciations)

    @cached_property
    def _ids(self) -> Ints:
        """Return a character model's id of each token."""
        if self._ngram is None or not self._of_characters:
            return np.zeros(1, np.int32)
        written = [VISIBLE_SPACE if character == " " else character for character in self._alphabet.characters]
        return np.array([0, *(self._ngram.vocabulary.get(character, UNKNOWN) for character in written)], np.int32)


def _no_arrays() -> Arrays:
    """Return the arrays of an empty model, read-only as those of all models: the search is compiled for one type."""
    ints, floats = np.zeros(1, np.int32), np.zeros(1, np.float32)
    for array in (ints, floats):
        array.flags.writeable = False
    return Arrays(ints, floats, floats, ints, ints)
