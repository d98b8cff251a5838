"""Numbers in digits -> English words, as they are read aloud."""

import re
import unicodedata
from functools import cache, lru_cache

from num2words import num2words

_SCALES = ("hundred", "thousand", "million", "billion", "trillion")
_LARGEST = 10**15
_CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "€": ("euro", "euros", "cent", "cents"),
}
_BEFORE_AND = frozenset(_SCALES) | {unit for units in _CURRENCIES.values() for unit in units[:2]}
_BARE_CENTS = re.compile(r"(?<=[$£€])\s?\.(?=\d)")
_NUMBER = r"\d{1,3}(?:,\d{3})+(?!\d)|\d+"
_MONEY = re.compile(rf"([$£€])\s?({_NUMBER})(?:\.(\d+))?(?:\s(million|billion|trillion)\b)?", re.IGNORECASE)
# Without o'clock before a.m. and p.m.
_CLOCK = re.compile(r"(?<![\d:])([01]?\d|2[0-3]):([0-5]\d)(?![\d:])(?P<half>(?=\s?[ap]\.?\s?m\b))?", re.IGNORECASE)
_CENTS = re.compile(rf"({_NUMBER})\s?¢")
_DEGREES = re.compile(rf"((?:{_NUMBER})(?:\.\d+)?)\s?[°º]\s?([CF]\b)?", re.IGNORECASE)
_SCALE_NAMES = {"": "", "c": " celsius", "f": " fahrenheit"}
_MINUS = re.compile(r"(?<![\w.,:/)\]%])[-−]\s?(?=[$£€]?\.?\d)")
# Not dates (1/2/2020), nor 24/7.
_FRACTION = re.compile(r"(?<![\d/.,$£€])(?:(\d+)\s)?(\d{1,2})/(\d{1,2})(?![\d/]|[.,]\d)")
_DENOMINATORS = {2: "half", 3: "third", 4: "quarter"} | {
    number: num2words(number, to="ordinal") for number in (5, 6, 7, 8, 9, 10, 16)
}
_ORDINAL = re.compile(rf"(?<!\w)({_NUMBER})(?:st|nd|rd|th)\b", re.IGNORECASE)
# Decades, centuries and round numbers in the plural: 80s, 1990s, 1800s, 100s.
_PLURAL = re.compile(rf"(?<!\w)(?<!\d[.,])(?!0)({_NUMBER})(?<=0)'?s\b", re.IGNORECASE)
_PERCENT = re.compile(r"(?<=\d)\s?%")
_PLAIN = re.compile(rf"({_NUMBER})(?:\.(\d+))?")


@lru_cache(maxsize=4096)
def in_words(number: int, kind: str = "cardinal") -> str:
    """Return a number in lower-case words without "and", hyphens and commas; `kind`: cardinal, ordinal or year."""
    return " ".join(re.sub(r"[-,]|\band\b", " ", num2words(number, to=kind)).split())


@cache
def number_words() -> frozenset[str]:
    """Return the words of cardinal numbers."""
    units = (in_words(number) for number in [*range(20), *range(20, 100, 10)])
    return frozenset([*" ".join(units).split(), *_SCALES])


def _digits(text: str) -> str:
    return " ".join(in_words(int(digit)) for digit in text)


def _integer(text: str) -> str:
    """Return an integer in words: four digits from 1100 to 2099 as a year."""
    number = int(text.replace(",", ""))
    is_year = len(text) == 4 and 1100 <= number < 2100 and text.isdigit()
    return in_words(number, "year" if is_year else "cardinal")


def _plain(match: re.Match[str]) -> str:
    text, fraction = match[1], match[2]
    digits = text.replace(",", "")
    if (text[0] == "0" and len(text) > 1) or int(digits) >= _LARGEST:
        # A telephone number, a code.
        words = _digits(digits)
    else:
        words = _integer(text) if fraction is None else in_words(int(digits))
    return f" {words} " if fraction is None else f" {words} point {_digits(fraction)} "


def _money(match: re.Match[str]) -> str:
    unit, units, cent, cents = _CURRENCIES[match[1]]
    number = int(match[2].replace(",", ""))
    if number >= _LARGEST:
        return f" {_digits(str(number))} {units} "
    if match[4] or len(match[3] or "00") != 2:
        fraction = f" point {_digits(match[3])}" if match[3] else ""
        return f" {in_words(number)}{fraction} {match[4] or ''} {units} "
    words = f"{in_words(number)} {unit if number == 1 else units}"
    rest = int(match[3] or 0)
    if rest and not number:
        words = ""
    return f" {words} {in_words(rest)} {cent if rest == 1 else cents} " if rest else f" {words} "


def _clock(match: re.Match[str]) -> str:
    hour, minute = int(match[1]), int(match[2])
    whole = "o'clock" if match["half"] is None else ""
    rest = whole if minute == 0 else f"{'oh ' if minute < 10 else ''}{in_words(minute)}"
    return f" {in_words(hour)} {rest} "


def _degrees(match: re.Match[str]) -> str:
    unit = "degree" if match[1] == "1" else "degrees"
    return f" {match[1]} {unit}{_SCALE_NAMES[(match[2] or '').lower()]} "


def _fraction(match: re.Match[str]) -> str:
    whole, numerator, denominator = match[1], int(match[2]), int(match[3])
    if not 0 < numerator < denominator or denominator not in _DENOMINATORS:
        return match[0]
    name = _DENOMINATORS[denominator]
    if numerator > 1:
        name = "halves" if denominator == 2 else f"{name}s"
    return f" {f'{whole} and ' if whole else ''}{in_words(numerator)} {name} "


def _cents(match: re.Match[str]) -> str:
    return f" {match[1]} {'cent' if match[1] == '1' else 'cents'} "


def _ordinal(match: re.Match[str]) -> str:
    number = int(match[1].replace(",", ""))
    return f" {in_words(number, 'ordinal')} " if 0 < number < _LARGEST else match[0]


def _plural(match: re.Match[str]) -> str:
    if int(match[1].replace(",", "")) >= _LARGEST:
        return match[0]
    words = _integer(match[1])
    return f" {words[:-1]}ies " if words.endswith("y") else f" {words}s "


def spell_numbers(text: str) -> str:
    """Return the text with its numbers in words: amounts of money, times, degrees, ordinals, decades, years, fractions.

    Four digits from 1100 to 2099 are read as a year; digits after a 0, and more than 15 digits, one by one.
    """
    if not any(character.isdigit() or character.isnumeric() for character in text):
        return text
    text = "".join(map(_vulgar_fraction, text))
    # Decimal digits of other scripts become ASCII, which the patterns expect.
    text = "".join(str(int(character)) if character.isdecimal() else character for character in text)
    text = _BARE_CENTS.sub("0.", _MINUS.sub(" minus ", text))
    for pattern, words in (
        (_FRACTION, _fraction),
        (_MONEY, _money),
        (_CENTS, _cents),
        (_CLOCK, _clock),
        (_DEGREES, _degrees),
        (_ORDINAL, _ordinal),
        (_PLURAL, _plural),
    ):
        text = pattern.sub(words, text)
    return _PLAIN.sub(_plain, _PERCENT.sub(" percent ", text))


def _vulgar_fraction(character: str) -> str:
    """Return "½" as " 1/2"."""
    parts = unicodedata.normalize("NFKC", character) if unicodedata.category(character) == "No" else ""
    return f" {parts.replace(chr(0x2044), '/')}" if chr(0x2044) in parts else character


def remove_and(words: list[str]) -> list[str]:
    """Return the words without the "and" of "a hundred and five" and "five dollars and ten cents".

    Only some speakers say it.
    """
    return [
        word
        for index, word in enumerate(words)
        if not (
            word == "and"
            and 0 < index < len(words) - 1
            and words[index - 1] in _BEFORE_AND
            and words[index + 1] in number_words()
        )
    ]
