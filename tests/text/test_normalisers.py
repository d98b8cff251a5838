"""What each normaliser makes of a text, equivalents from a file, and what is wrong with such a file."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.files import EncodingError
from asr.text import normalisers, numbers
from asr.text.normalisers import NORMALISERS, NormaliserError


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("none", " It's  21\tpounds. ", "It's 21 pounds."),
        ("upper", "It’s well-known: É 21.", "IT'S WELL KNOWN É 21"),
        ("basic", "“It’s” well-known, 'tis É 21 —", "it's well known tis é 21"),
        ("librispeech", "Æsop's café & 21 naïve ‘men’", "AESOP'S CAFE AND TWENTY ONE NAIVE MEN"),
        ("librispeech", "日本 x", "X"),
        ("english", "It's the 21st of March, 1995!", "it is the twenty first of march nineteen ninety five"),
        ("english", "He can't, won't; don’t you? I'd've", "he can not will not do not you i'd have"),
        ("english", "Colour’s favourite theatre", "color's favorite theater"),
        ("english", "John's dog, that's John's", "john's dog that is john's"),
        ("english", "a hundred and five, five and six", "a hundred five five and six"),
        ("english", "Mr. Smith is gonna pay 50% & more", "mister smith is going to pay fifty percent and more"),
        ("english", "", ""),
    ],
)
def test_a_text_by_name(name: str, text: str, wanted: str) -> None:
    assert NORMALISERS[name](text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("0", "zero"),
        ("13 20 99 100 101", "thirteen twenty ninety nine one hundred one hundred one"),
        ("1,234,567", "one million two hundred thirty four thousand five hundred sixty seven"),
        (
            "1905 2000 2009 2024 1800",
            "nineteen oh five two thousand two thousand nine twenty twenty four eighteen hundred",
        ),
        ("1000 999 3000", "one thousand nine hundred ninety nine three thousand"),
        ("3.14", "three point one four"),
        ("007", "zero zero seven"),
        ("1st 2nd 3rd 12th 20th 45th 100th", "first second third twelfth twentieth forty fifth one hundredth"),
        ("the 1990s, the 80's", "the nineteen nineties, the eighties"),
        ("$1 £3.50 €1,200", "one dollar three pounds fifty pence one thousand two hundred euros"),
        ("$2.5 million", "two point five million dollars"),
        ("at 10:05 and 5:00", "at ten oh five and five o'clock"),
        ("50%", "fifty percent"),
        ("٣", "three"),
        ("²", "²"),
        ("9" * 20, " ".join(["nine"] * 20)),
        ("x86", "x eighty six"),
        ("no digits", "no digits"),
    ],
)
def test_numbers_are_read_aloud(text: str, wanted: str) -> None:
    assert " ".join(numbers.spelled(text).split()).replace(" ,", ",") == wanted


@settings(deadline=None, derandomize=True, max_examples=150)
@given(st.text(max_size=30), st.sampled_from(sorted(NORMALISERS)))
def test_any_text_is_taken_and_white_space_is_tidy(text: str, name: str) -> None:
    result = NORMALISERS[name](text)
    assert result == " ".join(result.split())


@settings(deadline=None, derandomize=True, max_examples=150)
@given(st.integers(0, 10**15 - 1))
def test_a_number_in_words_has_no_digits_and_is_left_alone(number: int) -> None:
    said = NORMALISERS["english"](f"{number:,}")
    assert not any(character.isdigit() for character in said)
    assert NORMALISERS["english"](said) == said


def test_the_table_of_spellings_is_sound() -> None:
    lines = (Path(normalisers.__file__).parent / "spellings.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split(" = ") for line in lines if not line.startswith("#")]
    assert len(pairs) > 1500
    assert len({british for british, _ in pairs}) == len(pairs)
    # Nothing American is respelled again.
    assert not {american for _, american in pairs} & {british for british, _ in pairs}
    assert NORMALISERS["english"]("analysed grey programmes organisations") == "analyzed gray programs organizations"


def test_equivalents_come_after_the_normaliser(tmp_path: Path) -> None:
    path = tmp_path / "same.txt"
    path.write_text(
        "\ufeff# of this corpus\nGoing To = gonna\nuh huh = yes # a comment\ngonna=will\n\nuh huh=yes\n", "utf-8"
    )
    normalise = normalisers.together("basic", path)
    assert normalise("I'm going to; UH-HUH, uh going") == "i'm will yes uh going"
    assert normalisers.together("none", path)("Going To uh huh") == "will yes"
    assert normalisers.together("basic")("A") == "a"


def test_single_words_are_whole_words(tmp_path: Path) -> None:
    path = tmp_path / "same.txt"
    path.write_text("cat = dog\n")
    assert normalisers.together("none", path)("cat cats (cat cat)") == "dog cats (cat cat)"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("a = b\ncolour color\n", r"same\.txt, line 2: 'colour color' is not of the form 'colour = color'"),
        ("= b\n", r"line 1: '= b' is not of the form"),
        ("a = b = c\n", r"line 1: 'a = b = c' is not of the form"),
        ("a = b\na = c\n", r"line 2: 'a' already means 'b'; choose one"),
        ("a = b\nb = c\nc = a\n", r"line 3: 'c' leads back to itself"),
        ("! = b\n", r"line 1: the normaliser leaves nothing of '!'"),
    ],
)
def test_broken_equivalents(content: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "same.txt").write_text(content)
    with pytest.raises(NormaliserError, match=says):
        normalisers.together("basic", tmp_path / "same.txt")


def test_equivalents_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "same.txt").write_bytes(b"a = \xff\n")
    with pytest.raises(EncodingError, match=r"same\.txt, line 1: not UTF-8 \(byte 5 is"):
        normalisers.together("basic", tmp_path / "same.txt")


def test_an_unknown_name() -> None:
    with pytest.raises(NormaliserError, match="unknown normaliser 'whisper'; known are upper, none, basic"):
        normalisers.named("whisper")
