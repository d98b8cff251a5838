"""Numbers in digits -> English words, the way they are read aloud."""

import re

_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_ONES = _UNITS.split()
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SCALES = ((10**12, "trillion"), (10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred"))
_LARGEST = 10**15
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_WORDS = frozenset([*_ONES, *_TENS, *(name for _, name in _SCALES)])
_CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "€": ("euro", "euros", "cent", "cents"),
}
_NUMBER = r"\d{1,3}(?:,\d{3})+(?!\d)|\d+"
_MONEY = re.compile(rf"([$£€])\s?({_NUMBER})(?:\.(\d+))?(?:\s(million|billion|trillion)\b)?", re.IGNORECASE)
_CLOCK = re.compile(r"(?<![\d:])([01]?\d|2[0-3]):([0-5]\d)(?![\d:])")
_ORDINAL = re.compile(rf"(?<!\w)({_NUMBER})(?:st|nd|rd|th)\b", re.IGNORECASE)
_DECADE = re.compile(r"(?<!\w)(1[1-9]|20)?(\d0)'?s\b", re.IGNORECASE)
_PERCENT = re.compile(r"(?<=\d)\s?%")
_PLAIN = re.compile(rf"({_NUMBER})(?:\.(\d+))?")


def cardinal(number: int) -> str:
    """Return a number from 0 to below 10^15 in words, without "and"."""
    if number < 20:
        return _ONES[number]
    if number < 100:
        return f"{_TENS[number // 10 - 2]} {_ONES[number % 10] if number % 10 else ''}".rstrip()
    size, name = next((size, name) for size, name in _SCALES if number >= size)
    left = cardinal(number % size) if number % size else ""
    return f"{cardinal(number // size)} {name} {left}".rstrip()


def ordinal(number: int) -> str:
    """Return "first", "twenty second" and so on."""
    *before, last = cardinal(number).split()
    regular = f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th"
    return " ".join([*before, _ORDINALS.get(last, regular)])


def year(number: int) -> str:
    """Return a year from 1100 to 2099 as it is said: "nineteen oh five", "two thousand nine"."""
    century, rest = divmod(number, 100)
    if 2000 <= number < 2010:
        return cardinal(number)
    if rest == 0:
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {'oh ' if rest < 10 else ''}{cardinal(rest)}"


def _digits(text: str) -> str:
    return " ".join(_ONES[int(digit)] for digit in text)


def _plain(match: re.Match[str]) -> str:
    text, fraction = match[1], match[2]
    number = int(text.replace(",", ""))
    if (text[0] == "0" and len(text) > 1) or number >= _LARGEST:
        # A telephone number, a code.
        said = _digits(text.replace(",", ""))
    elif fraction is None and len(text) == 4 and 1100 <= number < 2100 and text.isdigit():
        said = year(number)
    else:
        said = cardinal(number)
    return f" {said} " if fraction is None else f" {said} point {_digits(fraction)} "


def _money(match: re.Match[str]) -> str:
    one, many, cent, cents = _CURRENCIES[match[1]]
    number = int(match[2].replace(",", ""))
    if number >= _LARGEST:
        return f" {_digits(str(number))} {many} "
    if match[4] or len(match[3] or "00") != 2:
        fraction = f" point {_digits(match[3])}" if match[3] else ""
        return f" {cardinal(number)}{fraction} {match[4] or ''} {many} "
    said = f"{cardinal(number)} {one if number == 1 else many}"
    rest = int(match[3] or 0)
    return f" {said} {cardinal(rest)} {cent if rest == 1 else cents} " if rest else f" {said} "


def _clock(match: re.Match[str]) -> str:
    hour, minute = int(match[1]), int(match[2])
    rest = "o'clock" if minute == 0 else f"{'oh ' if minute < 10 else ''}{cardinal(minute)}"
    return f" {cardinal(hour)} {rest} "


def _ordinal(match: re.Match[str]) -> str:
    number = int(match[1].replace(",", ""))
    return f" {ordinal(number)} " if 0 < number < _LARGEST else match[0]


def _decade(match: re.Match[str]) -> str:
    tens = int(match[2]) // 10
    if tens == 0:
        return match[0] if match[1] is None else f" {cardinal(int(match[1]))} hundreds "
    name = "tens" if tens == 1 else f"{_TENS[tens - 2][:-1]}ies"
    return f" {cardinal(int(match[1])) if match[1] else ''} {name} "


def spelled(text: str) -> str:
    """Return the text with its numbers in words: amounts of money, times, ordinals, decades, years, fractions.

    Four digits from 1100 to 2099 are read as a year; digits after a 0, or too many, one by one.
    """
    if not any(character.isdigit() for character in text):
        return text
    # Digits of other scripts are digits too, but no tables of ours.
    text = "".join(str(int(one)) if one.isdecimal() else one for one in text)
    for pattern, say in ((_MONEY, _money), (_CLOCK, _clock), (_ORDINAL, _ordinal), (_DECADE, _decade)):
        text = pattern.sub(say, text)
    return _PLAIN.sub(_plain, _PERCENT.sub(" percent ", text))


def without_and(words: list[str]) -> list[str]:
    """Return the words without the "and" of "a hundred and five", which some say and others do not."""
    return [
        word
        for index, word in enumerate(words)
        if not (
            word == "and"
            and 0 < index < len(words) - 1
            and words[index - 1] in ("hundred", "thousand", "million", "billion", "trillion")
            and words[index + 1] in _WORDS
        )
    ]
