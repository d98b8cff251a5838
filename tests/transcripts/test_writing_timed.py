"""Transcripts -> srt, vtt, ctm, tsv and TextGrid, read back by others' libraries and by hand-made cases."""

import csv
import importlib
import io
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asr import transcripts
from asr.transcripts.records import FileResult, Transcript, Word
from asr.transcripts.segments import subtitles
from asr.transcripts.writing import FORMATS, document

WORDS = (Word("HELLO", 0.5, 0.9, 0.9), Word("WORLD", 1.0, 1.5, 0.7), Word("AGAIN", 3661.25, 3662.0, 1.0))


def said(*words: Word, audio: str = "talk.wav", duration: float = 4000.0) -> FileResult:
    return FileResult(audio, Transcript(" ".join(word.text for word in words), words, duration=duration))


def untimed(text: str, duration: float = 0.0) -> FileResult:
    return FileResult("a.wav", Transcript(text, duration=duration))


@st.composite
def transcribed(draw: st.DrawFn) -> FileResult:
    """Any transcript; its words may have any characters but white space, and times in order."""
    word = st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1, max_size=15) | st.sampled_from(
        ["-->", "<b>", "&amp;", '"', '""', "WEBVTT", "NOTE", "1", "<"]
    )
    words, now = [], 0.0
    for text in draw(st.lists(word, max_size=30)):
        start = now + draw(st.sampled_from([0.0, 0.04, 0.5, 2.0]))
        now = start + draw(st.floats(0, 3))
        words.append(Word(text, start, now, draw(st.floats(0, 1))))
    return said(*words, duration=now + draw(st.sampled_from([0.0, 0.0004, 1.0])))


def test_subrip_by_hand() -> None:
    assert document(said(*WORDS), "srt") == (
        "1\n00:00:00,500 --> 00:00:01,500\nHELLO WORLD\n\n2\n01:01:01,250 --> 01:01:02,250\nAGAIN\n"
    )


def test_webvtt_by_hand() -> None:
    assert document(said(*WORDS), "vtt") == (
        "WEBVTT\n\n00:00:00.500 --> 00:00:01.500\nHELLO WORLD\n\n01:01:01.250 --> 01:01:02.250\nAGAIN\n"
    )
    assert "\n&lt;A&amp;B&gt; --&gt;\n" in document(said(Word("<A&B>", 0, 1, 1), Word("-->", 1, 2, 1)), "vtt")


def test_ctm_by_hand() -> None:
    assert document(said(*WORDS[:2]), "ctm") == "talk 1 0.500 0.400 HELLO 0.9000\ntalk 1 1.000 0.500 WORLD 0.7000\n"


@pytest.mark.parametrize(
    ("audio", "name"),
    [("b/my talk\n2.v1.wav", "my_talk_2.v1"), (";;a.wav", "_;a"), ("", "_"), ("\u2003'\".wav", "_'\""), ("-", "-")],
)
def test_a_name_is_one_cell_of_a_ctm(audio: str, name: str) -> None:
    assert document(said(Word("A", 0, 1, 1), audio=audio), "ctm") == f"{name} 1 0.000 1.000 A 1.0000\n"


def test_tsv_by_hand() -> None:
    table = document(said(*WORDS, audio='a\t\\"b"\n.wav'), "tsv")
    first, second, third = csv.reader(io.StringIO(table), delimiter="\t")
    assert first == ["audio", "start", "end", "confidence", "text"]
    assert second == ['a\\t\\\\"b"\\n.wav', "0.500", "1.500", "0.8000", "HELLO WORLD"]
    assert third[1:] == ["3661.250", "3662.000", "1.0000", "AGAIN"]
    assert document(said(*WORDS), "tsv", head=False).count("\n") == 2


def test_textgrid_by_hand() -> None:
    grid = document(said(Word('SAY"', 0.5, 1.0, 1), duration=2.0), "textgrid")
    assert grid.startswith('File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = 2.000\n')
    assert grid.count("intervals: size = 3") == 2
    assert grid.endswith(
        "        intervals [2]:\n            xmin = 0.500\n            xmax = 1.000\n"
        '            text = "SAY"""\n'
        "        intervals [3]:\n            xmin = 1.000\n            xmax = 2.000\n"
        '            text = ""\n'
    )


@pytest.mark.parametrize("form", ["srt", "vtt", "ctm", "tsv", "textgrid"])
def test_nothing_said_and_nothing_done_look_alike(form: str) -> None:
    expected = {"vtt": "WEBVTT\n", "tsv": "audio\tstart\tend\tconfidence\ttext\n"}.get(form, "")
    for result in (untimed("", 2.0), FileResult("a.wav", None, "a.wav: 0 samples")):
        told = document(result, form)
        if form == "textgrid":
            assert told.count('text = ""') == 2
        else:
            assert told == expected


def test_words_without_times_are_not_lost() -> None:
    text = "the quick brown fox jumps over the lazy dog and runs"
    two_lines = "the quick brown fox jumps\nover the lazy dog and runs"
    assert document(untimed(text, 3.0), "srt") == f"1\n00:00:00,000 --> 00:00:03,000\n{two_lines}\n"
    assert document(untimed("A B"), "vtt") == "WEBVTT\n\n00:00:00.000 --> 00:00:07.000\nA B\n"
    assert document(untimed("A B", 3.0), "ctm") == "a 1 0.000 1.500 A NA\na 1 1.500 1.500 B NA\n"
    assert document(untimed("A B", 3.0), "tsv").endswith("a.wav\t0.000\t3.000\t\tA B\n")
    assert document(untimed("A B", 3.0), "textgrid").count('text = "A B"') == 2


def test_times_are_in_order_even_where_words_have_no_length() -> None:
    grid = document(said(Word("A", 1.0, 1.0, 1), Word("B", 1.0, 1.0, 1), duration=1.0), "ctm")
    assert grid == "talk 1 1.000 0.001 A 1.0000\ntalk 1 1.001 0.001 B 1.0000\n"


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_can_be_written_whatever_the_name(form: str) -> None:
    document(said(*WORDS, audio="\udce9.wav"), form).encode("utf-8")


@settings(deadline=None)
@given(transcribed())
def test_a_ctm_is_what_asr_score_reads(tmp_path_factory: pytest.TempPathFactory, result: FileResult) -> None:
    path = tmp_path_factory.mktemp("ctm") / "a.ctm"
    path.write_text(document(result, "ctm"), encoding="utf-8")
    if result.text:
        [read] = transcripts.read(path, "ctm")
        assert (read.id, read.text) == ("talk", result.text)
        assert len(read.confidences) == len(read.text.split())


@settings(deadline=None)
@given(transcribed())
def test_a_tsv_is_read_back(result: FileResult) -> None:
    _, *rows = csv.reader(io.StringIO(document(result, "tsv")), delimiter="\t")
    assert result.transcript
    assert [row[4] for row in rows] == [one.text for one in result.transcript.segments]


def library(name: str) -> Any:
    """Import a parser that has no types of its own, or skip."""
    pytest.importorskip(name, reason=f"{name} is not installed")
    return importlib.import_module(name)


def cues(result: FileResult) -> list[str]:
    assert result.transcript
    return [cue.text for cue in subtitles(result.transcript.words)]


@settings(deadline=None)
@given(transcribed())
def test_subrip_is_read_back(result: FileResult) -> None:
    found = list(library("srt").parse(document(result, "srt"), ignore_errors=False))
    assert [one.content for one in found] == [text.replace("-->", "→") for text in cues(result)]
    assert [one.index for one in found] == list(range(1, len(found) + 1))
    assert all(timedelta(0) <= one.start < one.end for one in found)
    assert all(before.end <= after.start for before, after in pairwise(found))


@settings(deadline=None)
@given(transcribed())
def test_webvtt_is_read_back(result: FileResult) -> None:
    webvtt = library("webvtt")
    found = list(webvtt.from_string(document(result, "vtt")))
    escaped = [text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for text in cues(result)]
    assert [one.raw_text for one in found] == escaped
    assert all(one.start_in_seconds <= one.end_in_seconds for one in found)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(transcribed())
def test_a_textgrid_is_read_back(tmp_path: Path, result: FileResult) -> None:
    textgrid = library("praatio.textgrid")
    path = tmp_path / "a.TextGrid"
    path.write_text(document(result, "textgrid"), encoding="utf-8")
    grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=True)
    assert grid.tierNames == ("segments", "words")
    assert result.transcript
    for name, expected in (
        ("words", result.transcript.words),
        ("segments", result.transcript.segments),
    ):
        entries = grid.getTier(name).entries
        assert [one.label for one in entries if one.label] == [one.text for one in expected]
        assert all(before.end == after.start for before, after in pairwise(entries))
        assert (entries[0].start, entries[-1].end) == (0, grid.maxTimestamp)
