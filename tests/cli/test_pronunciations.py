"""A model of characters and phonemes from training to transcripts, by commands."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

import asr
from asr.cli import main
from asr.corpora import manifest
from asr.decoding import decoder
from asr.decoding.beam import LmSettings
from asr.model import checkpoint
from asr.recognition import named_models
from tests.conftest import random_texts

PHONEMES = {"A": "AY", "B": "B", "C": "S"}


def write_dictionary(path: Path, words: set[str], phonemes: Mapping[str, str] = PHONEMES) -> Path:
    lines = [f"{word} {' '.join(phonemes[letter] for letter in word)}\n" for word in sorted(words)]
    path.write_text("".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def words() -> set[str]:
    return {word for text in random_texts(60, 1) + random_texts(12, 2) for word in text.split()}


@pytest.fixture(scope="module")
def run(tones: Path, words: set[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with pronunciations, a language model `words.bin` and the dictionary `words.dict`."""
    out = tmp_path_factory.mktemp("pronounced")
    dictionary = write_dictionary(out / "words.dict", words)
    command = ["train", str(tones / "tiny.toml"), "--train", str(tones / "train.jsonl"), "--pronunciations"]
    command += [str(dictionary), "--dev", str(tones / "dev.jsonl"), "--out", str(out / "run"), "--quiet"]
    assert main(command) == 0
    texts = [row.text for name in ("train", "dev") for row in manifest.read(tones / f"{name}.jsonl")]
    (out / "texts.txt").write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    assert main(["lm", "train", str(out / "texts.txt"), "--order", "2", "--out", str(out / "words.bin")]) == 0
    return out


@pytest.fixture(scope="module")
def bundle(run: Path, words: set[str]) -> Path:
    """A bundle whose dictionary has A and B in each other's place."""
    swapped = write_dictionary(run / "swapped.dict", words, PHONEMES | {"A": "B", "B": "AY"})
    settings = decoder.DecoderSettings(
        lm=str(run / "words.bin"),
        pronunciations=str(swapped),
        character_weight=0.0,
        weights=LmSettings(0.5, lexicon_only=True),
    )
    (run / "decoder.toml").write_text(decoder.to_toml(settings, run), encoding="utf-8")
    (run / "card.md").write_text("# small\n", encoding="utf-8")
    command = ["models", "pack", str(run / "run" / "best.safetensors"), "--decoder", str(run / "decoder.toml")]
    assert main([*command, "--card", str(run / "card.md"), "--name", "small", "--out", str(run / "bundle")]) == 0
    return run / "bundle"


def test_model_outputs_characters_and_phonemes(run: Path) -> None:
    alphabet = checkpoint.inspect(run / "run" / "best.safetensors").settings.alphabet
    assert alphabet.characters == " ABC"
    assert alphabet.phonemes is not None and alphabet.phonemes.characters == " Ybs"
    assert alphabet.outputs == 5 + 5


def test_bundle_has_the_dictionary(bundle: Path) -> None:
    assert sorted(path.name for path in bundle.iterdir()) == [
        *("small.lm.bin", "small.md", "small.pronunciations.gz", "small.safetensors", "small.toml")
    ]
    settings = decoder.read_settings(bundle / "small.toml")
    assert settings.pronunciations == str(bundle / "small.pronunciations.gz")
    assert named_models.Bundle("small", bundle).decoder == bundle / "small.toml"


def transcripts(bundle: Path, tones: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[list[str], str]:
    files = [row.audio for row in manifest.read(tones / "dev.jsonl")]
    chosen = ["--model", str(bundle / "small.safetensors"), "--decoder", str(bundle / "small.toml")]
    assert main(["transcribe", *files, *chosen, *options]) == 0
    output = capsys.readouterr()
    return output.out.splitlines(), output.err


def test_words_are_searched_by_their_phonemes(
    bundle: Path, run: Path, tones: Path, words: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [row.text for row in manifest.read(tones / "dev.jsonl")]
    swapped = [text.translate(str.maketrans("AB", "BA")) for text in texts]
    found, _ = transcripts(bundle, tones, capsys)
    # Words whose other form is not in the language model become others.
    known = [index for index, text in enumerate(swapped) if set(text.split()) <= words]
    assert len(known) > 3
    assert [found[index] for index in known] == [swapped[index] for index in known]
    # So are hotwords of the language model.
    assert transcripts(bundle, tones, capsys, "--hotword", f"{min(words)}:0")[0] == found
    # The dictionary is of the bundle's words: other words, hotwords and language models are spelled.
    for more in (["--hotword", "ABBA"], ["--any-word"], ["--lm", str(run / "words.bin")]):
        assert transcripts(bundle, tones, capsys, *more)[0] == texts
    more = ["--lm", str(run / "words.bin"), "--pronunciations", str(run / "words.dict")]
    assert transcripts(bundle, tones, capsys, *more)[0] == texts


def test_characters_are_weighed_with_the_phonemes(bundle: Path, tones: Path, tmp_path: Path) -> None:
    utterance = manifest.read(tones / "dev.jsonl")[0]
    recognizer = asr.load(bundle / "small.safetensors")
    (log_probs,) = recognizer.log_probs([utterance])
    settings = decoder.read_settings(bundle / "small.toml")
    models = decoder.open_models(settings)
    scores = {}
    for weight in (0.0, 0.25, 1.0):
        chosen = replace(settings, character_weight=weight)
        found = decoder.Decoder(recognizer.settings.alphabet, 0.04, chosen, models).decode(log_probs, 100)
        scores[weight] = {each.text: each.acoustic_score for each in found}
    assert scores[0.25].keys() == scores[0.0].keys() == scores[1.0].keys()
    for text, score in scores[0.25].items():
        assert score == pytest.approx(0.75 * scores[0.0][text] + 0.25 * scores[1.0][text])
    assert max(scores[1.0], key=lambda text: scores[1.0][text]) != max(scores[0.0], key=lambda text: scores[0.0][text])


def test_words_of_the_transcript_have_times(
    bundle: Path, tones: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ASR_MODELS", str(bundle))
    row = manifest.read(tones / "dev.jsonl")[0]
    assert main(["transcribe", row.audio, "--model", "small", "--format", "json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [word["word"] for word in result["words"]] == result["text"].split()
    assert all(0 <= word["confidence"] <= 1 for word in result["words"])
    assert all(word["start"] < word["end"] for word in result["words"])


def test_utterances_without_pronunciation_are_reported(
    tones: Path, words: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = manifest.read(tones / "train.jsonl")
    missing = rows[0].text.split()[0]
    dictionary = write_dictionary(tmp_path / "some.dict", words - {missing})
    count = sum(missing in row.text.split() for row in rows)
    command = ["train", str(tones / "tiny.toml"), "--train", str(tones / "train.jsonl"), "--epochs", "1"]
    command += ["--dev", str(tones / "dev.jsonl"), "--out", str(tmp_path / "run"), "--pronunciations", str(dictionary)]
    assert main(command) == 0
    assert f"{count} of 60 utterances have no loss of phonemes: a word of each is not in the" in capsys.readouterr().err


def test_training_from_the_model_keeps_or_leaves_out_phonemes(
    run: Path, tones: Path, words: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = run / "run" / "best.safetensors"
    command = ["train", str(tones / "tiny.toml"), "--train", str(tones / "train.jsonl"), "--epochs", "1", "--from"]
    command += [str(model), "--dev", str(tones / "dev.jsonl"), "--out"]
    assert main([*command, str(tmp_path / "plain")]) == 0
    assert "its output of phonemes is left out; --pronunciations trains it, too" in capsys.readouterr().err
    assert checkpoint.inspect(tmp_path / "plain" / "best.safetensors").settings.text.phonemes == ""
    assert main([*command, str(tmp_path / "both"), "--pronunciations", str(run / "words.dict")]) == 0
    assert checkpoint.inspect(tmp_path / "both" / "best.safetensors").settings.text.phonemes == "Ybs"
    other = write_dictionary(tmp_path / "other.dict", words)
    other.write_text(other.read_text(encoding="utf-8") + "ZOO Z UW1\n", encoding="utf-8")
    assert main([*command, str(tmp_path / "other"), "--pronunciations", str(other)]) == 1
    assert "the model to start from does not have the phonemes 'Zu'" in capsys.readouterr().err.replace("'uz'", "'Zu'")


def test_dictionary_in_small_letters_fits_a_language_model_in_capitals(run: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.dict"
    small.write_text("aab AY AY B\nzzz S\n", encoding="utf-8")
    settings = decoder.DecoderSettings(lm=str(run / "words.bin"), pronunciations=str(small))
    found = decoder.open_models(settings).pronunciations
    assert found and found.words == {"AAB": ("YYb",), "ZZZ": ("s",)}
    small.write_text("AAB AY AY B\nzzz S\n", encoding="utf-8")
    found = decoder.open_models(settings).pronunciations
    assert found and found.words == {"AAB": ("YYb",), "zzz": ("s",)}


def test_dictionary_that_would_not_be_used_is_refused(
    run: Path, trained: Path, tones: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, plain = run / "run" / "best.safetensors", trained / "best.safetensors"
    lm, dictionary = ["--lm", str(run / "words.bin")], ["--pronunciations", str(run / "words.dict")]
    audio = manifest.read(tones / "dev.jsonl")[0].audio
    for chosen, options, message in (
        (plain, [*lm, "--known-words"], "needs a model that outputs phonemes: asr train --pronunciations"),
        (model, [], "needs a language model: --lm FILE"),
        (model, lm, "needs --known-words"),
        (model, [*lm, "--known-words", "--hotword", "A CAT"], "does not have CAT, of --hotword; add each"),
    ):
        assert main(["transcribe", audio, "--model", str(chosen), *options, *dictionary]) == 2
        (problem,) = capsys.readouterr().err.splitlines()
        assert f"--pronunciations {message}" in problem
    command = ["tune", str(tones / "dev.jsonl"), "--model", str(plain), *lm, "--lexicon-only", *dictionary]
    assert main([*command, "--out", str(run / "refused.toml")]) == 2
    assert "best.safetensors has no output of phonemes; train it with --pronunciations" in capsys.readouterr().err


def test_tuning_uses_pronunciations(run: Path, tones: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["tune", str(tones / "dev.jsonl"), "--model", str(run / "run" / "best.safetensors"), "--quiet"]
    command += ["--pronunciations", str(run / "words.dict"), "--lm", str(run / "words.bin")]
    assert main(command) == 2
    assert "--pronunciations needs --lm and --lexicon-only" in capsys.readouterr().err
    assert main([*command[:5], "--lexicon-only"]) == 2
    assert "--lexicon-only needs an n-gram model of words" in capsys.readouterr().err
    assert main([*command, "--lexicon-only", "--out", str(run / "tuned.toml")]) == 0
    assert "0.00 % WER" in capsys.readouterr().out
