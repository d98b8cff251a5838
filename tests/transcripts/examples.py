"""File results that the tests of several formats write."""

import importlib
from typing import Any

import pytest
from hypothesis import strategies as st

from asr.transcripts.records import FileResult, Transcript, Word

WORDS = (Word("HELLO", 0.5, 0.9, 0.9), Word("WORLD", 1.0, 1.5, 0.7), Word("AGAIN", 3661.25, 3662.0, 1.0))


def timed(*words: Word, audio: str = "talk.wav", duration: float = 4000.0) -> FileResult:
    """Return the result of a file with these words."""
    return FileResult(audio, Transcript(" ".join(word.text for word in words), words, duration=duration))


def untimed(text: str, duration: float = 0.0, channel: int | None = None) -> FileResult:
    """Return the result of a file without word times."""
    return FileResult("a.wav", Transcript(text, duration=duration), channel=channel)


@st.composite
def any_result(draw: st.DrawFn) -> FileResult:
    """Return a result whose words have any characters but white space, and times in order."""
    word = st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1, max_size=15) | st.sampled_from(
        ["-->", "<b>", "&amp;", '"', '""', "WEBVTT", "NOTE", "1", "<"]
    )
    words, end = [], 0.0
    for text in draw(st.lists(word, max_size=30)):
        start = end + draw(st.sampled_from([0.0, 0.04, 0.5, 2.0]))
        end = start + draw(st.floats(0, 3))
        words.append(Word(text, start, end, draw(st.floats(0, 1))))
    return timed(*words, duration=end + draw(st.sampled_from([0.0, 0.0004, 1.0])))


def parser(name: str) -> Any:
    """Import a parser that has no types, or skip the test."""
    pytest.importorskip(name, reason=f"{name} is not installed")
    return importlib.import_module(name)
