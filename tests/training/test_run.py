"""Training runs on a corpus of tones that spell letters: results, files, events, stops and resumes."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from asr import config, training
from asr.corpora import manifest
from asr.features.cache import FeatureCacheError
from asr.files import LockedError, lock_folder
from asr.model import checkpoint, network
from asr.training import TrainingError, TrainOptions, TrainResult, loop
from asr.training.events import Epoch, Event, Note, Preparing, Step
from asr.training.recipe import Recipe
from asr.training.validation import Validation, validate
from tests.conftest import ROOT

TIMES = ("seconds", "data_wait")


@pytest.fixture
def recipe(tones: Path) -> Recipe:
    return config.read(tones / "tiny.toml", Recipe)


def short(recipe: Recipe, **settings: object) -> Recipe:
    return replace(recipe, training=replace(recipe.training, **{"epochs": 1, **settings}))  # type: ignore[arg-type]


def train(recipe: Recipe, tones: Path, out: Path, options: TrainOptions = TrainOptions()) -> TrainResult:  # noqa: B008
    return training.train(recipe, tones / "train.jsonl", tones / "dev.jsonl", out, options)


def weights(run: Path, name: str = "last.safetensors") -> torch.Tensor:
    model, _ = network.load(run / name)
    return torch.cat([parameter.flatten() for parameter in model.parameters()])


def log(run: Path) -> list[dict[str, object]]:
    """Return the rows of train.jsonl without what the clock says."""
    rows = [json.loads(line) for line in (run / "train.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


class After:
    """Asks to stop after so many steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def __call__(self) -> bool:
        self.steps -= 1
        return self.steps < 0


def notes(events: list[Event]) -> list[str]:
    return [event.message for event in events if isinstance(event, Note)]


# Results and files


def test_training_lowers_loss_and_wer(trained: Path) -> None:
    rows = [json.loads(line) for line in (trained / "train.jsonl").read_text().splitlines()]
    assert rows[0]["dev_wer"] > 0.5
    assert min(row["dev_wer"] for row in rows) <= 0.1
    assert rows[-1]["train_loss"] < 0.2 * rows[0]["train_loss"]
    best = checkpoint.inspect(trained / "best.safetensors").card
    assert best["dev_wer"] == min(row["dev_wer"] for row in rows)
    assert checkpoint.inspect(trained / "last.safetensors").card["epoch"] == len(rows)
    assert rows[-1]["samples"][0]["reference"]
    names = {"best.safetensors", "last.safetensors", "train.jsonl", "training.html", "resume", ".lock"}
    assert {path.name for path in trained.iterdir()} == names
    assert "<svg" in (trained / "training.html").read_text(encoding="utf-8")


def test_card_has_recipe_data_and_versions(trained: Path) -> None:
    card = checkpoint.inspect(trained / "best.safetensors").card
    assert card["recipe"]["name"] == "tiny"
    assert card["recipe"]["training"]["seed"] == 1
    assert card["data"]["train"]["utterances"] == 60
    assert torch.__version__.startswith(card["versions"]["torch"])


def test_same_seed_gives_the_same_weights(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        train(short(recipe, seed=seed), tones, tmp_path / name)
    assert torch.equal(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not torch.equal(weights(tmp_path / "a"), weights(tmp_path / "c"))


def test_events_of_a_run(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    copy = tmp_path / "data" / "train.jsonl"
    manifest.write(copy, manifest.read(tones / "train.jsonl"))
    training.train(short(recipe), copy, tones / "dev.jsonl", tmp_path / "run", TrainOptions(events.append))
    kinds = [type(event) for event in events]
    assert kinds.index(Preparing) < kinds.index(Step) < kinds.index(Epoch)
    last = [event for event in events if isinstance(event, Step)][-1]
    assert last.done == pytest.approx(last.total)
    assert 0 <= last.waiting < 1
    size = next(event for event in events if isinstance(event, Preparing)).size
    assert size == pytest.approx(sum(path.stat().st_size for path in copy.parent.rglob("*.f16")), rel=0.05)


def test_unalignable_utterance_is_dropped_with_a_note(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    rows = manifest.read(tones / "train.jsonl")
    rows[3] = replace(rows[3], text="ABC" * 50)
    manifest.write(tmp_path / "train.jsonl", rows)
    events: list[Event] = []
    options = TrainOptions(events.append)
    training.train(short(recipe), tmp_path / "train.jsonl", tones / "dev.jsonl", tmp_path / "run", options)
    [note] = [note for note in notes(events) if "train.jsonl" in note]
    assert "dropped 1 of 60 utterances: too few output frames" in note and "train-3" in note
    assert checkpoint.inspect(tmp_path / "run/last.safetensors").card["data"]["train"]["utterances"] == 59


def test_no_usable_utterance_raises_training_error(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    rows = [replace(row, text="ABC" * 50) for row in manifest.read(tones / "train.jsonl")]
    manifest.write(tmp_path / "train.jsonl", rows)
    with pytest.raises(TrainingError, match=r"train\.jsonl: no usable utterance is left"):
        training.train(short(recipe), tmp_path / "train.jsonl", tones / "dev.jsonl", tmp_path / "run")


def test_auto_alphabet_is_stored_in_the_model(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    train(replace(short(recipe), text=replace(recipe.text, alphabet="auto")), tones, tmp_path)
    assert checkpoint.inspect(tmp_path / "best.safetensors").settings.text.alphabet == " ABC"


def test_dev_score_counts_every_utterance(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    rows = manifest.read(tones / "dev.jsonl")
    rows[0] = replace(rows[0], text="ABC" * 50)
    rows[1] = replace(rows[1], text="A X")
    manifest.write(tmp_path / "dev.jsonl", rows)
    events: list[Event] = []
    dropping = replace(short(recipe), text=replace(recipe.text, unknown="drop"))
    options = TrainOptions(events.append)
    training.train(dropping, tones / "train.jsonl", tmp_path / "dev.jsonl", tmp_path / "run", options)
    messages = [note.partition(": ")[2].partition(" of ")[0] for note in notes(events) if "dev.jsonl" in note]
    assert messages == ["scored without a loss: 1"] * 2
    dev = checkpoint.inspect(tmp_path / "run/last.safetensors").card["data"]["dev"]
    assert (dev["utterances"], dev["unalignable"], dev["unknown_characters"]) == (12, 1, 1)
    epoch = next(event for event in events if isinstance(event, Epoch))
    assert 0 < epoch.dev_loss < 20


def test_all_training_options_together(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    full = replace(
        short(recipe, epochs=3, intermediate_weight=0.3, clean_epochs=1, average=2, accumulate=2),
        augment=replace(
            recipe.augment,
            speeds=(0.9, 1.0),
            mel_masks=2,
            time_masks=1.0,
            warp=0.1,
            noise=str(tones / "dev"),
            noise_copies=2,
        ),
        model=replace(recipe.model, layers=2),
    )
    events: list[Event] = []
    result = train(full, tones, tmp_path / "run", TrainOptions(events.append))
    assert result.finished and result.model
    rows = [event for event in events if isinstance(event, Epoch)]
    # The last, clean epoch has one speed of two and no masks.
    assert rows[2].audio_hours == pytest.approx(rows[0].audio_hours / (1 + 1 / 0.9), rel=1e-6)
    assert (rows[0].mask_strength, rows[2].mask_strength) == (0.1, 0.0)
    assert any("the average of epochs" in note for note in notes(events))


# Failures


def test_divergence_names_the_batch_and_keeps_the_last_good_model(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    train(short(recipe), tones, tmp_path)
    diverging = short(recipe, epochs=2, learning_rate=1e30)
    with pytest.raises(TrainingError, match=r"training diverged: loss nan.*batch of .*train-\d+"):
        train(diverging, tones, tmp_path, TrainOptions(override=True))
    model, contents = network.load(tmp_path / "last.safetensors")
    assert contents.card["epoch"] == 1
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


def script_scores(scores: list[tuple[float, float]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each validation of a run return the next dev WER and loss."""
    remaining = iter(scores)

    def scripted(*arguments: object) -> Validation:
        result = validate(*arguments)  # type: ignore[arg-type]
        wer, loss = next(remaining)
        return replace(result, loss=loss, score=replace(result.score, wer=replace(result.score.wer, value=wer)))

    monkeypatch.setattr(loop, "validate", scripted)


def test_patience_stops_a_run_without_improvement(
    recipe: Recipe, tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[Event] = []
    script_scores([(0.5, 1.0)] * 20, monkeypatch)
    result = train(short(recipe, epochs=20, patience=2), tones, tmp_path, TrainOptions(events.append))
    assert (result.epoch, result.finished) == (1, True)
    assert len(log(tmp_path)) == 3
    assert any("no better dev WER" in note for note in notes(events))


def test_equal_wer_selects_the_lower_loss(
    recipe: Recipe, tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script_scores([(0.5, 3.0), (0.5, 1.0), (0.5, 2.0)], monkeypatch)
    best = train(short(recipe, epochs=3), tones, tmp_path)
    assert (best.epoch, best.dev_wer) == (2, 0.5)
    assert checkpoint.inspect(tmp_path / "best.safetensors").card["epoch"] == 2


# Resuming


def test_resumed_run_equals_an_uninterrupted_one(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    varied = replace(
        short(recipe, epochs=3, average=2, intermediate_weight=0.3),
        augment=replace(recipe.augment, time_masks=2.0, mel_masks=2),
        model=replace(recipe.model, dropout=0.3, layers=2),
    )
    train(varied, tones, tmp_path / "whole")
    stops = 0
    while not train(varied, tones, tmp_path / "stopped", TrainOptions(should_stop=After(3))).finished:
        stops += 1
        assert stops < 30
    assert stops >= 5
    assert torch.equal(weights(tmp_path / "whole"), weights(tmp_path / "stopped"))
    assert torch.equal(
        weights(tmp_path / "whole", "best.safetensors"), weights(tmp_path / "stopped", "best.safetensors")
    )
    assert log(tmp_path / "whole") == log(tmp_path / "stopped")


@pytest.mark.slow
def test_killed_run_resumes_to_the_same_result() -> None:
    command = [sys.executable, str(ROOT / "tests/benchmarks/kill.py"), "3", "8"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr


def test_finished_run_is_not_trained_again(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    first = train(short(recipe), tones, tmp_path)
    before = (tmp_path / "best.safetensors").read_bytes()
    events: list[Event] = []
    assert train(short(recipe), tones, tmp_path, TrainOptions(events.append, resume=True)) == first
    assert not any(isinstance(event, Step) for event in events)
    assert (tmp_path / "best.safetensors").read_bytes() == before


def test_changed_settings_are_refused_and_listed(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    train(short(recipe, epochs=2), tones, tmp_path, TrainOptions(should_stop=After(3)))
    changed = short(recipe, epochs=3, learning_rate=0.02)
    message = r"training\.epochs: 2 -> 3; training\.learning_rate: 0\.01 -> 0\.02\).*--override"
    with pytest.raises(TrainingError, match=message):
        train(changed, tones, tmp_path)
    events: list[Event] = []
    result = train(changed, tones, tmp_path, TrainOptions(events.append, override=True))
    assert result.finished
    assert len(log(tmp_path)) == 3
    assert any("resumed with changes: training.epochs" in note for note in notes(events))


def test_changed_run_resumes_where_it_was_stopped_last(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    # Its features are cached then.
    train(short(recipe), tones, tmp_path / "whole")
    assert train(short(recipe), tones, tmp_path, TrainOptions(should_stop=After(3))).saved
    changed = short(recipe, learning_rate=0.02, checkpoints=1)
    assert train(changed, tones, tmp_path, TrainOptions(override=True, should_stop=After(2))).saved
    events: list[Event] = []
    assert train(changed, tones, tmp_path, TrainOptions(events.append)).finished
    assert "resumed in epoch 1 after 3 batches" in "".join(notes(events))


def test_larger_average_uses_the_models_that_are_kept(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    train(short(recipe), tones, tmp_path)
    longer = short(recipe, epochs=3, average=3, average_of="last")
    assert train(longer, tones, tmp_path, TrainOptions(override=True)).finished


def test_checkpoint_settings_may_change(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    train(short(recipe), tones, tmp_path, TrainOptions(should_stop=After(2)))
    assert train(short(recipe, checkpoint_minutes=1.0, checkpoints=5), tones, tmp_path).finished


def test_finished_run_may_be_extended(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    train(short(recipe), tones, tmp_path)
    assert train(short(recipe, epochs=2), tones, tmp_path, TrainOptions(override=True)).finished
    assert [row["epoch"] for row in log(tmp_path)] == [1, 2]


def test_changed_data_is_refused(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    copy = tmp_path / "train.jsonl"
    rows = manifest.read(tones / "train.jsonl")
    manifest.write(copy, rows)
    training.train(short(recipe), copy, tones / "dev.jsonl", tmp_path / "run", TrainOptions(should_stop=After(75)))
    manifest.write(copy, rows[1:])
    with pytest.raises(TrainingError, match=r"other settings or data \(train: "):
        training.train(short(recipe), copy, tones / "dev.jsonl", tmp_path / "run")


def test_changed_network_is_refused_with_override(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    train(short(recipe), tones, tmp_path, TrainOptions(should_stop=After(2)))
    wider = replace(short(recipe), model=replace(recipe.model, hidden=16))
    with pytest.raises(TrainingError, match="its weights do not fit a model of other settings"):
        train(wider, tones, tmp_path, TrainOptions(override=True))


def test_resume_without_a_run_raises_training_error(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="there is no run to resume"):
        train(short(recipe), tones, tmp_path, TrainOptions(resume=True))


def test_overwrite_removes_the_old_run(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    train(short(recipe, average=2), tones, tmp_path)
    with pytest.raises(TrainingError):
        train(short(recipe, learning_rate=1e30), tones, tmp_path, TrainOptions(overwrite=True))
    assert {path.name for path in tmp_path.iterdir()} == {".lock"}


def test_model_without_a_state_is_not_overwritten(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    (tmp_path / "best.safetensors").write_text("somebody's")
    with pytest.raises(TrainingError, match="no training state to resume"):
        train(short(recipe), tones, tmp_path)
    assert (tmp_path / "best.safetensors").read_text() == "somebody's"


def test_damaged_state_falls_back_to_the_one_before(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    train(short(recipe, epochs=2), tones, tmp_path / "whole")
    train(short(recipe, epochs=2), tones, tmp_path / "run", TrainOptions(should_stop=After(9)))
    newest, older = sorted((tmp_path / "run/resume").iterdir(), reverse=True)
    newest.write_bytes(newest.read_bytes()[:-100])
    events: list[Event] = []
    assert train(short(recipe, epochs=2), tones, tmp_path / "run", TrainOptions(events.append)).finished
    assert any(f"{newest}: damaged" in note for note in notes(events))
    assert torch.equal(weights(tmp_path / "whole"), weights(tmp_path / "run"))
    for path in (tmp_path / "run/resume").iterdir():
        path.write_bytes(b"")
    with pytest.raises(TrainingError, match="none of its training states can be read"):
        train(short(recipe, epochs=2), tones, tmp_path / "run")
    assert older.parent.exists()


def test_locked_folder_raises_locked_error(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    with lock_folder(tmp_path), pytest.raises(LockedError, match="another process is writing"):
        train(short(recipe), tones, tmp_path)


def test_stop_while_features_are_computed(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    copy = tmp_path / "train.jsonl"
    manifest.write(copy, manifest.read(tones / "train.jsonl"))
    result = training.train(
        short(recipe), copy, tones / "dev.jsonl", tmp_path / "run", TrainOptions(should_stop=After(3))
    )
    assert (result.model, result.finished) == (None, False)
    assert training.train(short(recipe), copy, tones / "dev.jsonl", tmp_path / "run").finished


def test_other_files_in_the_folder_are_kept(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    kept = [tmp_path / "resume/cv.txt", tmp_path / "epochs/notes.txt", tmp_path / "corpus/train.tar.gz.part"]
    for path in kept:
        path.parent.mkdir()
        path.write_text("mine")
    train(short(recipe), tones, tmp_path)
    train(short(recipe), tones, tmp_path, TrainOptions(overwrite=True))
    assert [path.read_text() for path in kept] == ["mine"] * 3


def test_average_stays_the_best_model_when_a_run_is_extended(
    recipe: Recipe, tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script_scores([(0.5, 1.0), (0.5, 1.0), (0.0, 1.0), (0.5, 1.0), (1.0, 1.0)], monkeypatch)
    first = train(short(recipe, epochs=2, average=2), tones, tmp_path)
    before = (tmp_path / "best.safetensors").read_bytes()
    assert (first.epoch, first.dev_wer) == (0, 0.0)
    again = train(short(recipe, epochs=3, average=2), tones, tmp_path, TrainOptions(override=True))
    assert (again.epoch, again.dev_wer) == (0, 0.0)
    assert (tmp_path / "best.safetensors").read_bytes() == before


def test_partial_files_of_killed_processes_are_deleted(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    train(short(recipe, epochs=2), tones, tmp_path, TrainOptions(should_stop=After(3)))
    left = [tmp_path / "best.safetensors.99.part", tmp_path / "resume/000001-00000002.safetensors.99.part"]
    for path in left:
        path.write_text("half")
    train(short(recipe, epochs=2), tones, tmp_path)
    assert not any(path.exists() for path in left)


def split(manifest_path: Path, folder: Path, sizes: tuple[int, int]) -> list[Path]:
    """Write the first rows of a manifest as two manifests."""
    rows = manifest.read(manifest_path)
    paths = [folder / "one.jsonl", folder / "two.jsonl"]
    manifest.write(paths[0], rows[: sizes[0]])
    manifest.write(paths[1], rows[sizes[0] : sum(sizes)])
    return paths


def test_several_manifests_are_trained_on_together(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    paths = split(tones / "train.jsonl", tmp_path, (20, 40))
    options = TrainOptions(cache=tmp_path / "cache")
    joined = training.train(short(recipe), paths, [tones / "dev.jsonl"], tmp_path / "joined", options)
    assert joined.model
    data = checkpoint.inspect(joined.model).card["data"]["train"]
    assert (data["manifest"], data["utterances"]) == ("one.jsonl+two.jsonl", 60)
    train(short(recipe), tones, tmp_path / "whole")
    assert torch.equal(weights(tmp_path / "joined"), weights(tmp_path / "whole"))
    # The features are in the folder of one's choice alone.
    assert not (tmp_path / ".features").exists() and len(list((tmp_path / "cache").rglob("*.f16"))) == 2
    with pytest.raises(TrainingError, match=r"one\.jsonl is given twice; give each manifest once"):
        training.train(short(recipe), [paths[0], paths[0]], paths[1], tmp_path / "run")


def test_a_folder_that_cannot_be_written_needs_a_cache(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    paths = split(tones / "train.jsonl", tmp_path, (8, 8))
    (tmp_path / ".features").write_text("a file where the folder would be")
    with pytest.raises(FeatureCacheError, match=r"features cannot be written there .*; choose a folder with --cache"):
        training.train(short(recipe), paths[0], paths[1], tmp_path / "run")
    options = TrainOptions(cache=tmp_path / "cache")
    assert training.train(short(recipe), paths[0], paths[1], tmp_path / "run", options).finished


def test_all_recordings_that_cannot_be_read_are_listed(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    rows = manifest.read(tones / "train.jsonl")
    bad = [tmp_path / "gone.wav", tmp_path / "bad.wav"]
    bad[1].write_text("no sound")
    rows[3:5] = [replace(row, audio=str(path)) for row, path in zip(rows[3:5], bad, strict=True)]
    manifest.write(tmp_path / "train.jsonl", rows)
    with pytest.raises(manifest.BadRowsError, match="2 of 60 utterances cannot be used") as caught:
        training.train(short(recipe), tmp_path / "train.jsonl", tones / "dev.jsonl", tmp_path / "run")
    assert [name in problem for name, problem in zip(("gone", "bad"), caught.value.problems, strict=True)] == [True] * 2
    events: list[Event] = []
    options = TrainOptions(events.append, skip_bad=True)
    result = training.train(short(recipe), tmp_path / "train.jsonl", tones / "dev.jsonl", tmp_path / "run", options)
    assert result.model and checkpoint.inspect(result.model).card["data"]["train"]["utterances"] == 58
    left_out = [note for note in notes(events) if "left out" in note]
    assert [note.partition(": ")[0] for note in left_out[:2]] == ["left out", "left out"]
    assert "2 recordings that cannot be read are left out" in left_out[2]


def test_a_name_and_a_device_may_change(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    train(short(recipe), tones, tmp_path / "cached")
    assert not train(short(recipe), tones, tmp_path / "run", TrainOptions(should_stop=After(3))).finished
    changed = replace(short(recipe, device="cpu"), name="other")
    assert train(changed, tones, tmp_path / "run").finished


def test_another_number_of_processes_with_the_same_steps_is_noted(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    same, other = short(recipe, accumulate=2), short(recipe, accumulate=1)
    train(same, tones, tmp_path / "cached")
    assert not train(same, tones, tmp_path / "run", TrainOptions(should_stop=After(2))).finished
    [path, *_] = sorted((tmp_path / "run/resume").iterdir(), reverse=True)
    # What two processes that do not accumulate save.
    path.write_bytes(path.read_bytes().replace(rb"\"processes\": 1", rb"\"processes\": 2"))
    with pytest.raises(TrainingError, match=r"batches per step: 2 -> 1, so that each step processes 0\.5 times"):
        train(other, tones, tmp_path / "run")
    events: list[Event] = []
    assert train(same, tones, tmp_path / "run", TrainOptions(events.append)).finished
    expected = f"{tmp_path / 'run'}: resumed with 1 instead of 2 processes; each step has 2 batches as before"
    assert expected in notes(events)
    assert torch.equal(weights(tmp_path / "run"), weights(tmp_path / "cached"))


def test_override_cannot_change_the_shape_of_the_model(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    train(short(recipe), tones, tmp_path / "cached")
    train(short(recipe), tones, tmp_path / "run", TrainOptions(should_stop=After(3)))
    wider = replace(short(recipe), model=replace(recipe.model, hidden=64))
    with pytest.raises(TrainingError, match=r"do not fit a model of other settings of \[model\].*--overwrite"):
        train(wider, tones, tmp_path / "run", TrainOptions(override=True))


def test_other_batches_per_step_are_refused(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    train(short(recipe), tones, tmp_path / "cached")
    train(short(recipe, accumulate=2), tones, tmp_path / "run", TrainOptions(should_stop=After(2)))
    with pytest.raises(TrainingError, match="batches per step: 2 -> 1"):
        train(short(recipe), tones, tmp_path / "run")


def test_a_stop_before_training_saves_nothing(tones: Path, tmp_path: Path) -> None:
    paths = split(tones / "train.jsonl", tmp_path, (8, 8))
    recipe = config.read(tones / "tiny.toml", Recipe)
    result = training.train(short(recipe), paths[0], paths[1], tmp_path / "run", TrainOptions(should_stop=After(2)))
    assert (result.finished, result.saved, result.model) == (False, False, None)
    assert not list((tmp_path / "run").rglob("*.safetensors"))


def test_dropped_utterances_are_counted(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    rows = manifest.read(tones / "train.jsonl")[:6]
    manifest.write(tmp_path / "train.jsonl", [replace(row, text="X") for row in rows[:5]] + rows[5:])
    dropping = replace(
        short(recipe),
        text=replace(recipe.text, unknown="drop"),
        augment=replace(recipe.augment, speeds=(0.9, 1.0, 1.1)),
    )
    events: list[Event] = []
    training.train(
        dropping, tmp_path / "train.jsonl", tones / "dev.jsonl", tmp_path / "run", TrainOptions(events.append)
    )
    assert any("dropped 5 of 6 utterances: characters outside the alphabet" in note for note in notes(events))


@pytest.mark.parametrize(
    ("setting", "text", "metric"),
    [
        ("auto", "ABC AB", "wer"),
        ("auto", "ABCABCABCABCABCABC", "cer"),
        ("wer", "ABCABCABCABCABCABC", "wer"),
        ("cer", "A B", "cer"),
    ],
)
def test_epochs_are_compared_by_cer_where_words_are_not_separated(
    setting: str, text: str, metric: str, recipe: Recipe, tones: Path, tmp_path: Path
) -> None:
    rows = manifest.read(tones / "train.jsonl")[:12]
    manifest.write(tmp_path / "train.jsonl", rows)
    # Texts that are too long for their audio are scored too.
    manifest.write(tmp_path / "dev.jsonl", [*rows[6:], *(replace(row, text=text) for row in rows[:6])])
    if setting == "auto":
        manifest.write(tmp_path / "dev.jsonl", [replace(row, text=text) for row in rows])
    chosen = short(recipe, metric=setting, epochs=2)
    result = training.train(chosen, tmp_path / "train.jsonl", tmp_path / "dev.jsonl", tmp_path / "run")
    log = [json.loads(line) for line in (tmp_path / "run" / "train.jsonl").read_text().splitlines()]
    assert {row["metric"] for row in log} == {result.metric} == {metric}
    assert result.dev_wer == min(row[f"dev_{metric}"] for row in log)
