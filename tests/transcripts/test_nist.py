"""CTM, read and written."""

from pathlib import Path

import pytest
from hypothesis import given, settings

from asr import transcripts
from asr.transcripts import TranscriptError, document
from asr.transcripts.matching import match
from asr.transcripts.nist import recording_names
from asr.transcripts.records import FileResult, Word
from tests.transcripts.examples import WORDS, any_result, timed, untimed


def write(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def test_words_are_joined_in_the_order_of_time(tmp_path: Path) -> None:
    content = "rec A 0.5 0.2 CAT 0.9\nrec A 0.0 0.4 THE 0.75\n;; a comment\nrec A 2.0 0.5 DOG 1\n"
    [row] = transcripts.read(write(tmp_path, "a.ctm", content)).rows
    assert (row.id, row.text, row.row, row.confidences) == ("rec", "THE CAT DOG", 1, (0.75, 0.9, 1.0))


def test_channels_are_separate_transcripts(tmp_path: Path) -> None:
    rows = transcripts.read(write(tmp_path, "a.ctm", "r A 0 1 ONE\nr B 0 1 TWO NA\nr A 1 1 THREE 0.5\n")).rows
    assert [(row.id, row.text, row.confidences) for row in rows] == [("r-A", "ONE THREE", ()), ("r-B", "TWO", ())]


def test_words_are_assigned_to_the_first_segment_that_ends_after_their_middle(tmp_path: Path) -> None:
    stm = "r A s 0 1 A\nr A s 1 2 B\nr A s 5 6\nr A s 5.5 9 C\nr A t 9 10 IGNORE_TIME_SEGMENT_IN_SCORING\nq A s 0 1 D\n"
    references = transcripts.read(write(tmp_path, "r.stm", stm)).rows
    words = "r A 0.9 0.3 b\nr A 0.4 0.1 a\nr A 3 0.2 gap\nr A 5.1 0.1 x\nr A 5.6 0.2 y\nr A 9.2 0.2 no\nr A 11 1 no\n"
    read, outside = transcripts.read_hypotheses(write(tmp_path, "h.ctm", words), references)
    assert {row.id: row.text for row in read.rows} == {
        "r-A-0-1": "a",
        "r-A-1-2": "b",
        "r-A-5-6": "gap x y",
        "r-A-5.5-9": "",
        "r-A-9-10": "no no",
    }
    assert outside == 2
    matched = match(references, read.rows, "h.ctm", allow_missing=True)
    # Every segment of a recording without hypotheses is missing; the ignored segment is not scored.
    assert matched.missing == ("q-A-0-1",)
    assert [pair.id for pair in matched.pairs] == ["r-A-0-1", "r-A-1-2", "r-A-5-6", "r-A-5.5-9", "q-A-0-1"]


def test_words_of_a_recording_that_is_not_in_the_stm_are_no_reference(tmp_path: Path) -> None:
    references = transcripts.read(write(tmp_path, "r.stm", "r A s 0 1 A\n")).rows
    read, _ = transcripts.read_hypotheses(write(tmp_path, "h.ctm", "r A 0 1 A\nz A 0 1 B\n"), references)
    with pytest.raises(TranscriptError, match=r"1 id not in the references \('z-A'\)"):
        match(references, read.rows, "h.ctm")


@pytest.mark.parametrize(("channel", "other"), [("A", "1"), ("1", "A"), ("2", "B"), ("a", "A"), ("B", "2")])
def test_channels_may_be_letters_or_numbers(channel: str, other: str, tmp_path: Path) -> None:
    references = transcripts.read(write(tmp_path, "r.stm", f"r {channel} s 0 1 A\n")).rows
    read, _ = transcripts.read_hypotheses(write(tmp_path, "h.ctm", f"r {other} 0 1 A\n"), references)
    assert [pair.hypothesis for pair in match(references, read.rows, "h.ctm").pairs] == ["A"]


def test_speakers_may_speak_at_the_same_time(tmp_path: Path) -> None:
    references = transcripts.read(write(tmp_path, "r.stm", "r A s 0 1 A\nr A t 0 1 B\nr A s 1 2 C\n")).rows
    assert [row.id for row in references] == ["r-A-0-1-s", "r-A-0-1-t", "r-A-1-2"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("A { B / C D / @ } E", (("A",), ("B", "C D", ""), ("E",))),
        ("{A/B}", (("A", "B"),)),
        ("{ A / { B / @ } C } and/or", (("A", "B C", "C"), ("and/or",))),
        ("(UH) A", (("UH", ""), ("A",))),
        ("{laugh} A {B/C}", (("{laugh}",), ("A",), ("B", "C"))),
        ("{laugh} A", ()),
    ],
)
def test_alternatives_of_an_stm(text: str, parts: tuple[tuple[str, ...], ...], tmp_path: Path) -> None:
    [row] = transcripts.read(write(tmp_path, "r.stm", f"r A s 0 1 {text}\n")).rows
    assert row.alternatives == parts


def test_a_segment_without_words_has_an_empty_hypothesis(tmp_path: Path) -> None:
    references = transcripts.read(write(tmp_path, "r.stm", "r A s 0 1 A\nr A s 1 2 B\n")).rows
    read, _ = transcripts.read_hypotheses(write(tmp_path, "h.ctm", "r A 0.1 0.3 A\n"), references)
    assert [pair.hypothesis for pair in match(references, read.rows, "h.ctm").pairs] == ["A", ""]


def test_words_are_joined_by_recording_for_references_without_times(tmp_path: Path) -> None:
    references = transcripts.read(write(tmp_path, "refs", "u1 A B\nu2 C\n")).rows
    read, outside = transcripts.read_hypotheses(write(tmp_path, "h.ctm", "u2 1 0 1 C\nu1 1 0 1 A\n"), references)
    assert ([row.id for row in read.rows], outside) == (["u2", "u1"], 0)


def test_ctm_has_a_line_for_each_word() -> None:
    lines = "talk 1 0.500 0.400 HELLO 0.9000\ntalk 1 1.000 0.500 WORLD 0.7000\n"
    assert document([timed(*WORDS[:2])], "ctm") == lines


def test_ctm_of_separate_channels_has_their_numbers() -> None:
    results = [untimed("A", 2.0, channel=1), untimed("B", 2.0, channel=2)]
    assert document(results, "ctm") == "a 1 0.000 2.000 A NA\na 2 0.000 2.000 B NA\n"


@pytest.mark.parametrize(
    ("audio", "name"),
    [("b/my talk\n2.v1.wav", "my_talk_2.v1"), (";;a.wav", "_;a"), ("", "_"), ("\u2003'\".wav", "_'\""), ("-", "-")],
)
def test_the_name_of_a_recording_is_one_cell(audio: str, name: str) -> None:
    assert document([timed(Word("A", 0, 1, 1), audio=audio)], "ctm") == f"{name} 1 0.000 1.000 A 1.0000\n"


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["in/a.wav", "b c.wav"], ["a", "b_c"]),
        (["a/x.wav", "b/x.wav"], ["a/x", "b/x"]),
        (["/long/way/a/x.wav", "/long/way/b/x.wav", "/long/way/y.wav"], ["a/x", "b/x", "y"]),
        (["../a/x.wav", "../b/x.wav"], ["a/x", "b/x"]),
        (["a/x.wav", "a/x.flac", "y.wav"], ["a/x.wav", "a/x.flac", "y.wav"]),
        (["a b/x.wav", "a_b/x.flac"], ["a_b/x.wav", "a_b/x.flac"]),
        (["-"], ["-"]),
        ([], []),
    ],
)
def test_recordings_have_different_names(paths: list[str], names: list[str]) -> None:
    assert recording_names(list(map(Path, paths))) == names


def test_recordings_whose_names_cannot_differ_are_refused() -> None:
    with pytest.raises(TranscriptError, match=r"a b\.wav and a_b\.wav would both be recording 'a_b\.wav' of a CTM"):
        recording_names([Path("a b.wav"), Path("a_b.wav")])


def test_words_without_length_are_in_order() -> None:
    lines = document([timed(Word("A", 1.0, 1.0, 1), Word("B", 1.0, 1.0, 1), duration=2.0)], "ctm")
    assert lines == "talk 1 1.000 0.001 A 1.0000\ntalk 1 1.001 0.001 B 1.0000\n"


@settings(deadline=None)
@given(any_result())
def test_ctm_can_be_read_back(tmp_path_factory: pytest.TempPathFactory, result: FileResult) -> None:
    path = write(tmp_path_factory.mktemp("ctm"), "a.ctm", document([result], "ctm"))
    if result.text:
        [row] = transcripts.read(path).rows
        assert (row.id, row.text) == ("talk", result.text)
        assert len(row.confidences) == len(row.text.split())


def test_punctuation_between_spaces_is_no_word() -> None:
    lines = document([timed(Word("Yes — !", 1.0, 2.0, 1))], "ctm")
    assert lines == "talk 1 1.000 1.000 Yes 1.0000\n"
