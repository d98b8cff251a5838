"""asr score, asr compare and the outputs of asr evaluate."""

import json
import re
from pathlib import Path

import pytest

from asr import transcripts
from asr.cli import main, outputs
from asr.cli.score import FORMATS
from asr.text.normalisers import NORMALISERS

REFERENCES = "u1 THE CAT SAT\nu2 A DOG\nu3 BIRDS SING\n"
FIRST = "u3 BIRDS SING\nu1 the bat sat\nu2 A DOG\n"
SECOND = "u2 A DOG\nu1 THE CAT SAT\nu3 BIRDS SING\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in {"refs.txt": REFERENCES, "a.txt": FIRST, "b.txt": SECOND}.items():
        (tmp_path / name).write_text(content)
    return tmp_path


def run(folder: Path, *arguments: str) -> int:
    return main([str(folder / one) if one.endswith((".txt", ".ctm", ".stm")) else one for one in arguments])


def test_names_in_the_help_are_complete() -> None:
    assert sorted(outputs.NORMALISERS) == sorted(NORMALISERS)
    assert FORMATS == transcripts.INPUT_FORMATS


def rows(text: str) -> dict[str, str]:
    """Return the names and values of a block of a report."""
    lines = [line.partition("  ") for line in text.splitlines()]
    return {name.strip(): value.strip() for name, _, value in lines}


def test_segments_of_a_table_are_scored_against_whole_texts(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = folder / "a.tsv"
    table.write_text(
        "audio\tstart\tend\tconfidence\ttext\nu1.wav\t0\t1\t\tTHE CAT\nu1.wav\t1\t2\t\tSAT\n"
        "u2.wav\t0\t1\t\tA DOG\nu3.wav\t4\t5\t\tSING\nu3.wav\t0\t1\t\tBIRDS\n"
    )
    assert main(["score", str(folder / "refs.txt"), str(table)]) == 0
    values = rows(capsys.readouterr().out.split("\n\n")[0])
    assert values["words"].startswith("0 errors in 7 words") and values["utterances"].startswith("0 of 3")


def test_score_prints_the_report(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "score", "refs.txt", "a.txt", "--normaliser", "basic", "--worst", "1") == 0
    output = capsys.readouterr()
    values = rows(output.out.split("\n\n")[0])
    assert list(values) == [
        "WER",
        "WER as given",
        "CER",
        "SER",
        "words",
        "utterances",
        "reference format",
        "hypothesis format",
    ]
    assert values["WER"].startswith("14.29 %  (95 % interval ")
    assert values["WER as given"].startswith("42.86 %")
    assert values["SER"].startswith("33.33 %")
    assert values["words"] == "1 error in 7 words: 1 substitution, 0 deletions, 0 insertions"
    assert "  u1: 1 error in 3 words\n    the [cat] sat\n    the [bat] sat\n" in output.out
    assert output.err == ""


def test_score_verbose_prints_the_settings_first(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "score", "refs.txt", "a.txt", "-v") == 0
    settings, result = map(rows, capsys.readouterr().out.split("\n\n")[:2])
    assert settings == {
        "references": str(folder / "refs.txt"),
        "hypotheses": str(folder / "a.txt"),
        "normaliser": "none",
    }
    assert next(iter(result)) == "WER"


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        (["--show", "all"], ["u1", "u2", "u3"]),
        (["--show", "worst"], ["u1"]),
        (["--show", "none"], []),
        (["--worst", "0"], []),
    ],
)
def test_score_show_selects_the_utterances(
    options: list[str], ids: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "score", "refs.txt", "a.txt", *options) == 0
    out = capsys.readouterr().out
    assert [line.strip().partition(":")[0] for line in out.splitlines() if line.startswith("  u")] == ids


def test_score_writes_every_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = {"--json": "out/r.json", "--report": "out/r.html", "--pra": "out/r.pra", "--dtl": "out/r.dtl"}
    wanted = [part for option, name in names.items() for part in (option, str(folder / name))]
    assert run(folder, "score", "refs.txt", "a.txt", *wanted) == 0
    body = json.loads((folder / "out/r.json").read_text())
    assert (body["schema"], body["kind"], body["errors"]) == (2, "evaluation", 3)
    assert set(body["facts"]) == {
        "references",
        "hypotheses",
        "date",
        "asr",
        "normaliser",
        "reference format",
        "hypothesis format",
    }
    assert (folder / "out/r.html").read_text().startswith("<!doctype html>")
    assert "id: (u1)\nScores: (#C #S #D #I) 0 3 0 0\n" in (folder / "out/r.pra").read_text()
    assert (folder / "out/r.dtl").read_text().startswith("DETAILED OVERALL REPORT FOR THE SYSTEM: a.txt\n")
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["r.dtl", "r.html", "r.json", "r.pra"]


@pytest.mark.parametrize(("limit", "code"), [("42", 1), ("42.85", 1), ("42.9", 0), ("100", 0)])
def test_fail_above(limit: str, code: int, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "score", "refs.txt", "a.txt", "--fail-above", limit, "--json", str(folder / "r.json")) == code
    output = capsys.readouterr()
    assert output.err == (f"asr: WER 42.86 % is above {limit} %\n" if code else "")
    assert "WER" in output.out
    assert (folder / "r.json").exists()


def test_missing_ids_are_refused_or_counted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "few.txt").write_text("u1 THE CAT SAT\nu2 A DOG\nu9 X\n")
    assert run(folder, "score", "refs.txt", "few.txt") == 1
    assert "no hypothesis for 1 id ('u3'); 1 id not in the references ('u9')" in capsys.readouterr().err
    assert run(folder, "score", "refs.txt", "few.txt", "--allow-missing", "--json", str(folder / "r.json")) == 0
    assert rows(capsys.readouterr().out)["missing"] == "1, counted as deletions: 'u3'"
    body = json.loads((folder / "r.json").read_text())
    assert (body["deletions"], body["words"], body["facts"]["extra"][:1]) == (2, 7, "1")


def test_equivalents_from_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "same.txt").write_text("bat = cat\n")
    assert run(folder, "score", "refs.txt", "a.txt", "--normaliser", "basic", "--equivalents", "same.txt", "-v") == 0
    out = capsys.readouterr().out
    assert rows(out)["WER"].startswith("0.00 %") and rows(out)["equivalents"] == str(folder / "same.txt")


def test_ctm_against_stm(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "r.stm").write_text("r 1 ann 0 2 THE CAT\nr 1 bob 2 4 A DOG\n")
    (folder / "h.ctm").write_text("r 1 2.5 0.5 A 0.9\nr 1 0.1 0.5 THE 0.8\nr 1 1.0 0.5 BAT 0.3\nr 1 9 1 X 1\n")
    assert run(folder, "score", "r.stm", "h.ctm", "--json", str(folder / "r.json")) == 0
    assert rows(capsys.readouterr().out)["outside"] == "1 word outside the segments, counted as insertions"
    body = json.loads((folder / "r.json").read_text())
    assert (body["substitutions"], body["deletions"], body["insertions"], body["audio_seconds"]) == (2, 0, 0, 4.0)
    assert body["calibration"]["words"] == 4
    assert [row["name"] for row in body["speakers"]] == ["ann", "bob"]


def test_numerals_are_scored_as_words(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "n.txt").write_text("u1 4 2 1 9 7\nu2 0 1 2 3 4\n")
    (folder / "m.txt").write_text("u1 4 2 1 9 8\nu2 0 1 2 3\n")
    assert run(folder, "score", "n.txt", "m.txt", "--json", str(folder / "r.json")) == 0
    body = json.loads((folder / "r.json").read_text())
    assert (body["words"], body["substitutions"], body["deletions"]) == (10, 1, 1)


def test_format_that_cannot_be_detected_is_given(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "r.txt").write_text("THE CAT (u1)\nA DOG (u2)\n")
    assert run(folder, "score", "r.txt", "r.txt") == 1
    assert "fits the formats trn and text; choose one with --reference-format" in capsys.readouterr().err
    assert run(folder, "score", "r.txt", "r.txt", "--reference-format", "trn", "--hypothesis-format", "trn") == 0


def test_output_of_transcribe_can_be_scored(
    trained: Path, tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(trained / "best.safetensors")
    files = [str(tones / "dev" / f"dev-{number}.wav") for number in reversed(range(12))]
    assert main(["transcribe", *files, "--model", model, "--format", "json", "--quiet"]) == 0
    (tmp_path / "hypotheses.jsonl").write_text(capsys.readouterr().out)
    assert main(["score", str(tones / "dev.jsonl"), str(tmp_path / "hypotheses.jsonl")]) == 0
    scored = capsys.readouterr().out
    assert main(["evaluate", str(tones / "dev.jsonl"), "--model", model, "--quiet"]) == 0
    evaluated = capsys.readouterr().out

    def rates(text: str) -> list[str]:
        return [line.split("  ", 1)[1].strip() for line in text.splitlines() if line[:3] in ("WER", "CER", "SER")]

    assert rates(scored) == rates(evaluated) != []


def test_evaluate_writes_every_file_and_fails_above(
    trained: Path, tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", str(tones / "dev.jsonl"), "--model", str(trained / "best.safetensors"), "--quiet"]
    names = {"--json": "r.json", "--report": "r.html", "--pra": "r.pra", "--dtl": "r.dtl"}
    arguments += [part for option, name in names.items() for part in (option, str(tmp_path / name))]
    (tmp_path / "same.txt").write_text("a = b\n")
    arguments += ["--normaliser", "english", "--equivalents", str(tmp_path / "same.txt")]
    assert main([*arguments, "-v", "--fail-above", "100"]) == 0
    output = capsys.readouterr()
    assert ["normaliser", "english"] in [line.split() for line in output.out.splitlines()]
    assert output.err == ""
    body = json.loads((tmp_path / "r.json").read_text())
    assert body["facts"]["normaliser"] == "english"
    assert set(body["facts"]) == {"manifest", "model", "decoder", "equivalents", "date", "asr", "normaliser"}
    assert body["real_time_factor"] > 0
    assert body["utterance_scores"][0]["speaker"] == "s0"
    assert len(list(tmp_path.iterdir())) == 5


def test_compare_prints_a_verdict(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--normaliser", "basic", "--json", str(folder / "c.json"), "--report", str(folder / "c.html")]
    assert run(folder, "compare", "refs.txt", "a.txt", "b.txt", *options) == 0
    output = capsys.readouterr()
    assert "a and b: b is better by 14.29 points, 95 % interval 0.00 to 33.33: not significant" in output.out
    assert output.err == ""
    body = json.loads((folder / "c.json").read_text())
    assert [system["name"] for system in body["systems"]] == ["a", "b"]
    assert body["facts"]["normaliser"] == "basic"
    assert "not significant" in (folder / "c.html").read_text()


def test_two_reports_can_be_compared(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        wanted = ("--json", str(folder / f"{name}.json"), "--normaliser", "basic")
        assert run(folder, "score", "refs.txt", f"{name}.txt", *wanted) == 0
    capsys.readouterr()
    assert main(["compare", *(str(folder / name) for name in ("refs.txt", "a.json", "b.json"))]) == 0
    # The texts are compared as they were given, whatever the reports' normaliser.
    assert rows(capsys.readouterr().out)["WER of a"].startswith("42.86 %")


def test_compare_gives_systems_different_names(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "a.trn").write_text("THE CAT SAT (u1)\nA DOG (u2)\nBIRDS SING (u3)\n")
    (folder / "other").mkdir()
    (folder / "other" / "a.txt").write_text(SECOND)
    assert main(["compare", *(str(folder / name) for name in ("refs.txt", "a.txt", "a.trn"))]) == 0
    assert "\na.txt and a.trn: " in capsys.readouterr().out
    assert main(["compare", *(str(folder / name) for name in ("refs.txt", "a.txt", "other/a.txt", "b.txt"))]) == 0
    assert f"\n{folder / 'a.txt'} and {folder / 'other' / 'a.txt'}: " in capsys.readouterr().out


def test_report_can_be_written_to_a_device(folder: Path) -> None:
    (folder / "out").symlink_to("/dev/null")
    assert run(folder, "score", "refs.txt", "a.txt", "--json", str(folder / "out")) == 0


def test_audio_is_embedded_in_the_page(
    trained: Path, tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, model = str(tones / "dev.jsonl"), str(trained / "best.safetensors")
    page = tmp_path / "r.html"
    assert main(["evaluate", manifest, "--model", model, "--report", str(page), "--audio", "--quiet"]) == 0
    output = capsys.readouterr()
    assert output.out.endswith(f"\nReport: {page} ({page.stat().st_size / 1e6:.1f} MB with the audio)\n")
    assert output.err == ""
    assert page.read_text(encoding="utf-8").count('"audio":"data:audio/ogg;base64,') == 12
    rows = [json.loads(line) for line in (tones / "dev.jsonl").read_text().splitlines()]
    (tmp_path / "h.txt").write_text("".join(f"{row['id']} A\n" for row in rows))
    assert main(["score", manifest, str(tmp_path / "h.txt"), "--report", str(page), "--audio"]) == 0
    assert page.read_text(encoding="utf-8").count('"audio":"data:audio/ogg;base64,') == 12
    assert main(["score", manifest, str(tmp_path / "h.txt"), "--report", str(page)]) == 0
    assert "data:audio" not in page.read_text(encoding="utf-8")


def test_audio_needs_a_page_and_a_manifest(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "score", "refs.txt", "a.txt", "--audio") == 2
    assert "--audio puts the audio into the page of --report; give --report too" in capsys.readouterr().err
    assert run(folder, "score", "refs.txt", "a.txt", "--audio", "--report", str(folder / "r.html")) == 2
    output = capsys.readouterr()
    assert "--audio needs a manifest as REFERENCES" in output.err and output.err.count("\n") == 1
    (folder / "gone.jsonl").write_text('{"id": "u1", "audio": "gone.wav", "duration": 1, "text": "A"}\n')
    (folder / "g.txt").write_text("u1 A\n")
    gone = [str(folder / "gone.jsonl"), str(folder / "g.txt"), "--audio", "--report", str(folder / "r.html")]
    assert main(["score", *gone]) == 1
    assert capsys.readouterr().err.endswith("gone.wav: no such file\n")
    assert not (folder / "r.html").exists()


REFERENCE, HYPOTHESIS = "THE CAT SAT ON MATS", "A BAT SAT IN MATES"


def write_columns(path: Path, *columns: str) -> str:
    """Write a table or JSON lines with an audio file and texts in the columns; return its path."""
    texts = {name: HYPOTHESIS if name in ("pred_text", "hyp", "prediction", "mine") else REFERENCE for name in columns}
    row = {"audio_filepath": "a/u1.wav", **texts}
    lines = [",".join(row), ",".join(row.values())] if path.suffix == ".csv" else [json.dumps(row)]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
@pytest.mark.parametrize(
    ("references", "hypotheses", "read"),
    [
        (["text"], ["text", "pred_text"], ("text", "pred_text")),
        (["text"], ["pred_text", "text"], ("text", "pred_text")),
        (["text", "pred_text"], ["text", "pred_text"], ("text", "pred_text")),
        (["reference", "hyp"], ["reference", "hyp"], ("reference", "hyp")),
        (["sentence", "prediction"], ["prediction", "sentence"], ("sentence", "prediction")),
    ],
)
def test_each_side_reads_its_own_column(
    suffix: str,
    references: list[str],
    hypotheses: list[str],
    read: tuple[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = write_columns(tmp_path / f"r.{suffix}", *references)
    second = write_columns(tmp_path / f"h.{suffix}", *hypotheses)
    assert main(["score", first, second]) == 0
    values = rows(capsys.readouterr().out)
    assert values["WER"].startswith("80.00 %")
    assert values["reference format"] == f"{suffix}, column {read[0]!r}"
    assert values["hypothesis format"] == f"{suffix}, column {read[1]!r}"


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
@pytest.mark.parametrize(
    ("columns", "side", "message"),
    [
        (["text", "transcript"], "reference", "the reference may be 'text' and 'transcript'; choose the column with"),
        (["text", "sentence"], "hypothesis", "the hypothesis may be 'text' and 'sentence'; choose the column with"),
        (["hyp", "prediction"], "hypothesis", "the hypothesis may be 'hyp' and 'prediction'; choose the column with"),
        (["text", "raw_text"], "reference", "the reference may be 'text' and 'raw_text'; choose the column with"),
        (["text", "whisper_hyp"], "hypothesis", "the hypothesis may be 'text' and 'whisper_hyp'; choose the column"),
        (["reference"], "hypothesis", "no column of 'audio_filepath', 'reference' has the text of the hypothesis"),
        (["pred_text"], "reference", "no column of 'audio_filepath', 'pred_text' has the text of the reference"),
    ],
)
def test_columns_that_cannot_be_told_apart_are_refused(
    suffix: str, columns: list[str], side: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, plain = write_columns(tmp_path / f"f.{suffix}", *columns), write_columns(tmp_path / "plain.csv", "text")
    assert main(["score", *([file, plain] if side == "reference" else [plain, file])]) == 1
    error = capsys.readouterr().err
    assert message in error and f"--{side}-column" in error


def test_columns_can_be_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = write_columns(tmp_path / "both.csv", "truth", "mine", "text")
    assert main(["score", both, both, "--reference-column", "truth", "--hypothesis-column", "mine"]) == 0
    assert rows(capsys.readouterr().out)["WER"].startswith("80.00 %")
    assert main(["score", both, both, "--reference-column", "yours"]) == 1
    assert "no column 'yours'; the columns are 'audio_filepath', 'truth', 'mine', 'text'" in capsys.readouterr().err
    (tmp_path / "r.txt").write_text("u1 A\n")
    assert main(["score", str(tmp_path / "r.txt"), both, "--reference-column", "text"]) == 1
    assert "the format text has no columns; leave out --reference-column" in capsys.readouterr().err


def test_ids_of_a_folder_match_the_output_of_transcribe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The ids of `asr prepare table FOLDER` are paths below the folder."""
    references = [("a/x", "A"), ("b/x", "B"), ("y", "C")]
    (tmp_path / "r.jsonl").write_text(
        "".join(
            json.dumps({"id": name, "audio": f"/data/{name}.wav", "duration": 1, "text": text}) + "\n"
            for name, text in references
        )
    )
    hypotheses = [("corpus/a/x.wav", "A"), ("corpus/y.wav", "C"), ("corpus/b/x.wav", "X")]
    (tmp_path / "h.jsonl").write_text(
        "".join(json.dumps({"audio": name, "text": text}) + "\n" for name, text in hypotheses)
    )
    (tmp_path / "h.ctm").write_text("b/x 1 0 1 X\na/x 1 0 1 A\ny 1 0 1 C\n")
    for name in ("h.jsonl", "h.ctm"):
        assert main(["score", str(tmp_path / "r.jsonl"), str(tmp_path / name)]) == 0
        assert rows(capsys.readouterr().out)["words"].startswith("1 error in 3 words: 1 substitution")


def test_alternatives_can_be_compared(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "r.trn").write_text("THE { COLOUR / COLOR / @ } CAT (u1)\nA DOG (u2)\n")
    (folder / "one.trn").write_text("THE COLOR CAT (u1)\nA DOG (u2)\n")
    (folder / "two.trn").write_text("THE CAT (u1)\nA FROG (u2)\n")
    files = [str(folder / name) for name in ("r.trn", "one.trn", "two.trn")]
    assert main(["compare", *files]) == 0
    values = rows(capsys.readouterr().out)
    assert values["WER of one"].startswith("0.00 %") and values["WER of two"].startswith("25.00 %")
    assert main(["score", files[1], files[0]]) == 1
    assert "row 1: a hypothesis with alternatives 'THE { COLOUR / COLOR / @ } CAT'" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--json", "--report", "--pra", "--dtl"])
def test_a_dash_is_the_standard_output(option: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "score", "refs.txt", "a.txt", option, str(folder / "file")) == 0
    capfd.readouterr()
    assert run(folder, "score", "refs.txt", "a.txt", option, "-") == 0
    output = capfd.readouterr()

    def without_date(text: str) -> str:
        return re.sub(r"\d+:\d+:\d+", "", text)

    assert without_date(output.out) == without_date((folder / "file").read_text())
    assert output.err.startswith("WER ")


def test_compare_writes_to_the_standard_output(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "compare", "refs.txt", "a.txt", "b.txt", "--json", "-") == 0
    assert json.loads(capfd.readouterr().out)["kind"] == "comparison"
