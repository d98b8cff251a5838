"""Transcripts -> lines."""

import json

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
    assert json.loads(row) == {"audio": "a\nb \udce9.wav", "text": "É", "score": -1.2346}
    row.encode("utf-8")
