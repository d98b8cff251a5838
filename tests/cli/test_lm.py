"""asr lm, run in-process: files, output and exit codes."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from asr import lm
from asr.cli import lm_train, main
from asr.cli.lm_train import Writer
from asr.cli.progress import Display
from asr.lm import Perplexity
from asr.lm import recurrent as rnnlm
from asr.lm.ngram import NgramModel, is_character_model
from asr.lm.recurrent.network import build
from asr.lm.recurrent.training import LmEpoch
from asr.text import TextSettings
from tests.conftest import random_texts

RNN = ["--kind", "rnn", "--alphabet", " ABC", "--hidden", "16", "--layers", "1", "--cell", "gru", "--batch", "8"]


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """A text of 200 sentences."""
    path = tmp_path / "text.gz"
    path.write_bytes(gzip.compress("\n".join(random_texts(200, 1)).encode()))
    return path


def ngram(path: Path) -> NgramModel:
    found = lm.load(path)
    assert isinstance(found, NgramModel)
    return found


@pytest.mark.parametrize("name", ["lm.arpa", "lm.arpa.gz"])
def test_train_and_measure_an_ngram_model(
    name: str, texts: Path, tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / name
    assert main(["lm", "train", str(texts), str(tones / "train.jsonl"), "--out", str(out)]) == 0
    output = capsys.readouterr()
    assert output.out.startswith(f"{out}: ") and "-grams of words, 0.0 MB" in output.out
    assert output.err.startswith(f"{texts}, {tones / 'train.jsonl'}: 260 sentences, ")
    assert main(["lm", "perplexity", str(out), str(tones / "dev.jsonl"), str(texts)]) == 0
    output = capsys.readouterr()
    first, second, *figures = output.out.splitlines()
    assert first.startswith("212 sentences, ") and second.startswith("unknown words: ")
    assert [line.split(": ")[0] for line in figures] == ["perplexity per word", "perplexity per character"]
    assert output.err == f"reading {out}; the binary form {out}.bin is faster to load\n"
    # The second time the binary form is there.
    assert main(["lm", "perplexity", str(out), str(tones / "dev.jsonl")]) == 0
    assert capsys.readouterr().err == ""


def test_options_of_ngram_models(texts: Path, tmp_path: Path) -> None:
    words = tmp_path / "words"
    words.write_text("a\nb\nabc\n")
    sizes = []
    for number, more in enumerate(
        (
            ["--order", "2"],
            ["--cutoffs", "0,1"],
            ["--prune", "1e-3"],
            ["--vocabulary", str(words)],
            ["--min-count", "9999"],
            ["--vocabulary", str(words), "--min-count", "1"],
        )
    ):
        out = tmp_path / f"{number}.{'bin' if number else 'arpa'}"
        assert main(["lm", "train", str(texts), "--out", str(out), "--quiet", *more]) == 0
        sizes.append(ngram(out))
    assert [model.order for model in sizes] == [2, 3, 3, 3, 3, 3]
    assert len(sizes[1].words) == len(sizes[2].words) == len(sizes[0].words)
    assert sizes[2].counts[2] != sizes[1].counts[2]
    assert sorted(sizes[3].words) == ["</s>", "<s>", "<unk>", "A", "ABC", "B"]
    assert sorted(sizes[4].words) == ["</s>", "<s>", "<unk>"]
    assert set(sizes[5].words) == {"ABC", *sizes[0].words}


def test_mix_ngram_models(texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other, one, two = tmp_path / "other", tmp_path / "one.bin", tmp_path / "two.arpa"
    other.write_text("\n".join(random_texts(50, 2)))
    for text, out in ((texts, one), (other, two)):
        assert main(["lm", "train", str(text), "--out", str(out), "--quiet"]) == 0
    mixed, best = tmp_path / "mixed.bin", tmp_path / "best.arpa.gz"
    capsys.readouterr()
    assert main(["lm", "mix", str(one), str(two), "--weights", "3,1", "--out", str(mixed), "--quiet"]) == 0
    assert capsys.readouterr().out.startswith(f"{mixed}: 0.7500 {one}, 0.2500 {two}; ")
    assert main(["lm", "mix", str(one), str(two), "--dev", str(other), "--out", str(best), "--quiet"]) == 0
    dev = other.read_text().upper().splitlines()
    assert ngram(best).perplexity(dev).per_word < ngram(mixed).perplexity(dev).per_word
    pruned = tmp_path / "pruned.arpa"
    assert main(["lm", "mix", str(mixed), "--prune", "1e-3", "--out", str(pruned), "--quiet"]) == 0
    assert sum(ngram(pruned).counts) < sum(ngram(mixed).counts)


def test_models_on_standard_output_are_whole_files(texts: Path, tmp_path: Path) -> None:
    trained, mixed = tmp_path / "trained.arpa", tmp_path / "mixed.arpa"
    for command, out in ((["train", str(texts)], trained), (["mix", str(trained), "--prune", "1e-3"], mixed)):
        with out.open("wb") as file:
            done = subprocess.run(
                [sys.executable, "-m", "asr", "lm", *command, "--quiet", "--out", "-"],
                stdout=file,
                stderr=subprocess.PIPE,
                text=True,
                check=True,
            )
        assert "-grams" in done.stderr and "MB" not in done.stderr
        assert "</s>" in ngram(out).vocabulary


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["{lm}", "{lm}", "--out", "x.bin"], "give the weights of the models"),
        (["{lm}", "{lm}", "--out", "x.bin", "--weights", "1,0"], "--weights 1,0: expected 2 positive numbers"),
        (["{lm}", "{lm}", "--out", "x.bin", "--weights", "a"], "--weights a: expected 2 positive numbers"),
        (["{lm}", "--out", "x.txt"], "--out x.txt: the name must end with .arpa or .arpa.gz or .bin"),
        (["{lm}", "--out", "{lm}"], "would overwrite the input file"),
    ],
)
def test_mix_with_wrong_options(
    options: list[str], message: str, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "lm.bin"
    assert main(["lm", "train", str(texts), "--out", str(path), "--quiet"]) == 0
    assert main(["lm", "mix", *(option.format(lm=path) for option in options)]) == 2
    assert message in capsys.readouterr().err


def test_train_a_character_ngram_model(texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "lm.arpa"
    arguments = ["lm", "train", str(texts), "--out", str(out), "--unit", "character", "--alphabet", " ABCZ"]
    assert main(arguments) == 0
    model = ngram(out)
    assert is_character_model(model)
    assert sorted(model.words) == ["</s>", "<s>", "<unk>", "A", "B", "C", "Z", "▁"]
    assert "n-grams" not in capsys.readouterr().err
    (tmp_path / "other").write_text("AB Z\nÉ A\n")
    assert main(["lm", "perplexity", str(out), str(tmp_path / "other"), "--json", "--quiet"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert (body["sentences"], body["words"], body["characters"], body["unknown_words"]) == (2, 4, 7, 1)
    assert set(body["perplexity"]) == {"per_word", "per_known_word", "per_character", "per_known_character"}


def test_left_out_sentences_are_reported_even_with_quiet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "text"
    path.write_text("".join(f"1-2-{number} {'ABCÉDE'[number]}\n" for number in range(6)))
    arguments = ["lm", "train", str(path), "--out", str(tmp_path / "lm.arpa"), "--unit", "character", "--quiet"]
    assert main(arguments) == 0
    ids, left_out = capsys.readouterr().err.splitlines()
    assert ids == f"{path}: the utterance id at the start of each line is left out; --no-ids keeps it"
    assert left_out.startswith(f"left out 1 of 6 sentences; the first: {path}:4: 'É' is not in the alphabet ")


def test_model_option_brings_normaliser_and_alphabet(texts: Path, trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "lm.safetensors"
    arguments = ["lm", "train", str(texts), "--out", str(out), *RNN[:2], *RNN[4:], "--epochs", "1", "--quiet"]
    assert main([*arguments, "--model", str(trained / "best.safetensors")]) == 0
    assert rnnlm.inspect(out).settings.text.alphabet == " ABC"


def test_train_and_measure_a_recurrent_character_model(
    texts: Path, tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "lm.safetensors"
    dev = ["--dev", str(tones / "dev.jsonl")]
    shape = ["--embedding", "24", "--precision", "bfloat16"]
    assert main(["lm", "train", str(texts), "--out", str(out), *RNN, *dev, "--epochs", "3", "--seed", "7", *shape]) == 0
    output = capsys.readouterr()
    contents = rnnlm.inspect(out)
    model, training = contents.settings.model, contents.card["training"]
    assert (model.hidden, model.embedding, model.cell) == (16, 24, "gru")
    assert training["precision"] == "bfloat16"
    assert (training["seed"], contents.card["texts"]) == (7, [str(texts)])
    assert output.out.startswith(f"{out}: {contents.card['reached']}, dev perplexity ")
    assert contents.card["reached"] in [f"epoch {number} of 3" for number in (1, 2, 3)]
    lines = output.err.splitlines()
    assert lines[0].startswith(f"{tones / 'dev.jsonl'}: 12 sentences")
    assert lines[1].startswith(f"{texts}: 200 sentences")
    assert [line.split(":")[0] for line in lines[2:]] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert main(["lm", "perplexity", str(out), str(tones / "dev.jsonl"), "--json"]) == 0
    output = capsys.readouterr()
    body = json.loads(output.out)
    assert body["perplexity"]["per_character"] == pytest.approx(contents.card["dev_perplexity_per_character"], rel=1e-5)
    assert output.err == ""


@pytest.mark.parametrize("option", ["--min-count", "--least"])
def test_train_and_measure_a_recurrent_word_model(
    option: str, texts: Path, tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "lm.safetensors"
    dev = ["--dev", str(tones / "dev.jsonl")]
    arguments = ["lm", "train", str(texts), "--out", str(out), *RNN, "--unit", "word", *dev, "--epochs", "2"]
    assert main([*arguments, option, "9"]) == 0
    assert ("--least is now --min-count\n" in capsys.readouterr().err) == (option == "--least")
    contents = rnnlm.inspect(out)
    assert (contents.settings.unit, contents.settings.model.layers) == ("word", 1)
    assert (contents.card["training"]["chunk"], contents.card["training"]["min_count"]) == (32, 9)
    words = {word for text in random_texts(200, 1) for word in text.split()}
    assert set(contents.settings.vocabulary) < words
    assert len(contents.settings.vocabulary) + contents.settings.rare == len(words)
    capsys.readouterr()
    assert main(["lm", "perplexity", str(out), str(tones / "dev.jsonl"), "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["perplexity"]["per_word"] == pytest.approx(contents.card["dev_perplexity_per_word"], rel=1e-5)


@pytest.mark.parametrize("unit", ["character", "word"])
def test_training_continues_from_a_model(
    unit: str, texts: Path, tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, dev = tmp_path / "1.safetensors", tmp_path / "2.safetensors", ["--dev", str(tones / "dev.jsonl")]
    new = tmp_path / "new.txt"
    new.write_text("a new word\n" + gzip.decompress(texts.read_bytes()).decode().replace("A", "B"))
    common = ["--kind", "rnn", *dev, "--quiet", "--learning-rate", "1e-5", "--epochs", "1"]
    assert main(["lm", "train", str(texts), "--out", str(first), *RNN, *dev, "--quiet", "--unit", unit]) == 0
    rnnlm.pack(first, first, 8)
    assert main(["lm", "train", str(new), "--out", str(second), *common, "--from", str(first)]) == 0
    before, after = rnnlm.inspect(first), rnnlm.inspect(second)
    assert replace(after.settings, model=before.settings.model) == before.settings
    assert after.card["from"] == str(first)
    key = f"dev_perplexity_per_{unit}"
    assert after.card[key] == pytest.approx(before.card[key], rel=0.1)
    old, weights = rnnlm.read(first).tensors, rnnlm.read(second).tensors
    for name, tensor in weights.items():
        np.testing.assert_allclose(tensor, old[name], atol=0.01)
    assert any((tensor != old[name]).any() for name, tensor in weights.items())
    capsys.readouterr()
    for option in (["--hidden", "8"], ["--unit", unit], ["--alphabet", "AB"], ["--normaliser", "none"]):
        assert main(["lm", "train", str(new), "--out", str(second), *common, "--from", str(first), *option]) == 2
        assert f"{option[0]} cannot be used with --from, which has it" in capsys.readouterr().err
    assert main(["lm", "train", str(new), "--out", str(tmp_path / "a.arpa"), "--from", str(first)]) == 2
    assert "--from needs --kind rnn" in capsys.readouterr().err


def test_min_count_of_a_character_model(texts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lm", "train", str(texts), "--out", "lm.safetensors", *RNN, "--min-count", "3"]) == 2
    assert "--min-count needs --unit word" in capsys.readouterr().err


def test_sentences_are_held_out_without_dev(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    taken: dict[str, list[str]] = {}

    def train(settings: object, training: object, texts: Any, dev: list[str], *callbacks: Any) -> Any:
        taken.update(train=list(texts), dev=list(dev))
        return SimpleNamespace(stopped=False)

    monkeypatch.setattr("asr.lm.recurrent.training.train", train)
    monkeypatch.setattr(lm_train, "_HELD_OUT", 40)
    assert main(["lm", "train", str(texts), "--out", str(tmp_path / "lm.safetensors"), *RNN]) == 0
    whole = random_texts(200, 1)
    assert taken["dev"] == whole[39::40]
    assert taken["train"] == [text for number, text in enumerate(whole, 1) if number % 40]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_keeps_the_best_model(number: int, texts: Path, tmp_path: Path) -> None:
    out = tmp_path / "lm.safetensors"
    command = [sys.executable, "-m", "asr", "lm", "train", str(texts), "--out", str(out), *RNN, "--epochs", "99999"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not out.exists() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(number)
        printed, error = process.communicate(timeout=60)
    assert (process.returncode, printed) == (130, "")
    last = error.splitlines()[-1]
    assert "stopping after this step; press Ctrl-C again to stop at once\n" in error
    assert last.startswith(f"stopped; the best model so far is kept: {out}: {rnnlm.inspect(out).card['reached']}, dev ")
    assert not list(tmp_path.glob("*.part"))


def test_signal_in_the_first_epoch_keeps_the_current_model(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    update = Display.update

    def once(display: Display, title: str, done: float, *more: Any) -> None:
        if title.startswith("epoch"):
            os.kill(os.getpid(), signal.SIGINT)
        update(display, title, done, *more)

    monkeypatch.setattr(Display, "update", once)
    out = tmp_path / "lm.safetensors"
    before = signal.getsignal(signal.SIGINT)
    assert main(["lm", "train", str(texts), "--out", str(out), *RNN, "--chunk", "10"]) == 130
    assert signal.getsignal(signal.SIGINT) == before
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"stopped; the best model so far is kept: {out}: epoch 1 of 10 (")
    assert "% done), dev perplexity" in last
    assert isinstance(lm.load(out), rnnlm.RnnLm)


def test_writer_keeps_the_best_model(tmp_path: Path) -> None:
    settings = rnnlm.LmFileSettings(TextSettings("none", "AB"), rnnlm.RnnLmSettings(hidden=3, embedding=2))
    model = build(settings)
    out = tmp_path / "lm.safetensors"
    writer = Writer(Display(quiet=True), out, settings, {"training": {"epochs": 3}}, lambda: False)
    for number, (log_prob, best) in enumerate(((-3.0, True), (-2.0, True), (-2.5, False)), 1):
        writer(LmEpoch(number, 1.0, 1.0, Perplexity(1, 1, 2, log_prob=log_prob), best), model)
    assert writer.best.startswith(f"{out}: epoch 2 of 3, dev perplexity ")
    card = rnnlm.inspect(out).card
    assert (card["reached"], card["training"]) == ("epoch 2 of 3", {"epochs": 3})


def test_ctrl_c_before_the_first_step_writes_nothing(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("asr.lm.recurrent.training.train", stopped)
    out = tmp_path / "lm.safetensors"
    assert main(["lm", "train", str(texts), "--out", str(out), *RNN]) == 130
    assert capsys.readouterr().err == "stopped; no model has been written\n"
    assert not out.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_out_in_a_folder_that_is_not_writable(texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    assert main(["lm", "train", str(texts), "--out", str(tmp_path / "locked" / "lm.arpa")]) == 2
    assert "the folder is not writable" in capsys.readouterr().err


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["lm"], ["lm", "train"], ["lm", "perplexity"]):
        assert main([*command, "--help"]) == 0
        assert "Usage: asr lm" in capsys.readouterr().out
