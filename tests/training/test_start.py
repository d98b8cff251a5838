"""Training that starts from a trained model."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import asr
from asr import config, training
from asr.corpora import manifest
from asr.errors import AsrError
from asr.model import checkpoint, network
from asr.training import TrainingError, TrainOptions
from asr.training.events import Event, Note
from asr.training.recipe import Recipe
from asr.training.start import with_model_settings


def recipe(tones: Path, *settings: str) -> Recipe:
    return config.read(tones / "tiny.toml", Recipe, settings)


def test_recipe_takes_the_settings_of_the_model(tones: Path, trained: Path) -> None:
    settings = checkpoint.inspect(trained / "best.safetensors").settings
    asked = recipe(tones, "model.hidden=64", "model.dropout=0.4", "features.mel_bands=50", "text.alphabet=ABCD ")
    fitted, changed = with_model_settings(asked, settings)
    assert fitted.model == replace(settings.model, dropout=0.4)
    assert fitted.features == settings.features
    assert fitted.text.alphabet == " ABC"
    assert fitted.training == asked.training
    assert changed == ["features.mel_bands: 50 -> 40", "model.hidden: 64 -> 32"]


def test_recipe_makes_a_streaming_model_of_a_bidirectional_one(tones: Path, trained: Path) -> None:
    settings = checkpoint.inspect(trained / "best.safetensors").settings
    streams = ("model.chunk=5", "model.lookahead=3", "features.normalisation=running", "features.top_db=0")
    asked = recipe(tones, "model.hidden=64", *streams)
    fitted, changed = with_model_settings(asked, settings)
    assert fitted.model == replace(settings.model, chunk=5, lookahead=3)
    assert fitted.features == replace(settings.features, normalisation="running", top_db=0.0)
    assert changed == ["model.hidden: 64 -> 32"]
    # The next training of the streaming model keeps its normalisation, and its statistics.
    streaming = replace(
        settings, features=replace(fitted.features, mean=(1.0,) * 13, scale=(2.0,) * 13), model=fitted.model
    )
    assert with_model_settings(asked, streaming)[0].features == streaming.features


def test_run_trains_the_network_of_its_settings(tones: Path, trained: Path, tmp_path: Path) -> None:
    file = trained / "best.safetensors"
    plan = recipe(
        tones,
        *("training.epochs=1", "training.learning_rate=1e-12", "training.weight_decay=0", "model.dropout=0.4"),
        *("model.chunk=2", "model.lookahead=1", "features.normalisation=running", "features.top_db=0"),
    )
    events: list[Event] = []
    out = tmp_path / "out"
    options = TrainOptions(events.append, start=file)
    result = training.train(plan, tones / "train.jsonl", tones / "dev.jsonl", out, options)
    assert result.model
    _, contents = network.load(result.model)
    assert (contents.settings.model.chunk, contents.settings.model.dropout) == (2, 0.4)
    # What validated during training is what recognises now.
    rows = manifest.read(tones / "dev.jsonl")
    found = asr.evaluate(asr.load(result.model), rows).score.wer.value
    assert found == pytest.approx(result.dev_wer, abs=1e-6)
    assert found != pytest.approx(asr.evaluate(asr.load(file), rows).score.wer.value)


def test_run_starts_with_the_weights_of_the_model(tones: Path, trained: Path, tmp_path: Path) -> None:
    file = trained / "best.safetensors"
    plan = recipe(
        tones, "training.epochs=1", "training.learning_rate=1e-12", "training.weight_decay=0", "model.hidden=8"
    )
    events: list[Event] = []
    out = tmp_path / "out"
    result = training.train(
        plan, tones / "train.jsonl", tones / "dev.jsonl", out, TrainOptions(events.append, start=file)
    )
    assert result.model
    before, contents = network.load(file)
    after, now = network.load(result.model)
    for name, value in before.state_dict().items():
        torch.testing.assert_close(after.state_dict()[name], value, atol=1e-6, rtol=0)
    assert now.settings == contents.settings
    assert now.card["from"]["file"] == "best.safetensors"
    note = next(event.message for event in events if isinstance(event, Note))
    assert note == f"{file}: settings as the model was trained: model.hidden: 8 -> 32"


def test_resuming_without_the_model_is_refused(tones: Path, trained: Path, tmp_path: Path) -> None:
    out, file = tmp_path / "out", trained / "best.safetensors"
    plan = recipe(tones, "training.epochs=1")
    paths = tones / "train.jsonl", tones / "dev.jsonl", out
    training.train(plan, *paths, TrainOptions(start=file))
    with pytest.raises(TrainingError, match=r"from: '[0-9a-f]{16}' -> None"):
        training.train(plan, *paths, TrainOptions())
    again = training.train(plan, *paths, TrainOptions(start=file))
    assert again.finished and again.epoch <= 1


def test_run_may_start_from_an_older_model_of_its_own(tones: Path, trained: Path, tmp_path: Path) -> None:
    file = tmp_path / "old.safetensors"
    file.write_bytes((trained / "last.safetensors").read_bytes())
    plan = recipe(tones, "training.epochs=1")
    assert training.train(
        plan, tones / "train.jsonl", tones / "dev.jsonl", tmp_path / "o", TrainOptions(start=file)
    ).finished


def test_another_alphabet_keeps_all_layers_but_the_output(tones: Path, trained: Path, tmp_path: Path) -> None:
    file = trained / "best.safetensors"
    rows = manifest.read(tones / "train.jsonl")
    other = tmp_path / "train.jsonl"
    manifest.write(other, [replace(row, text=row.text.replace("C", "Ж")) for row in rows])
    plan = recipe(
        tones, "training.epochs=1", "training.learning_rate=1e-12", "training.weight_decay=0", "text.alphabet=auto"
    )
    notes: list[str] = []

    def note(event: Event) -> None:
        notes.extend([event.message] if isinstance(event, Note) else [])

    options = TrainOptions(note, start=file)
    result = training.train(plan, other, other, tmp_path / "out", options)
    assert f"{file}: new output layer, as the model does not have 'Ж'" in notes
    assert result.model
    before, contents = network.load(file)
    after, now = network.load(result.model)
    assert (contents.settings.text.alphabet, now.settings.text.alphabet) == (" ABC", " ABЖ")
    old, new = before.state_dict(), after.state_dict()
    for name in old:
        rows_of_both = slice(0, 4) if name.startswith("output.") else slice(None)  # blank, space, A, B
        torch.testing.assert_close(new[name][rows_of_both], old[name][rows_of_both], atol=1e-6, rtol=0)
    assert not torch.allclose(new["output.weight"][4], old["output.weight"][4])
    assert training.train(plan, other, other, tmp_path / "out", options).finished


def test_an_alphabet_of_auto_within_the_models_changes_nothing(tones: Path, trained: Path, tmp_path: Path) -> None:
    other = tmp_path / "train.jsonl"
    rows = manifest.read(tones / "train.jsonl")
    manifest.write(other, [row for row in rows if "C" not in row.text])
    plan = recipe(tones, "training.epochs=1", "text.alphabet=auto")
    options = TrainOptions(start=trained / "best.safetensors")
    result = training.train(plan, other, tones / "dev.jsonl", tmp_path / "out", options)
    assert result.model and checkpoint.inspect(result.model).settings.text.alphabet == " ABC"


def test_other_characters_are_refused_with_the_remedy(tones: Path, trained: Path, tmp_path: Path) -> None:
    other = tmp_path / "train.jsonl"
    manifest.write(other, [replace(row, text="ÄB") for row in manifest.read(tones / "train.jsonl")])
    with pytest.raises(AsrError, match=r"'Ä' not in the alphabet ' ABC'; .* set text.alphabet = \"auto\""):
        training.train(recipe(tones), other, other, tmp_path / "out", TrainOptions(start=trained / "best.safetensors"))
