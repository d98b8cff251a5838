"""The JSON document: the names that scripts rely on, as SCHEMA.md describes them."""

import json
import re
from pathlib import Path

import pytest

from asr import reports
from asr.reports import document
from asr.reports.document import score_pairs
from asr.scoring import score
from asr.transcripts.matching import Pair
from tests.reports.test_document_scores import scored

SCHEMA = (Path(reports.__file__).parent / "SCHEMA.md").read_text(encoding="utf-8")
PAIRS = [
    Pair("one", "A b, c d", "A c d e", "ann", 1.5, (0.9, 0.8, 0.7, 0.6)),
    Pair("two", "É", "É", "bob", 2.0),
]


def names(value: object) -> set[str]:
    """Return the keys of all objects in a document."""
    if isinstance(value, dict):
        return set(value).union(*map(names, value.values()))
    return set().union(*map(names, value)) if isinstance(value, list) else set()


def test_evaluation_has_the_fields_of_the_schema() -> None:
    body = document.evaluation(score_pairs(PAIRS, "upper"), {"model": "m", "date": "today"}, seconds=0.35)
    assert (body["schema"], body["kind"]) == (2, "evaluation")
    assert body["facts"] == {"model": "m", "date": "today", "normaliser": "upper"}
    assert body["wer"]["value"] == pytest.approx(2 / 5)
    assert set(body["wer"]) == set(body["cer"]) == set(body["ser"]) == {"value", "low", "high"}
    counts = ("utterances", "sentence_errors", "words", "errors", "substitutions", "deletions", "insertions")
    assert [body[name] for name in counts] == [2, 1, 5, 2, 0, 1, 1]
    assert (body["raw"]["normaliser"], body["raw"]["errors"]) == ("none", 2)
    assert (body["audio_seconds"], body["seconds"], body["real_time_factor"]) == (3.5, 0.35, 0.1)
    assert [row["name"] for row in body["speakers"]] == ["ann", "bob"]
    assert body["calibration"]["words"] == 4
    assert [row["word"] for row in body["harmful_words"]] == ["B", "E"]
    for name in ("by_duration", "by_speaking_rate", "by_length", "by_position"):
        assert body[name], name


def test_rows_of_an_evaluation() -> None:
    first, second = document.evaluation(score_pairs(PAIRS, "upper"), {})["utterance_scores"]
    assert first == {
        "id": "one",
        "speaker": "ann",
        "duration": 1.5,
        "reference": "A B C D",
        "words": 4,
        "hypothesis": "A C D E",
        "errors": 2,
        "substitutions": 0,
        "deletions": 1,
        "insertions": 1,
        "characters": 7,
        "character_errors": 3,
        "alignment": [["=", "A"], ["D", "B", ""], ["=", "C D"], ["I", "", "E"]],
        "raw_reference": "A b, c d",
        "raw_hypothesis": "A c d e",
        "confidences": [0.9, 0.8, 0.7, 0.6],
    }
    assert "raw_reference" not in second and "confidences" not in second


def test_unknown_fields_are_null_or_empty() -> None:
    body = document.evaluation(scored(["A"], ["A"]), {})
    assert body["audio_seconds"] is body["seconds"] is body["real_time_factor"] is body["calibration"] is None
    assert body["speakers"] == body["by_duration"] == body["by_speaking_rate"] == []
    assert (body["utterance_scores"][0]["duration"], body["utterance_scores"][0]["speaker"]) == (None, "")


def comparison() -> document.Document:
    references = ["A B C D"] * 4
    results = {"x": scored(references, ["A B C", *references[1:]], speakers="ann ann bob bob")}
    results["y"] = scored(references, references, speakers="ann ann bob bob")
    return document.comparison(results, {"date": "today"}, {"x": {"hypotheses": "x.txt"}})


def test_comparison_has_the_fields_of_the_schema() -> None:
    body = comparison()
    assert (body["schema"], body["kind"], body["level"]) == (2, "comparison", 0.05)
    assert [system["name"] for system in body["systems"]] == ["x", "y"]
    assert body["systems"][0]["hypotheses"] == "x.txt"
    assert body["systems"][0]["wer"]["value"] == 1 / 16
    [pair] = body["pairs"]
    assert (pair["first"], pair["second"], pair["better"], pair["shown"]) == ("x", "y", "y", False)
    assert pair["difference"]["value"] == 0.0625
    assert pair["verdict"].startswith("y is better by 6.25 points")
    assert set(pair["bootstrap"]) == {"p", "p_corrected"}
    assert set(pair["mapsswe"]) == {"segments", "mean", "z", "p", "p_corrected"}
    assert (pair["wins"], pair["losses"], pair["ties"]) == (1, 0, 3)
    assert [(row["speaker"], row["wins"]) for row in pair["speakers"]] == [("ann", 1), ("bob", 0)]
    assert body["same_utterances"] == 3
    [row] = body["utterance_scores"]
    assert (row["id"], row["reference"], len(row["systems"])) == ("one", "A B C D", 2)
    assert row["systems"][0]["alignment"] == [["=", "A B C"], ["D", "D", ""]]


def test_every_field_is_documented() -> None:
    documented = set(re.findall(r"`([a-z_]+)`", SCHEMA))
    facts = {"date"}
    for body in (document.evaluation(score_pairs(PAIRS, "upper"), {}, 1.0), comparison()):
        assert names(body) - facts <= documented, names(body) - facts - documented
    assert "schema 2" in SCHEMA


def test_compact_alignment_can_be_expanded() -> None:
    for reference, hypothesis in (("A B C", "X A C C D"), ("", "A"), ("A B", ""), ("A", "A")):
        [row, _] = score([reference, "X"], [hypothesis, "X"]).utterance_scores
        assert list(document.expanded(document.compact(row.edits()))) == list(row.edits())


def test_write_creates_one_file_with_a_line_per_utterance(tmp_path: Path) -> None:
    hostile = '</script><b> "\u2028" \U0001f600'
    body = document.evaluation(scored(["A", hostile], ["A", "É"]), {"path": "caf\udce9"})
    document.write(tmp_path / "deep" / "report.json", body)
    text = (tmp_path / "deep" / "report.json").read_text(encoding="utf-8")
    assert json.loads(text) == body
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["report.json"]
    assert sum(line.startswith('  {"id":') for line in text.split("\n")) == 2


def test_write_follows_links_and_writes_to_devices(tmp_path: Path) -> None:
    target, link = tmp_path / "target.json", tmp_path / "link.json"
    target.write_text("old")
    link.symlink_to(target)
    body = document.evaluation(scored(["A"], ["A"]), {})
    document.write(link, body)
    assert link.is_symlink()
    assert json.loads(target.read_text())["words"] == 1
    (tmp_path / "null").symlink_to("/dev/null")
    document.write(tmp_path / "null", body)
    assert Path("/dev/null").is_char_device()
