"""Every format of references and hypotheses, how it is told, what is wrong with it, and how ids are matched."""

import json
from pathlib import Path

import pytest

from asr import transcripts
from asr.errors import AsrError
from asr.transcripts import TranscriptError
from asr.transcripts.matching import match

# One and the same corpus in every format that has ids of its own.
FORMS = {
    "text": "u1 THE CAT\nu2\n\nu3 A\tDOG\r\n",
    "trn": ";; a comment\nTHE CAT (u1)\n(u2)\nA DOG (u3)\n",
    "jsonl": '{"id": "u1", "text": "THE CAT"}\n{"audio": "clips/u2.wav", "text": ""}\n'
    '{"id": "u3", "text": "A DOG", "x": 1}\n',
    "csv": 'id,speaker,text\nu1,,THE CAT\nu2,,\nu3,,"A DOG"\n',
    "tsv": "text\tpath\nTHE CAT\tclips\\u1.flac\n\tu2\nA DOG\t/x/u3.wav\n",
}
CTM = "rec A 0.5 0.2 CAT 0.9\nrec A 0.0 0.4 THE 0.75\n;; a comment\nrec A 2.0 0.5 DOG 1\n"
STM = ";; a comment\nrec A ann 0.00 1.00 <o,f0,female> THE CAT\nrec A bob 1.50 3.00 A DOG\n"


def write(folder: Path, content: str | bytes, name: str = "file") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("told", ["by content", "by name", "by option"])
def test_every_format_reads_the_same(form: str, told: str, tmp_path: Path) -> None:
    path = write(tmp_path, FORMS[form], f"file.{form}" if told == "by name" else "file")
    found = transcripts.read(path, form if told == "by option" else "auto")
    assert [(one.id, " ".join(one.text.split())) for one in found] == [("u1", "THE CAT"), ("u2", ""), ("u3", "A DOG")]


def test_formats_are_told_by_content(tmp_path: Path) -> None:
    for form, content in {**FORMS, "ctm": CTM, "stm": STM}.items():
        assert transcripts.detect(write(tmp_path, content)) == form
    assert transcripts.detect(write(tmp_path, "u1 (laughs) A\nu2 B (u2)\n")) == "text"
    assert transcripts.detect(write(tmp_path, "")) == "text"


def test_our_own_json_lines(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "audio": "x.wav", "duration": 1.5, "text": "A B", "speaker": "ann", "offset": 3},
        {"audio": "clips/b.wav", "text": "B", "score": -1.5, "confidences": [0.5]},
        {"audio": "c.wav", "error": "not a sound file"},
        {"id": 7, "text": "D E", "words": [{"word": "D", "confidence": 0.25}, {"word": "E", "confidence": 1}]},
        {"id": "e", "text": "E", "words": [{"word": "E"}], "duration": None},
    ]
    found = transcripts.read(write(tmp_path, "\n".join(map(json.dumps, rows))))
    assert [(one.id, one.row) for one in found] == [("a", 1), ("b", 2), ("7", 4), ("e", 5)]
    assert (found[0].speaker, found[0].duration) == ("ann", 1.5)
    assert [one.confidences for one in found] == [(), (0.5,), (0.25, 1.0), ()]


def test_a_byte_order_mark_and_other_scripts(tmp_path: Path) -> None:
    [one] = transcripts.read(write(tmp_path, "\ufeffu1 ÜBER 日本 <script>\n"))
    assert (one.id, one.text) == ("u1", "ÜBER 日本 <script>")


def test_a_report_has_two_sides(tmp_path: Path) -> None:
    rows = [
        {
            "id": "a",
            "reference": "a b",
            "raw_reference": "A, b",
            "hypothesis": "a",
            "raw_hypothesis": "A!",
            "duration": 2,
        },
        {"id": "b", "reference": "c", "hypothesis": "d", "speaker": "ann", "duration": None, "confidences": [0.5]},
    ]
    path = write(tmp_path, json.dumps({"kind": "evaluation", "utterance_scores": rows}, indent=1), "report.json")
    references = transcripts.read(path)
    assert [(one.id, one.text, one.duration, one.speaker) for one in references] == [
        ("a", "A, b", 2.0, ""),
        ("b", "c", 0.0, "ann"),
    ]
    hypotheses, _ = transcripts.read_hypotheses(path, references)
    assert [(one.text, one.confidences) for one in hypotheses] == [("A!", ()), ("d", (0.5,))]


# --- times ------------------------------------------------------------------------------------------------------


def test_words_of_a_ctm_are_joined_in_the_order_of_time(tmp_path: Path) -> None:
    [one] = transcripts.read(write(tmp_path, CTM))
    assert (one.id, one.text, one.row, one.confidences) == ("rec", "THE CAT DOG", 1, (0.75, 0.9, 1.0))


def test_two_channels_of_a_ctm_are_two_transcripts(tmp_path: Path) -> None:
    found = transcripts.read(write(tmp_path, "r A 0 1 ONE\nr B 0 1 TWO NA\nr A 1 1 THREE 0.5\n"))
    assert [(one.id, one.text, one.confidences) for one in found] == [("r-A", "ONE THREE", ()), ("r-B", "TWO", ())]


def test_segments_of_an_stm(tmp_path: Path) -> None:
    first, second = transcripts.read(write(tmp_path, STM))
    assert (first.id, first.text, first.speaker, first.duration) == ("rec-A-0.00-1.00", "THE CAT", "ann", 1.0)
    assert (second.text, second.start, second.recording) == ("A DOG", 1.5, "rec-A")


def test_words_go_to_the_segment_that_holds_their_middle(tmp_path: Path) -> None:
    stm = "r A s 0 1 A\nr A s 1 2 B\nr A s 5 6\nr A s 5.5 9 C\nr A t 9 10 IGNORE_TIME_SEGMENT_IN_SCORING\nq A s 0 1 D\n"
    references = transcripts.read(write(tmp_path, stm, "r.stm"))
    words = "r A 0.9 0.3 b\nr A 0.4 0.1 a\nr A 3 0.2 gone\nr A 5.1 0.1 x\nr A 5.6 0.2 c\nr A 9.2 0.2 no\nz A 0 1 gone\n"
    found, outside = transcripts.read_hypotheses(write(tmp_path, words, "h.ctm"), references)
    assert {one.id: one.text for one in found} == {
        "r-A-0-1": "a",
        "r-A-1-2": "b",
        "r-A-5-6": "x",
        "r-A-5.5-9": "c",
        "r-A-9-10": "no",
    }
    assert outside == 2
    matched = match(references, found, "h.ctm", allow_missing=True)
    # Of a recording that the hypotheses do not know at all, every segment is missing; the ignored one is not scored.
    assert matched.missing == ("q-A-0-1",)
    assert [pair.id for pair in matched.pairs] == ["r-A-0-1", "r-A-1-2", "r-A-5-6", "r-A-5.5-9", "q-A-0-1"]


def test_a_segment_without_words_is_an_empty_hypothesis(tmp_path: Path) -> None:
    references = transcripts.read(write(tmp_path, "r A s 0 1 A\nr A s 1 2 B\n", "r.stm"))
    found, _ = transcripts.read_hypotheses(write(tmp_path, "r A 0.1 0.3 A\n", "h.ctm"), references)
    assert [pair.hypothesis for pair in match(references, found, "h.ctm").pairs] == ["A", ""]


def test_a_ctm_against_other_references_goes_by_file(tmp_path: Path) -> None:
    references = transcripts.read(write(tmp_path, "u1 A B\nu2 C\n"))
    found, outside = transcripts.read_hypotheses(write(tmp_path, "u2 1 0 1 C\nu1 1 0 1 A\n", "h.ctm"), references)
    assert ([one.id for one in found], outside) == (["u2", "u1"], 0)


# --- mistakes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.txt", "", r"a\.txt: no transcripts in it"),
        ("a.txt", "\n \n", "no transcripts in it"),
        ("a.txt", b"u1 \xe9\n", r"a\.txt, line 1: not UTF-8 \(byte 4 is 0xE9\); save the file as UTF-8"),
        ("a.txt", "u1 A\nu2 B\nu1 C\n", r"a\.txt, row 3: id 'u1' stands already in row 1; remove one of them"),
        ("a.trn", "A (u1)\nB u2\n", r"row 2: 'B u2' is not of the form 'WORD WORD … \(ID\)'"),
        ("a.trn", "A { B / C } (u1)\n", r"row 1: alternatives '{ B / C }' cannot be scored; keep one"),
        ("a.stm", "r A s 0 1 { B / @ }\n", r"row 1: alternatives '{ B / @ }'"),
        ("a.stm", "r A s 0\n", r"row 1: 'r A s 0' has 4 columns; meant is FILE CHANNEL SPEAKER START END"),
        ("a.stm", "r A s x 1 A\n", r"row 1: start 'x' is not a number of seconds"),
        ("a.stm", "r A s 0 nan A\n", r"row 1: end 'nan' is not a number of seconds"),
        ("a.stm", "r A s 2 1 A\n", r"row 1: end '1' is not after start '2'"),
        ("a.stm", "r A s 0 1 A\nr A s 0 1 A\n", r"row 2: id 'r-A-0-1' stands already in row 1"),
        ("a.ctm", "r A 0 1\n", r"row 1: 'r A 0 1' has 4 columns; meant is FILE CHANNEL START DURATION WORD"),
        ("a.ctm", "r A -1 1 W\n", r"row 1: start '-1' is not a number of seconds, 0 or more"),
        ("a.ctm", "r A 0 1s W\n", r"row 1: duration '1s' is not"),
        ("a.ctm", "r A 0 1 W 1.5\n", r"row 1: confidence '1\.5' is not a number from 0 to 1, nor NA"),
        ("a.ctm", ";; nothing\n", r"a\.ctm: no words in it"),
        ("a.jsonl", '{"id": "a"\n', r"row 1: not JSON: Expecting.* at column"),
        ("a.jsonl", "[1]\n", r"row 1: not a JSON object \{…\}; '\[1\]'"),
        ("a.jsonl", "1" * 5000, r"row 1: not JSON: "),
        ("a.jsonl", '{"id": "a"}\n', r"row 1: no 'text' in"),
        ("a.jsonl", '{"text": "a"}\n', r"row 1: neither 'id' nor 'audio'"),
        ("a.jsonl", '{"id": "a", "text": "\\ud800"}\n', r"row 1: text .* has half of a surrogate pair; correct it"),
        ("a.jsonl", '{"id": "\\ud800", "text": ""}\n', r"row 1: id .* has half of a surrogate pair"),
        ("a.jsonl", '{"id": "a", "text": 7}\n', r"row 1: text 7 must be a string; put it in quotes"),
        ("a.jsonl", '{"id": [], "text": ""}\n', r"row 1: id \[\] must be a string"),
        ("a.jsonl", '{"id": " ", "text": ""}\n', r"row 1: the id is empty; a transcript is known by it"),
        ("a.jsonl", '{"id": "a", "text": "", "speaker": []}\n', r"row 1: speaker \[\] must be a string"),
        ("a.jsonl", '{"id": "a", "text": "", "duration": "x"}\n', r'row 1: duration "x" is not a number of seconds'),
        ("a.jsonl", '{"id": "a", "text": "", "duration": NaN}\n', r"row 1: duration NaN is not a number"),
        ("a.jsonl", '{"id": "a", "text": "A", "confidences": [2]}\n', r"row 1: confidences \[2\] are not a list of"),
        ("a.json", "{\n oops", r"a\.json: not a JSON report: Expecting .*; JSON lines end in \.jsonl"),
        ("a.json", "{\n}", r"a\.json: not a report of asr evaluate or asr score"),
        ("a.json", '{\n"kind": "evaluation"}', r"a\.json: a damaged report; write it again with --json"),
        ("a.json", '{\n"kind": "evaluation", "utterance_scores": [{"id": 1, "reference": ""}]}', "a damaged report"),
        ("a.csv", "name,words\n", r"row 1: the header 'name,words' needs a column 'text' and one 'id' or 'audio'"),
        ("a.csv", "id,text\na,A, B\n", r"row 2: 3 cells where the header has 2; put a text with a comma in quotes"),
        ("a.csv", 'id,text\na,"A\n', r"row 2: unexpected end of data; write a cell with , or"),
        ("a.tsv", "id\ttext\na\tA\tB\n", r"row 2: 3 cells .*must not have a tab"),
        ("a.csv", "id,text,duration\na,A,-1\n", r'row 2: duration "-1" is not a number of seconds, 0 or more'),
        ("a.csv", "id,text\n,A\n", r"row 2: the id is empty"),
    ],
)
def test_a_malformed_row_is_named(name: str, content: str | bytes, says: str, tmp_path: Path) -> None:
    with pytest.raises(AsrError, match=says) as caught:
        transcripts.read(write(tmp_path, content, name))
    assert str(caught.value).startswith(str(tmp_path / name))
    assert len(str(caught.value)) < 400 + len(str(tmp_path))


def test_an_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(TranscriptError, match="unknown format 'doc'; known are auto, text, kaldi"):
        transcripts.read(write(tmp_path, "u1 A\n"), "doc")


# --- matching ---------------------------------------------------------------------------------------------------


def test_ids_are_matched_whatever_the_order(tmp_path: Path) -> None:
    references = transcripts.read(write(tmp_path, "id,speaker,duration,text\na,ann,2,A\nb,bob,3,B\n", "r.csv"))
    hypotheses = transcripts.read(write(tmp_path, "b B\na X\n", "h.txt"))
    matched = match(references, hypotheses, "h.txt")
    assert [(one.id, one.reference, one.hypothesis, one.speaker, one.duration) for one in matched.pairs] == [
        ("a", "A", "X", "ann", 2.0),
        ("b", "B", "B", "bob", 3.0),
    ]
    assert matched.missing == matched.extra == ()


def test_missing_and_extra_ids_are_listed_and_refused(tmp_path: Path) -> None:
    references = transcripts.read(write(tmp_path, "".join(f"r{number} A\n" for number in range(8)) + "both A\n"))
    hypotheses = transcripts.read(write(tmp_path, "both A\nmore B\n", "h.txt"))
    says = r"h\.txt: 8 ids of the references missing \('r0', 'r1', 'r2', 'r3', 'r4' and 3 more\); "
    says += r"1 id in no reference \('more'\); --allow-missing counts the missing as deleted"
    with pytest.raises(TranscriptError, match=says):
        match(references, hypotheses, "h.txt")
    matched = match(references, hypotheses, "h.txt", allow_missing=True)
    assert len(matched.pairs) == 9
    assert [pair.hypothesis for pair in matched.pairs] == [""] * 8 + ["A"]
    assert (len(matched.missing), matched.extra) == (8, ("more",))


def test_no_id_in_common_is_refused_always(tmp_path: Path) -> None:
    references = transcripts.read(write(tmp_path, "a A\n"))
    hypotheses = transcripts.read(write(tmp_path, "A A\n", "h.txt"))
    with pytest.raises(TranscriptError, match=r"no id of the references is in it \(it has 'A', they have 'a'\)"):
        match(references, hypotheses, "h.txt", allow_missing=True)
