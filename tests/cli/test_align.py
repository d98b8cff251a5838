"""asr align: times of words, formats, and transcripts that do not fit the audio."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

import asr
from asr import recognition
from asr.cli import main
from asr.corpora.manifest import Utterance, write
from asr.recognition import aligning
from tests.conftest import ROOT, SAMPLE_RATE, random_texts, spell

# The tones of a letter last 0.16 s, and a pause 0.06 s, as at the beginning.
LETTER, PAUSE = 0.16, 0.06


@pytest.fixture
def model(trained: Path) -> str:
    return str(trained / "best.safetensors")


@pytest.fixture
def sound(tmp_path: Path) -> str:
    soundfile.write(tmp_path / "a b.wav", spell("AB CA"), SAMPLE_RATE)
    return str(tmp_path / "a b.wav")


def expected(text: str) -> list[tuple[str, float, float]]:
    """Return the words of `spell` with their times."""
    now, words = PAUSE, []
    for word in text.split():
        length = len(word) * (LETTER + PAUSE)
        words.append((word, now, now + length - PAUSE))
        now += length + 2 * PAUSE
    return words


def assert_words(words: list[dict[str, object]], text: str) -> None:
    times = expected(text)
    assert [row["word"] for row in words] == [word for word, _, _ in times]
    for row, (_, start, end) in zip(words, times, strict=True):
        # Tokens may be anywhere within the sound; an output frame is 40 ms.
        assert start - 0.08 <= float(str(row["start"])) < float(str(row["end"])) <= end + 0.08
        assert 0 < float(str(row["confidence"])) <= 1


def test_json_of_a_text_and_of_a_file(
    model: str, sound: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["align", sound, "--text", "ab, ca!", "--model", model]) == 0
    output = capsys.readouterr()
    row = json.loads(output.out)
    assert (row["id"], row["text"], row["hypothesis"], row["gap"]) == (
        *("a b", "ab, ca!", "AB CA"),
        pytest.approx(0, abs=1e-3),
    )
    assert [word.pop("word") for word in row["words"]] == ["ab,", "ca!"]
    assert_words([{"word": name} | word for name, word in zip(("AB", "CA"), row["words"], strict=True)], "AB CA")
    assert output.err == ""
    row = json.loads(output.out)
    (tmp_path / "a.txt").write_text("ab,\n\nca!\n", encoding="utf-8-sig")
    assert main(["align", sound, str(tmp_path / "a.txt"), "--model", model, "--out", str(tmp_path / "o/a.json")]) == 0
    assert json.loads((tmp_path / "o/a.json").read_text()) == row
    assert main(["align", sound, "--text", "AB" * 99, "--model", model, "--out", str(tmp_path / "o/b.json")]) == 1
    output = capsys.readouterr()
    assert output.out == "" and output.err.count("\n") == 1
    # Nothing is written for a text that cannot be aligned.
    assert [path.name for path in (tmp_path / "o").iterdir()] == ["a.json"]


def test_ctm_and_textgrid(model: str, sound: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["align", sound, "--text", "AB CA", "--model", model, "--format", "ctm"]) == 0
    lines = [line.split(" ") for line in capsys.readouterr().out.splitlines()]
    assert [line[:2] + line[4:5] for line in lines] == [["a_b", "1", "AB"], ["a_b", "1", "CA"]]
    assert_words(
        [
            {"word": word, "start": start, "end": float(start) + float(length), "confidence": confidence}
            for _, _, start, length, word, confidence in lines
        ],
        "AB CA",
    )
    assert main(["align", sound, "--text", "AB CA", "--model", model, "--format", "textgrid"]) == 0
    grid = capsys.readouterr().out
    assert grid.startswith('File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0')
    grid = grid[grid.index('name = "words"') :]
    intervals = re.findall(r'xmin = ([\d.]+)\n +xmax = ([\d.]+)\n +text = "(.*)"', grid)
    assert [text for _, _, text in intervals if text] == ["AB", "CA"]
    assert [start for start, _, _ in intervals[1:]] == [end for _, end, _ in intervals[:-1]]
    assert float(intervals[0][0]) == 0 and float(intervals[-1][1]) == pytest.approx(
        len(spell("AB CA")) / SAMPLE_RATE, abs=1e-3
    )
    assert f"intervals: size = {len(intervals)}\n" in grid


def test_characters_outside_the_alphabet_are_left_out_and_reported(
    model: str, sound: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["align", sound, "--text", "AéB 42 CXA", "--model", model, "-q"]) == 0
    output = capsys.readouterr()
    row = json.loads(output.out)
    assert row["text"] == "AéB 42 CXA"
    assert [word["word"] for word in row["words"]] == ["AéB", "CXA"]
    assert output.err.splitlines() == [
        "characters that are not in the model's alphabet were left out: 'É', '4', '2', 'X' (first in a b)"
    ]


def test_numbers_have_the_times_of_their_words(capsys: pytest.CaptureFixture[str]) -> None:
    def words(text: str) -> list[dict[str, object]]:
        sound = str(ROOT / "data/samples/sample-02.opus")
        assert main(["align", sound, "--text", text, "--model", "english-small", "-q"]) == 0
        return list(json.loads(capsys.readouterr().out)["words"])

    spelled = words("THE LAST TRAIN TO THE CITY LEAVES AT TEN MINUTES PAST ELEVEN")
    written = words("“The last train to the city leaves at 10 minutes past 11.”")
    assert [word["word"] for word in written][-4:] == ["10", "minutes", "past", "11.”"]
    for part in ("start", "end", "confidence"):
        assert [word[part] for word in written] == pytest.approx([word[part] for word in spelled])


@pytest.mark.parametrize("form", ["srt", "vtt"])
def test_subtitles_have_the_written_words(
    form: str, model: str, sound: str, tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["align", sound, "--text", "Ab — ca!", "--model", model, "--format", form]) == 0
    shown = capsys.readouterr().out
    assert "Ab — ca!" in shown and " --> 00:00:01" in shown
    command = ["align", "--manifest", str(tones / "dev.jsonl"), "--model", model, "--format", form, "-q"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    assert len(list((tmp_path / "out").glob(f"*.{form}"))) == len(asr.read_manifest(tones / "dev.jsonl"))
    assert main(command) == 2
    assert f"--format {form} with --manifest writes a file for each row; give a folder" in capsys.readouterr().err


def test_a_long_recording_and_its_whole_text(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(random_texts(120, 5))
    soundfile.write(tmp_path / "long.flac", spell(text), SAMPLE_RATE)
    (tmp_path / "long.txt").write_text(text.lower().replace(" ", "\n"))
    files = [str(tmp_path / "long.flac"), str(tmp_path / "long.txt")]
    assert main(["align", *files, "--model", model]) == 0
    row = json.loads(capsys.readouterr().out)
    assert len(row["words"]) == len(text.split())
    off = [abs(word["start"] - start) for word, (_, start, _) in zip(row["words"], expected(text), strict=True)]
    assert np.mean(np.array(off) < 0.12) > 0.98


@pytest.fixture
def rows(tones: Path, tmp_path: Path) -> Path:
    """A manifest with one wrong text, one that is too long, one of a missing file and one of a segment."""
    utterances = asr.read_manifest(tones / "dev.jsonl")[:6]
    wrong = [
        Utterance("wrong", utterances[0].audio, utterances[0].duration, "CCCAB ABC"),
        Utterance("long", utterances[1].audio, utterances[1].duration, "ABC" * 99),
        Utterance("missing", "/no/such.wav", 1.0, "A"),
    ]
    write(tmp_path / "rows.jsonl", [*utterances[:3], *wrong, *utterances[3:]])
    return tmp_path / "rows.jsonl"


def test_a_manifest(model: str, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["align", "--manifest", str(rows), "--model", model]
    assert main(command) == 1
    output = capsys.readouterr()
    aligned = [json.loads(line) for line in output.out.splitlines()]
    assert [row["id"] for row in aligned] == [utterance.id for utterance in asr.read_manifest(rows)]
    for row, utterance in zip(aligned, asr.read_manifest(rows), strict=True):
        if utterance.id.startswith("dev"):
            assert_words(row["words"], utterance.text)
    errors = output.err.splitlines()
    assert re.match(r"asr: utterance long: its text does not fit into [\d.]+ s: \d+ frames are too few", errors[0])
    assert errors[1:] == [
        "asr: utterance missing: /no/such.wav: no such file",
        "asr: 2 of 9 rows could not be aligned",
    ]
    assert main([*command, "--format", "ctm", "--out", str(tmp_path / "all.ctm"), "-q"]) == 1
    with_words = [row["id"] for row in aligned if "words" in row]
    assert {line.split()[0] for line in (tmp_path / "all.ctm").read_text().splitlines()} == set(with_words)
    assert main([*command, "--format", "textgrid", "--out", str(tmp_path / "grids"), "-q"]) == 1
    assert sorted(path.stem for path in (tmp_path / "grids").iterdir()) == sorted(with_words)


def test_ids_of_one_textgrid_are_refused_before_anything_is_written(
    model: str, tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    utterances = asr.read_manifest(tones / "dev.jsonl")[:3]
    ids = ("c", "a/b", "a_b")
    write(tmp_path / "rows.jsonl", [replace(row, id=id) for row, id in zip(utterances, ids, strict=True)])
    command = ["align", "--manifest", str(tmp_path / "rows.jsonl"), "--model", model, "-q", "--format"]
    assert main([*command, "textgrid", "--out", str(tmp_path / "grids")]) == 1
    assert capsys.readouterr().err == (
        f"asr: {tmp_path}/grids/a_b.TextGrid: utterances 'a/b' and 'a_b' would both be written to it; rename one\n"
    )
    assert not (tmp_path / "grids").exists()
    assert main([*command, "ctm", "--out", str(tmp_path / "all.ctm")]) == 0
    write(tmp_path / "rows.jsonl", [replace(utterances[0], id="a/b")])
    assert main([*command, "textgrid", "--out", str(tmp_path / "grids")]) == 0
    assert [path.name for path in (tmp_path / "grids").iterdir()] == ["a_b.TextGrid"]


def test_suspects(model: str, rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["align", "--manifest", str(rows), "--model", model, "--suspects"]
    assert main([*command, "2", "--format", "json", "-q"]) == 1
    output = capsys.readouterr()
    suspects = [json.loads(line) for line in output.out.splitlines()]
    texts = {utterance.id: utterance.text for utterance in asr.read_manifest(rows)}
    assert [(row["id"], row["hypothesis"]) for row in suspects] == [("long", texts["dev-1"]), ("wrong", texts["dev-0"])]
    assert suspects[0]["gap"] is None and "frames are too few" in suspects[0]["error"]
    assert suspects[1]["gap"] > 0.5 and suspects[1]["text"] == "CCCAB ABC"
    assert output.err == "asr: utterance missing: /no/such.wav: no such file\n"
    assert main([*command, "9", "-q"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert re.match(r"long: utterance long: its text does not fit into", lines[0])
    assert re.match(r"wrong: \d\.\d{3} nats per frame", lines[3])
    assert [line.split() for line in lines[4:6]] == [["text", "CCCAB", "ABC"], ["recognised", *texts["dev-0"].split()]]


def test_align_does_not_depend_on_the_groups(model: str, tones: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recognizer = recognition.load(model)
    utterances = asr.read_manifest(tones / "dev.jsonl")
    together = list(aligning.align(recognizer, utterances))
    monkeypatch.setattr(aligning, "_GROUP", 2.0)
    shares: list[float] = []
    rows = list(aligning.align(recognizer, utterances, lambda done, total: shares.append(done / total)))
    assert len(shares) > 3 and shares[-1] == pytest.approx(1.0)
    for row, expected_row in zip(rows, together, strict=True):
        assert row.transcript and expected_row.transcript and row.utterance == expected_row.utterance
        assert [(word.text, word.start, word.end) for word in row.transcript.words] == [
            (word.text, word.start, word.end) for word in expected_row.transcript.words
        ]
    assert list(aligning.align(recognizer, [])) == []
