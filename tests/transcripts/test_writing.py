"""Transcripts -> lines."""

import json

from asr.transcripts import writing as output
from asr.transcripts.records import FileResult, Hypothesis, Transcript, Word
from asr.transcripts.writing import line


def test_text_is_the_text_alone() -> None:
    assert line(FileResult("a.wav", Transcript("HELLO WORLD")), "txt") == "HELLO WORLD"


def test_a_failure_leaves_an_empty_line_so_that_lines_and_files_stay_in_step() -> None:
    assert line(FileResult("a.wav", None, "a.wav: 0 samples"), "txt") == ""
    assert json.loads(line(FileResult("a.wav", None, "a.wav: 0 samples"), "json")) == {
        "audio": "a.wav",
        "error": "a.wav: 0 samples",
    }


def test_json_is_one_line_whatever_the_name() -> None:
    row = line(FileResult("a\nb \udce9.wav", Transcript("É", acoustic_score=-1.23456)), "json")
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
    words = (Word("A", 0.12345, 0.5, 0.87654), Word("B", 0.6, 1.0, 1.0))
    transcript = Transcript("A B", words, (Hypothesis("A", float("-inf")),), -1.0, -2.0)
    row = json.loads(line(FileResult("a.wav", transcript), "json"))
    assert row["score"] == -3.0
    assert row["words"] == [
        {"word": "A", "start": 0.123, "end": 0.5, "confidence": 0.8765},
        {"word": "B", "start": 0.6, "end": 1.0, "confidence": 1.0},
    ]
    assert row["alternatives"] == [{"text": "A", "score": None, "acoustic_score": None, "lm_score": 0.0}]


def test_channels_share_a_file_where_the_format_tells_them_apart() -> None:
    both = [
        FileResult("in/a.wav", Transcript(text, duration=2.0), channel=number) for number, text in ((1, "A"), (2, "B"))
    ]
    assert {form: list(output.files(both, form)) for form in output.FORMATS} == {
        "txt": [".1.txt", ".2.txt"],
        "json": [".1.json", ".2.json"],
        "srt": [".1.srt", ".2.srt"],
        "vtt": [".1.vtt", ".2.vtt"],
        "ctm": [".ctm"],
        "tsv": [".tsv"],
        "textgrid": [".TextGrid"],
    }
    assert output.files(both, "txt") == {".1.txt": "A\n", ".2.txt": "B\n"}
    assert output.joined(both, "txt") == "in/a.wav\t1\tA\nin/a.wav\t2\tB\n"
    assert output.joined(both, "ctm") == "a 1 0.000 2.000 A NA\na 2 0.000 2.000 B NA\n"
    assert output.joined(both, "tsv").splitlines() == [
        "audio\tchannel\tstart\tend\tconfidence\ttext",
        "in/a.wav\t1\t0.000\t2.000\t\tA",
        "in/a.wav\t2\t0.000\t2.000\t\tB",
    ]
    mixed = [FileResult("in/a.wav", Transcript("A"))]
    assert output.joined(mixed, "txt") == "A\n" and list(output.files(mixed, "json")) == [".json"]
