"""asr align: when words were said, and whose text is wrong."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

import asr
from asr import recognition
from asr.cli import main
from asr.corpora.manifest import Utterance, write
from asr.recognition import aligning
from tests.conftest import SAMPLE_RATE, random_texts, spell

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
    now, found = PAUSE, []
    for word in text.split():
        length = len(word) * (LETTER + PAUSE)
        found.append((word, now, now + length - PAUSE))
        now += length + 2 * PAUSE
    return found


def near(words: list[dict[str, object]], text: str) -> None:
    times = expected(text)
    assert [row["word"] for row in words] == [word for word, _, _ in times]
    for row, (_, start, end) in zip(words, times, strict=True):
        # CTC's tokens stand anywhere within the sound, a frame is 40 ms.
        assert start - 0.08 <= float(str(row["start"])) < float(str(row["end"])) <= end + 0.08
        assert 0 < float(str(row["confidence"])) <= 1


def test_json_of_a_text_and_of_a_file(
    model: str, sound: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["align", sound, "--text", "ab, ca!", "--model", model]) == 0
    output = capsys.readouterr()
    row = json.loads(output.out)
    assert (row["id"], row["text"], row["heard"], row["gap"]) == ("a b", "AB CA", "AB CA", pytest.approx(0, abs=1e-3))
    near(row["words"], "AB CA")
    assert output.err == ""
    (tmp_path / "a.txt").write_text("ab\n\nca\n", encoding="utf-8-sig")
    assert main(["align", sound, str(tmp_path / "a.txt"), "--model", model, "--out", str(tmp_path / "o/a.json")]) == 0
    assert json.loads((tmp_path / "o/a.json").read_text()) == row
    assert main(["align", sound, "--text", "AB" * 99, "--model", model, "--out", str(tmp_path / "o/b.json")]) == 1
    output = capsys.readouterr()
    assert output.out == "" and output.err.count("\n") == 1
    # Nothing is written of what failed.
    assert [path.name for path in (tmp_path / "o").iterdir()] == ["a.json"]


def test_ctm_and_textgrid(model: str, sound: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["align", sound, "--text", "AB CA", "--model", model, "--format", "ctm"]) == 0
    lines = [line.split(" ") for line in capsys.readouterr().out.splitlines()]
    assert [line[:2] + line[4:5] for line in lines] == [["a_b", "1", "AB"], ["a_b", "1", "CA"]]
    near(
        [
            {"word": word, "start": start, "end": float(start) + float(length), "confidence": sure}
            for _, _, start, length, word, sure in lines
        ],
        "AB CA",
    )
    assert main(["align", sound, "--text", "AB CA", "--model", model, "--format", "textgrid"]) == 0
    grid = capsys.readouterr().out
    assert grid.startswith('File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0')
    grid = grid[grid.index('name = "words"') :]
    found = re.findall(r'xmin = ([\d.]+)\n +xmax = ([\d.]+)\n +text = "(.*)"', grid)
    assert [text for _, _, text in found if text] == ["AB", "CA"]
    assert [start for start, _, _ in found[1:]] == [end for _, end, _ in found[:-1]]
    assert float(found[0][0]) == 0 and float(found[-1][1]) == pytest.approx(len(spell("AB CA")) / SAMPLE_RATE, abs=1e-3)
    assert f"intervals: size = {len(found)}\n" in grid


def test_characters_that_the_model_does_not_write_are_left_out_and_told(
    model: str, sound: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["align", sound, "--text", "AéB 42 CXA", "--model", model, "-q"]) == 0
    output = capsys.readouterr()
    assert json.loads(output.out)["text"] == "AB CA"
    assert output.err.splitlines() == [
        "left out of the texts, as the model does not write it: 'É', '4', '2', 'X' (first in a b)"
    ]


def test_a_long_recording_with_its_whole_text(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
        Utterance("lost", "/no/such.wav", 1.0, "A"),
    ]
    write(tmp_path / "rows.jsonl", [*utterances[:3], *wrong, *utterances[3:]])
    return tmp_path / "rows.jsonl"


def test_a_manifest(model: str, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["align", "--manifest", str(rows), "--model", model]
    assert main(command) == 1
    output = capsys.readouterr()
    found = [json.loads(line) for line in output.out.splitlines()]
    assert [row["id"] for row in found] == [one.id for one in asr.read_manifest(rows)]
    for row, one in zip(found, asr.read_manifest(rows), strict=True):
        if one.id.startswith("dev"):
            near(row["words"], one.text)
    told = output.err.splitlines()
    assert re.match(r"asr: utterance long: its text cannot be said in [\d.]+ s: \d+ frames are too few", told[0])
    assert told[1:] == [
        "asr: utterance lost: /no/such.wav: no such file",
        "asr: 2 of 9 rows could not be aligned",
    ]
    assert main([*command, "--format", "ctm", "--out", str(tmp_path / "all.ctm"), "-q"]) == 1
    assert {line.split()[0] for line in (tmp_path / "all.ctm").read_text().splitlines()} == {
        row["id"] for row in found if "words" in row
    }
    assert main([*command, "--format", "textgrid", "--out", str(tmp_path / "grids"), "-q"]) == 1
    assert sorted(path.stem for path in (tmp_path / "grids").iterdir()) == sorted(
        row["id"] for row in found if "words" in row
    )


def test_suspects(model: str, rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["align", "--manifest", str(rows), "--model", model, "--suspects"]
    assert main([*command, "2", "--format", "json", "-q"]) == 1
    output = capsys.readouterr()
    found = [json.loads(line) for line in output.out.splitlines()]
    heard = {one.id: one.text for one in asr.read_manifest(rows)}
    assert [(row["id"], row["heard"]) for row in found] == [("long", heard["dev-1"]), ("wrong", heard["dev-0"])]
    assert found[0]["gap"] is None and "frames are too few" in found[0]["error"]
    assert found[1]["gap"] > 0.5 and found[1]["text"] == "CCCAB ABC"
    assert output.err == "asr: utterance lost: /no/such.wav: no such file\n"
    assert main([*command, "9", "-q"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert re.match(r"long: utterance long: its text cannot be said", lines[0])
    assert re.match(r"wrong: \d\.\d{3} nats a frame", lines[3])
    assert lines[4:6] == ["  text   CCCAB ABC", f"  heard  {heard['dev-0']}"]


def test_rows_are_heard_some_at_a_time(model: str, tones: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recognizer = recognition.load(model)
    utterances = asr.read_manifest(tones / "dev.jsonl")
    together = list(aligning.align(recognizer, utterances))
    monkeypatch.setattr(aligning, "_GROUP", 2.0)
    told: list[float] = []
    apart = list(aligning.align(recognizer, utterances, lambda done, total: told.append(done / total)))
    assert len(told) > 3 and told[-1] == pytest.approx(1.0)
    for one, other in zip(together, apart, strict=True):
        assert one.hypothesis and other.hypothesis and one.utterance == other.utterance
        assert [(word.text, word.start, word.end) for word in one.hypothesis.words] == [
            (word.text, word.start, word.end) for word in other.hypothesis.words
        ]
    assert list(aligning.align(recognizer, [])) == []
