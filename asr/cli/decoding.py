"""The options that choose a decoder and its settings."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asr.cli.options import FILE, Float, FloatRange, bundle
from asr.cli.progress import Display

if TYPE_CHECKING:
    from asr.cluster import ModelSpec
    from asr.decoding.decoder import DecoderSettings, LanguageModels
    from asr.recognition import Recognizer
    from asr.text import Alphabet

# Nats for each occurrence of a hotword without a weight of its own.
HOTWORD_WEIGHT = 8.0


@dataclass(frozen=True)
class DecodingOptions:
    """The decoding options of a command. None: as in the decoder's file or the model's card.

    `bundled`: the decoder's file of a model that was given by name, used if no other file is given.
    """

    decoder: Path | None = None
    beam_width: int | None = None
    lm: Path | None = None
    lm_weight: float | None = None
    word_bonus: float | None = None
    hotwords: tuple[tuple[str, float], ...] = ()
    rescorer: Path | None = None
    rescorer_weight: float | None = None
    pronunciations: Path | None = None
    known_words: bool | None = None
    greedy: bool = False
    bundled: Path | None = None

    @property
    def is_default(self) -> bool:
        """Return whether no option was given."""
        return self == DecodingOptions(bundled=self.bundled)

    @property
    def file(self) -> Path | None:
        """Return the decoder's file, or None."""
        return self.decoder or self.bundled

    def apply(
        self, recognizer: "Recognizer", display: Display, count: int = 1, seconds: float = math.inf
    ) -> tuple["Recognizer", str]:
        """Return the recogniser with the chosen decoder, and a description of it.

        If decoding `seconds` of audio uses the compiled search, it is compiled first. Without options the decoder is
        that of the model's card, or greedy if that needs language models. `count` hypotheses need a search.
        """
        if self.greedy and count > 1:
            raise click.UsageError("--nbest needs a beam search; leave out --greedy")
        if self._is_greedy(recognizer.card, count):
            # Without importing the search and its compiler.
            return recognizer, "greedy"
        from asr.decoding import decoder

        settings = self._settings(recognizer.card, count)
        if settings.greedy and count > 1:
            raise click.UsageError(f"--nbest needs a beam search, but {self.file} has greedy = true")
        if settings.greedy:
            return recognizer, "greedy"
        models = open_models(settings, display, recognizer.settings.alphabet, self._normalised(recognizer))
        if self.known_words and not models.has_word_ngrams:
            raise click.UsageError("--known-words needs an n-gram model of words: --lm FILE")
        if self.pronunciations:
            self._check_pronunciations(recognizer, settings, models)
        elif self._misses_pronunciations(recognizer, settings, models):
            display.say(
                f"no pronunciation of {_listed(models.unpronounced)}, of --hotword: the search is by characters and "
                f"makes more errors{_espeak_hint()}",
                always=True,
            )
        recognizer = recognizer.with_decoder(decoder.DecoderConfig(settings, models))
        if decoder.uses_compiled_search(settings, seconds / recognizer.settings.seconds_per_frame):
            compile_search(display)
        return recognizer, describe(settings)

    @staticmethod
    def _misses_pronunciations(recognizer: "Recognizer", settings: "DecoderSettings", models: "LanguageModels") -> bool:
        searches_phonemes = recognizer.settings.alphabet.phonemes and models.pronunciations
        return bool(searches_phonemes and settings.weights.lexicon_only and models.unpronounced)

    def _check_pronunciations(
        self, recognizer: "Recognizer", settings: "DecoderSettings", models: "LanguageModels"
    ) -> None:
        """Raise UsageError if a dictionary was given that the search would not use."""
        reason = ""
        if not recognizer.settings.alphabet.phonemes:
            reason = "needs a model that outputs phonemes: asr train --pronunciations"
        elif not models.has_word_ngrams:
            reason = "needs an n-gram model of words: --lm FILE"
        elif not settings.weights.lexicon_only:
            reason = "needs --known-words"
        elif not models.pronounces_hotwords:
            reason = f"does not have {_listed(models.unpronounced)}, of --hotword; add each{_espeak_hint()}"
        if reason:
            raise click.UsageError(f"--pronunciations {reason}")

    def model_spec(self, recognizer: "Recognizer", model: Path, device: str, count: int, seconds: float) -> "ModelSpec":
        """Return what the nodes of a cluster load to decode `seconds` of audio as `apply` says."""
        from asr.cluster import model_spec

        if self._is_greedy(recognizer.card, count):
            return model_spec(model, device)
        from asr.decoding import decoder

        settings = self._settings(recognizer.card, count)
        if settings.greedy:
            return model_spec(model, device)
        compiled = decoder.uses_compiled_search(settings, seconds / recognizer.settings.seconds_per_frame)
        return model_spec(model, device, settings, tuple(self._normalised(recognizer).items()), compiled)

    def _is_greedy(self, card: Mapping[str, Any], count: int) -> bool:
        return self.greedy or (self.is_default and count == 1 and not self.bundled and "decoder" not in card)

    def _normalised(self, recognizer: "Recognizer") -> dict[str, float]:
        from asr.text.normalisers import normalise

        normaliser = recognizer.settings.text.normaliser
        return {normalise(phrase, normaliser): weight for phrase, weight in self.hotwords}

    def _settings(self, card: Mapping[str, Any], count: int) -> "DecoderSettings":
        from asr.decoding import decoder
        from asr.decoding.beam import LmSettings
        from asr.decoding.priors import PriorSettings

        if self.file:
            settings = decoder.read_settings(self.file)
        else:
            settings = decoder.settings_from_card(card) or decoder.GREEDY
            # The language models of the card are not at hand.
            if self.is_default and (settings.lm or settings.rescorer or settings.pronunciations):
                settings = decoder.GREEDY
            # Weights and priors that were tuned with a language model do not fit without one.
            if settings.lm and not self.lm:
                settings = replace(settings, weights=LmSettings(), priors=PriorSettings())
            settings = replace(settings, lm="", rescorer="", pronunciations="")
        only_file = self.file and replace(self, decoder=None).is_default
        if not only_file and (not self.is_default or count > 1):
            settings = replace(settings, greedy=False)
        if self.lm:
            # The rescorer and its weights were tuned with another language model, whose words are in the dictionary.
            settings = replace(settings, lm=str(self.lm), rescorer="", rescoring_lm_scale=1.0, pronunciations="")
        if self.pronunciations:
            settings = replace(settings, pronunciations=str(self.pronunciations))
        if self.rescorer:
            settings = replace(settings, rescorer=str(self.rescorer))
        if self.pronunciations and not settings.lm:
            raise click.UsageError("--pronunciations needs a language model: --lm FILE")
        if self.lm_weight is not None and not settings.lm:
            raise click.UsageError("--lm-weight needs a language model: --lm FILE")
        if self.rescorer_weight is not None and not settings.rescorer:
            raise click.UsageError("--rescorer-weight needs a recurrent language model: --rescorer FILE")
        weights = _given(lm_weight=self.lm_weight, word_bonus=self.word_bonus, lexicon_only=self.known_words)
        return replace(
            settings,
            search=replace(settings.search, **_given(beam_width=self.beam_width)),
            weights=replace(settings.weights, **weights),
            **_given(rescorer_weight=self.rescorer_weight),
        )


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def open_models(
    settings: "DecoderSettings", display: Display, alphabet: "Alphabet", hotwords: Mapping[str, float] = {}
) -> "LanguageModels":
    """Open the language models that the settings name.

    Show a message if a compact form of one is written, and a warning if the alphabet cannot spell many of its words.
    """
    from asr.decoding import decoder
    from asr.decoding.greedy import DecodingError

    models = decoder.open_models(
        settings, hotwords, lambda path: display.say(f"writing {path}, a form of the language model that loads faster")
    )
    try:
        warning = models.check_spelling(alphabet)
    except DecodingError as error:
        raise DecodingError(f"{settings.lm}: {error}") from error
    if warning:
        display.say(f"{settings.lm}: {warning}", always=True)
    if alphabet.phonemes and settings.weights.lexicon_only and (warning := models.check_pronunciations()):
        display.say(f"{settings.pronunciations}: {warning}", always=True)
    return models


def _espeak_hint() -> str:
    from asr.lm import espeak

    return "" if espeak.is_installed() else "; pip install 'asr[tts]', whose espeak-ng pronounces most words"


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words[:3]) + (", …" if len(words) > 3 else "")


def compile_search(display: Display) -> None:
    """Compile the beam search or load it from the cache; show a message if it is compiled, unless --quiet is given."""
    from asr.decoding import beam

    if not beam.search_is_compiled():
        # A display is quiet without --quiet too, where the text itself goes to the terminal.
        quiet = click.get_current_context().params.get("quiet", False)
        message = "compiling the beam search, once per machine; this takes about half a minute"
        if not beam.caches():
            message = (
                "compiling the beam search, about half a minute in each run: no cache folder can be written to; "
                "set NUMBA_CACHE_DIR to one"
            )
        display.say(message, always=not quiet)
    beam.compile_search()


def _hotword(value: str) -> tuple[str, float]:
    """Return the phrase and the weight of PHRASE[:WEIGHT]."""
    phrase, colon, weight = value.rpartition(":")
    if not colon:
        return value, HOTWORD_WEIGHT
    try:
        return phrase, float(weight)
    except ValueError:
        message = f"--hotword {value!r}: the weight {weight!r} is not a number; write PHRASE:WEIGHT, such as {phrase}:8"
        raise click.UsageError(message) from None


def decoding(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of DecodingOptions to a command, which receives them as the parameter `decoding`."""

    @click.option("--decoder", type=FILE, help="Decoder settings written by asr tune.")
    @click.option("--greedy", is_flag=True, help="Use greedy decoding, without beam search and language models.")
    @click.option(
        "--beam-width",
        type=click.IntRange(1, 1_000_000),
        metavar="N",
        help="Number of hypotheses that the beam search keeps.",
    )
    @click.option("--lm", type=FILE, help="A language model: .arpa, .arpa.gz, or a model from asr lm train.")
    @click.option("--lm-weight", type=FloatRange(min=0), metavar="X", help="Weight of the language model.")
    @click.option("--word-bonus", type=Float(), metavar="X", help="Word insertion bonus, in nats.")
    @click.option(
        "--hotword",
        "hotwords",
        multiple=True,
        metavar="PHRASE[:WEIGHT]",
        help="A word or phrase that is likely to occur, with an optional score in nats "
        f"(default {HOTWORD_WEIGHT:g}). May be repeated.",
    )
    @click.option("--rescorer", type=FILE, help="A recurrent language model that rescores the hypotheses.")
    @click.option("--rescorer-weight", type=FloatRange(min=0), metavar="X", help="Weight of the rescorer.")
    @click.option(
        "--pronunciations",
        type=FILE,
        help="A pronouncing dictionary of the words of --lm, for a model that outputs phonemes.",
    )
    @click.option(
        "--known-words/--any-word",
        default=None,
        help="Allow only words of the language model and hotwords, or any word.  [default: as in the settings]",
    )
    @wraps(command)
    def wrapper(**values: Any) -> Any:
        given = {field.name: values.pop(field.name) for field in fields(DecodingOptions) if field.name in values}
        options = DecodingOptions(**given | {"hotwords": tuple(map(_hotword, given["hotwords"]))})
        if options.greedy and not replace(options, greedy=False).is_default:
            raise click.UsageError("--greedy cannot be used with other decoder options")
        # The option of the model is parsed by now.
        if (named := bundle()) and not options.greedy:
            options = replace(options, bundled=named.decoder)
        return command(**values, decoding=options)

    return wrapper


def describe(settings: "DecoderSettings") -> str:
    """Return a short description of a decoder."""
    if settings.greedy:
        return "greedy"
    parts = [f"beam {settings.search.beam_width}"]
    weights = settings.weights
    if settings.lm:
        parts.append(f"{settings.lm}, weight {weights.lm_weight:g}, unknown words {weights.unknown_score:g}")
    if settings.priors.scale:
        parts.append(f"scale of the priors {settings.priors.scale:g}")
    if weights.word_bonus:
        parts.append(f"word bonus {weights.word_bonus:g}")
    if weights.lexicon_only:
        parts.append("words of the model only")
    if settings.rescorer:
        parts.append(f"rescored by {settings.rescorer}, weight {settings.rescorer_weight:g}")
    if settings.pronunciations:
        parts.append(f"pronunciations {settings.pronunciations}, weight of characters {settings.character_weight:g}")
    return ", ".join(parts)
