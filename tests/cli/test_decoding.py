"""The decoding options of commands, and asr tune."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from asr.cli import main
from asr.decoding import decoder
from asr.lm import espeak
from asr.model import checkpoint
from tests.conftest import ROOT


@pytest.fixture
def lm(tones: Path, tmp_path: Path) -> Path:
    assert (
        main(["lm", "train", str(tones / "train.jsonl"), "--order", "2", "--out", str(tmp_path / "lm.arpa"), "-q"]) == 0
    )
    return tmp_path / "lm.arpa"


@pytest.fixture
def model(trained: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "model.safetensors"
    copy.write_bytes((trained / "best.safetensors").read_bytes())
    return copy


def rows(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_transcribe_with_alternatives(tones: Path, model: Path, lm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(tones / "dev" / "dev-0.wav")
    command = ["transcribe", file, "--model", str(model), "--format", "json", "--nbest", "3", "--beam-width", "20"]
    assert main([*command, "--lm", str(lm), "--lm-weight", "0.3", "--word-bonus", "0.5", "--hotword", "ABC:2"]) == 0
    (row,) = rows(capsys)
    others = row["alternatives"]
    assert isinstance(others, list) and len(others) == 2
    assert row["score"] >= others[0]["score"] >= others[1]["score"]
    words = row["words"]
    assert isinstance(words, list)
    assert " ".join(word["word"] for word in words) == row["text"]
    assert all(0 <= word["start"] < word["end"] and 0 <= word["confidence"] <= 1 for word in words)


def test_known_words_and_any_word(tones: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text").write_text("AB\nBA\n" * 5)
    path = str(tmp_path / "lm.arpa")
    assert main(["lm", "train", str(tmp_path / "text"), "--order", "1", "--out", path, "-q"]) == 0
    decoder_file = tmp_path / "decoder.toml"
    decoder_file.write_text('lm = "lm.arpa"\n[weights]\nlexicon_only = true\nlm_weight = 0.1\n')
    command = ["evaluate", str(tones / "dev.jsonl"), "--model", str(model), "--quiet", "--json", str(tmp_path / "out")]

    def words(*more: str) -> set[str]:
        assert main([*command, *more]) == 0
        body = json.loads((tmp_path / "out").read_text())
        return {word for row in body["utterance_scores"] for word in row["hypothesis"].split()}

    known, any_word = words("--decoder", str(decoder_file)), words("--decoder", str(decoder_file), "--any-word")
    assert known <= {"AB", "BA"} and not any_word <= {"AB", "BA"}
    assert words("--lm", path, "--known-words") <= {"AB", "BA"}
    assert words("--lm", path, "--known-words", "--hotword", "ABC") <= {"AB", "BA", "ABC"}
    capsys.readouterr()
    assert main([*command, "--known-words"]) == 2
    assert "--known-words needs an n-gram model of words: --lm FILE" in capsys.readouterr().err
    letters = str(tmp_path / "letters.arpa")
    train = ["lm", "train", str(tmp_path / "text"), "--unit", "character", "--out", letters, "-q"]
    assert main([*train, "--order", "1"]) == 0
    assert main([*command, "--lm", letters, "--known-words"]) == 2
    assert "--known-words needs an n-gram model of words" in capsys.readouterr().err


def test_another_lm_drops_the_rescorer_of_the_settings(
    tones: Path, model: Path, lm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rescorer = str(tmp_path / "rescorer.safetensors")
    text = str(tones / "train.jsonl")
    train = [
        "lm",
        "train",
        text,
        "--kind",
        "rnn",
        "--unit",
        "word",
        "--least",
        "1",
        "--epochs",
        "1",
        "--out",
        rescorer,
        "-q",
    ]
    settings = tmp_path / "decoder.toml"
    assert main([*train, "--dev", str(tones / "dev.jsonl"), "--hidden", "8", "--alphabet", " ABC", "-q"]) == 0
    settings.write_text('lm = "lm.arpa"\nrescorer = "rescorer.safetensors"\nrescoring_lm_scale = 0.2\n')
    command = ["evaluate", str(tones / "dev.jsonl"), "--model", str(model), "--decoder", str(settings), "-qv"]
    for more, rescored in (([], True), (["--lm", str(lm)], False), (["--lm", str(lm), "--rescorer", rescorer], True)):
        capsys.readouterr()
        assert main([*command, *more]) == 0
        assert ("rescored by" in capsys.readouterr().out) == rescored


def test_hotword_with_a_large_weight_is_recognised(
    tones: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tones / "dev" / "dev-0.wav")
    assert main(["transcribe", file, "--model", str(model)]) == 0
    plain = capsys.readouterr().out
    assert main(["transcribe", file, "--model", str(model), "--hotword", "CACBB:500", "--beam-width", "500"]) == 0
    assert "CACBB" not in plain and "CACBB" in capsys.readouterr().out


@pytest.mark.parametrize("installed", [True, False])
def test_hotwords_without_a_pronunciation_are_named(
    installed: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(espeak, "is_installed", lambda: installed)
    monkeypatch.setattr(espeak, "pronounce", lambda words, language: dict.fromkeys(words, ("bl@vIk",)))
    sample = str(ROOT / "data/samples/sample-01.opus")
    assert main(["transcribe", sample, "--hotword", "BLAVIK:2", "--hotword", "THE:0", "--beam-width", "50"]) == 0
    found = capsys.readouterr()
    assert found.out.strip()
    assert ("no pronunciation of BLAVIK, of --hotword: the search is by characters" in found.err) == (not installed)


def test_tune_writes_settings_for_other_commands(
    tones: Path, model: Path, lm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dev = str(tones / "dev.jsonl")
    assert main(["tune", dev, "--model", str(model), "--lm", str(lm), "--into-model", "--quiet"]) == 0
    output = capsys.readouterr().out
    assert output.startswith("greedy ")
    written = model.with_name("decoder.toml")
    settings = decoder.read_settings(written)
    assert model.with_name("decoder.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    card = checkpoint.inspect(model).card
    assert card["decoder"]["weights"]["lm_weight"] == settings.weights.lm_weight
    if settings.greedy:
        assert "greedy = true" in output
    else:
        assert Path(settings.lm).resolve() == lm.resolve() and card["decoder"]["lm"] == lm.name
    assert main(["evaluate", dev, "--model", str(model), "--decoder", str(written), "-qv"]) == 0
    assert ("greedy" if settings.greedy else "beam ") in capsys.readouterr().out


def test_card_settings_apply_to_a_given_lm(
    tones: Path, model: Path, lm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    contents, tensors = checkpoint.read(model)
    matrices = checkpoint.matrices(contents)
    weights = {"lm_weight": 1.25, "word_bonus": 4.5}
    priors = {"scale": 0.5, "probabilities": [0.2] * contents.settings.alphabet.outputs}
    tuned = {"lm": "gone.arpa", "weights": weights, "search": {"beam_width": 7}, "priors": priors}
    checkpoint.save(model, tensors, contents.settings, contents.card | {"decoder": tuned}, matrices)
    command = ["evaluate", str(tones / "dev.jsonl"), "--model", str(model), "-qv"]
    assert main(command) == 0
    assert "decoder     greedy\n" in capsys.readouterr().out
    assert main([*command, "--lm", str(lm)]) == 0
    output = capsys.readouterr().out
    assert f"beam 7, {lm}, weight 1.25" in output and "scale of the priors 0.5" in output
    # The bonus was tuned against the language model's price of a word, and the priors with its weight.
    assert main([*command, "--hotword", "AB"]) == 0
    output = capsys.readouterr().out
    assert "beam 7" in output and "word bonus" not in output and "priors" not in output
    assert main([*command, "--greedy"]) == 0
    assert "decoder     greedy\n" in capsys.readouterr().out
    checkpoint.save(
        model, tensors, contents.settings, contents.card | {"decoder": {"search": {"beam_width": 9}}}, matrices
    )
    assert main(command) == 0
    assert "beam 9" in capsys.readouterr().out
    checkpoint.save(model, tensors, contents.settings, contents.card | {"decoder": {"beam": 9}}, matrices)
    assert main(command) == 1
    assert "the model's card: decoder: unknown key 'beam'" in capsys.readouterr().err


def test_messages_about_compiling_respect_quiet(
    tones: Path, model: Path, lm: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tones / "dev" / "dev-0.wav")
    command = ["transcribe", file, "--model", str(model), "--lm", str(lm)]
    monkeypatch.setattr("asr.decoding.beam.compiling_pays", lambda frames, width: True)
    monkeypatch.setattr("asr.decoding.beam.search_is_compiled", lambda: True)
    assert main(command) == 0
    shown = capsys.readouterr().err
    assert f"writing {lm}.bin" in shown and "compiling the beam search" not in shown
    monkeypatch.setattr("asr.decoding.beam.search_is_compiled", lambda: False)
    assert main(command) == 0
    assert "compiling the beam search, once per machine" in capsys.readouterr().err
    monkeypatch.setattr("asr.decoding.beam.caches", lambda: False)
    assert main(command) == 0
    assert "in each run: no cache folder can be written to; set NUMBA_CACHE_DIR" in capsys.readouterr().err
    assert main([*command, "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_evaluate_reports_the_oracle_wer(
    tones: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "evaluate",
        str(tones / "dev.jsonl"),
        "--model",
        str(model),
        "--quiet",
        "--json",
        str(tmp_path / "r.json"),
    ]
    assert main([*command, "--nbest", "20", "--beam-width", "20"]) == 0
    lines = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    rates = {name.strip(): value.strip() for name, value in lines.items()}
    assert float(rates["oracle WER"].split(" %")[0]) <= float(rates["WER"].split(" %")[0])
    assert rates["oracle WER"].endswith("the best of 20 texts per utterance")


def test_greedy_imports_no_search_and_no_language_models(tones: Path, model: Path) -> None:
    file = str(tones / "dev" / "dev-0.wav")
    code = (
        f"import sys; from asr.cli import main; main(['transcribe', {file!r}, '--model', {str(model)!r}, '--greedy']); "
        "print([name for name in ('numba', 'asr.decoding.beam', 'asr.lm') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
