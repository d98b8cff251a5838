"""Pronunciations of all words of a language model or text: from dictionaries, and of possessives from their words.

What no dictionary has is left to `asr.lm.espeak`. The result is written in the format of CMUdict.
"""

import gzip
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.files import open_atomic
from asr.lm.ngram import NgramModel, is_character_model
from asr.lm.ngram.model import UNKNOWN_WORD
from asr.lm.text import BEGIN, END, LmError
from asr.text.pronunciations import ARPABET, Pronunciations

# AX, which needs no mark of stress, rather than AH0.
_NAMES = {phoneme: name for name, phoneme in ARPABET.items() if name != "AH0"}
_SIBILANTS = {ARPABET[name] for name in ("S", "Z", "SH", "ZH", "CH", "JH")}
_VOICELESS = {ARPABET[name] for name in ("P", "T", "K", "F", "TH")}
# What would be read as a comment, as the variant of another word, or as a word and a phoneme.
_UNWRITABLE = re.compile(r"#.*|;;;.*|.+\(\d+\)|.*\s.*", re.S)


@dataclass(frozen=True)
class Lookup:
    """What dictionaries say of some words.

    `words`: the pronunciations that are known, of `found` words from a dictionary and of `derived` possessives.
    `missing`: the other words; `unwritable`: those that the format of CMUdict cannot hold.
    """

    words: dict[str, tuple[str, ...]]
    found: int
    derived: int
    missing: list[str]
    unwritable: list[str]


def vocabulary(path: Path, model: NgramModel) -> list[str]:
    """Return the words of an n-gram model without markers; `path` is for the message.

    Raises LmError for a character model.
    """
    if is_character_model(model):
        raise LmError(f"{path}: a character model, which has no words; give a model of words, or texts")
    return [word for word in model.words if word not in (BEGIN, END, UNKNOWN_WORD)]


def look_up(words: Iterable[str], dictionaries: Sequence[Pronunciations]) -> Lookup:
    """Look words up in dictionaries, of which the first that has a word wins, and derive possessives."""

    def known(word: str) -> tuple[str, ...]:
        return next((each.words[word] for each in dictionaries if word in each.words), ())

    pronounced: dict[str, tuple[str, ...]] = {}
    found = derived = 0
    missing: list[str] = []
    unwritable: list[str] = []
    for word in dict.fromkeys(words):
        if _UNWRITABLE.fullmatch(word):
            unwritable.append(word)
        elif several := known(word):
            pronounced[word] = several
            found += 1
        elif several := possessive(word, known):
            pronounced[word] = several
            derived += 1
        else:
            missing.append(word)
    return Lookup(pronounced, found, derived, missing, unwritable)


def possessive(word: str, known: Callable[[str], tuple[str, ...]]) -> tuple[str, ...]:
    """Return the pronunciations of a possessive by those of its base word, or none.

    GEORGE'S is GEORGE with IH Z after a sibilant, S after another voiceless consonant and Z after other phonemes; BOYS'
    sounds as BOYS, and GEORGE'S' as GEORGE'S.
    """
    if word.endswith(("S'", "s'")):
        return known(word[:-1]) or possessive(word[:-1], known)
    if word.endswith(("'S", "'s")):
        return tuple(dict.fromkeys(each + _ending(each[-1]) for each in known(word[:-2])))
    return ()


def _ending(last: str) -> str:
    if last in _SIBILANTS:
        return ARPABET["IH"] + ARPABET["Z"]
    return ARPABET["S" if last in _VOICELESS else "Z"]


def write(path: Path, words: Mapping[str, tuple[str, ...]]) -> None:
    """Write a dictionary in the format of CMUdict atomically, compressed if the name ends with .gz. Raises OSError."""
    lines = (
        f"{word}{f'({number})' if number > 1 else ''} {' '.join(_NAMES.get(phoneme, phoneme) for phoneme in each)}\n"
        for word in sorted(words)
        for number, each in enumerate(words[word], 1)
    )
    content = "".join(lines).encode()
    with open_atomic(path) as out:
        out.write(gzip.compress(content, mtime=0) if path.name.endswith(".gz") else content)
