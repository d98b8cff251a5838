"""What is known of a text before it is heard: a language model and hotwords, made ready for an alphabet."""

import math
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np

from asr.decoding.beam import hotwords, lexicon
from asr.decoding.beam.compiling import Ints, Rows
from asr.decoding.beam.fusion import Guide, Scales
from asr.decoding.beam.lexicon import UNKNOWN
from asr.decoding.greedy import DecodingError
from asr.lm.compiling import interpreted
from asr.lm.ngram import END, UNKNOWN_LOG_PROB, Arrays, NgramModel, advance, is_character_model
from asr.lm.ngram import SPACE as VISIBLE_SPACE
from asr.lm.recurrent import RnnLm
from asr.text import Alphabet

NONE: Mapping[str, float] = MappingProxyType({})
_advance = interpreted(advance)


@dataclass(frozen=True)
class LmSettings:
    """How much a language model counts.

    `lm_weight` multiplies its natural log-probabilities; `word_bonus` is added for each word. Of a word n-gram model:
    `unknown_score` is added for each word that it does not have, beside its own score for it; `lexicon_only`: no other
    words at all.
    """

    lm_weight: float = 0.5
    word_bonus: float = 0.0
    unknown_score: float = -5.0
    lexicon_only: bool = False

    def __post_init__(self) -> None:
        for name in ("lm_weight", "word_bonus", "unknown_score"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name} = {getattr(self, name)} is no number")
        if self.lm_weight < 0:
            raise ValueError(f"lm_weight = {self.lm_weight} is not 0 or more")


class Prior:
    """A language model and hotwords, ready for a search. `network`: the model if it is a recurrent one.

    `lm` is a word or character n-gram model or a recurrent one; `hot`: how many nats each occurrence of a word or
    phrase adds, whether or not the language model has it. Raises DecodingError where the alphabet cannot say them.
    """

    def __init__(
        self,
        alphabet: Alphabet,
        settings: LmSettings = LmSettings(),
        lm: NgramModel | RnnLm | None = None,
        hot: Mapping[str, float] = NONE,
    ) -> None:
        self.settings = settings
        self.network = lm if isinstance(lm, RnnLm) else None
        self._ngram = lm if isinstance(lm, NgramModel) else None
        self._alphabet = alphabet
        self._space = alphabet.encode(" ")[0] if " " in alphabet.characters else -1
        self._hotwords = hotwords.build(hot, alphabet)
        self._hot = tuple(hot)
        self._by_letters = self._ngram is not None and is_character_model(self._ngram)
        characters = alphabet.characters
        if self._ngram and not self._by_letters and self._space < 0:
            raise DecodingError(f"the alphabet {characters!r} has no space: there are no words for the language model")
        if self.network and self.network.alphabet.characters != characters:
            other = self.network.alphabet.characters
            raise DecodingError(f"the language model's alphabet is {other!r}, the acoustic model's {characters!r}")

    def having(self, settings: LmSettings) -> "Prior":
        """Return the same models with other settings, quickly."""
        # What is costly is made before the copy, so that both have it.
        _ = self._lexicon, self._ids
        other = copy(self)
        other.settings = settings
        other.__dict__.pop("guide", None)
        return other

    def log_probs(self, texts: Sequence[str]) -> list[float]:
        """Return the natural-log probability of each text, its end included, by the language model; 0 without one."""
        if self.network:
            return self.network.score(texts)
        if self._ngram is None:
            return [0.0] * len(texts)
        model, floor = self._ngram, self._floor
        # Texts of one utterance have most of their n-grams in common, which is why the interpreter is quick enough.
        known: dict[tuple[int, int], tuple[float, int]] = {}
        found = []
        for text in texts:
            state, total = model.begin_state, 0.0
            words = list(text.replace(" ", VISIBLE_SPACE)) if self._by_letters else text.split()
            for word in model.ids([*words, END]).tolist():
                if (state, word) not in known:
                    known[state, word] = _advance(model.arrays, state, word)
                log_prob, state = known[state, word]
                total += max(float(log_prob), floor) if word == UNKNOWN else float(log_prob)
            found.append(total)
        return found

    @cached_property
    def guide(self) -> Guide:
        """Return what the compiled search takes."""
        arrays = self._ngram.arrays if self._ngram else _no_arrays()
        rows = np.zeros((1, len(self._alphabet)), np.float32)
        return Guide(self._scales(), arrays, self._lexicon, self._ids, rows, self._hotwords)

    def _scales(self) -> Scales:
        settings, model = self.settings, self._ngram
        words, letters = model is not None and not self._by_letters, self._by_letters
        unknown = -math.inf if settings.lexicon_only else float(settings.unknown_score)
        alone = max(float(model.arrays.log_probs[1 + UNKNOWN]), self._floor) if model else 0.0
        hot, bonus = self._hotwords, float(settings.word_bonus)
        return Scales(
            space=self._space,
            bonus=bonus,
            words=words,
            letters=letters,
            network=self.network is not None,
            hot=bool(self._hot),
            weight=float(settings.lm_weight),
            unknown=unknown,
            floor=self._floor,
            stranger=float(settings.lm_weight * alone + unknown),
            begin=model.begin_state if model else 0,
            end=model.vocabulary[END] if model else 0,
            rise=max(bonus, 0.0) + max(float(settings.unknown_score), 0.0) + float((hot.gain + hot.promise).max()),
        )

    @cached_property
    def _floor(self) -> float:
        """Return the least that a word comes to; a model without <unk> would rule out what it does not have."""
        model = self._ngram
        if model is None or model.arrays.log_probs[1 + UNKNOWN] > UNKNOWN_LOG_PROB + 1:
            return -math.inf
        known = np.array([number for word, number in model.vocabulary.items() if word[:1] != "<"], np.int64)
        return float(model.unigram_log_probs(known).min(initial=0.0))

    @cached_property
    def _lexicon(self) -> Rows:
        if self._ngram is None or self._by_letters:
            return lexicon.nothing()
        more = [word for phrase in self._hot for word in phrase.split()]
        return lexicon.build(self._ngram, self._alphabet, more, self._floor)

    @cached_property
    def _ids(self) -> Ints:
        """Return a character model's ids of the tokens."""
        if self._ngram is None or not self._by_letters:
            return np.zeros(1, np.int32)
        shown = [VISIBLE_SPACE if one == " " else one for one in self._alphabet.characters]
        return np.array([0, *(self._ngram.vocabulary.get(one, UNKNOWN) for one in shown)], np.int32)


def _no_arrays() -> Arrays:
    """Return the arrays of no model, read-only as all are: the search is compiled for one type."""
    ints, floats = np.zeros(1, np.int32), np.zeros(1, np.float32)
    for array in (ints, floats):
        array.flags.writeable = False
    return Arrays(ints, floats, floats, ints, ints)
