"""The nearest of several references."""

import pytest

from asr.scoring.alternatives import nearest_reference

PARTS = (("THE",), ("COLOUR", "COLOR"), ("UH", ""), ("CAT", "BIG CAT"))


@pytest.mark.parametrize(
    ("hypothesis", "reference"),
    [
        ("THE COLOR CAT", "THE COLOR CAT"),
        ("THE COLOUR UH BIG CAT", "THE COLOUR UH BIG CAT"),
        ("THE UH CAT", "THE COLOUR UH CAT"),
        ("", "THE COLOUR CAT"),
        ("X Y", "THE COLOUR CAT"),
    ],
)
def test_the_alternatives_with_the_fewest_errors_are_chosen(hypothesis: str, reference: str) -> None:
    assert nearest_reference(PARTS, hypothesis) == reference
