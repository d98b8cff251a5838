"""Alphabets: characters to token ids and back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.text import BLANK, ENGLISH, Alphabet, TextError, TextSettings

alphabets = st.text(min_size=1).map(lambda text: "".join(dict.fromkeys(text)))


@given(alphabets, st.data())
@settings(deadline=None)
def test_decode_inverts_encode(characters: str, data: st.DataObject) -> None:
    alphabet = Alphabet(characters)
    text = data.draw(st.text(alphabet=st.sampled_from(characters)))
    tokens = alphabet.encode(text)
    assert alphabet.decode(tokens) == text
    assert len(tokens) == len(text)
    assert all(BLANK < token < len(alphabet) for token in tokens)
    assert alphabet.unknown(text) == []


@given(st.lists(st.text()).filter(any))
@settings(deadline=None)
def test_alphabet_of_texts_encodes_them_all(texts: list[str]) -> None:
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
def test_ids_equal_encode_and_are_blank_outside_the_alphabet(characters: str, other: str) -> None:
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


def test_decode_drops_blanks_and_keeps_repeats() -> None:
    assert Alphabet("AB").decode([0, 1, 1, 0, 1, 2, 0]) == "AAAB"
    assert Alphabet("AB").decode(iter([])) == ""


def test_unknown_lists_characters_once_in_order() -> None:
    assert Alphabet("AB").unknown("xAyBxz") == ["x", "y", "z"]


def test_encode_refuses_a_character_outside_the_alphabet() -> None:
    with pytest.raises(TextError, match=r"^'É' is not in the alphabet 'AB'$"):
        Alphabet("AB").encode("AÉB")


@pytest.mark.parametrize(
    ("characters", "said"),
    [("", "an alphabet needs at least one character"), ("ABCB", "'B' is twice in the alphabet")],
)
def test_alphabet_empty_or_with_a_repeated_character_is_refused(characters: str, said: str) -> None:
    with pytest.raises(TextError) as caught:
        Alphabet(characters)
    assert str(caught.value) == said
    with pytest.raises(ValueError, match=f"^alphabet: {said}$"):
        TextSettings(alphabet=characters)


def test_alphabet_of_empty_texts_is_refused() -> None:
    with pytest.raises(TextError, match=r"^an alphabet needs at least one character$"):
        Alphabet.of(["", ""])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"normaliser": "lower"}, "normaliser = 'lower' is not one of upper, none"),
        ({"unknown": "skip"}, "unknown = 'skip' is not one of error, drop"),
    ],
)
def test_text_settings_out_of_range_are_refused(settings: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError) as caught:
        TextSettings(**settings)
    assert str(caught.value) == said


def test_text_settings_accept_alphabet_auto() -> None:
    assert TextSettings(alphabet="auto").alphabet == "auto"
