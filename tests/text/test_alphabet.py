"""Transcripts in their one form, and alphabets to token ids and back."""

import re
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.text import BLANK, ENGLISH, Alphabet, TextError, TextSettings, normalise
from asr.text import alphabet as module


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
def test_upper_writes_speech_in_one_form(text: str, expected: str) -> None:
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
def test_normalising_twice_is_normalising_once(text: str, normaliser: str) -> None:
    once = normalise(text, normaliser)
    assert normalise(once, normaliser) == once


def test_every_character_normalises_in_one_step() -> None:
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
def test_english_becomes_english_and_digits(text: str) -> None:
    assert set(normalise(text)) <= set(ENGLISH) | set("0123456789")


def unhurried(text: str) -> str:
    """Return the normalised text as every text is, with no look at whether it is plain."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PLAIN", re.compile("(?!)"))
        return normalise(text)


@given(st.text(alphabet="AZ09' a\n_É٣Ａ") | st.text())
@settings(deadline=None)
def test_plain_texts_take_no_other_way_to_the_same_end(text: str) -> None:
    assert normalise(text) == unhurried(text)


@pytest.mark.parametrize("text", ["MISTER QUILTER", "DON'T", "'TIS 7", "A", "A B 'C"])
def test_what_is_normal_is_seen_at_once(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "unicodedata", None)
    assert normalise(text) == text


@pytest.mark.parametrize("text", ["A\n", "A  B", " A", "A ", "A-B", "A\tB", "a"])
def test_what_is_nearly_normal_is_not_taken_for_it(text: str) -> None:
    assert normalise(text) == unhurried(text) != text


def test_an_unknown_normaliser_is_refused() -> None:
    with pytest.raises(TextError, match=r"^unknown normaliser 'lower'; known are upper, none$"):
        normalise("a", "lower")


# Alphabets

alphabets = st.text(min_size=1).map(lambda text: "".join(dict.fromkeys(text)))


@given(alphabets, st.data())
@settings(deadline=None)
def test_what_is_encoded_is_decoded(characters: str, data: st.DataObject) -> None:
    alphabet = Alphabet(characters)
    text = data.draw(st.text(alphabet=st.sampled_from(characters)))
    tokens = alphabet.encode(text)
    assert alphabet.decode(tokens) == text
    assert len(tokens) == len(text)
    assert all(BLANK < token < len(alphabet) for token in tokens)
    assert alphabet.unknown(text) == []


@given(st.lists(st.text()).filter(any))
@settings(deadline=None)
def test_an_alphabet_of_texts_writes_them_all(texts: list[str]) -> None:
    alphabet = Alphabet.of(texts)
    assert list(alphabet.characters) == sorted(set("".join(texts)))
    assert [alphabet.decode(alphabet.encode(text)) for text in texts] == texts


def test_ids_run_from_1_in_the_order_given() -> None:
    alphabet = Alphabet("CAB ")
    assert alphabet.encode("ABC CAB") == [2, 3, 1, 4, 1, 2, 3]
    assert len(alphabet) == 5
    assert len(Alphabet(ENGLISH)) == 29


@given(alphabets, st.text())
@settings(deadline=None, max_examples=50)
def test_ids_are_those_of_encode_and_blank_for_all_else(characters: str, other: str) -> None:
    alphabet = Alphabet(characters)
    for text in (characters[::-1], other, characters + other, ""):
        ids = alphabet.ids(text)
        assert ids.dtype == np.int32
        expected = [alphabet.encode(one)[0] if one in characters else BLANK for one in text]
        assert ids.tolist() == expected
        if not alphabet.unknown(text):
            assert ids.tolist() == alphabet.encode(text)


def test_ids_of_any_code_point() -> None:
    alphabet = Alphabet("A\U0010ffff\ud800\x00😀")
    assert alphabet.ids("😀\x00\ud800\U0010ffffAB\udfff").tolist() == [5, 4, 3, 2, 1, 0, 0]


def test_decoding_leaves_blanks_out_and_merges_nothing() -> None:
    assert Alphabet("AB").decode([0, 1, 1, 0, 1, 2, 0]) == "AAAB"
    assert Alphabet("AB").decode(iter([])) == ""


def test_unknown_characters_are_listed_once_in_order() -> None:
    assert Alphabet("AB").unknown("xAyBxz") == ["x", "y", "z"]


def test_a_character_outside_the_alphabet_is_refused() -> None:
    with pytest.raises(TextError, match=r"^'É' is not in the alphabet 'AB'$"):
        Alphabet("AB").encode("AÉB")


@pytest.mark.parametrize(
    ("characters", "said"),
    [("", "an alphabet needs at least one character"), ("ABCB", "'B' stands twice in the alphabet")],
)
def test_an_alphabet_that_makes_no_sense_is_refused(characters: str, said: str) -> None:
    with pytest.raises(TextError) as caught:
        Alphabet(characters)
    assert str(caught.value) == said
    with pytest.raises(ValueError, match=f"^alphabet: {said}$"):
        TextSettings(alphabet=characters)


def test_an_alphabet_of_no_text_is_refused() -> None:
    with pytest.raises(TextError, match=r"^an alphabet needs at least one character$"):
        Alphabet.of(["", ""])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"normaliser": "lower"}, "normaliser = 'lower' is not one of upper, none"),
        ({"unknown": "skip"}, "unknown = 'skip' is not one of error, drop"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError) as caught:
        TextSettings(**settings)
    assert str(caught.value) == said


def test_the_alphabet_of_the_training_text_may_be_asked_for() -> None:
    assert TextSettings(alphabet="auto").alphabet == "auto"
