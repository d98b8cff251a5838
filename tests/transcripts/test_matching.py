"""Pairs of references and hypotheses."""

import pytest

from asr.transcripts import TranscriptError
from asr.transcripts.ids import audio_id, same_ids
from asr.transcripts.matching import match
from asr.transcripts.rows import TranscriptRow


def rows(*ids: str, text: str = "A") -> list[TranscriptRow]:
    return [TranscriptRow(identity, text, number) for number, identity in enumerate(ids, 1)]


def test_ids_are_matched_in_any_order() -> None:
    references = [TranscriptRow("a", "A", 1, "ann", 2.0), TranscriptRow("b", "B", 2, "", 0.0)]
    hypotheses = [TranscriptRow("b", "B", 1, "bob", 3.0, (0.5,)), TranscriptRow("a", "X", 2, "eve", 9.0)]
    matched = match(references, hypotheses, "h.txt")
    assert [(pair.id, pair.reference, pair.hypothesis, pair.speaker, pair.duration) for pair in matched.pairs] == [
        ("a", "A", "X", "ann", 2.0),
        ("b", "B", "B", "bob", 3.0),
    ]
    assert [pair.confidences for pair in matched.pairs] == [(), (0.5,)]
    assert matched.missing == matched.extra == ()


def test_missing_and_extra_ids_are_refused_unless_allowed() -> None:
    references = rows(*(f"r{number}" for number in range(8)), "both")
    hypotheses = rows("both", "more")
    message = r"h\.txt: no hypothesis for 8 ids \('r0', 'r1', 'r2', 'r3', 'r4' and 3 more\); "
    message += r"1 id not in the references \('more'\); --allow-missing counts missing ids as deletions"
    with pytest.raises(TranscriptError, match=message):
        match(references, hypotheses, "h.txt")
    matched = match(references, hypotheses, "h.txt", allow_missing=True)
    assert [pair.hypothesis for pair in matched.pairs] == [""] * 8 + ["A"]
    assert (len(matched.missing), matched.extra) == (8, ("more",))


def test_hypotheses_without_any_id_of_the_references_are_always_refused() -> None:
    with pytest.raises(TranscriptError, match=r"no id is in the references \(its first id is 'A', theirs is 'a'\)"):
        match(rows("a"), rows("A"), "h.txt", allow_missing=True)


@pytest.mark.parametrize(
    ("references", "hypotheses", "same"),
    [
        (["a/x", "b/x"], ["b/x", "a/x"], {"a/x": "a/x", "b/x": "b/x"}),
        (["a/x"], ["x"], {"x": "a/x"}),
        (["x"], ["/data/a/x"], {"/data/a/x": "x"}),
        (["x", "a/x"], ["./c/a/x", "./c/x"], {"./c/a/x": "a/x", "./c/x": "x"}),
        # The end of a path must be whole parts, and name one utterance.
        (["a/x"], ["ax"], {}),
        (["a/x", "b/x"], ["x"], {}),
        (["x"], ["a/x", "b/x"], {}),
    ],
)
def test_the_end_of_a_path_is_an_id(references: list[str], hypotheses: list[str], same: dict[str, str]) -> None:
    assert same_ids(references, hypotheses) == same


def test_the_id_of_a_recording_is_its_path() -> None:
    assert [audio_id("a b/x.wav"), audio_id("C:\\x.wav"), audio_id("x"), audio_id("x.wav", 2)] == [
        *("a_b/x", "C:/x", "x", "x-2"),
    ]
