"""Number and text formats."""

import pytest

from asr.reports import formats


def test_points_have_a_sign_and_zero_has_none() -> None:
    assert [formats.points(value) for value in (-0.01234, 0.05, -0.00001)] == ["−1.23", "+5.00", "0.00"]


def test_durations_are_in_seconds_minutes_or_hours() -> None:
    assert [formats.duration(value) for value in (3.0, 300.0, 20_000.0)] == ["3.0 s", "5.0 minutes", "5.6 hours"]
    assert [formats.clock(value) for value in (0.0, 90.0, 7260.0)] == ["0:00", "0:02", "2:01"]


def test_p_values_have_three_decimals() -> None:
    assert [formats.p_value(value) for value in (0.0001, 0.04)] == ["< 0.001", "0.040"]


def test_counted_nouns_are_plural_except_for_one() -> None:
    assert (formats.counted(1, "word"), formats.counted(1000, "word")) == ("1 word", "1,000 words")


@pytest.mark.parametrize(
    ("value", "text"), [(0.000123456, "0.000123"), (1.5e-6, "1.5e-6"), (12345.6, "12346"), (1e6, "1e6"), (0.0, "0")]
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert formats.number(value) == text


def test_long_texts_are_shortened() -> None:
    assert [formats.shortened("abcdef", limit) for limit in (6, 5)] == ["abcdef", "abcd…"]
