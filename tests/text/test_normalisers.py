"""Normalisers, numbers in words, and files of equivalents."""

import unicodedata
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.files import EncodingError
from asr.text import ENGLISH, TextError
from asr.text.normalisers import NORMALISERS, normalise, normaliser
from asr.text.numbers import spell_numbers


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("none", " It's  21\tpounds. ", "It's 21 pounds."),
        ("upper", "It’s well-known: É 21.", "IT'S WELL KNOWN É 21"),
        ("basic", "“It’s” well-known, 'tis É 21 —", "it's well known tis é 21"),
        ("librispeech", "Æsop's café & 21 naïve ‘men’", "AESOP'S CAFE AND TWENTY ONE NAIVE MEN"),
        ("librispeech", "日本 x", "X"),
        ("english", "It's the 21st of March, 1995!", "it is the twenty first of march nineteen ninety five"),
        ("english", "He can't, won't; don’t you? I'd've", "he can not will not do not you i would have"),
        (
            "english",
            "we'd've shouldn't've y'all've can't've",
            "we would have should not have you all have can not have",
        ),
        ("english", "I'd she’d they'll've y'all'd've", "i would she would they will have you all would have"),
        ("english", "Colour’s favourite theatre", "color's favorite theater"),
        ("english", "John's dog, that's John's", "john's dog that is john's"),
        ("english", "a hundred and five, five and six", "a hundred five five and six"),
        ("english", "Mr. Smith is gonna pay 50% & more", "mister smith is going to pay fifty percent and more"),
        ("english", "", ""),
    ],
)
def test_normalisers_by_name(name: str, text: str, wanted: str) -> None:
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
        ("2000s 2010s 1900s 1800s", "two thousands twenty tens nineteen hundreds eighteen hundreds"),
        ("'90s mid-1920s 100s 3000s", "' nineties mid- nineteen twenties one hundreds three thousands"),
        ("5s 00s 1.50s", "five s zero zero s one point five zero s"),
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
def test_spell_numbers_reads_aloud(text: str, wanted: str) -> None:
    assert " ".join(spell_numbers(text).split()).replace(" ,", ",") == wanted


@settings(deadline=None, derandomize=True, max_examples=150)
@given(st.text(max_size=30), st.sampled_from(sorted(NORMALISERS)))
def test_every_normaliser_collapses_white_space_of_any_text(text: str, name: str) -> None:
    result = NORMALISERS[name](text)
    assert result == " ".join(result.split())


@settings(deadline=None, derandomize=True, max_examples=150)
@given(st.integers(0, 10**15 - 1))
def test_english_spells_any_number_once(number: int) -> None:
    said = NORMALISERS["english"](f"{number:,}")
    assert not any(character.isdigit() for character in said)
    assert NORMALISERS["english"](said) == said


def test_spellings_are_unique_and_final() -> None:
    lines = files("asr.text").joinpath("spellings.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split(" = ") for line in lines if not line.startswith("#")]
    assert len(pairs) > 1500
    assert len({british for british, _ in pairs}) == len(pairs)
    # Nothing American is respelled again.
    assert not {american for _, american in pairs} & {british for british, _ in pairs}
    assert NORMALISERS["english"]("analysed grey programmes organisations") == "analyzed gray programs organizations"


def test_equivalents_apply_after_the_normaliser(tmp_path: Path) -> None:
    path = tmp_path / "same.txt"
    path.write_text(
        "\ufeff# of this corpus\nGoing To = gonna\nuh huh = yes # a comment\ngonna=will\n\nuh huh=yes\n", "utf-8"
    )
    basic = normaliser("basic", path)
    assert basic("I'm going to; UH-HUH, uh going") == "i'm will yes uh going"
    assert normaliser("none", path)("Going To uh huh") == "will yes"
    assert normaliser("basic")("A") == "a"


def test_equivalents_replace_whole_words(tmp_path: Path) -> None:
    path = tmp_path / "same.txt"
    path.write_text("cat = dog\n")
    assert normaliser("none", path)("cat cats (cat cat)") == "dog cats (cat cat)"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("a = b\ncolour color\n", r"same\.txt, line 2: 'colour color' is not of the form 'colour = color'"),
        ("= b\n", r"line 1: '= b' is not of the form"),
        ("a = b = c\n", r"line 1: 'a = b = c' is not of the form"),
        ("a = b\na = c\n", r"line 2: 'a' is already replaced by 'b'; delete one"),
        ("a = b\nb = c\nc = a\n", r"line 3: 'c' is replaced by itself; delete one of the lines"),
        ("! = b\n", r"line 1: '!' is empty after normalisation"),
    ],
)
def test_equivalents_with_mistakes_are_refused(content: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "same.txt").write_text(content)
    with pytest.raises(TextError, match=says):
        normaliser("basic", tmp_path / "same.txt")


def test_equivalents_not_in_utf8_are_refused(tmp_path: Path) -> None:
    (tmp_path / "same.txt").write_bytes(b"a = \xff\n")
    with pytest.raises(EncodingError, match=r"same\.txt, line 1: not UTF-8 \(byte 5 is"):
        normaliser("basic", tmp_path / "same.txt")


def test_normaliser_with_unknown_name_is_refused() -> None:
    with pytest.raises(TextError, match="unknown normaliser 'whisper'; known are upper, none, basic"):
        normaliser("whisper")


# The normalisers of models


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mister Quilter", "MISTER QUILTER"),
        ("  two\t words\r\n and\u00a0three ", "TWO WORDS AND THREE"),
        ("Hello, world! (Really?)", "HELLO WORLD REALLY"),
        ("twenty-one", "TWENTY ONE"),
        ("well–known—facts", "WELL KNOWN FACTS"),
        ("snake_case", "SNAKE CASE"),
        ("a/b\\c|d", "A B C D"),
        ("R&B", "R B"),
        ("3.14 + 2", "3 14 2"),
        ("$5", "5"),
        ("", ""),
        (" … ", ""),
        # Apostrophes: right, left, modifier letter, grave, acute, fullwidth
        ("don't", "DON'T"),
        ("don’t", "DON'T"),
        ("don‘t", "DON'T"),
        ("donʼt", "DON'T"),
        ("don`t", "DON'T"),
        ("don´t", "DON'T"),
        ("don＇t", "DON'T"),
        ("ŉ", "'N"),
        ("’tis the dogs’ tails", "'TIS THE DOGS' TAILS"),
        ("rock 'n' roll", "ROCK 'N' ROLL"),
        ("“quoted”", "QUOTED"),
        # Compatibility forms
        ("ｆｕｌｌ　ｗｉｄｔｈ", "FULL WIDTH"),
        ("ﬁne", "FINE"),
        ("x²", "X2"),
        ("№ 5", "NO 5"),
        ("½", "1 2"),
        ("Ⅷ", "VIII"),
        # Accents, composed or combining
        ("café", "CAFÉ"),
        ("cafe\u0301", "CAFÉ"),
        ("naïve", "NAÏVE"),
        ("Å", "Å"),
        ("straße", "STRASSE"),
        ("ǆ", "DŽ"),
        ("ΐ", "Ϊ\u0301"),
        ("Σίσυφος", "ΣΊΣΥΦΟΣ"),
        # Turkish: upper case by Unicode, not by the language
        ("ısı", "ISI"),
        ("istanbul", "ISTANBUL"),
        ("İstanbul", "İSTANBUL"),
        # Other scripts
        ("Привет, ёлка", "ПРИВЕТ ЁЛКА"),
        ("и\u0306", "Й"),
        ("हिन्दी।", "हिन्दी"),
        ("مرحبا، يا", "مرحبا يا"),
        ("你好。世界", "你好 世界"),
        ("١٢٣", "١٢٣"),
        # What is no speech
        ("thumbs 👍🏽 up", "THUMBS UP"),
        ("I ❤️ you", "I YOU"),
        ("👩‍🚀", ""),
        ("a\x00b\x1bc", "A B C"),
        ("\ufeffa", "A"),
        ("co\u00adoperate", "COOPERATE"),
        ("e\u200d\u0301", "É"),
        ("می\u200cخواهم", "میخواهم"),
        ("क्\u200dष", "क्ष"),
        ("zero\u200bwidth", "ZERO WIDTH"),
    ],
)
def test_upper_normalises_text(text: str, expected: str) -> None:
    assert normalise(text) == expected
    assert normalise(text, "upper") == expected
    assert normalise(expected) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [(" Don’t,\t stop! ", "Don’t, stop!"), ("", ""), ("ﬁ\u00a0x\n", "ﬁ x"), ("ß", "ß")]
)
def test_none_only_collapses_white_space(text: str, expected: str) -> None:
    assert normalise(text, "none") == expected


# Characters that change their number or their category as they are normalised.
TRICKY = "aΐΰßŉǰıİſŽﬁ½’´ʼ'- 가각ㅏｶﾞ\u0301\u0308\u0345\u0942\u200d\u00ad\ufe0f\u00a8\u037a\u1fe3"


@given(st.text() | st.text(alphabet=st.sampled_from(TRICKY)), st.sampled_from(["upper", "none"]))
@settings(deadline=None)
def test_upper_and_none_are_idempotent(text: str, normaliser: str) -> None:
    once = normalise(text, normaliser)
    assert normalise(once, normaliser) == once


def test_upper_is_idempotent_for_every_character() -> None:
    # Between letters, so that marks combine; surrogates are no characters.
    text = " ".join(f"x{chr(code)}x" for code in range(0x30000) if not 0xD800 <= code < 0xE000)
    once = normalise(text)
    assert normalise(once) == once


@given(st.text())
@settings(deadline=None)
def test_upper_keeps_nothing_but_letters_marks_numbers_and_apostrophes(text: str) -> None:
    once = normalise(text)
    assert all(unicodedata.category(character)[0] in "LMN" for character in once if character not in " '")
    assert once == once.strip()
    assert "  " not in once


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126)))
@settings(deadline=None)
def test_upper_of_ascii_is_english_and_digits(text: str) -> None:
    assert set(normalise(text)) <= set(ENGLISH) | set("0123456789")


@given(st.text(alphabet="AZ09' a\n_É٣Ａ") | st.text())
@settings(deadline=None)
def test_upper_ignores_an_invisible_character(text: str) -> None:
    # With a soft hyphen even text that needs no change is normalised character by character.
    assert normalise(text) == normalise(f"\u00ad{text}")


@pytest.mark.parametrize("text", ["MISTER QUILTER", "DON'T", "'TIS 7", "A", "A B 'C"])
def test_upper_keeps_normal_text(text: str) -> None:
    assert normalise(text) == text


@pytest.mark.parametrize("text", ["A\n", "A  B", " A", "A ", "A-B", "A\tB", "a"])
def test_upper_changes_text_that_is_nearly_normal(text: str) -> None:
    assert normalise(text) != text


def test_normalise_with_unknown_name_is_refused() -> None:
    with pytest.raises(TextError, match=r"^unknown normaliser 'lower'; known are upper, none, basic"):
        normalise("a", "lower")


# Pairs that OpenAI's EnglishTextNormalizer makes equal (run on both texts of each pair).
SAME_FOR_WHISPER = [
    ("$0.50", "fifty cents"),
    ("$4.85", "four dollars and eighty five cents"),
    ("minus five", "negative 5"),
    ("um, I uh think hmm so", "I think so"),
    ("[laughter] hello <unk> you (coughs)", "hello you"),
    ("café naïve", "cafe naive"),
    ("St. Paul", "saint paul"),
    ("10 AM", "ten am"),
    ("10 a.m.", "ten A M"),
    ("Capt. Smith Jr.", "captain smith junior"),
    ("he woulda", "he would have"),
]
# It makes most of these different, although they are read in the same way.
SAME_WHEN_READ = [
    ("10:00 AM", "ten a.m."),
    ("10:00 AM", "ten o'clock am"),
    ("10:30 p.m.", "ten thirty PM"),
    ("10:00", "ten o'clock"),
    ("$.50", "50¢"),
    ("$4.85", "four dollars eighty five cents"),
    ("£1.01", "one pound and one penny"),
    ("1/2", "one half"),
    ("3/4 of it", "three quarters of it"),
    ("2 1/2", "two and a half"),
    ("2½", "two and one half"),
    ("-5", "minus five"),
    ("−5.5", "negative five point five"),
    ("-$5", "minus five dollars"),
    ("5°C", "five degrees celsius"),
    ("98.6 °F", "ninety eight point six degrees Fahrenheit"),
    ("1°", "one degree"),
    ("24/7", "twenty four seven"),
]


@pytest.mark.parametrize(("first", "second"), SAME_FOR_WHISPER + SAME_WHEN_READ)
def test_english_makes_texts_that_are_read_alike_equal(first: str, second: str) -> None:
    assert NORMALISERS["english"](first) == NORMALISERS["english"](second) != ""


@pytest.mark.parametrize(
    ("first", "second"),
    [("3-5", "minus five"), ("5", "-5"), ("1/2/2020", "one half"), ("St. Paul", "street Paul"), ("$0.50", "$50")],
)
def test_english_keeps_different_texts_different(first: str, second: str) -> None:
    assert NORMALISERS["english"](first) != NORMALISERS["english"](second)


def test_equivalents_can_remove_words(tmp_path: Path) -> None:
    (tmp_path / "same.txt").write_text("uh =\nyou know =  # a filler\ncolour = color\n")
    normalise = normaliser("basic", tmp_path / "same.txt")
    assert normalise("Uh, you know the uh colour you knew") == "the color you knew"
    # The normaliser may remove it first.
    assert normaliser("english", tmp_path / "same.txt")("uh you know the colour") == "the color"
