"""Sentences of spelled words, codes, numbers, dates and times, which books do not contain: spelled.py TEXT COUNT

TEXT: sentences, one per line, whose words are spelled. Writes COUNT sentences, in capitals, to standard output.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from asr.text.numbers import spell_numbers

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
MONTHS = "JANUARY FEBRUARY MARCH APRIL MAY JUNE JULY AUGUST SEPTEMBER OCTOBER NOVEMBER DECEMBER"
DAYS = "MONDAY TUESDAY WEDNESDAY THURSDAY FRIDAY SATURDAY SUNDAY"
random = np.random.default_rng(1)


def one(choices: Sequence[str]) -> str:
    """Return one of several texts."""
    return choices[int(random.integers(len(choices)))]


def between(low: int, high: int) -> int:
    """Return a number from low to high, both included."""
    return int(random.integers(low, high, endpoint=True))


def read(text: str) -> str:
    """Return a text with its numbers in words."""
    return " ".join(spell_numbers(text).upper().replace(".", " ").replace("-", " ").split())


def digits(count: int) -> str:
    """Return single digits in words; zero is often read as "oh"."""
    return " ".join(read(str(between(0, 9))) for _ in range(count)).replace("ZERO", one(["ZERO", "OH"]))


def spelled(word: str) -> str:
    """Return a word letter by letter; some speakers say the word too."""
    letters = " ".join(word.replace("'", ""))
    return one([letters] * 8 + [f"{word} {letters}", f"{letters} {word}"])


def code() -> str:
    """Return letters and digits in any order."""
    return " ".join(one([one(LETTERS), digits(1)]) for _ in range(between(2, 7)))


def number() -> str:
    """Return a number or an amount."""
    value = between(0, 10 ** between(1, 6) - 1)
    return read(one([f"{value}", f"{value}", f"${value}", f"${value % 1000}.{between(1, 99):02d}"]))


def telephone() -> str:
    """Return a telephone number or another long number, digit by digit or in pairs."""
    if random.random() < 0.8:
        return digits(int(one(["3", "4", "5", "5", "6", "7", "7", "8", "10", "11"])))
    return " ".join(read(str(between(10, 99))) for _ in range(between(2, 5)))


def date() -> str:
    """Return a date, with or without the day of the week and the year."""
    day = f"{between(1, 31)}"
    weekday = one(["", "", "", "", one(DAYS.split())])
    return f"{weekday} {one(MONTHS.split())} {read(one([day, f'{day}th']))} {read(one(['', str(between(1900, 2030))]))}"


def clock() -> str:
    """Return a time of day."""
    return read(f"{between(1, 12)}:{between(0, 59):02d}") + one(["", " A M", " P M", " O'CLOCK"])


def main(text: Path, count: int) -> None:
    """Write sentences."""
    words = sorted({word for word in text.read_text(encoding="utf-8").split() if 2 <= len(word) <= 12})
    kinds: list[Callable[[], str]] = [lambda: spelled(one(words)), code, number, telephone, date, clock]
    for kind in random.choice(len(kinds), count, p=np.array([10, 2, 2, 4, 2, 1]) / 21):
        print(" ".join(kinds[kind]().split()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
