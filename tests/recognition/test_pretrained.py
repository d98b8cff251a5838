"""LanguageModels by name: found, packed small, loaded with their decoder; and the one that comes with the package."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import asr
from asr import recognition, scoring
from asr.cli import main
from asr.corpora import manifest, table
from asr.decoding import decoder
from asr.model import checkpoint
from asr.recognition import pretrained
from asr.recognition.pretrained import Bundle, PretrainedError, bundles, named
from asr.recognition.pretrained.packing import Parts, pack
from tests.conftest import ROOT

CARD = "---\nlanguage: Tones\nhours: 0.1\nwer: dev 1 %\n---\n# tiny\n\nHears three letters.\n"


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with nothing in it, and no model in the package."""
    package, cache = tmp_path / "package", tmp_path / "models"
    package.mkdir()
    monkeypatch.setenv("ASR_MODELS", str(cache))
    monkeypatch.setattr(pretrained, "places", lambda: [package, pretrained.cache()])
    return cache


@pytest.fixture
def parts(trained: Path, tones: Path, tmp_path: Path) -> Parts:
    lm, settings, card = tmp_path / "lm.arpa", tmp_path / "decoder.toml", tmp_path / "card.md"
    assert main(["lm", "train", str(tones / "train.jsonl"), "--order", "2", "--out", str(lm), "-q"]) == 0
    settings.write_text('lm = "lm.arpa"\n[search]\nbeam_width = 17\n[weights]\nlm_weight = 0.25\n')
    card.write_text(CARD)
    return Parts(trained / "best.safetensors", settings, card)


@pytest.fixture
def tiny(empty: Path, parts: Parts) -> Bundle:
    """The bundle named tiny in the cache."""
    return pack(parts, "tiny", empty)


def test_the_cache_is_where_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASR_MODELS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert pretrained.cache() == Path("/x/asr/models")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/y")
    assert pretrained.cache() == Path("/home/y/.cache/asr/models")
    monkeypatch.setenv("ASR_MODELS", "/z")
    assert pretrained.places() == [Path(pretrained.__file__).parent, Path("/z")]


def test_what_is_a_name_and_what_a_path(tiny: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert named("tiny") == tiny
    assert named("tiny.safetensors") is None and named("runs/tiny") is None
    with pytest.raises(PretrainedError, match="no model 'tinny'; did you mean 'tiny'\\? there are tiny"):
        named("tinny")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").touch()
    assert named("tiny") is None


def test_without_any_model_one_line_says_what_to_do(empty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["transcribe", "a.wav"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "none comes with this asr" in told and str(empty) in told
    assert main(["models"]) == 0
    assert "none" in capsys.readouterr().err


def test_the_package_goes_before_the_cache(tiny: Bundle, parts: Parts) -> None:
    package = pretrained.places()[0]
    first = pack(parts, "tiny", package)
    pack(parts, "other", tiny.folder)
    assert [(one.name, one.folder) for one in bundles()] == [("tiny", package), ("other", tiny.folder)]
    assert named("tiny") == first


def test_a_bundle_holds_all_in_little(tiny: Bundle, parts: Parts) -> None:
    names = ["tiny.lm.bin", "tiny.md", "tiny.safetensors", "tiny.toml"]
    assert [path.name for path in tiny.files] == names
    assert sorted(path.name for path in tiny.folder.iterdir()) == names
    assert tiny.model.stat().st_size < 0.8 * parts.model.stat().st_size
    assert tiny.decoder and 'lm = "tiny.lm.bin"' in tiny.decoder.read_text()
    assert tiny.facts == {"language": "Tones", "hours": "0.1", "wer": "dev 1 %"}
    assert tiny.card == CARD


@pytest.mark.parametrize(("bits", "probability", "log_prob"), [(8, 0.04, 1.0), (16, 0.02, 0.1)])
def test_fewer_bits_change_next_to_nothing(
    bits: int, probability: float, log_prob: float, parts: Parts, tones: Path, tmp_path: Path
) -> None:
    tiny = pack(replace(parts, bits=bits), "tiny", tmp_path / "packed")
    whole, half = recognition.load(parts.model), recognition.load(tiny.model)
    utterances = manifest.read(tones / "dev.jsonl")
    assert checkpoint.inspect(tiny.model).card == checkpoint.inspect(parts.model).card
    for left, right in zip(whole.log_probs(utterances), half.log_probs(utterances), strict=True):
        likely = left > -10
        assert np.abs(np.exp(left) - np.exp(right)).max() < probability
        assert np.abs(left - right)[likely].max() < log_prob
    texts = [[one.text for one in each.transcribe_utterances(utterances)] for each in (whole, half)]
    assert texts[0] == texts[1]


def test_a_model_by_name_brings_its_decoder(tiny: Bundle, parts: Parts, tones: Path) -> None:
    file = tones / "dev" / "dev-0.wav"
    expected = recognition.load(tiny.model).with_decoder(decoder.read_decoder(parts.decoder)).transcribe_file(file)
    found = asr.load("tiny").transcribe_file(file)
    assert found.text == expected.text and found.lm_score == pytest.approx(expected.lm_score, abs=0.05)
    assert found.lm_score != 0.0
    assert asr.load(tiny.model).transcribe_file(file).lm_score == 0.0


def test_commands_take_a_name(tiny: Bundle, tones: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dev = str(tones / "dev.jsonl")
    command = ["evaluate", dev, "--model", "tiny", "-qv"]
    for more, how in (
        ([], f"beam 17, {tiny.folder / 'tiny.lm.bin'}, weight 0.25"),
        (["--greedy"], "greedy"),
        (["--beam-width", "9", "--lm-weight", "0.5"], f"beam 9, {tiny.folder / 'tiny.lm.bin'}, weight 0.5"),
    ):
        assert main([*command, *more]) == 0
        assert f"decoder     {how}" in capsys.readouterr().out
    assert main(["inspect", "tiny"]) == 0
    file = tones / "dev" / "dev-0.wav"
    assert main(["transcribe", str(file), "--model", "tiny"]) == 0
    text = asr.load("tiny").transcribe_file(file).text
    assert capsys.readouterr().out.endswith(f"{text}\n")
    assert main(["align", str(file), "--text", "ABC", "--model", "tiny"]) == 0
    assert main(["tune", dev, "--model", "tiny", "--into-model"]) == 2
    assert "stays as it is" in capsys.readouterr().err


def test_the_default_is_used_where_it_is(
    empty: Path, parts: Parts, tones: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack(parts, pretrained.DEFAULT, empty)
    assert main(["transcribe", str(tones / "dev" / "dev-0.wav")]) == 0
    assert capsys.readouterr().out.strip()


def test_training_can_begin_with_a_name(tiny: Bundle, tones: Path, tmp_path: Path) -> None:
    command = [
        "train",
        str(tones / "tiny.toml"),
        "--train",
        str(tones / "dev.jsonl"),
        "--dev",
        str(tones / "dev.jsonl"),
    ]
    assert main([*command, "--out", str(tmp_path / "run"), "--epochs", "1", "--from", "tiny", "--quiet"]) == 0


def test_models_are_listed_and_their_cards_shown(tiny: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split()[:2] == ["name", "MB"]
    assert row.split() == ["tiny", f"{tiny.size / 1e6:.1f}", "Tones", "0.1", "dev", "1", "%", str(tiny.folder)]
    assert main(["models", "tiny"]) == 0
    assert capsys.readouterr().out == CARD
    (tiny.folder / "tiny.md").unlink()
    assert main(["models"]) == 0
    assert "' ABC'" in capsys.readouterr().out
    assert main(["models", "tinny"]) == 1
    assert "did you mean 'tiny'?" in capsys.readouterr().err


def test_pack_from_the_command_line_again(
    tiny: Bundle, parts: Parts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.toml"
    other.write_text("greedy = true\n")
    command = ["models", "pack", str(parts.model), "--decoder", str(other), "--card", str(parts.card)]
    assert main([*command, "--name", "tiny", "--out", str(tiny.folder)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"tiny: {tiny.size / 1e6:.2f} MB in all"
    # The language model of the bundle that stood there is gone with it.
    assert sorted(path.name for path in tiny.folder.iterdir()) == ["tiny.md", "tiny.safetensors", "tiny.toml"]
    assert main([*command, "--name", "ti.ny", "--out", str(tiny.folder)]) == 1
    assert "no name of a model" in capsys.readouterr().err


def test_a_pack_writes_over_no_other_file(parts: Parts, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    out.mkdir()
    other = out / "tiny.wav"
    other.write_text("speech")
    bundle = pack(parts, "tiny", out)
    pack(parts, "tiny", out)
    assert other.read_text() == "speech" and other not in bundle.files
    trained = out / "last.safetensors"
    trained.write_bytes(parts.model.read_bytes())
    with pytest.raises(PretrainedError, match=r"last\.safetensors: there already, and not of a bundle"):
        pack(parts, "last", out)
    with pytest.raises(PretrainedError, match=r"tiny\.safetensors: would be written over, and is read"):
        pack(replace(parts, model=bundle.model), "tiny", out)
    assert trained.read_bytes() == parts.model.read_bytes()


@pytest.mark.parametrize(
    "named", ["../tiny.lm.bin", "/etc/passwd", "other.arpa", "tiny.x/../../other.arpa", "tiny.x\\..\\other.arpa"]
)
def test_a_bundle_opens_no_files_but_its_own(tiny: Bundle, named: str, capsys: pytest.CaptureFixture[str]) -> None:
    settings = tiny.folder / "tiny.toml"
    settings.write_text(settings.read_text().replace('"tiny.lm.bin"', json.dumps(named)))
    assert main(["transcribe", "x.wav", "--model", "tiny"]) == 1
    assert f"tiny.toml: lm = {named!r} is no file of this bundle" in capsys.readouterr().err
    with pytest.raises(PretrainedError, match="is no file of this bundle"):
        asr.load("tiny")


def test_a_greedy_decoder_has_no_use_for_a_language_model(parts: Parts, tmp_path: Path) -> None:
    parts.decoder.write_text("greedy = true\n")
    with pytest.raises(PretrainedError, match=r"decoder.toml: greedy = true has no use for .*lm.arpa; leave out --lm"):
        pack(replace(parts, lm=tmp_path / "lm.arpa"), "tiny", tmp_path / "out")
    with pytest.raises(PretrainedError, match="not the word pack"):
        pack(parts, "pack", tmp_path / "out")


def test_a_failing_pack_leaves_what_was_there(tiny: Bundle, parts: Parts) -> None:
    before = {path.name: path.read_bytes() for path in tiny.folder.iterdir()}
    broken = Parts(parts.model, parts.decoder, parts.card.with_name("gone.md"))
    with pytest.raises(OSError, match=r"gone\.md"):
        pack(broken, "tiny", tiny.folder)
    assert {path.name: path.read_bytes() for path in tiny.folder.iterdir()} == before


def test_a_read_only_folder_is_enough(tiny: Bundle, tones: Path) -> None:
    for path in tiny.files:
        path.chmod(0o444)
    tiny.folder.chmod(0o555)
    try:
        before = sorted(os.listdir(tiny.folder))  # noqa: PTH208 - names alone
        assert asr.load("tiny").transcribe_file(tones / "dev" / "dev-0.wav").text
        assert sorted(os.listdir(tiny.folder)) == before  # noqa: PTH208
    finally:
        tiny.folder.chmod(0o755)


def test_what_comes_with_the_package_is_small() -> None:
    folder = Path(pretrained.__file__).parent
    assert sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) <= 25e6


def test_the_bundled_model_hears_the_samples() -> None:
    rows = table.read(ROOT / "data" / "samples" / "samples.csv")
    recognizer = asr.load(pretrained.DEFAULT)
    found = [recognizer.transcribe_file(row.audio).text for row in rows]
    assert scoring.score([row.text.upper() for row in rows], found).wer.value < 0.8


def test_the_samples_are_there_with_their_texts() -> None:
    rows = table.read(ROOT / "data" / "samples" / "samples.csv")
    assert len(rows) == 10 and all(1 < row.duration < 10 and len(row.text.split()) > 8 for row in rows)
    assert sum(Path(row.audio).stat().st_size for row in rows) < 1e6
