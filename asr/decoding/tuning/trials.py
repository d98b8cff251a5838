"""Trials of decoder settings on the log-probabilities of a dev set."""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from itertools import product

from rapidfuzz.distance import Levenshtein

from asr.decoding.alignment import LogProbs
from asr.decoding.decoder import NO_MODELS, Candidates, Decoder, DecoderSettings, LanguageModels
from asr.decoding.greedy import GreedyDecoder
from asr.parallel.threads import prefetch
from asr.text import Alphabet

OnTrial = Callable[["Trial"], None]
# Tries settings on a dev set elsewhere, such as on a cluster; each trial with one thread.
Compute = Callable[["DevSet", Sequence[DecoderSettings]], "Sequence[Trial]"]


@dataclass(frozen=True)
class DevSet:
    """The log-probabilities (T', V) and normalised texts of utterances, and the total seconds of their audio."""

    rows: Sequence[LogProbs]
    texts: Sequence[str]
    audio_seconds: float
    seconds_per_frame: float

    @property
    def words(self) -> int:
        """Return the number of words."""
        return sum(len(text.split()) for text in self.texts)


@dataclass(frozen=True)
class Trial:
    """The result of settings: word errors of each utterance, seconds of decoding, and words of the references."""

    settings: DecoderSettings
    errors: tuple[int, ...]
    seconds: float
    words: int

    @property
    def total_errors(self) -> int:
        """Return the word errors of all utterances."""
        return sum(self.errors)


class TrialRunner:
    """Runs trials on a dev set, each once, here or with `compute`. `on_trial` is called with each new trial."""

    def __init__(
        self,
        dev: DevSet,
        alphabet: Alphabet,
        models: LanguageModels = NO_MODELS,
        on_trial: OnTrial | None = None,
        compute: Compute | None = None,
    ) -> None:
        self.dev, self.alphabet, self.models = dev, alphabet, models
        self._compute = compute
        self._trials: dict[tuple[DecoderSettings, int], Trial] = {}
        # Cached scores make trials fast and their times wrong.
        self._uncached = Decoder(alphabet, dev.seconds_per_frame, models=models)
        self._decoder = self._uncached.with_rescorer_cache()
        self._greedy = GreedyDecoder(alphabet, dev.seconds_per_frame)
        self._on_trial = on_trial
        # The last search whose hypotheses were rescored: other weights of the rescorer need no new search.
        self._last_search: tuple[DecoderSettings, list[Candidates]] | None = None

    def subset(self, words: int) -> "TrialRunner":
        """Return a runner for about so many words of the set, evenly picked; itself if the set has not many more."""
        step = self.dev.words // words
        if step < 2:
            return self
        other = copy(self)
        other.dev = replace(self.dev, rows=self.dev.rows[::step], texts=self.dev.texts[::step])
        other._trials, other._last_search = {}, None
        return other

    def decoder(self, settings: DecoderSettings) -> Decoder:
        """Return the beam decoder with these settings."""
        return self._decoder.with_settings(settings)

    def run(self, settings: DecoderSettings, threads: int = 0) -> Trial:
        """Try settings on `threads` threads (0: one for each core). Only with one thread the seconds are comparable."""
        return self.run_all([settings], threads)[0]

    def run_all(self, settings: Iterable[DecoderSettings], threads: int = 0) -> list[Trial]:
        """Try several settings. Only with one thread the seconds are comparable."""
        wanted = list(settings)
        missing = [one for one in dict.fromkeys(wanted) if (one, threads) not in self._trials]
        compute = self._compute if missing else None
        for trial in compute(self.dev, missing) if compute else (self._try(one, threads) for one in missing):
            self._trials[trial.settings, threads] = trial
            if self._on_trial:
                self._on_trial(trial)
        return [self._trials[one, threads] for one in wanted]

    def _try(self, settings: DecoderSettings, threads: int) -> Trial:
        decoder = self._greedy if settings.greedy else self.decoder(settings)
        begin = time.perf_counter()
        if isinstance(decoder, Decoder) and decoder.rescores:
            best = [decoder.rescore(candidates)[0] for candidates in self._candidates(settings, threads)]
        else:
            best = [hypotheses[0] for hypotheses in decoder.decode_batch(self.dev.rows, threads=threads)]
        seconds = time.perf_counter() - begin
        pairs = zip(self.dev.texts, best, strict=True)
        errors = tuple(Levenshtein.distance(text.split(), hypothesis.text.split()) for text, hypothesis in pairs)
        return Trial(settings, errors, seconds, self.dev.words)

    def _candidates(self, settings: DecoderSettings, threads: int) -> list[Candidates]:
        search = replace(settings, rescorer_weight=1.0, rescoring_lm_scale=0.0, character_weight=1.0)
        if self._last_search is None or self._last_search[0] != search:
            found = prefetch(self.decoder(search).search, self.dev.rows, threads or os.cpu_count() or 1)
            self._last_search = search, list(found)
        return self._last_search[1]

    def timed(self, trial: Trial) -> Trial:
        """Return a trial with the time that its settings take without cached scores."""
        decoder = self._uncached.with_settings(trial.settings)
        if trial.settings.greedy or not decoder.rescores:
            return trial
        begin = time.perf_counter()
        decoder.decode_batch(self.dev.rows, threads=1)
        return replace(trial, seconds=time.perf_counter() - begin)

    def best(self, settings: Iterable[DecoderSettings]) -> DecoderSettings:
        """Return the settings with the fewest errors, the first of equal ones."""
        return min(self.run_all(settings), key=lambda trial: trial.total_errors).settings

    def grid(self, base: DecoderSettings, weights: Sequence[float], bonuses: Sequence[float]) -> list[Trial]:
        """Try all pairs of an LM weight and a word insertion bonus, row by row of one weight."""
        pairs = product(weights, bonuses)
        return self.run_all(with_weights(base, lm_weight=weight, word_bonus=bonus) for weight, bonus in pairs)


def with_weights(settings: DecoderSettings, **changes: float) -> DecoderSettings:
    """Return the settings with some of the LmSettings changed."""
    return replace(settings, weights=replace(settings.weights, **changes))  # type: ignore[arg-type]
