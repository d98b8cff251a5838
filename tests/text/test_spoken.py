"""Written words and their spoken forms."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.text import Alphabet, TextSettings
from asr.text.spoken import spoken_words

ENGLISH = TextSettings()


def pairs(text: str, settings: TextSettings = ENGLISH) -> list[tuple[str, str]]:
    return [(word.written, word.spoken) for word in spoken_words(text, settings)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, World!", [("Hello,", "HELLO"), ("World!", "WORLD")]),
        ("12 eggs", [("12", "TWELVE"), ("eggs", "EGGS")]),
        ("It's $3.50.", [("It's", "IT'S"), ("$3.50.", "THREE DOLLARS FIFTY CENTS")]),
        ("$3 million more", [("$3 million", "THREE MILLION DOLLARS"), ("more", "MORE")]),
        ("about 5 % off", [("about", "ABOUT"), ("5 %", "FIVE PERCENT"), ("off", "OFF")]),
        ("3 4 5", [("3", "THREE"), ("4", "FOUR"), ("5", "FIVE")]),
        ("in 1984, at 7:30", [("in", "IN"), ("1984,", "NINETEEN EIGHTY FOUR"), ("at", "AT"), ("7:30", "SEVEN THIRTY")]),
        ("twenty-one & co", [("twenty-one", "TWENTY ONE"), ("&", "AND"), ("co", "CO")]),
        ("— Yes — no !", [("— Yes —", "YES"), ("no !", "NO")]),
        ("café", [("café", "CAFE")]),
        ("...", []),
        ("", []),
    ],
)
def test_words_and_their_spoken_forms(text: str, expected: list[tuple[str, str]]) -> None:
    assert pairs(text) == expected


def test_letters_have_the_case_of_the_alphabet() -> None:
    settings = TextSettings(normaliser="none", alphabet=" abcdefghijklmnopqrstuvwxyz")
    assert pairs("Ab CD", settings) == [("Ab", "ab"), ("CD", "cd")]


def test_numbers_are_left_out_where_they_cannot_be_spelled() -> None:
    for alphabet in (" ABC", " ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÜ"):
        word = spoken_words("42", TextSettings(alphabet=alphabet))[0]
        assert (word.written, word.spoken, word.left_out) == ("42", "", ("4", "2"))
    assert pairs("42", TextSettings(alphabet=" 0123456789")) == [("42", "42")]


@given(st.text(st.sampled_from("aB1 5$%&.,—é'ж \t\n"), max_size=20), st.sampled_from([" 'ABEFINOTUV", " 'AB1E"]))
def test_spoken_forms_are_of_the_alphabet_and_nothing_written_is_lost(text: str, alphabet: str) -> None:
    words = spoken_words(text, TextSettings(alphabet=alphabet))
    assert all(not Alphabet(alphabet).unknown(word.spoken) for word in words)
    if words:
        assert " ".join(word.written for word in words) == " ".join(text.split())
    else:
        assert not any(map(str.isalnum, text))
