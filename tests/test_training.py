"""The CTC loop on a corpus of tones that spell letters."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from asr import checkpoint, config, manifest, scoring, training
from asr.events import Epoch, Event, Note, Preparing, Step
from asr.recipe import Recipe
from asr.training import TrainingError


@pytest.fixture
def recipe(tones: Path) -> Recipe:
    return config.read(tones / "tiny.toml", Recipe)


def short(recipe: Recipe, **settings: object) -> Recipe:
    return replace(recipe, training=replace(recipe.training, **{"epochs": 1, **settings}))  # type: ignore[arg-type]


def test_learns_to_read_the_tones(trained: Path) -> None:
    rows = [json.loads(line) for line in (trained / "train.jsonl").read_text().splitlines()]
    assert rows[0]["dev_wer"] > 0.5
    assert min(row["dev_wer"] for row in rows) <= 0.1
    assert rows[-1]["train_loss"] < 0.2 * rows[0]["train_loss"]
    best = checkpoint.inspect(trained / "best.safetensors").card
    assert best["dev_wer"] == min(row["dev_wer"] for row in rows)
    assert checkpoint.inspect(trained / "last.safetensors").card["epoch"] == len(rows)
    assert sorted(path.name for path in trained.iterdir()) == ["best.safetensors", "last.safetensors", "train.jsonl"]


def test_the_card_tells_how_the_model_came_to_be(trained: Path) -> None:
    card = checkpoint.inspect(trained / "best.safetensors").card
    assert card["recipe"]["name"] == "tiny"
    assert card["recipe"]["training"]["seed"] == 1
    assert card["data"]["train"]["utterances"] == 60
    assert card["versions"]["torch"].startswith("2.11")


def test_the_same_seed_gives_the_same_model(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    weights = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        training.train(short(recipe, seed=seed), tones / "train.jsonl", tones / "dev.jsonl", tmp_path / name)
        model, _ = checkpoint.load(tmp_path / name / "last.safetensors")
        weights.append(torch.cat([parameter.flatten() for parameter in model.parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_events_tell_what_goes_on(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    copy = tmp_path / "data" / "train.jsonl"
    manifest.write(copy, manifest.read(tones / "train.jsonl"))
    training.train(short(recipe), copy, tones / "dev.jsonl", tmp_path / "run", events.append)
    kinds = [type(event) for event in events]
    assert kinds.index(Preparing) < kinds.index(Step) < kinds.index(Epoch)
    last = [event for event in events if isinstance(event, Step)][-1]
    assert last.done == pytest.approx(last.total)


def test_an_utterance_that_ctc_cannot_align_is_dropped_and_told(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    rows = manifest.read(tones / "train.jsonl")
    rows[3] = replace(rows[3], text="ABC" * 50)
    manifest.write(tmp_path / "train.jsonl", rows)
    events: list[Event] = []
    training.train(short(recipe), tmp_path / "train.jsonl", tones / "dev.jsonl", tmp_path / "run", events.append)
    notes = [event.message for event in events if isinstance(event, Note)]
    assert len(notes) == 1
    assert "dropped 1 of 60 utterances: too few output frames" in notes[0] and "train-3" in notes[0]
    assert checkpoint.inspect(tmp_path / "run/last.safetensors").card["data"]["train"]["utterances"] == 59


def test_nothing_left_to_train_on_is_an_error(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    rows = [replace(row, text="ABC" * 50) for row in manifest.read(tones / "train.jsonl")]
    manifest.write(tmp_path / "train.jsonl", rows)
    with pytest.raises(TrainingError, match=r"train\.jsonl: no utterance is left"):
        training.train(short(recipe), tmp_path / "train.jsonl", tones / "dev.jsonl", tmp_path / "run")


def test_divergence_stops_with_the_ids_and_keeps_the_last_good_model(
    recipe: Recipe, tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = training._ctc_loss
    steps = 0

    def broken(model: torch.nn.Module, *rest: object) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        nonlocal steps
        steps += model.training
        value, log_probs, lengths = loss(model, *rest)  # type: ignore[arg-type]
        # The first epoch has fewer steps than this.
        return (value * float("nan") if steps > 12 else value), log_probs, lengths

    monkeypatch.setattr(training, "_ctc_loss", broken)
    with pytest.raises(TrainingError, match=r"diverged: loss nan.*batch of .*train-\d+"):
        training.train(short(recipe, epochs=9), tones / "train.jsonl", tones / "dev.jsonl", tmp_path)
    model, contents = checkpoint.load(tmp_path / "last.safetensors")
    assert contents.card["epoch"] >= 1
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


def test_patience_stops_a_run_that_does_not_get_better(
    recipe: Recipe, tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[Event] = []
    patient = short(recipe, epochs=20, patience=2)
    result = scoring.score(["A B"], ["A C"])
    monkeypatch.setattr(training, "validate", lambda *arguments: (1.0, result))
    assert training.train(patient, tones / "train.jsonl", tones / "dev.jsonl", tmp_path, events.append).epoch == 1
    assert len((tmp_path / "train.jsonl").read_text().splitlines()) == 3
    assert any(isinstance(event, Note) and "no better dev WER" in event.message for event in events)


def test_an_alphabet_of_auto_is_stored_spelled_out(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    automatic = replace(short(recipe), text=replace(recipe.text, alphabet="auto"))
    training.train(automatic, tones / "train.jsonl", tones / "dev.jsonl", tmp_path)
    assert checkpoint.inspect(tmp_path / "best.safetensors").settings.text.alphabet == " ABC"


def test_of_equal_error_rates_the_lower_loss_is_the_better_model(
    recipe: Recipe, tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = scoring.score(["A B"], ["A C"])
    losses = iter([3.0, 1.0, 2.0])
    monkeypatch.setattr(training, "validate", lambda *arguments: (next(losses), result))
    best = training.train(short(recipe, epochs=3), tones / "train.jsonl", tones / "dev.jsonl", tmp_path)
    assert (best.epoch, best.dev_wer) == (2, 0.5)


def test_the_dev_score_counts_every_utterance(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    rows = manifest.read(tones / "dev.jsonl")
    rows[0] = replace(rows[0], text="ABC" * 50)
    rows[1] = replace(rows[1], text="A X")
    manifest.write(tmp_path / "dev.jsonl", rows)
    events: list[Event] = []
    dropping = replace(short(recipe), text=replace(recipe.text, unknown="drop"))
    training.train(dropping, tones / "train.jsonl", tmp_path / "dev.jsonl", tmp_path / "run", events.append)
    notes = [event.message for event in events if isinstance(event, Note)]
    assert [note.partition(": ")[2].partition(" of ")[0] for note in notes] == ["without a loss, but scored, 1"] * 2
    dev = checkpoint.inspect(tmp_path / "run/last.safetensors").card["data"]["dev"]
    assert (dev["utterances"], dev["unalignable"], dev["unknown_characters"]) == (12, 1, 1)
    epoch = next(event for event in events if isinstance(event, Epoch))
    assert 0 < epoch.dev_loss < 20


def test_divergence_in_the_last_step_of_an_epoch_is_told_as_such(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="training diverged"):
        training.train(short(recipe, learning_rate=1e30), tones / "train.jsonl", tones / "dev.jsonl", tmp_path)


def test_a_new_run_leaves_nothing_of_the_old_one(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    (tmp_path / "best.safetensors").write_text("the old run's")
    with pytest.raises(TrainingError):
        training.train(short(recipe, learning_rate=1e30), tones / "train.jsonl", tones / "dev.jsonl", tmp_path)
    assert not (tmp_path / "best.safetensors").exists()
