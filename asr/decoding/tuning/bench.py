"""A dev set, heard once, and what settings of a decoder come to on it."""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from itertools import product

from rapidfuzz.distance import Levenshtein

from asr.decoding.decoder import Candidates, Decoder, DecoderSettings, LanguageModels
from asr.decoding.greedy import GreedyDecoder, LogProbs
from asr.parallel import prefetch
from asr.text import Alphabet

BASE = DecoderSettings()


@dataclass(frozen=True)
class Dev:
    """Utterances: their log-probabilities, normalised texts, seconds of audio in all and seconds of a frame."""

    rows: Sequence[LogProbs]
    texts: Sequence[str]
    audio_seconds: float
    seconds_per_frame: float

    @property
    def words(self) -> int:
        """Return the words of all texts."""
        return sum(len(text.split()) for text in self.texts)


@dataclass(frozen=True)
class Trial:
    """What some settings came to: word errors in each utterance, the seconds that decoding took, and the words said."""

    settings: DecoderSettings
    errors: tuple[int, ...]
    seconds: float
    words: int

    @property
    def total(self) -> int:
        """Return the word errors in all."""
        return sum(self.errors)


class Bench:
    """Tries settings on a dev set, each once; `on_trial` is told each."""

    def __init__(
        self, dev: Dev, alphabet: Alphabet, models: LanguageModels, on_trial: Callable[[Trial], None] | None
    ) -> None:
        self._dev = dev
        self._references = [text.split() for text in dev.texts]
        self._tried: dict[tuple[DecoderSettings, int], Trial] = {}
        self._rescores = models.rescorer is not None
        # Remembered scores make trials quick, and their times wrong.
        self._honest = Decoder(alphabet, dev.seconds_per_frame, BASE, models)
        self._decoder = self._honest.with_rescorer_cache()
        self._greedy = GreedyDecoder(alphabet, dev.seconds_per_frame)
        self._on_trial = on_trial
        # The last search whose texts were judged: weights of the judges need no other one.
        self._left: tuple[DecoderSettings, list[Candidates]] | None = None

    def part(self, words: int) -> "Bench":
        """Return a bench for about so many words of the set, evenly picked; itself where there are not many more."""
        step = self._dev.words // words
        if step < 2:
            return self
        rows, texts = self._dev.rows[::step], self._dev.texts[::step]
        other = copy(self)
        other._dev = replace(self._dev, rows=rows, texts=texts)
        other._references = [text.split() for text in texts]
        other._tried, other._left = {}, None
        return other

    def decoder(self, settings: DecoderSettings) -> Decoder:
        """Return the beam decoder with these settings."""
        return self._decoder.with_settings(settings)

    def trial(self, settings: DecoderSettings, threads: int = 0) -> Trial:
        """Try settings, on so many threads (0: one for each core; the seconds then say little)."""
        # What several threads or a remembered search took says nothing of the time that one thread takes.
        if (settings, threads) not in self._tried:
            decoder = self._greedy if settings.greedy else self.decoder(settings)
            begin = time.perf_counter()
            if settings.rescorer_weight and self._rescores and isinstance(decoder, Decoder):
                best = [decoder.rescore(one)[0] for one in self._candidates(settings, threads)]
            else:
                best = [one[0] for one in decoder.decode_batch(self._dev.rows, threads=threads)]
            found = [one.text.split() for one in best]
            seconds = time.perf_counter() - begin
            pairs = zip(self._references, found, strict=True)
            errors = tuple(Levenshtein.distance(reference, one) for reference, one in pairs)
            self._tried[settings, threads] = trial = Trial(settings, errors, seconds, self._dev.words)
            if self._on_trial:
                self._on_trial(trial)
        return self._tried[settings, threads]

    def _candidates(self, settings: DecoderSettings, threads: int) -> list[Candidates]:
        search = replace(settings, rescorer_weight=1.0, rescoring_lm_scale=0.0)
        if self._left is None or self._left[0] != search:
            decoder = self.decoder(search)
            found = prefetch(decoder.search, self._dev.rows, threads or os.cpu_count() or 1)
            self._left = search, list(found)
        return self._left[1]

    def timed(self, trial: Trial) -> Trial:
        """Return a trial with the time that its settings take by themselves."""
        if trial.settings.greedy or not trial.settings.rescorer_weight:
            return trial
        decoder = self._honest.with_settings(trial.settings)
        begin = time.perf_counter()
        for row in self._dev.rows:
            decoder.decode(row)
        return replace(trial, seconds=time.perf_counter() - begin)

    def least(self, tried: Iterable[DecoderSettings]) -> DecoderSettings:
        """Return the settings of the fewest errors, the first of equal ones."""
        return min((self.trial(one) for one in tried), key=lambda one: one.total).settings

    def grid(self, base: DecoderSettings, weights: Sequence[float], bonuses: Sequence[float]) -> list[Trial]:
        """Try weights and bonuses, row by row."""
        changed = (replace(base.weights, lm_weight=one, word_bonus=two) for one, two in product(weights, bonuses))
        return [self.trial(replace(base, weights=one)) for one in changed]
