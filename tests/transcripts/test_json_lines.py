"""JSON lines, read and written."""

import json
from pathlib import Path

from asr import transcripts
from asr.transcripts import document
from asr.transcripts.records import FileResult, Hypothesis, Transcript, Word


def test_rows_of_manifests_and_transcripts_are_read(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "audio": "x.wav", "duration": 1.5, "text": "A B", "speaker": "ann", "offset": 3},
        {"audio": "clips/b.wav", "text": "B", "score": -1.5, "confidences": [0.5]},
        {"audio": "c.wav", "error": "not a sound file"},
        {"id": 7, "text": "D E", "words": [{"word": "D", "confidence": 0.25}, {"word": "E", "confidence": 1}]},
        {"id": "e", "text": "E", "words": [{"word": "E"}], "duration": None},
    ]
    path = tmp_path / "file"
    path.write_text("\n".join(map(json.dumps, rows)))
    read = transcripts.read(path).rows
    assert [(row.id, row.row) for row in read] == [("a", 1), ("clips/b", 2), ("7", 4), ("e", 5)]
    assert (read[0].speaker, read[0].duration) == ("ann", 1.5)
    assert [row.confidences for row in read] == [(), (0.5,), (0.25, 1.0), ()]


def test_json_of_a_failed_file() -> None:
    result = FileResult("a.wav", error="a.wav: 0 samples")
    assert json.loads(document([result], "json")) == {"audio": "a.wav", "error": "a.wav: 0 samples"}


def test_json_is_one_line_for_any_name() -> None:
    line = document([FileResult("a\nb \udce9.wav", Transcript("É", acoustic_score=-1.23456))], "json")
    assert line.count("\n") == 1
    assert json.loads(line) == {
        "audio": "a\nb \udce9.wav",
        "text": "É",
        "score": -1.2346,
        "acoustic_score": -1.2346,
        "lm_score": 0.0,
        "words": [],
    }
    line.encode("utf-8")


def test_json_has_words_segments_and_alternatives() -> None:
    words = (Word("A", 0.12345, 0.5, 0.87654), Word("B", 0.6, 1.0, 1.0))
    transcript = Transcript("A B", words, (Hypothesis("A", float("-inf")),), -1.0, -2.0, 1.5)
    row = json.loads(document([FileResult("a.wav", transcript, channel=2)], "json"))
    assert (row["score"], row["duration"], row["channel"]) == (-3.0, 1.5, 2)
    assert row["words"] == [
        {"word": "A", "start": 0.123, "end": 0.5, "confidence": 0.8765},
        {"word": "B", "start": 0.6, "end": 1.0, "confidence": 1.0},
    ]
    assert row["segments"] == [{"start": 0.123, "end": 1.0, "confidence": 0.9383, "text": "A B"}]
    assert row["alternatives"] == [{"text": "A", "score": None, "acoustic_score": None, "lm_score": 0.0}]
