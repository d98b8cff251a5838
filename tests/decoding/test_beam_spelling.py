"""Language models whose words the alphabet cannot spell."""

from pathlib import Path

import pytest

from asr.cli import main
from asr.decoding import DecodingError
from asr.decoding.beam.spelling import check_spelling
from asr.decoding.decoder import LanguageModels
from asr.lm import load
from asr.lm.ngram import NgramModel
from asr.text import ENGLISH, Alphabet


def train(folder: Path, text: str, *options: str) -> Path:
    (folder / "text").write_text(text, encoding="utf-8")
    out = folder / "lm.arpa"
    train = ["lm", "train", str(folder / "text"), "--normaliser", "none", "--order", "1", "--out", str(out), "-q"]
    assert main([*train, *options]) == 0
    return out


def ngram(folder: Path, text: str, *options: str) -> NgramModel:
    model = load(train(folder, text, *options))
    assert isinstance(model, NgramModel)
    return model


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("the cat\na cat\n", [], r"no word .*'cat'.* differ from it in case: train .* on upper-case text"),
        ("кот пёс\nкот\n", [], "no word .*'кот'.*; train the language model on text of this language"),
        ("ab b\nb a\n", ["--unit", "character", "--alphabet", " ab"], "no character .* differ from it in case"),
    ],
)
def test_a_model_without_any_word_of_the_alphabet_is_refused(
    text: str, options: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DecodingError, match=message):
        check_spelling(ngram(tmp_path, text, *options), Alphabet(ENGLISH))


def test_a_warning_counts_the_words_that_are_missing(tmp_path: Path) -> None:
    words = [f"A{chr(65 + index)}" for index in range(18)]
    model = ngram(tmp_path, " ".join([*words, "CAFÉ", "x"]) + "\n")
    assert check_spelling(model, Alphabet(ENGLISH)).startswith(
        "2 of 20 words of the language model cannot be spelled with the alphabet and are never output ('CAFÉ', 'x'); "
    )
    # One of twenty is 5 %.
    model = ngram(tmp_path, " ".join([*words, "AZ", "x"]) + "\n")
    assert LanguageModels(model).check_spelling(Alphabet(ENGLISH)) == ""


def test_commands_refuse_such_a_model(
    tones: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lm = str(train(tmp_path, "ab a\nb\n"))
    model = ["--model", str(trained / "best.safetensors"), "--lm", lm, "-q"]
    out = ["--out", str(tmp_path / "decoder.toml")]
    commands = [
        ["transcribe", str(tones / "dev" / "dev-0.wav"), *model],
        ["evaluate", str(tones / "dev.jsonl"), *model],
        ["tune", str(tones / "dev.jsonl"), *model, *out],
    ]
    capsys.readouterr()
    for command in commands:
        assert main(command) == 1
        output = capsys.readouterr()
        assert output.out == ""
        assert output.err.startswith(
            f"asr: {lm}: no word of the language model can be spelled with the alphabet ' ABC'"
        )
    assert not (tmp_path / "decoder.toml").exists()
