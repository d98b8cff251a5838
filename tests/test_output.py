"""Transcripts -> lines."""

import json

from asr.alignment import Word
from asr.decoding import Hypothesis
from asr.output import Transcript, line


def test_text_is_the_text_alone() -> None:
    assert line(Transcript("a.wav", Hypothesis("HELLO WORLD", -1.5)), "txt") == "HELLO WORLD"


def test_a_failure_leaves_an_empty_line_so_that_lines_and_files_stay_in_step() -> None:
    assert line(Transcript("a.wav", None, "a.wav: 0 samples"), "txt") == ""
    assert json.loads(line(Transcript("a.wav", None, "a.wav: 0 samples"), "json")) == {
        "audio": "a.wav",
        "error": "a.wav: 0 samples",
    }


def test_json_is_one_line_whatever_the_name() -> None:
    row = line(Transcript("a\nb \udce9.wav", Hypothesis("É", -1.23456)), "json")
    assert "\n" not in row
    assert json.loads(row) == {
        "audio": "a\nb \udce9.wav",
        "text": "É",
        "score": -1.2346,
        "acoustic_score": -1.2346,
        "lm_score": 0.0,
        "words": [],
    }
    row.encode("utf-8")


def test_json_has_words_and_alternatives() -> None:
    best = Hypothesis("A B", -1.0, -2.0, (Word("A", 0.12345, 0.5, 0.87654), Word("B", 0.6, 1.0, 1.0)))
    row = json.loads(line(Transcript("a.wav", best, alternatives=(Hypothesis("A", float("-inf")),)), "json"))
    assert row["score"] == -3.0
    assert row["words"] == [
        {"word": "A", "start": 0.123, "end": 0.5, "confidence": 0.8765},
        {"word": "B", "start": 0.6, "end": 1.0, "confidence": 1.0},
    ]
    assert row["alternatives"] == [{"text": "A", "score": None, "acoustic_score": None, "lm_score": 0.0}]
