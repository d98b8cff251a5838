"""Normalisers by name: the form in which references and hypotheses are compared.

`none`         white space collapsed, nothing else
`upper`        the form of this toolkit's models: upper case, letters, marks, digits and apostrophes
`basic`        lower case without punctuation; hyphens separate words; apostrophes within words are kept
`librispeech`  A to Z and apostrophes in upper case, without accents, numbers spelled out
`english`      `basic` with numbers spelled out, contractions and titles expanded and British spellings made American,
               without accents, fillers (um, uh) and what is in brackets
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from asr.files import read_utf8
from asr.text.alphabet import TextError
from asr.text.numbers import number_words, remove_and, spell_numbers

Normaliser = Callable[[str], str]

_APOSTROPHES = dict.fromkeys("’‘ʼ`´＇", "'")
# Soft hyphen, joiners, marks of direction, byte order mark, variation selectors: none of them separates words.
_INVISIBLE = dict.fromkeys("\u00ad\u200c\u200d\u200e\u200f\u2060\ufeff" + "".join(map(chr, range(0xFE00, 0xFE10))), "")
_UNIFIED = str.maketrans(_APOSTROPHES | _INVISIBLE)
# Text that `upper` does not change: most transcripts of most corpora, which a regular expression recognises faster.
_PLAIN = re.compile(r"[A-Z0-9']+(?: [A-Z0-9']+)*")
# Letters without a Unicode decomposition.
_LETTERS = {"Æ": "AE", "Œ": "OE", "Ø": "O", "Đ": "D", "Ð": "D", "Ł": "L", "Þ": "TH", "ẞ": "SS", "&": " AND "}
_PLAIN_LETTERS = str.maketrans(_LETTERS)
# Marks of what is no word: [laughter], <unk>, (coughs).
_MARKS = re.compile(r"\[[^\[\]]*\]|<[^<>\s]*>|\([^()]*\)")
_FILLERS = frozenset({"um", "uh", "uhm", "umm", "hmm", "hm", "mm", "mmm", "mhm"})
_ENDINGS = (("n't", " not"), ("'re", " are"), ("'ll", " will"), ("'ve", " have"), ("'m", " am"), ("'d", " would"))
# "ten o'clock a m" after the other steps.
_SPOKEN_TIME = re.compile(r"(?:\bo'clock )?\b([ap]) m\b|\bo'clock ([ap])m\b")
# After these words "'s" is "is" (or "has", which has the same form); after others it is a possessive.
_IS = re.compile("(it|he|she|that|this|there|here|what|who|where|when|why|how|everything|nothing|something)'s")


def _none(text: str) -> str:
    return " ".join(text.split())


def _upper(text: str) -> str:
    if _PLAIN.fullmatch(text):
        return text
    text = unicodedata.normalize("NFKC", text.translate(_UNIFIED)).translate(_UNIFIED)
    # Some upper-case letters come decomposed (of "ΐ", for example), so they are composed again.
    text = unicodedata.normalize("NFKC", text.upper())
    kept = (character if character == "'" or unicodedata.category(character)[0] in "LMN" else " " for character in text)
    return " ".join("".join(kept).split())


def _strip_apostrophes(words: list[str]) -> str:
    # Quotation marks, and "'tis" as "tis".
    return " ".join(stripped for word in words if (stripped := word.strip("'")))


def _basic(text: str) -> str:
    return _strip_apostrophes(_upper(text).lower().split())


def _librispeech(text: str) -> str:
    text = _upper(spell_numbers(text).replace("&", " and ")).translate(_PLAIN_LETTERS)
    return _strip_apostrophes(re.sub(r"[^A-Z']", " ", _without_accents(text)).split())


def _expand(word: str) -> str:
    """Return a word with its contractions written out: "i'd've" is "i would have"."""
    irregular = _table("contractions.txt")(word)
    if irregular != word:
        return irregular
    for ending, expanded in _ENDINGS:
        if word.endswith(ending) and len(word) > len(ending):
            return _expand(word.removesuffix(ending)) + expanded
    return word.replace("'s", " is") if _IS.fullmatch(word) else word


def _english(text: str) -> str:
    text = _MARKS.sub(" ", text)
    words = _without_accents(_basic(spell_numbers(text).replace("&", " and ").replace("%", " percent "))).split()
    words = [word for word in words if word not in _FILLERS]
    # A possessive is spelled as the word itself.
    expanded = re.sub(r"'s\b", " 's", " ".join(map(_expand, words)))
    american = _table("spellings.txt")(expanded).replace(" 's", "'s")
    return _SPOKEN_TIME.sub(
        lambda match: f"{match[1] or match[2]}m", " ".join(_number_phrases(remove_and(american.split())))
    )


def _number_phrases(words: list[str]) -> Iterator[str]:
    """Yield the words with one form of phrases that stand with numbers.

    "negative five" is "minus five", "two and a half" is "two and one half".
    """
    numbers = number_words()
    for before, word, after in zip(["", *words], words, [*words[1:], ""], strict=False):
        if word == "negative" and after in numbers:
            yield "minus"
        elif word == "a" and before == "and" and after == "half":
            yield "one"
        else:
            yield word


def _without_accents(text: str) -> str:
    return "".join(char for char in unicodedata.normalize("NFD", text) if not unicodedata.combining(char))


@lru_cache
def _table(name: str) -> Normaliser:
    return _replacer(files("asr.text").joinpath(name).read_text(encoding="utf-8"), _none, name)


NORMALISERS: dict[str, Normaliser] = {
    "upper": _upper,
    "none": _none,
    "basic": _basic,
    "librispeech": _librispeech,
    "english": _english,
}


def normaliser(name: str, equivalents: Path | None = None) -> Normaliser:
    """Return a normaliser, followed by the replacements of a file of equivalents.

    Raises TextError for an unknown name or a bad line, EncodingError and OSError.
    """
    if name not in NORMALISERS:
        raise TextError(f"unknown normaliser {name!r}; known are {', '.join(NORMALISERS)}")
    normalise = NORMALISERS[name]
    if equivalents is None:
        return normalise
    replace = _replacer(read_utf8(equivalents), normalise, str(equivalents))
    return lambda text: replace(normalise(text))


def normalise(text: str, name: str = "upper") -> str:
    """Return the text in the form of a normaliser. Raises TextError for an unknown name."""
    return normaliser(name)(text)


def _replacer(content: str, normaliser: Normaliser, name: str) -> Normaliser:
    """Return a function that replaces the spellings of a list in normalised text, whole words, the longest first.

    A line of `content` is `spelling = replacement`, of one or more words, which are normalised too; without a
    replacement the spelling is removed. # begins a comment. `name` is for messages. Raises TextError for a line of
    another form or of which the normaliser leaves nothing, two replacements of one spelling, and a circle of
    replacements.
    """
    replacements: dict[str, str] = {}
    for number, line in enumerate(content.splitlines(), 1):
        pair = line.partition("#")[0].strip()
        if not pair:
            continue
        sides = [side.strip() for side in pair.split("=")]
        if len(sides) != 2 or not sides[0]:
            raise TextError(f"{name}, line {number}: {pair[:60]!r} is not of the form 'colour = color', nor 'uh ='")
        spelling, replacement = map(normaliser, sides)
        if not spelling and not sides[1]:
            continue  # the normaliser removes it too
        if not spelling or (sides[1] and not replacement):
            raise TextError(f"{name}, line {number}: {sides[bool(spelling)]!r} is empty after normalisation")
        if replacements.get(spelling, replacement) != replacement:
            raise TextError(
                f"{name}, line {number}: {spelling!r} is already replaced by {replacements[spelling]!r}; delete one"
            )
        if spelling != replacement:
            replacements[spelling] = replacement
            if _chain_end(replacements, spelling) == spelling:
                raise TextError(f"{name}, line {number}: {spelling!r} is replaced by itself; delete one of the lines")
    final = {spelling: _chain_end(replacements, spelling) for spelling in replacements}
    # The number of words of the longest spelling, by its first word.
    longest: dict[str, int] = {}
    for words in map(str.split, final):
        longest[words[0]] = max(longest.get(words[0], 0), len(words))
    return lambda text: " ".join(_replace(text.split(), final, longest))


def _chain_end(replacements: dict[str, str], spelling: str) -> str:
    """Return the end of a chain of replacements, or `spelling` itself if the chain returns to it."""
    end = replacements[spelling]
    while end in replacements and end != spelling:
        end = replacements[end]
    return end


def _replace(words: list[str], final: dict[str, str], longest: dict[str, int]) -> Iterator[str]:
    index = 0
    while index < len(words):
        for size in range(longest.get(words[index], 0), 0, -1):
            spelling = " ".join(words[index : index + size])
            if spelling in final:
                if final[spelling]:
                    yield final[spelling]
                index += size
                break
        else:
            yield words[index]
            index += 1
