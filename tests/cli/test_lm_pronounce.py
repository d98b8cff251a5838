"""asr lm pronounce, run in-process: the dictionary, the summary, and errors."""

import gzip
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from asr import lm
from asr.cli import main
from asr.lm import espeak
from asr.text.pronunciations import read

DICTIONARY = "cat K AE1 T # an animal\nsat S AE1 T\nmat M AE1 T\nthe DH AH0\nthe(2) DH IY0\ncats K AE1 T S\n"


@pytest.fixture
def dictionary(tmp_path: Path) -> Path:
    path = tmp_path / "cmu.gz"
    path.write_bytes(gzip.compress(DICTIONARY.encode()))
    return path


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text"
    path.write_text("The cat sat.\nThe cat's mat!\nThe cats' mat\n")
    return path


@pytest.fixture
def without_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Import asr.lm.espeak again without the package espeakng_loader."""
    monkeypatch.setattr(lm, "espeak", espeak)
    monkeypatch.delattr(lm, "espeak")
    monkeypatch.delitem(sys.modules, "asr.lm.espeak")
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)


def test_text_whose_words_are_known(
    text: Path, dictionary: Path, tmp_path: Path, without_extra: None, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "words.dict"
    assert main(["lm", "pronounce", str(text), "--dictionary", str(dictionary), "--out", str(out)]) == 0
    assert out.read_text().splitlines() == [
        "CAT K AE T",
        "CAT'S K AE T S",
        "CATS' K AE T S",
        "MAT M AE T",
        "SAT S AE T",
        "THE DH AX",
        "THE(2) DH IY",
    ]
    output = capsys.readouterr()
    assert output.out == f"{out}: 6 words: 4 from dictionaries, 2 derived, 0 by espeak-ng, 0 left out\n"
    assert output.err == ""


def test_words_of_models_texts_and_manifests(
    text: Path, dictionary: Path, tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = tmp_path / "more"
    more.write_text("\n".join(f"{word} {a}{b}{c}" for word in "AB" for a in "ABC" for b in "ABC" for c in "ABC"))
    known = {word: ("a",) for line in more.read_text().splitlines() for word in line.split()}
    for row in (tones / "train.jsonl").read_text().splitlines():
        known |= dict.fromkeys(json.loads(row)["text"].split(), ("a",))
    other = tmp_path / "other"
    other.write_text("".join(f"{word} AA\n" for word in known))
    options = ["--dictionary", str(dictionary), "--dictionary", str(other)]
    for name in ("lm.arpa", "lm.arpa.gz", "lm.bin"):
        model, out = tmp_path / name, tmp_path / f"{name}.dict.gz"
        assert main(["lm", "train", str(text), "--out", str(model), "--quiet"]) == 0
        sources = [str(model), str(more), str(tones / "train.jsonl")]
        assert main(["lm", "pronounce", *sources, *options, "--out", str(out), "--quiet"]) == 0
        assert out.read_bytes().startswith(b"\x1f\x8b")
        assert read(out).words == known | {
            **{"CAT": ("k@t",), "CAT'S": ("k@ts",), "CATS'": ("k@ts",), "MAT": ("m@t",), "SAT": ("s@t",)},
            "THE": ("Dx", "Di"),
        }
        counts = f"{len(known) + 6} words: {len(known) + 4} from dictionaries, 2 derived"
        assert f"{out}: {counts}, 0 by espeak-ng, 0 left out\n" in capsys.readouterr().out


def test_other_words_by_espeak(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("phonemizer")
    pytest.importorskip("espeakng_loader")
    text.write_text("the cat's ' mat")
    out = tmp_path / "words.dict"
    assert main(["lm", "pronounce", str(text), "--out", str(out)]) == 0
    assert out.read_text() == "CAT'S K AE T S\nMAT M AE T\nTHE DH AX\n"
    output = capsys.readouterr()
    assert output.out == f"{out}: 3 words: 0 from dictionaries, 0 derived, 3 by espeak-ng, 1 left out\n"
    assert output.err == "left out 1 words without a pronunciation: '\n"
    assert main(["lm", "pronounce", str(text), "--out", str(out), "--language", "xx"]) == 2
    assert capsys.readouterr().err.startswith("asr: language 'xx' is none of espeak-ng's")
    text.write_text("' '")
    assert main(["lm", "pronounce", str(text), "--out", str(out)]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == f"asr: {text}: no word has a pronunciation"


def test_packages_that_are_not_installed(
    text: Path, tmp_path: Path, without_extra: None, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["lm", "pronounce", str(text), "--out", str(out)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("asr: 6 words are in no dictionary (THE, CAT, SAT, CAT'S, MAT, …), and espeak-ng")
    assert "espeakng_loader" in line
    assert line.endswith("pip install 'asr[tts]', or add them to a dictionary")
    assert not out.exists()


def test_standard_input_and_output(
    dictionary: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BufferedReader(io.BytesIO(b"mat cat\n"))))
    assert main(["lm", "pronounce", "-", "--dictionary", str(dictionary), "--out", "-"]) == 0
    output = capfd.readouterr()
    assert output.out == "CAT K AE T\nMAT M AE T\n"
    assert output.err.endswith(": 2 words: 2 from dictionaries, 0 derived, 0 by espeak-ng, 0 left out\n")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["{text}"], 2, "Missing option '--out'"),
        (["{text}", "--out", "{text}"], 2, "would overwrite the input file"),
        (["{text}", "--dictionary", "{cmu}", "--out", "{cmu}"], 2, "would overwrite the input file"),
        (["-", "-", "--out", "x"], 2, "standard input (-) can be read only once"),
        (["{text}", "--out", "x", "--normaliser", "loud"], 2, "--normaliser = 'loud' is not one of"),
        (["{folder}/none", "--out", "x"], 2, "does not exist"),
        (["{text}", "--dictionary", "{text}", "--out", "x"], 1, "text, line 1: the phoneme 'cat' is neither"),
        (["{empty}", "--out", "x"], 1, "empty: no sentences"),
        (["{damaged}", "--out", "x"], 1, "damaged.bin"),
        (["{characters}", "--out", "x"], 1, "characters.arpa: a character model, which has no words"),
        (["{recurrent}", "--out", "x"], 2, "rnn.safetensors: a recurrent model"),
    ],
)
def test_unusable_input(
    arguments: list[str],
    code: int,
    message: str,
    text: Path,
    dictionary: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = {"text": text, "cmu": dictionary, "folder": tmp_path}
    for name in ("empty", "damaged.bin", "characters.arpa", "rnn.safetensors"):
        names[name.partition(".")[0].replace("rnn", "recurrent")] = tmp_path / name
    names["empty"].touch()
    names["damaged"].write_bytes(b"asr-ngram\n")
    if "{characters}" in arguments:
        train = ["lm", "train", str(text), "--unit", "character", "--alphabet", " 'ACEHMST", "--quiet"]
        assert main([*train, "--out", str(names["characters"])]) == 0
    if "{recurrent}" in arguments:
        train = ["lm", "train", str(text), "--kind", "rnn", "--dev", str(text), "--epochs", "1", "--hidden", "4"]
        assert main([*train, "--quiet", "--out", str(names["recurrent"])]) == 0
    capsys.readouterr()
    assert main(["lm", "pronounce", *(argument.format(**names) for argument in arguments)]) == code
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "binary form" not in line]
    assert line.startswith("asr: ") and message in line
