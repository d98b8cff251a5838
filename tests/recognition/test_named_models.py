"""Named models: finding, packing and loading them, and the one in the package."""

import json
import os
import sys
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
from asr.recognition import named_models
from asr.recognition.named_models import Bundle, ModelNameError, bundles, find
from asr.recognition.packing import Parts, pack
from tests.conftest import ROOT, spell

CARD = "---\nlanguage: Tones\nhours: 0.1\nwer: dev 1 %\n---\n# tiny\n\nRecognises three letters.\n"


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of the user's models, and an empty folder of bundled models."""
    package, folder = tmp_path / "package", tmp_path / "models"
    package.mkdir()
    monkeypatch.setenv("ASR_MODELS", str(folder))
    monkeypatch.setattr(named_models, "search_folders", lambda: [package, named_models.user_folder()])
    return folder


@pytest.fixture
def parts(trained: Path, tones: Path, tmp_path: Path) -> Parts:
    lm, settings, card = tmp_path / "lm.arpa", tmp_path / "decoder.toml", tmp_path / "card.md"
    assert main(["lm", "train", str(tones / "train.jsonl"), "--order", "2", "--out", str(lm), "-q"]) == 0
    settings.write_text('lm = "lm.arpa"\n[search]\nbeam_width = 17\n[weights]\nlm_weight = 0.25\n')
    card.write_text(CARD)
    return Parts(trained / "best.safetensors", settings, card)


@pytest.fixture
def tiny(empty: Path, parts: Parts) -> Bundle:
    """The bundle named tiny in the user's folder."""
    return pack(parts, "tiny", empty)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other cache folders")
def test_search_folders_depend_on_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASR_MODELS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert named_models.user_folder() == Path("/x/asr/models")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/y")
    assert named_models.user_folder() == Path("/home/y/.cache/asr/models")
    monkeypatch.setenv("ASR_MODELS", "/z")
    assert named_models.search_folders()[-1] == Path("/z")


def test_find_distinguishes_names_from_paths(tiny: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find("tiny") == tiny
    assert find("tiny.safetensors") is None and find("runs/tiny") is None
    with pytest.raises(ModelNameError, match="no model 'tinny'; did you mean 'tiny'\\? Models: tiny"):
        find("tinny")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").touch()
    assert find("tiny") is None


def test_commands_without_any_model_print_one_line(empty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["transcribe", "a.wav"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "no model is bundled with this installation" in error and str(empty) in error
    assert main(["models"]) == 0
    assert "no named models" in capsys.readouterr().err


def test_a_bundled_model_precedes_the_users_of_the_same_name(tiny: Bundle, parts: Parts) -> None:
    package = named_models.search_folders()[0]
    first = pack(parts, "tiny", package)
    pack(parts, "other", tiny.folder)
    assert [(bundle.name, bundle.folder) for bundle in bundles()] == [("tiny", package), ("other", tiny.folder)]
    assert find("tiny") == first


def test_pack_writes_small_files(tiny: Bundle, parts: Parts) -> None:
    names = ["tiny.lm.bin", "tiny.md", "tiny.safetensors", "tiny.toml"]
    assert [path.name for path in tiny.files] == names
    assert sorted(path.name for path in tiny.folder.iterdir()) == names
    assert tiny.model.stat().st_size < 0.8 * parts.model.stat().st_size
    assert tiny.decoder and 'lm = "tiny.lm.bin"' in tiny.decoder.read_text()
    assert tiny.facts == {"language": "Tones", "hours": "0.1", "wer": "dev 1 %"}
    assert tiny.card == CARD


@pytest.mark.parametrize(("bits", "probability", "log_prob"), [(8, 0.04, 1.0), (16, 0.02, 0.1)])
def test_log_probs_with_rounded_weights_are_close(
    bits: int, probability: float, log_prob: float, parts: Parts, tones: Path, tmp_path: Path
) -> None:
    tiny = pack(replace(parts, bits=bits), "tiny", tmp_path / "packed")
    original, rounded = recognition.load(parts.model), recognition.load(tiny.model)
    utterances = manifest.read(tones / "dev.jsonl")
    assert checkpoint.inspect(tiny.model).card == checkpoint.inspect(parts.model).card
    for left, right in zip(original.log_probs(utterances), rounded.log_probs(utterances), strict=True):
        likely = left > -10
        assert np.abs(np.exp(left) - np.exp(right)).max() < probability
        assert np.abs(left - right)[likely].max() < log_prob
    texts = [[result.text for (result,) in each.transcribe_files(utterances)] for each in (original, rounded)]
    assert texts[0] == texts[1]


def test_load_by_name_uses_the_decoder_of_the_bundle(tiny: Bundle, parts: Parts, tones: Path) -> None:
    file = tones / "dev" / "dev-0.wav"
    expected = recognition.load(tiny.model).with_decoder(decoder.read_decoder(parts.decoder)).transcribe_file(file)
    transcript = asr.load("tiny").transcribe_file(file)
    assert transcript.text == expected.text and transcript.lm_score == pytest.approx(expected.lm_score, abs=0.05)
    assert transcript.lm_score != 0.0
    assert asr.load(tiny.model).transcribe_file(file).lm_score == 0.0


def test_commands_accept_a_name(tiny: Bundle, tones: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dev = str(tones / "dev.jsonl")
    command = ["evaluate", dev, "--model", "tiny", "-qv"]
    for arguments, description in (
        ([], f"beam 17, {tiny.folder / 'tiny.lm.bin'}, weight 0.25"),
        (["--greedy"], "greedy"),
        (["--beam-width", "9", "--lm-weight", "0.5"], f"beam 9, {tiny.folder / 'tiny.lm.bin'}, weight 0.5"),
    ):
        assert main([*command, *arguments]) == 0
        assert f"decoder     {description}" in capsys.readouterr().out
    assert main(["inspect", "tiny"]) == 0
    file = tones / "dev" / "dev-0.wav"
    assert main(["transcribe", str(file), "--model", "tiny"]) == 0
    text = asr.load("tiny").transcribe_file(file).text
    assert capsys.readouterr().out.endswith(f"{text}\n")
    assert main(["align", str(file), "--text", "ABC", "--model", "tiny"]) == 0
    assert main(["tune", dev, "--model", "tiny", "--into-model"]) == 2
    assert "a named model cannot be changed" in capsys.readouterr().err


def test_transcribe_uses_the_default_model(
    empty: Path, parts: Parts, tones: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack(parts, named_models.DEFAULT, empty)
    assert main(["transcribe", str(tones / "dev" / "dev-0.wav")]) == 0
    assert capsys.readouterr().out.strip()


def test_train_from_a_named_model(tiny: Bundle, tones: Path, tmp_path: Path) -> None:
    command = [
        "train",
        str(tones / "tiny.toml"),
        "--train",
        str(tones / "dev.jsonl"),
        "--dev",
        str(tones / "dev.jsonl"),
    ]
    assert main([*command, "--out", str(tmp_path / "run"), "--epochs", "1", "--from", "tiny", "--quiet"]) == 0


def test_models_lists_bundles_and_prints_a_card(tiny: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
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


def test_models_pack_replaces_a_bundle(
    tiny: Bundle, parts: Parts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.toml"
    other.write_text("greedy = true\n")
    command = ["models", "pack", str(parts.model), "--decoder", str(other), "--card", str(parts.card)]
    assert main([*command, "--name", "tiny", "--out", str(tiny.folder)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"tiny: {tiny.size / 1e6:.2f} MB in all"
    # The language model of the replaced bundle is deleted.
    assert sorted(path.name for path in tiny.folder.iterdir()) == ["tiny.md", "tiny.safetensors", "tiny.toml"]
    assert main([*command, "--name", "ti.ny", "--out", str(tiny.folder)]) == 1
    assert "cannot be the name of a model" in capsys.readouterr().err


def test_pack_replaces_no_other_file(parts: Parts, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    out.mkdir()
    other = out / "tiny.wav"
    other.write_text("speech")
    bundle = pack(parts, "tiny", out)
    pack(parts, "tiny", out)
    assert other.read_text() == "speech" and other not in bundle.files
    trained = out / "last.safetensors"
    trained.write_bytes(parts.model.read_bytes())
    with pytest.raises(ModelNameError, match=r"last\.safetensors: exists and is not part of a bundle"):
        pack(parts, "last", out)
    with pytest.raises(ModelNameError, match=r"tiny\.safetensors: the bundle would overwrite this input file"):
        pack(replace(parts, model=bundle.model), "tiny", out)
    assert trained.read_bytes() == parts.model.read_bytes()


@pytest.mark.parametrize(
    "name", ["../tiny.lm.bin", "/etc/passwd", "other.arpa", "tiny.x/../../other.arpa", "tiny.x\\..\\other.arpa"]
)
def test_a_bundle_that_names_other_files_is_refused(
    tiny: Bundle, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tiny.folder / "tiny.toml"
    settings.write_text(settings.read_text().replace('"tiny.lm.bin"', json.dumps(name)))
    assert main(["transcribe", "x.wav", "--model", "tiny"]) == 1
    assert f"tiny.toml: lm = {name!r} is not a language model in its folder" in capsys.readouterr().err
    with pytest.raises(ModelNameError, match="is not a language model in its folder"):
        asr.load("tiny")


def test_bundles_share_a_language_model(tiny: Bundle) -> None:
    for path in tiny.files:
        if path.suffix != ".bin":
            (tiny.folder / path.name.replace("tiny", "other", 1)).write_bytes(path.read_bytes())
    other = named_models.find("other")
    assert other and other.decoder and '"tiny.lm.bin"' in other.decoder.read_text()
    assert [path.name for path in other.files] == ["other.md", "other.safetensors", "other.toml"]
    assert asr.load("other").transcribe(spell("AB")).text == asr.load("tiny").transcribe(spell("AB")).text


def test_pack_refuses_a_language_model_for_a_greedy_decoder(parts: Parts, tmp_path: Path) -> None:
    parts.decoder.write_text("greedy = true\n")
    with pytest.raises(ModelNameError, match=r"decoder.toml: greedy = true does not use .*lm.arpa; leave out --lm"):
        pack(replace(parts, lm=tmp_path / "lm.arpa"), "tiny", tmp_path / "out")
    with pytest.raises(ModelNameError, match="not pack, average, rechunk"):
        pack(parts, "pack", tmp_path / "out")


def test_a_failed_pack_keeps_the_bundle(tiny: Bundle, parts: Parts) -> None:
    before = {path.name: path.read_bytes() for path in tiny.folder.iterdir()}
    broken = Parts(parts.model, parts.decoder, parts.card.with_name("gone.md"))
    with pytest.raises(OSError, match=r"gone\.md"):
        pack(broken, "tiny", tiny.folder)
    assert {path.name: path.read_bytes() for path in tiny.folder.iterdir()} == before


def test_load_from_a_read_only_folder(tiny: Bundle, tones: Path) -> None:
    for path in tiny.files:
        path.chmod(0o444)
    tiny.folder.chmod(0o555)
    try:
        before = sorted(os.listdir(tiny.folder))  # noqa: PTH208 - only names
        assert asr.load("tiny").transcribe_file(tones / "dev" / "dev-0.wav").text
        assert sorted(os.listdir(tiny.folder)) == before  # noqa: PTH208
    finally:
        tiny.folder.chmod(0o755)


def test_bundles_are_small() -> None:
    sizes: dict[str, int] = {}
    for path in named_models.search_folders()[0].iterdir():
        name = path.name.partition(".")[0]
        sizes[name] = sizes.get(name, 0) + path.stat().st_size
    assert sizes.keys() == {"english-small", "english-small-streaming"}
    # The streaming model uses the language model of the other one.
    assert 20e6 < sizes["english-small"] <= 60e6
    assert 5e6 < sizes["english-small-streaming"] <= 10e6


def test_the_bundled_model_transcribes_the_samples() -> None:
    rows = table.read(ROOT / "data" / "samples" / "samples.csv")
    recognizer = asr.load(named_models.DEFAULT)
    texts = [recognizer.transcribe_file(row.audio).text for row in rows]
    assert scoring.score([row.text.upper() for row in rows], texts).wer.value < 0.8


def test_stream_uses_the_bundled_streaming_model(capsys: pytest.CaptureFixture[str]) -> None:
    sample = str(ROOT / "data" / "samples" / "sample-01.opus")
    assert main(["transcribe", "--stream", sample]) == 0
    streamed = capsys.readouterr()
    assert streamed.err.startswith("latency: up to 296 ms")
    whole = asr.load("english-small-streaming").transcribe_file(sample, asr.TranscribeOptions(vad=False))
    assert streamed.out.split() == whole.text.split()
    # The two models share one language model.
    assert not (named_models.search_folders()[0] / "english-small-streaming.lm.bin").exists()


def test_samples_are_short_and_have_texts() -> None:
    rows = table.read(ROOT / "data" / "samples" / "samples.csv")
    assert len(rows) == 10 and all(1 < row.duration < 10 and len(row.text.split()) > 8 for row in rows)
    assert sum(Path(row.audio).stat().st_size for row in rows) < 1e6
