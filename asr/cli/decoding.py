"""The options that say how log-probabilities become text."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asr.cli.options import FILE, bundle
from asr.cli.progress import Display

if TYPE_CHECKING:
    from asr.decoding.decoder import DecoderSettings
    from asr.recognition import Recognizer

# Nats for each occurrence of a hotword that says no weight of its own.
HOTWORD_WEIGHT = 8.0


@dataclass(frozen=True)
class Decoding:
    """What was asked for; None where the model's or the file's own settings hold.

    `brought`: the settings of a model that was given by name, which hold where no other file is given.
    """

    decoder: Path | None
    beam_width: int | None
    lm: Path | None
    lm_weight: float | None
    word_bonus: float | None
    hotwords: tuple[tuple[str, float], ...]
    rescorer: Path | None
    rescorer_weight: float | None
    known_words: bool | None
    greedy: bool
    brought: Path | None = None

    @property
    def nothing(self) -> bool:
        """Say whether nothing was asked for."""
        return self == Decoding(None, None, None, None, None, (), None, None, None, False, self.brought)

    @property
    def file(self) -> Path | None:
        """Return the file whose settings hold, if there is one."""
        return self.decoder or self.brought

    def equip(
        self, recognizer: "Recognizer", display: Display, count: int = 1, seconds: float = math.inf
    ) -> tuple["Recognizer", str]:
        """Return the recogniser with the decoder that was asked for, and what that is in words.

        Its search is compiled where so many `seconds` of audio are worth it.

        Without any wish it is what the model file brings, where that needs no other file, else the greedy one; `count`
        alternatives wish for a search.
        """
        if self.greedy or (self.nothing and count == 1 and not self.brought and "decoder" not in recognizer.card):
            # The search and its compiler are not even imported.
            return recognizer, "greedy"
        from asr.decoding import decoder
        from asr.text import normalise

        settings = self._settings(recognizer, count)
        if settings.greedy:
            return recognizer, "greedy"
        normaliser = recognizer.settings.text.normaliser
        hot = {normalise(phrase, normaliser): weight for phrase, weight in self.hotwords}
        models = decoder.open_models(settings, hot, lambda path: tell_built(display, path))
        if self.known_words and not models.has_word_ngrams:
            raise click.UsageError("--known-words needs an n-gram model of words: --lm FILE")
        made = recognizer.with_decoder(decoder.DecoderConfig(settings, models))
        if decoder.uses_compiled_search(settings, seconds / recognizer.settings.seconds_per_frame):
            compile_search(display)
        return made, described(settings)

    def _settings(self, recognizer: "Recognizer", count: int) -> "DecoderSettings":
        from asr.decoding import decoder
        from asr.decoding.beam import LmSettings

        if self.file:
            base = decoder.read_settings(self.file)
        else:
            base = decoder.settings_from_card(recognizer.card) or decoder.GREEDY
            # The file beside which it was tuned need not be here.
            if self.nothing and (base.lm or base.rescorer):
                base = decoder.GREEDY
            # Weights that were tuned for a language model are of no use without one.
            if base.lm and not self.lm:
                base = replace(base, weights=LmSettings())
            base = replace(base, lm="", rescorer="")
        if not (self.file and self.nothing_else) and (not self.nothing or count > 1):
            base = replace(base, greedy=False)
        if self.lm:
            # How much a rescorer counts was found beside another model, of which it may leave a fifth.
            base = replace(base, lm=str(self.lm), rescorer="", rescoring_lm_scale=1.0)
        if self.rescorer:
            base = replace(base, rescorer=str(self.rescorer))
        if self.lm_weight is not None and not base.lm:
            raise click.UsageError("--lm-weight needs a language model: --lm FILE")
        if self.rescorer_weight is not None and not base.rescorer:
            raise click.UsageError("--rescorer-weight needs a recurrent language model: --rescorer FILE")
        return self._changed(base)

    @property
    def nothing_else(self) -> bool:
        """Say whether nothing but the decoder's file was asked for."""
        return replace(self, decoder=None).nothing

    def _changed(self, base: "DecoderSettings") -> "DecoderSettings":
        if self.beam_width is not None:
            base = replace(base, search=replace(base.search, beam_width=self.beam_width))
        if self.lm_weight is not None:
            base = replace(base, weights=replace(base.weights, lm_weight=self.lm_weight))
        if self.word_bonus is not None:
            base = replace(base, weights=replace(base.weights, word_bonus=self.word_bonus))
        if self.known_words is not None:
            base = replace(base, weights=replace(base.weights, lexicon_only=self.known_words))
        if self.rescorer_weight is not None:
            base = replace(base, rescorer_weight=self.rescorer_weight)
        return base


def tell_built(display: Display, path: Path) -> None:
    """Say that the compact form of a language model is being made."""
    display.say(f"making {path}, which is read in place of the ARPA from now on")


def compile_search(display: Display) -> None:
    """Compile the beam search or load it from the cache; show a message if it is compiled, unless --quiet is given."""
    from asr.decoding import beam

    if not beam.search_is_compiled():
        # A display can be quiet without --quiet, when the text itself goes to the terminal.
        quiet = click.get_current_context().params.get("quiet", False)
        display.say("compiling the beam search for this machine, once: about half a minute", always=not quiet)
    beam.compile_search()


def _hotword(given: str) -> tuple[str, float]:
    """Return the phrase and the weight of PHRASE[:WEIGHT]."""
    phrase, colon, weight = given.rpartition(":")
    if not colon:
        return given, HOTWORD_WEIGHT
    try:
        return phrase, float(weight)
    except ValueError:
        message = f"--hotword {given!r}: {weight!r} is no number; PHRASE:WEIGHT is meant, such as {phrase}:8"
        raise click.UsageError(message) from None


def decoding(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of Decoding, and the parameter `decoding` in their place."""

    @click.option("--decoder", type=FILE, help="Settings that asr tune wrote.")
    @click.option("--greedy", is_flag=True, help="The best path, whatever the model file says.")
    @click.option("--beam-width", type=click.IntRange(min=1), metavar="N", help="Search, and keep N texts at a time.")
    @click.option("--lm", type=FILE, help="A language model: .arpa, .arpa.gz, or of asr lm train.")
    @click.option("--lm-weight", type=click.FloatRange(min=0), metavar="X", help="How much the language model counts.")
    @click.option("--word-bonus", type=float, metavar="X", help="What each word adds, in nats.")
    @click.option(
        "--hotword",
        "hotwords",
        multiple=True,
        metavar="PHRASE[:WEIGHT]",
        help=f"A likely word or phrase and the nats it adds [{HOTWORD_WEIGHT:g}]; may be given several times.",
    )
    @click.option("--rescorer", type=FILE, help="A recurrent language model that judges the texts of the search.")
    @click.option("--rescorer-weight", type=click.FloatRange(min=0), metavar="X", help="How much it counts.")
    @click.option(
        "--known-words/--any-word",
        default=None,
        help="Write no words but the language model's and hotwords, or any.  [default: as the settings say]",
    )
    @wraps(command)
    def gathered(**given: Any) -> Any:
        chosen = Decoding(
            given.pop("decoder"),
            given.pop("beam_width"),
            given.pop("lm"),
            given.pop("lm_weight"),
            given.pop("word_bonus"),
            tuple(_hotword(one) for one in given.pop("hotwords")),
            given.pop("rescorer"),
            given.pop("rescorer_weight"),
            given.pop("known_words"),
            given.pop("greedy"),
        )
        if chosen.greedy and not replace(chosen, greedy=False).nothing:
            raise click.UsageError("--greedy goes with no other setting of the decoder")
        # The model's option has been read by now.
        if (named := bundle()) and not chosen.greedy:
            chosen = replace(chosen, brought=named.decoder)
        return command(**given, decoding=chosen)

    return gathered


def described(settings: "DecoderSettings") -> str:
    """Return in a few words how is decoded."""
    if settings.greedy:
        return "greedy"
    parts = [f"beam {settings.search.beam_width}"]
    weights = settings.weights
    if settings.lm:
        parts.append(f"{settings.lm}, weight {weights.lm_weight:g}, unknown words {weights.unknown_score:g}")
    if weights.word_bonus:
        parts.append(f"word bonus {weights.word_bonus:g}")
    if weights.lexicon_only:
        parts.append("words of the model only")
    if settings.rescorer:
        parts.append(f"rescored by {settings.rescorer}, weight {settings.rescorer_weight:g}")
    return ", ".join(parts)
