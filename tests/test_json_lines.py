"""Lines that are an object, and all others."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.files import JsonLineError, parse_json_object


def test_an_object_is_returned() -> None:
    assert parse_json_object(' {"id": "a", "words": [1]} ') == {"id": "a", "words": [1]}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id" "a"}', r"not JSON: Expecting ':' delimiter at column 7"),
        ("", r"not JSON: Expecting value at column 1"),
        ("[1]", r"not a JSON object \{…\}"),
        ("1" * 5000, r"not JSON: Exceeds the limit"),
        ("[" * 100_000, r"not JSON: maximum recursion"),
    ],
)
def test_what_is_none_is_told(line: str, message: str) -> None:
    with pytest.raises(JsonLineError, match=message):
        parse_json_object(line)


@given(st.text(max_size=30) | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(json.dumps))
def test_nothing_else_is_raised(line: str) -> None:
    try:
        assert isinstance(parse_json_object(line), dict)
    except JsonLineError as error:
        assert str(error)
