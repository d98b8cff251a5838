"""Which epochs are averaged, what is kept of them, and that the average is one."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from asr import config, training
from asr.model import checkpoint
from asr.training import TrainOptions, averaging
from asr.training.averaging import chosen
from asr.training.events import Event, Note
from asr.training.recipe import Recipe
from asr.training.validation import validate
from tests.training.test_resume import ROW

WERS = [0.9, 0.3, 0.5, 0.3, 0.4]
ROWS = [replace(ROW, epoch=number, dev_wer=wer, dev_loss=1.0) for number, wer in enumerate(WERS, 1)]


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
def test_the_best_or_the_last_are_chosen(count: int, which: str, epochs: list[int]) -> None:
    assert chosen(ROWS, count, which) == epochs


@pytest.mark.parametrize("better", [True, False])
def test_the_average_becomes_the_best_model_only_if_it_is(
    better: bool, tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = config.read(tones / "tiny.toml", Recipe, ["training.epochs=4", "training.average=3"])
    recipe = replace(recipe, training=replace(recipe.training, average_of="last"))

    def judged(*arguments: object) -> object:
        found = validate(*arguments)  # type: ignore[arg-type]
        rate = replace(found.score.wer, value=0.0 if better else 2.0)
        return replace(found, score=replace(found.score, wer=rate))

    monkeypatch.setattr(averaging, "validate", judged)
    events: list[Event] = []
    result = training.train(recipe, tones / "train.jsonl", tones / "dev.jsonl", tmp_path, TrainOptions(events.append))
    assert sorted(path.stem for path in (tmp_path / "epochs").iterdir()) == ["000002", "000003", "000004"]
    parts = [checkpoint.load(path)[0].state_dict() for path in (tmp_path / "epochs").iterdir()]
    mean = {name: torch.stack([part[name] for part in parts]).mean(0) for name in parts[0]}
    model, contents = checkpoint.load(tmp_path / "best.safetensors")
    if better:
        torch.testing.assert_close(dict(model.state_dict()), mean)
        assert (result.epoch, result.dev_wer, contents.card["averaged"]) == (0, 0.0, [2, 3, 4])
    else:
        assert result.epoch > 0 and "averaged" not in contents.card
    last, _ = checkpoint.load(tmp_path / "last.safetensors")
    torch.testing.assert_close(
        dict(last.state_dict()), checkpoint.load(tmp_path / "epochs/000004.safetensors")[0].state_dict()
    )
    said = next(event.message for event in events if isinstance(event, Note) and "the mean of" in event.message)
    assert ("the best model now" in said) == better
    # Given again, the same command finds the run finished, and its result the same.
    assert training.train(recipe, tones / "train.jsonl", tones / "dev.jsonl", tmp_path) == result
