"""The beam decoder, its settings (decoder.toml) and its language models."""

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import tomli_w

from asr import config, lm
from asr.decoding import beam
from asr.decoding.alignment import AlignmentError, LogProbs
from asr.decoding.beam import BeamSearch, BeamSettings, LmSettings, Scorer
from asr.decoding.confidence import confidences
from asr.decoding.greedy import DecodingError, GreedyDecoder, add_words
from asr.decoding.likelihood import log_likelihoods
from asr.decoding.priors import PriorSettings, corrections
from asr.lm import espeak, pronouncing
from asr.lm.ngram import NgramModel, is_character_model
from asr.lm.recurrent import RnnLm
from asr.parallel.threads import prefetch
from asr.text import BLANK, Alphabet, pronunciations
from asr.text.pronunciations import Pronunciations
from asr.transcripts.records import Hypothesis, Word

# The log-likelihood of characters that do not fit into the frames, as their phonemes may do.
_LEAST = -1e4
# Hypotheses of an utterance that are rescored at least. An oracle gains next to nothing from more.
RESCORED = 100


@dataclass(frozen=True)
class DecoderSettings:
    """The settings of a decoder, as decoder.toml has them.

    `greedy`: decode the best path and ignore all other settings. `lm`: path of the language model of the search.
    `rescorer`: path of a recurrent language model that rescores the hypotheses of the search: `rescorer_weight`
    multiplies its natural log-probabilities, and `rescoring_lm_scale` multiplies the weight of `lm` in the final score.
    `temperature`: of the confidences.

    `pronunciations`: path of a pronouncing dictionary. If the acoustic model outputs phonemes, `lm` is a word n-gram
    model, only its words are allowed and all hotwords have a pronunciation, the search is for words by their phonemes.
    The final acoustic score is then the weighted mean of the phonemes' log-likelihood and, with `character_weight`, the
    characters'.
    """

    greedy: bool = False
    lm: str = ""
    rescorer: str = ""
    rescorer_weight: float = 0.5
    rescoring_lm_scale: float = field(default=1.0, metadata={"old_name": "guide_weight"})
    temperature: float = 1.0
    pronunciations: str = ""
    character_weight: float = 0.5
    search: BeamSettings = BeamSettings()
    weights: LmSettings = LmSettings()
    priors: PriorSettings = PriorSettings()

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature = {self.temperature} is not positive and finite")
        if not 0 <= self.character_weight <= 1:
            raise ValueError(f"character_weight = {self.character_weight} is not between 0 and 1")
        for name in ("rescorer_weight", "rescoring_lm_scale"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} = {getattr(self, name)} is negative or not finite")


# The settings that are paths.
FILES = ("lm", "rescorer", "pronunciations")
GREEDY = DecoderSettings(greedy=True)
BEAM = DecoderSettings()


@dataclass(frozen=True)
class LanguageModels:
    """The language models of a decoder, the score (nats) of each occurrence of a hotword or phrase, pronunciations."""

    lm: NgramModel | RnnLm | None = None
    rescorer: RnnLm | None = None
    hotwords: Mapping[str, float] = field(default_factory=dict)
    pronunciations: Pronunciations | None = None

    @property
    def has_word_ngrams(self) -> bool:
        """Return whether the language model has n-grams of words: the search is fast and words can be unknown."""
        return isinstance(self.lm, NgramModel) and not is_character_model(self.lm)

    @property
    def pronounces_hotwords(self) -> bool:
        """Return whether all words of the hotwords have a pronunciation."""
        return not self.unpronounced

    @property
    def unpronounced(self) -> list[str]:
        """Return the words of the hotwords without a pronunciation."""
        known = self.pronunciations.words if self.pronunciations else {}
        return [word for word in dict.fromkeys(" ".join(self.hotwords).split()) if word not in known]

    def check_spelling(self, alphabet: Alphabet) -> str:
        """Return a warning if the alphabet cannot spell many words of the language model, "" otherwise.

        Raises DecodingError if it can spell none.
        """
        return beam.check_spelling(self.lm, alphabet) if isinstance(self.lm, NgramModel) else ""

    def check_pronunciations(self) -> str:
        """Return a warning if many words of the language model have no pronunciation, "" otherwise."""
        if self.pronunciations is None or not isinstance(self.lm, NgramModel):
            return ""
        return beam.check_pronunciations(self.lm, self.pronunciations.words)


NO_MODELS = LanguageModels()


@dataclass(frozen=True)
class Candidates:
    """The hypotheses of a search, best first, and the natural-log probability of each text by `lm` and the rescorer.

    `characters`: the log-likelihood of its characters, after a search for phonemes. Each is empty if it is not used.
    """

    hypotheses: list[Hypothesis]
    lm: Sequence[float] = ()
    rescorer: Sequence[float] = ()
    characters: Sequence[float] = ()


class Decoder:
    """A beam decoder. `seconds_per_frame` is the distance of the model's output frames; `settings.greedy` is ignored.

    Raises DecodingError if the models, the hotwords or the priors do not fit the alphabet.
    """

    def __init__(
        self,
        alphabet: Alphabet,
        seconds_per_frame: float,
        settings: DecoderSettings = BEAM,
        models: LanguageModels = NO_MODELS,
    ) -> None:
        self.settings = settings
        self._alphabet = alphabet
        self._seconds_per_frame = seconds_per_frame
        self._rescore_texts = models.rescorer.score if models.rescorer else None
        if models.rescorer and models.rescorer.alphabet.characters != alphabet.characters:
            other = models.rescorer.alphabet.characters
            raise DecodingError(f"the rescorer's alphabet is {other!r}, the acoustic model's {alphabet.characters!r}")
        self._models = models
        # By whether the search is for phonemes; those of all decoders that share the models.
        self._scorers: dict[bool, Scorer] = {}
        self._scorer = self._scorer_of(settings)
        self._corrections = corrections(settings.priors, alphabet)

    def with_settings(self, settings: DecoderSettings) -> "Decoder":
        """Return a decoder with other settings that shares the prepared models."""
        other = copy(self)
        other.settings = settings
        other._scorer = self._scorer_of(settings)
        other._corrections = corrections(settings.priors, self._alphabet)
        return other

    def _scorer_of(self, settings: DecoderSettings) -> Scorer:
        """Return a scorer of phonemes if the models have them and the settings allow their search."""
        models, phonemes, weights = self._models, self._alphabet.phonemes, settings.weights
        searched = weights.lexicon_only and models.has_word_ngrams and models.pronounces_hotwords
        pronounced = bool(searched and phonemes and models.pronunciations)
        if pronounced not in self._scorers:
            if phonemes and models.pronunciations and pronounced:
                beam.check_hotwords(models.hotwords, self._alphabet)
                # Words that cannot be spelled could not be aligned with the characters.
                words = beam.spelled(models.pronunciations.words, self._alphabet)
                scorer = Scorer(phonemes, weights, models.lm, models.hotwords, words)
            else:
                scorer = Scorer(self._alphabet, weights, models.lm, models.hotwords)
            self._scorers[pronounced] = scorer
        return self._scorers[pronounced].with_settings(weights)

    def with_rescorer_cache(self) -> "Decoder":
        """Return a decoder that scores each text once with the rescorer, for searches with many settings."""
        score_texts, scores = self._rescore_texts, dict[str, float]()

        def cached(texts: Sequence[str]) -> list[float]:
            new = [text for text in dict.fromkeys(texts) if text not in scores]
            if score_texts and new:
                scores.update(zip(new, score_texts(new), strict=True))
            return [scores[text] for text in texts]

        other = copy(self)
        other._rescore_texts = score_texts and cached
        return other

    def decode(self, log_probs: LogProbs, count: int = 1, words: bool = False) -> list[Hypothesis]:
        """Return at least one and at most `count` hypotheses of (T', V + P), best first.

        With `words` the best one has its words with their times and confidences. Raises DecodingError.
        """
        search = self.begin()
        search.extend(log_probs)
        return self.finish(search, log_probs, count, words)

    def begin(self) -> BeamSearch:
        """Begin to decode log-probabilities that arrive in parts; `finish` ends it."""
        return BeamSearch(self._alphabet, self.settings.search, self._scorer, self.rescores, self._corrections)

    @property
    def rescores(self) -> bool:
        """Return whether the hypotheses of the search are scored again, by a rescorer or by their characters."""
        return bool(self._rescore_texts and self.settings.rescorer_weight) or self._weighs_characters

    @property
    def _weighs_characters(self) -> bool:
        return self._scorer.pronounces and self.settings.character_weight > 0

    def finish(self, search: BeamSearch, log_probs: LogProbs, count: int = 1, words: bool = False) -> list[Hypothesis]:
        """Return the hypotheses of a search of (T', V + P) as `decode` does."""
        hypotheses = self.rescore(self._candidates(search, log_probs, count, words))
        if not words:
            return hypotheses[:count]
        best = self.add_words(hypotheses[0], log_probs)
        pairs = zip(best.words, confidences([best, *hypotheses[1:]], self.settings.temperature), strict=True)
        best = replace(best, words=tuple(replace(word, confidence=value) for word, value in pairs))
        return [best, *hypotheses[1:count]]

    def add_words(self, hypothesis: Hypothesis, log_probs: LogProbs) -> Hypothesis:
        """Return a hypothesis of (T', V + P) with its words, their times in seconds and the acoustic evidence of each.

        The characters of a word that was found by its phonemes are weak evidence: their square root is closest to the
        share of correct words.
        """
        try:
            result = add_words(hypothesis, log_probs, self._alphabet, self._seconds_per_frame)
        except AlignmentError:
            if not self._scorer.pronounces:
                raise
            # There are too few frames for the characters, but not for the phonemes.
            return replace(hypothesis, words=self._spread(hypothesis.text.split(), len(log_probs)))
        if not self._scorer.pronounces:
            return result
        return replace(
            result, words=tuple(replace(word, confidence=math.sqrt(word.confidence)) for word in result.words)
        )

    def _spread(self, words: Sequence[str], frames: int) -> tuple[Word, ...]:
        """Return words of equal duration, and no acoustic evidence of any."""
        step = frames * self._seconds_per_frame / max(len(words), 1)
        return tuple(Word(word, index * step, (index + 1) * step, 0.0) for index, word in enumerate(words))

    def decode_batch(
        self, rows: Iterable[LogProbs], count: int = 1, words: bool = False, threads: int = 0
    ) -> list[list[Hypothesis]]:
        """Decode each (T', V + P) of `rows` as `decode` does, on `threads` threads (0: one for each core)."""
        threads = threads or os.cpu_count() or 1
        if threads == 1:
            return [self.decode(row, count, words) for row in rows]
        return list(prefetch(lambda row: self.decode(row, count, words), rows, threads))

    def search(self, log_probs: LogProbs, count: int = 1, words: bool = False) -> Candidates:
        """Search (T', V + P), and score the texts with all models whose weight is not 0. Raises DecodingError."""
        search = self.begin()
        search.extend(log_probs)
        return self._candidates(search, log_probs, count, words)

    def _candidates(self, search: BeamSearch, log_probs: LogProbs, count: int, words: bool) -> Candidates:
        score_texts = self._rescore_texts if self.settings.rescorer_weight else None
        hypotheses = search.hypotheses(max(count, RESCORED) if self.rescores else None if words else count)
        if not self.rescores:
            return Candidates(hypotheses)
        texts = [hypothesis.text for hypothesis in hypotheses]
        # With a scale of 1 the score of the search already has the language model's part.
        scores = [0.0] * len(texts) if self.settings.rescoring_lm_scale == 1 else self._scorer.log_probs(texts)
        rescorer = score_texts(texts) if score_texts else [0.0] * len(texts)
        characters: list[float] = []
        if self._weighs_characters:
            tokens = [ids[ids != BLANK].tolist() for ids in map(self._alphabet.ids, texts)]
            corrected = log_probs if self._corrections is None else log_probs + self._corrections
            characters = log_likelihoods(self._alphabet.characters_of(corrected), tokens)
        return Candidates(hypotheses, scores, rescorer, characters)

    def rescore(self, candidates: Candidates) -> list[Hypothesis]:
        """Return the hypotheses with the scores of the other models added, best first."""
        rows = candidates.hypotheses
        if not candidates.lm:
            return rows
        settings = self.settings
        change = (settings.rescoring_lm_scale - 1) * settings.weights.lm_weight
        scores = zip(candidates.lm, candidates.rescorer, strict=True)
        added = [change * lm_score + settings.rescorer_weight * rescorer_score for lm_score, rescorer_score in scores]
        rescored = [replace(row, lm_score=row.lm_score + more) for row, more in zip(rows, added, strict=True)]
        if candidates.characters:
            share = settings.character_weight
            rescored = [
                replace(row, acoustic_score=(1 - share) * row.acoustic_score + share * max(score, _LEAST))
                for row, score in zip(rescored, candidates.characters, strict=True)
            ]
        return sorted(rescored, key=lambda hypothesis: -hypothesis.score)


@dataclass(frozen=True)
class DecoderConfig:
    """The settings and language models of a decoder for any acoustic model."""

    settings: DecoderSettings = GREEDY
    models: LanguageModels = NO_MODELS

    def build(self, alphabet: Alphabet, seconds_per_frame: float) -> GreedyDecoder | Decoder:
        """Return the decoder for an acoustic model. Raises DecodingError if the language models do not fit it."""
        if self.settings.greedy:
            return GreedyDecoder(alphabet, seconds_per_frame)
        return Decoder(alphabet, seconds_per_frame, self.settings, self.models)


def read_decoder(path: str | Path) -> DecoderConfig:
    """Read decoder.toml and the language models that it names. Raises ConfigError and LmError."""
    settings = read_settings(path)
    return DecoderConfig(settings, open_models(settings))


def read_settings(path: str | Path, overrides: Sequence[str] = ()) -> DecoderSettings:
    """Read decoder.toml; paths in it are relative to its folder. Raises ConfigError."""
    settings = config.read(path, DecoderSettings, overrides)
    folder = Path(path).parent
    lm_path, rescorer, dictionary = (
        os.path.normpath(folder / name) if name else ""
        for name in (settings.lm, settings.rescorer, settings.pronunciations)
    )
    return replace(settings, lm=lm_path, rescorer=rescorer, pronunciations=dictionary)


def settings_from_card(card: Mapping[str, Any]) -> DecoderSettings | None:
    """Return the decoder settings in a model file's card, or None if it has none. Raises DecodingError."""
    if "decoder" not in card:
        return None
    if not isinstance(card["decoder"], Mapping):
        raise DecodingError("the model's card: decoder is not a section")
    try:
        return config.from_dict(DecoderSettings, card["decoder"])
    except config.ConfigError as error:
        raise DecodingError(f"the model's card: decoder: {error}") from error


def to_toml(settings: DecoderSettings, folder: Path | None) -> str:
    """Return decoder.toml for `folder`, with the paths of language models relative to it; None: absolute paths.

    Raises DecodingError for a path that is not UTF-8.
    """
    values = config.to_dict(settings)
    for name in FILES:
        if values[name]:
            values[name] = os.path.relpath(values[name], folder) if folder else str(Path(values[name]).resolve())
        try:
            values[name].encode()
        except UnicodeEncodeError as error:
            raise DecodingError(f"{values[name]!r}: the path is not UTF-8, which TOML needs; rename it") from error
    return tomli_w.dumps(values)


def open_models(
    settings: DecoderSettings,
    hotwords: Mapping[str, float] = NO_MODELS.hotwords,
    on_build: Callable[[Path], None] | None = None,
) -> LanguageModels:
    """Open the language models that the settings name; `on_build` as in `lm.load`. Raises LmError."""
    if settings.greedy:
        return NO_MODELS
    model = lm.load(settings.lm, on_build) if settings.lm else None
    if isinstance(model, RnnLm) and model.vocabulary:
        raise lm.LmError(
            f"{settings.lm}: a recurrent model of words scores whole texts only; give it as the rescorer (--rescorer)"
        )
    rescorer = lm.load(settings.rescorer, on_build) if settings.rescorer else None
    if isinstance(rescorer, NgramModel):
        raise lm.LmError(f"{settings.rescorer}: an n-gram model; the rescorer must be a recurrent language model")
    dictionary = None
    if settings.pronunciations:
        dictionary = pronunciations.read(settings.pronunciations, "none")
        # CMUdict is in small letters, language models mostly in capitals.
        if isinstance(model, NgramModel) and 2 * _shared(model, dictionary) < len(beam.sample(model.words)):
            capitals = pronunciations.read(settings.pronunciations)
            dictionary = max(dictionary, capitals, key=lambda each: _shared(model, each))
    models = LanguageModels(model, rescorer, hotwords, dictionary)
    return replace(models, pronunciations=_with_hotwords(dictionary, models.unpronounced)) if dictionary else models


def _shared(model: NgramModel, dictionary: Pronunciations) -> int:
    """Return how many words of a language model, of at most a few thousand, are in a dictionary."""
    return sum(word in dictionary.words for word in beam.sample(model.words))


def _with_hotwords(dictionary: Pronunciations, words: Sequence[str]) -> Pronunciations:
    """Return a dictionary with more words: possessives by their words, others by espeak-ng if it is installed.

    Words are left out if they have phonemes that the dictionary does not have. espeak-ng pronounces English words, so
    that it is not asked if the phonemes are not those of English.
    """
    if not words:
        return dictionary
    found = pronouncing.look_up(words, [dictionary])
    more = found.words
    phonemes = set(dictionary.phonemes)
    if found.missing and espeak.is_installed() and phonemes.issubset(pronunciations.ARPABET.values()):
        more |= espeak.pronounce(found.missing, "en-us")
    usable = {word: several for word, several in more.items() if phonemes.issuperset("".join(several))}
    return Pronunciations({**dictionary.words, **usable})


def uses_compiled_search(settings: DecoderSettings, frames: float) -> bool:
    """Return whether decoding so many frames uses the compiled search, rather than none or the interpreter."""
    recurrent = settings.lm.endswith(".safetensors")
    return not settings.greedy and (
        beam.search_is_compiled() or recurrent or beam.compiling_pays(frames, settings.search.beam_width)
    )
