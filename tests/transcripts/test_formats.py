"""The format of a file, reading in every format with its errors, and writing."""

import json
import re
from pathlib import Path

import pytest

from asr import transcripts
from asr.errors import AsrError
from asr.transcripts import OUTPUT_FORMATS, Choice, TranscriptError, document, documents_by_suffix
from asr.transcripts.records import FileResult, Word
from tests.transcripts.examples import WORDS, timed, untimed

# The same rows in every format that has ids.
FILES = {
    "text": "u1 THE CAT\nu2\n\nu3 A\tDOG\r\n",
    "trn": ";; a comment\nTHE CAT (u1)\n(u2)\nA DOG (u3)\n",
    "jsonl": '{"id": "u1", "text": "THE CAT"}\n{"audio": "clips/u2.wav", "text": ""}\n'
    '{"id": "u3", "text": "A DOG", "x": 1}\n',
    "csv": 'id,speaker,text\nu1,,THE CAT\nu2,,\nu3,,"A DOG"\n',
    "tsv": "text\tpath\nTHE CAT\tclips\\u1.flac\n\tu2\nA DOG\t/x/u3.wav\n",
}


def write(folder: Path, content: str | bytes, name: str = "file") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("form", FILES)
@pytest.mark.parametrize("known", ["by content", "by name", "by option"])
def test_every_format_reads_the_same_rows(form: str, known: str, tmp_path: Path) -> None:
    path = write(tmp_path, FILES[form], f"file.{form}" if known == "by name" else "file")
    rows = transcripts.read(path, Choice(form if known == "by option" else "auto")).rows
    assert [(Path(row.id).name, " ".join(row.text.split())) for row in rows] == [
        ("u1", "THE CAT"),
        ("u2", ""),
        ("u3", "A DOG"),
    ]


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        # Whole numbers after an id are words, and no times.
        ("u1 4 2 1 9 7\n", {"u1": "4 2 1 9 7"}),
        ("u1 4 2 1 9\nu2 1 2 3 4 5\n", {"u1": "4 2 1 9", "u2": "1 2 3 4 5"}),
        ("u1 4 2 1 9\nu2 3 1 0 7\n", {"u1": "4 2 1 9", "u2": "3 1 0 7"}),
        ("u1 (laughs) A\nu2 B (u2)\n", {"u1": "(laughs) A", "u2": "B (u2)"}),
        ("u1 A (noise)\nu2 B (noise)\n", {"u1": "A (noise)", "u2": "B (noise)"}),
        # One row that does not fit is enough, wherever it is.
        ("".join(f"u{n} 1 0.5 0.2 W\n" for n in range(60)) + "u60 A\n", {"u60": "A"}),
        ("r A 0.0 0.4 THE 0.7\nr A 0.5 0.2 CAT 0.9\n", {"r": "THE CAT"}),
        # A channel, times or confidences that no CTM and no STM has.
        ("u1 4 2 1 9\nu2 0 1 0 3\n", {"u1": "4 2 1 9"}),
        ("u1 1 2 1 9 7\nu2 1 1 3 0 2\n", {"u1": "1 2 1 9 7"}),
        ("r 1 0 1 4\nr 1 1 1 2\n", {"r": "4 2"}),
        (";; a comment\nr A s 0.00 1.00 THE CAT\n", {"r-A-0.00-1.00": "THE CAT"}),
        ("r A s 0 1 A\nr A s 1 2\n", {"r-A-0-1": "A", "r-A-1-2": ""}),
        ("A (u1)\nA (u2)\n", {"u1": "A", "u2": "A"}),
    ],
)
def test_format_by_content(content: str, rows: dict[str, str], tmp_path: Path) -> None:
    read = {row.id: row.text for row in transcripts.read(write(tmp_path, content)).rows}
    assert {identity: read.get(identity) for identity in rows} == rows


@pytest.mark.parametrize(
    ("content", "formats"),
    [
        # Whole numbers may be times too.
        ("u1 1 2 1 9\nu2 1 1 0 3\n", "ctm and text"),
        ("u1 1 2 1 9 7\nu2 1 1 0 3 2 2\n", "stm and text"),
        ("u1 1 0.5 0.2 SEVEN\nu2 1 0.1 0.4 NINE\n", "ctm and text"),
        ("u1 A s 0.5 1.2 SEVEN\nu2 A s 0.1 0.4 NINE\n", "stm and text"),
        ("r 1 0.1 0.4 7 0.9\nr 1 0.1 0.4 9 0.9\n", "ctm and stm"),
        ("THE CAT (u1)\nA DOG (u2)\n", "trn and text"),
    ],
)
def test_a_file_that_fits_two_formats_is_refused(content: str, formats: str, tmp_path: Path) -> None:
    message = f"file: fits the formats {formats}; choose one with --reference-format"
    with pytest.raises(TranscriptError, match=message):
        transcripts.read(write(tmp_path, content))


SEGMENTS = (
    ("a.tsv", "audio\tstart\ttext\nx.wav\t2.5\tC\ny.wav\t0\tD\nx.wav\t0\tA B\n"),
    ("a.csv", "file,offset,text,duration\nx.wav,2.5,C,1\ny.wav,,D,2\nx.wav,0,A B,2\n"),
    (
        "a.jsonl",
        '{"audio": "x.wav", "start": 2.5, "text": "C"}\n{"audio": "y.wav", "text": "D"}\n'
        '{"audio": "x.wav", "start": 0, "text": "A B"}\n',
    ),
)


@pytest.mark.parametrize(("name", "content"), SEGMENTS)
def test_segments_of_a_recording_are_joined_in_the_order_of_time(name: str, content: str, tmp_path: Path) -> None:
    read = transcripts.read(write(tmp_path, content, name)).rows
    assert [(row.id, row.text) for row in read] == [("x", "A B C"), ("y", "D")]
    assert [row.duration for row in read] == ([3.0, 2.0] if name == "a.csv" else [0.0, 0.0])


def test_segments_with_ids_are_not_joined(tmp_path: Path) -> None:
    path = write(tmp_path, "id,audio,start,text\nu1,x.wav,0,A\nu2,x.wav,1,B\n", "a.csv")
    assert [row.id for row in transcripts.read(path).rows] == ["u1", "u2"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("audio,start,text\nx.wav,1,A\nx.wav,1.0,B\n", r"row 3: the segment of 'x' at 1 s is already in row 2; remove"),
        ("audio,start,text\nx.wav,soon,A\n", r"row 2: start 'soon' is not a number of seconds"),
        (
            "audio,text\nx.wav,A\nx.wav,B\n",
            r"row 3: id 'x' is already in row 2; remove one of them or give it another id; segments that are named by "
            r"their recording need a column 'start', in seconds$",
        ),
    ],
)
def test_segments_that_cannot_be_joined(content: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(TranscriptError, match=message):
        transcripts.read(write(tmp_path, content, "a.csv"))


def test_byte_order_mark_and_other_scripts(tmp_path: Path) -> None:
    [row] = transcripts.read(write(tmp_path, "\ufeffu1 ÜBER 日本 <script>\n")).rows
    assert (row.id, row.text) == ("u1", "ÜBER 日本 <script>")


def test_report_has_references_and_hypotheses(tmp_path: Path) -> None:
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
    references = transcripts.read(path).rows
    assert [(row.id, row.text, row.duration, row.speaker) for row in references] == [
        ("a", "A, b", 2.0, ""),
        ("b", "c", 0.0, "ann"),
    ]
    hypotheses, _ = transcripts.read_hypotheses(path, references)
    assert [(row.text, row.confidences) for row in hypotheses.rows] == [("A!", ()), ("d", (0.5,))]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "", r"a\.txt: no transcripts"),
        ("a.txt", "\n \n", "no transcripts"),
        ("a.txt", b"u1 \xe9\n", r"a\.txt, line 1: not UTF-8 \(byte 4 is 0xE9\); save the file as UTF-8"),
        ("a.txt", "u1 A\nu2 B\nu1 C\n", r"a\.txt, row 3: id 'u1' is already in row 1; remove one of them"),
        ("a.trn", "A (u1)\nB u2\n", r"row 2: 'B u2' is not of the form 'WORD WORD … \(ID\)'"),
        (
            "a.trn",
            "A { B / C (u1)\nA { B / C } } (u2)\n",
            r"row 2: '}' without '{' in 'A { B / C } }'; write { A / B }",
        ),
        ("a.stm", "r A s 0 1 { B / { C } /\n", r"row 1: '{' without '}'; write { A / B }"),
        ("a.stm", "r A s 0 1 " + "{ " + " ".join("{ A / B }" for _ in range(9)) + " }\n", "row 1: more than 256"),
        ("a.stm", "r A s 0\n", r"row 1: 'r A s 0' has 4 columns; an STM has FILE CHANNEL SPEAKER START END"),
        ("a.stm", "r A s x 1 A\n", r"row 1: start 'x' is not a number of seconds"),
        ("a.stm", "r A s 0 nan A\n", r"row 1: end 'nan' is not a number of seconds"),
        ("a.stm", "r A s 2 1 A\n", r"row 1: end '1' is not after start '2'"),
        ("a.stm", "r A s 0 1 A\nr A s 0 1 A\n", r"row 2: id 'r-A-0-1-s' is already in row 1"),
        ("a.ctm", "r A 0 1\n", r"row 1: 'r A 0 1' has 4 columns; a CTM has FILE CHANNEL START DURATION WORD"),
        ("a.ctm", "r A -1 1 W\n", r"row 1: start '-1' is not a number of seconds, 0 or more"),
        ("a.ctm", "r A 0 1s W\n", r"row 1: duration '1s' is not"),
        ("a.ctm", "r A 0 1 W 1.5\n", r"row 1: confidence '1\.5' is not a number from 0 to 1, nor NA"),
        ("a.ctm", ";; nothing\n", r"a\.ctm: no words"),
        ("a.jsonl", '{"id": "a"\n', r"row 1: not JSON: Expecting.* at column"),
        ("a.jsonl", "[1]\n", r"row 1: not a JSON object \{…\}; '\[1\]'"),
        ("a.jsonl", "1" * 5000, r"row 1: not JSON: "),
        ("a.jsonl", '{"id": "a"}\n', r"row 1: no 'text' in"),
        ("a.jsonl", '{"text": "a"}\n', r"row 1: neither 'id' nor 'audio'"),
        ("a.jsonl", '{"id": "a", "text": "\\ud800"}\n', r"row 1: text .* has an unpaired surrogate; correct it"),
        ("a.jsonl", '{"id": "\\ud800", "text": ""}\n', r"row 1: id .* has an unpaired surrogate"),
        ("a.jsonl", '{"id": "a", "text": 7}\n', r"row 1: text 7 must be a string; put it in quotes"),
        ("a.jsonl", '{"id": [], "text": ""}\n', r"row 1: id \[\] must be a string"),
        ("a.jsonl", '{"id": " ", "text": ""}\n', r"row 1: the id is empty; write it"),
        ("a.jsonl", '{"id": "a", "text": "", "speaker": []}\n', r"row 1: speaker \[\] must be a string"),
        ("a.jsonl", '{"id": "a", "text": "", "duration": "x"}\n', r"row 1: duration 'x' is not a number of seconds"),
        ("a.jsonl", '{"id": "a", "text": "", "duration": []}\n', r"row 1: duration \[\] is not a number"),
        ("a.jsonl", '{"id": "a", "text": "", "duration": NaN}\n', r"row 1: duration nan is not a number"),
        ("a.jsonl", '{"id": "a", "text": "A", "confidences": [2]}\n', r"row 1: confidences \[2\] are not a list of"),
        ("a.json", "{\n oops", r"a\.json: not a JSON report: Expecting .*; JSON lines end in \.jsonl"),
        ("a.json", "{\n}", r"a\.json: not a report of asr evaluate or asr score"),
        ("a.json", '{\n"kind": "evaluation"}', r"a\.json: a damaged report; write it again with --json"),
        ("a.json", '{\n"kind": "evaluation", "utterance_scores": [{"id": 1, "reference": ""}]}', "a damaged report"),
        ("a.csv", "name,words\n", r"row 1: the header 'name,words' needs a column 'text' and one 'id' or 'audio'"),
        ("a.csv", "id,text\na,A, B\n", r"row 2: 3 cells, but the header has 2; put a text with a comma in quotes"),
        ("a.csv", 'id,text\na,"A\n', r"row 2: unexpected end of data; quote cells that contain , or"),
        ("a.tsv", "id\ttext\na\tA\tB\n", r"row 2: 3 cells, .*must not contain a tab"),
        ("a.csv", "id,text,duration\na,A,-1\n", r"row 2: duration '-1' is not a number of seconds, 0 or more"),
        ("a.csv", "id,text\n,A\n", r"row 2: the id is empty"),
    ],
)
def test_malformed_file_is_refused(name: str, content: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(AsrError, match=message) as caught:
        transcripts.read(write(tmp_path, content, name))
    assert str(caught.value).startswith(str(tmp_path / name))
    assert len(str(caught.value)) < 400 + len(str(tmp_path))


def test_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TranscriptError, match="unknown format 'doc'; known are auto, text, kaldi"):
        transcripts.read(write(tmp_path, "u1 A\n"), Choice("doc"))


def test_separate_channels_share_a_file_if_the_format_allows_it() -> None:
    results = [untimed("A", channel=1), untimed("B", channel=2)]
    assert {form: list(documents_by_suffix(results, form)) for form in OUTPUT_FORMATS} == {
        "txt": [".1.txt", ".2.txt"],
        "json": [".1.json", ".2.json"],
        "srt": [".1.srt", ".2.srt"],
        "vtt": [".1.vtt", ".2.vtt"],
        "ctm": [".ctm"],
        "tsv": [".tsv"],
        "textgrid": [".TextGrid"],
    }
    assert documents_by_suffix(results, "txt") == {".1.txt": "A\n", ".2.txt": "B\n"}
    assert documents_by_suffix([untimed("A")], "txt") == {".txt": "A\n"}


@pytest.mark.parametrize("form", ["srt", "vtt", "ctm", "tsv"])
def test_empty_text_and_failed_file_have_no_words(form: str) -> None:
    expected = {"vtt": "WEBVTT\n", "tsv": "audio\tstart\tend\tconfidence\ttext\n"}.get(form, "")
    for result in (untimed("", 2.0), FileResult("a.wav", error="a.wav: 0 samples")):
        assert document([result], form) == expected


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("ctm", "a 1 0.000 1.500 A NA\na 1 1.500 1.500 B NA\n"),
        ("tsv", "audio\tstart\tend\tconfidence\ttext\na.wav\t0.000\t3.000\t\tA B\n"),
    ],
)
def test_text_without_word_times_lasts_as_long_as_the_recording(form: str, text: str) -> None:
    assert document([untimed("A B", 3.0)], form) == text
    assert document([untimed("A B", 3.0)], "textgrid").count('text = "A B"') == 2


@pytest.mark.parametrize("form", OUTPUT_FORMATS)
def test_every_format_can_be_encoded_for_any_name(form: str) -> None:
    document([timed(*WORDS, audio="\udce9.wav")], form).encode("utf-8")


@pytest.mark.parametrize("form", ["json", "srt", "vtt", "ctm", "tsv", "textgrid"])
def test_no_time_is_after_the_end_of_the_recording(form: str) -> None:
    # The last frame is longer than what is left of the recording.
    words = Word("A", 0.5, 1.28, 1.0), Word("B", 1.28, 1.32, 1.0), Word("C", 1.32, 1.36, 1.0)
    written = document([timed(*words, duration=1.3)], form).replace("1,", "1.")
    times = [float(time) for time in re.findall(r"\d\.\d{3}", written)]
    if form == "ctm":
        times = [float(line.split()[2]) + float(line.split()[3]) for line in written.splitlines()]
    if form == "json":
        row = json.loads(written)
        times = [part[edge] for part in row["words"] + row["segments"] for edge in ("start", "end")]
    assert max(times) == pytest.approx(1.3)
    assert written.count("C") >= 1
