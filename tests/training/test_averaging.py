"""The epochs that are averaged, the files that are kept, and the averaged model."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from asr import config, training
from asr.model import network
from asr.training import TrainOptions
from asr.training.events import Event, Note
from asr.training.loop import epochs_to_average
from asr.training.recipe import Recipe, TrainingSettings
from tests.training.test_resume import ROW
from tests.training.test_run import script_scores

WERS = [0.9, 0.3, 0.5, 0.3, 0.4]
ROWS = [replace(ROW, epoch=epoch, dev_wer=wer, dev_loss=1.0) for epoch, wer in enumerate(WERS, 1)]


@pytest.mark.parametrize(
    ("count", "which", "epochs"),
    [
        (2, "best", [2, 4]),
        (3, "best", [2, 4, 5]),
        (1, "best", [2]),
        (2, "last", [4, 5]),
        (9, "last", [1, 2, 3, 4, 5]),
        (0, "best", []),
    ],
)
def test_epochs_to_average_best_or_last(count: int, which: str, epochs: list[int]) -> None:
    assert epochs_to_average(ROWS, TrainingSettings(average=count, average_of=which)) == epochs


@pytest.mark.parametrize("better", [True, False])
def test_average_becomes_the_best_model_only_if_better(
    better: bool, tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ["training.epochs=4", "training.average=3", "training.average_of=last"]
    recipe = config.read(tones / "tiny.toml", Recipe, settings)
    script_scores([(0.5, 1.0)] * 4 + [(0.0 if better else 2.0, 1.0)], monkeypatch)
    events: list[Event] = []
    paths = tones / "train.jsonl", tones / "dev.jsonl", tmp_path
    result = training.train(recipe, *paths, TrainOptions(events.append))
    assert sorted(path.stem for path in (tmp_path / "epochs").iterdir()) == ["000002", "000003", "000004"]
    parts = [network.load(path)[0].state_dict() for path in (tmp_path / "epochs").iterdir()]
    mean = {name: torch.stack([part[name] for part in parts]).mean(0) for name in parts[0]}
    model, contents = network.load(tmp_path / "best.safetensors")
    if better:
        torch.testing.assert_close(dict(model.state_dict()), mean)
        assert (result.epoch, result.dev_wer, contents.card["averaged"]) == (0, 0.0, [2, 3, 4])
    else:
        assert result.epoch > 0 and "averaged" not in contents.card
    last, _ = network.load(tmp_path / "last.safetensors")
    torch.testing.assert_close(
        dict(last.state_dict()), network.load(tmp_path / "epochs/000004.safetensors")[0].state_dict()
    )
    note = next(event.message for event in events if isinstance(event, Note) and "the average of" in event.message)
    assert ("now the best model" in note) == better
    # The same command again returns the same result without training.
    assert training.train(recipe, *paths) == result
