"""Pronunciations of any word by espeak-ng: its phonemes in IPA -> those of ARPAbet, by the conventions of CMUdict.

The packages of the extra asr[tts] take a second to import, which happens when a word is pronounced.
"""

import logging
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec

from asr.config import ConfigError
from asr.lm.text import LmError
from asr.text.pronunciations import ARPABET

# Words that are pronounced between two progress reports, and those named in a message.
_BATCH, _NAMED = 500, 5
_STRESS, _BETWEEN, _SYLLABIC, _NASAL = "ˈˌ", "_", "\u0329", "\u0303"
_VOWELS = frozenset(["AA", "AE", "AH", "AO", "AW", "AX", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW"])
# Longer symbols first. espeak-ng writes ᵻ for a vowel between ɪ and ə, ɐ for an initial ə and ɾ for a flapped t. What
# follows the consonants of English are the nearest phonemes for sounds of other languages and accents.
_ARPABET = {
    **{"oːɹ": "AO R", "tʃ": "CH", "dʒ": "JH", "eɪ": "EY", "aɪ": "AY", "ɔɪ": "OY", "aʊ": "AW", "oʊ": "OW", "əʊ": "OW"},
    **{"eː": "EY", "oː": "OW", "i": "IY", "ɪ": "IH", "ᵻ": "IH", "e": "EH", "ɛ": "EH", "æ": "AE", "a": "AA", "ɑ": "AA"},
    **{"ɒ": "AA", "ɔ": "AO", "o": "OW", "ʊ": "UH", "u": "UW", "ʌ": "AH", "ə": "AX", "ɐ": "AX", "ɜ": "ER", "ɝ": "ER"},
    **{"ɚ": "ER", "p": "P", "b": "B", "t": "T", "d": "D", "ɾ": "T", "ʔ": "T", "k": "K", "g": "G", "ɡ": "G", "f": "F"},
    **{"v": "V", "θ": "TH", "ð": "DH", "s": "S", "z": "Z", "ʃ": "SH", "ʒ": "ZH", "h": "HH", "m": "M", "n": "N"},
    **{"ŋ": "NG", "l": "L", "ɹ": "R", "w": "W", "j": "Y"},
    **{"ø": "ER", "œ": "ER", "ɵ": "ER", "ɘ": "AX", "ɤ": "AH", "ɨ": "IH", "ɯ": "UW", "ʉ": "UW", "y": "UW", "ʏ": "UH"},
    **{"r": "R", "ɻ": "R", "ɽ": "R", "ʁ": "R", "ʀ": "R", "ɫ": "L", "ɬ": "L", "ɭ": "L", "ʎ": "L Y", "ɲ": "N Y"},
    **{"ɳ": "N", "ɱ": "M", "x": "K", "χ": "K", "c": "K", "q": "K", "ɟ": "G", "ɣ": "G", "ʈ": "T", "ɖ": "D", "β": "V"},
    **{"ʋ": "V", "ɸ": "F", "c\u0327": "HH", "ɦ": "HH", "ħ": "HH", "ɕ": "SH", "ʂ": "SH", "ʑ": "ZH", "ʐ": "ZH", "ʝ": "Y"},
    **{"ɥ": "W", "ʍ": "W"},
}
_SYMBOL = re.compile("|".join(sorted(map(re.escape, _ARPABET), key=len, reverse=True)))
# Where CMUdict writes another phoneme than espeak-ng in most words: EXPECT, INCLUDE, OPINION, MARRY, PERIOD, WORRY.
_CONVENTIONS = (
    (re.compile(r"^ɛ(?=_[kɡ]_[sz])"), "ɪ"),
    (re.compile(r"^((?:[^_]+_)?[^_ˈˌ]+)_ŋ(?=_[kɡ][^ˈ]{0,4}ˈ)"), r"\1_n"),
    (re.compile(r"(?<=[nl]_)iə(?=_n)"), "j_ə"),
    (re.compile(r"æ(?=_?ɹ)"), "ɛ"),
    (re.compile(r"iə(?=_?ɹ)"), "ɪ"),
    (re.compile(r"ʌ(?=_?ɹ)"), "ɜː"),
)


def is_installed() -> bool:
    """Return whether asr[tts] is installed."""
    return not _missing()


def _missing() -> list[str]:
    return [name for name in ("espeakng_loader", "phonemizer") if find_spec(name) is None]


def pronounce(
    words: Sequence[str], language: str, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> Mapping[str, tuple[str, ...]]:
    """Return the pronunciation of each word that has one, as `Pronunciations` has them.

    `on_progress(done, total)` gets numbers of words. Raises LmError if the extra is not installed, and ConfigError for
    a language that espeak-ng does not have.
    """
    if missing := _missing():
        more = ", …" if len(words) > _NAMED else ""
        raise LmError(
            f"{len(words):,} words are in no dictionary ({', '.join(words[:_NAMED])}{more}), and espeak-ng, which "
            f"would pronounce them, is not installed (no {' and '.join(missing)}): pip install 'asr[tts]', or add them "
            "to a dictionary"
        )
    import espeakng_loader
    from phonemizer.backend import EspeakBackend
    from phonemizer.backend.espeak.wrapper import EspeakWrapper
    from phonemizer.separator import Separator

    EspeakWrapper.set_library(espeakng_loader.get_library_path())
    EspeakWrapper.set_data_path(espeakng_loader.get_data_path())
    if not EspeakBackend.is_supported_language(language):
        raise ConfigError(f"language {language!r} is none of espeak-ng's; English is en-us or en-gb")
    log = logging.getLogger(__name__)
    # The package warns of words that are pronounced as in another language.
    log.setLevel(logging.ERROR)
    backend = EspeakBackend(language, with_stress=True, language_switch="remove-flags", logger=log)
    separator = Separator(phone=_BETWEEN, word=" ")
    pronounced: dict[str, tuple[str, ...]] = {}
    for start in range(0, len(words), _BATCH):
        batch = words[start : start + _BATCH]
        several = backend.phonemize([word.lower() for word in batch], separator=separator, strip=True)
        for word, ipa in zip(batch, several, strict=True):
            if phonemes := arpabet(ipa):
                pronounced[word] = ("".join(ARPABET[name] for name in phonemes),)
        on_progress(start + len(batch), len(words))
    return pronounced


def arpabet(ipa: str) -> list[str]:
    """Return the names of the phonemes of a word in espeak-ng's IPA, without stress; none if a sound has no name.

    Phonemes may be separated by _, words by spaces. AX is the AH without stress.
    """
    # Decomposed, so that a nasal vowel is a vowel and a mark.
    ipa = unicodedata.normalize("NFD", ipa).strip(_BETWEEN + " ")
    for pattern, replacement in _CONVENTIONS:
        ipa = pattern.sub(replacement, ipa)
    phonemes: list[str] = []
    stressed = False
    position = 0
    while position < len(ipa):
        match = _SYMBOL.match(ipa, position)
        if not match:
            character = ipa[position]
            if character.isalpha() and unicodedata.category(character) != "Lm":
                return []
            stressed = stressed or character in _STRESS
            if character == _NASAL:
                phonemes.append("N")
            position += 1
            continue
        position = match.end()
        for name in _ARPABET[match[0]].split():
            if ipa[position : position + 1] == _SYLLABIC:
                phonemes.append("AX")
            phonemes.append("AX" if name == "AH" and not stressed else name)
            stressed = stressed and name not in _VOWELS
    return _rhotic(phonemes)


def _rhotic(phonemes: Sequence[str]) -> list[str]:
    """Merge R with the ER or AX before it, as in FURRY and CAMERA, and make IH before a vowel IY, as in RADIO."""
    merged: list[str] = []
    for name in phonemes:
        before = merged[-1] if merged else ""
        if name == "R" and before in ("ER", "AX", "R"):
            merged[-1] = "R" if before == "R" else "ER"
            continue
        if name in _VOWELS and before == "IH":
            merged[-1] = "IY"
        merged.append(name)
    return merged
