"""The words of a text as they are written, and as a model writes what is spoken."""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from string import ascii_letters

from asr.text.alphabet import Alphabet, TextSettings
from asr.text.normalisers import Normaliser, normaliser
from asr.text.numbers import spell_numbers

# Alphabets within these characters are taken for English, so that numbers are read as English words.
_ENGLISH = frozenset(ascii_letters + " '-")
# They may be read together with the word after or before them: "$ 3", "3 million", "5 %".
_OF_NUMBERS = frozenset("0123456789$£€%&")


@dataclass(frozen=True)
class SpokenWord:
    """A word as it is written, and its spoken form: none, one or more words of the alphabet.

    `left_out`: characters of the spoken form that the alphabet does not have.
    """

    written: str
    spoken: str
    left_out: tuple[str, ...] = ()


def spoken_words(text: str, settings: TextSettings) -> list[SpokenWord]:
    """Return the words of a text, separated by white space, with their spoken forms.

    The spoken form is normalised. With an English alphabet without digits, numbers are spelled out. A letter that the
    alphabet does not have becomes that of the other case or without accent. Words that are read together are one, such
    as "$3 million"; punctuation between words belongs to the word before it, or to the first word.
    """
    words: list[SpokenWord] = []
    opening = ""
    for written in _read_together(text.split(), settings):
        word = replace(_spoken(written, settings), written=f"{opening} {written}".strip())
        if any(character.isalnum() for character in written + word.spoken):
            words.append(word)
            opening = ""
        elif words:
            words[-1] = replace(words[-1], written=f"{words[-1].written} {written}")
        else:
            opening = word.written
    return words


def _read_together(words: list[str], settings: TextSettings) -> Iterator[str]:
    """Yield the words, those that are read together as one."""
    if not words or not _spells_numbers(settings):
        yield from words
        return
    together = words[0]
    for word in words[1:]:
        joined = f"{together} {word}"
        if _OF_NUMBERS.isdisjoint(joined) or _read(joined) == f"{_read(together)} {_read(word)}":
            yield together
            together = word
        else:
            together = joined
    yield together


def _read(text: str) -> str:
    return " ".join(spell_numbers(text).replace("&", " and ").split())


def _spells_numbers(settings: TextSettings) -> bool:
    return _ENGLISH.issuperset(settings.alphabet)


def _spoken(written: str, settings: TextSettings) -> SpokenWord:
    normalise = normaliser(settings.normaliser)
    alphabet = Alphabet(settings.alphabet)
    if _spells_numbers(settings) and not _OF_NUMBERS.isdisjoint(written):
        word = _written_by(alphabet, _read(written), normalise)
        # An alphabet of a few letters may have no letters for the numbers.
        if not word.left_out:
            return replace(word, written=written)
    return _written_by(alphabet, written, normalise)


def _written_by(alphabet: Alphabet, written: str, normalise: Normaliser) -> SpokenWord:
    characters, left_out = [], []
    for character in normalise(written):
        variant = character if character.isspace() else _variant(character, alphabet)
        characters.append(variant)
        if not variant:
            left_out.append(character)
    return SpokenWord(written, " ".join("".join(characters).split()), tuple(dict.fromkeys(left_out)))


def _variant(character: str, alphabet: Alphabet) -> str:
    """Return the character, or its other case or base letter if the alphabet has only that; empty if it has none."""
    base = "".join(part for part in unicodedata.normalize("NFD", character) if not unicodedata.combining(part))
    for variant in (character, character.upper(), character.lower(), base, base.upper(), base.lower()):
        if variant and not alphabet.unknown(variant):
            return variant
    return ""
