"""The dev score for any batches and any number of processes."""

from copy import copy
from pathlib import Path

import pytest
import torch

from asr import recognition
from asr.corpora import manifest
from asr.model import network
from asr.recognition import evaluation
from asr.training import dataset
from asr.training.dataset import Dataset, DatasetSource
from asr.training.distributed import World
from asr.training.recipe import Recipe
from asr.training.step import Engine, TrainingError
from asr.training.validation import validate


@pytest.fixture
def engine(trained: Path) -> Engine:
    model, contents = network.load(trained / "best.safetensors")
    settings = contents.settings
    recipe = Recipe(features=settings.features, text=settings.text, model=settings.model)
    return Engine(recipe, model, World())


@pytest.fixture
def data(engine: Engine, tones: Path) -> Dataset:
    recipe = engine.recipe
    source = DatasetSource(manifest.read(tones / "dev.jsonl"), tones / "dev.jsonl", keep_all=True)
    return dataset.load(source, recipe.text, recipe.features, recipe.model.time_reduction)


def test_score_equals_that_of_the_model_file(engine: Engine, data: Dataset, tones: Path, trained: Path) -> None:
    alphabet = network.load(trained / "best.safetensors")[1].settings.alphabet
    actual = validate(engine, data, alphabet, 1000)
    recognizer = recognition.load(trained / "best.safetensors")
    result = evaluation.evaluate(recognizer, manifest.read(tones / "dev.jsonl"))
    assert actual.score.wer == result.score.wer
    assert 0 < actual.blank_share < 1
    assert [sample.reference for sample in actual.samples] == [data[0].text, data[5].text, data[11].text]
    first = recognizer.transcribe_file(tones / "dev/dev-0.wav")
    assert actual.samples[0].hypothesis == first.text


@pytest.mark.parametrize("longest", [1, 300, 100_000])
def test_batch_size_does_not_change_the_score(longest: int, engine: Engine, data: Dataset, trained: Path) -> None:
    alphabet = network.load(trained / "best.safetensors")[1].settings.alphabet
    first, other = validate(engine, data, alphabet, 500), validate(engine, data, alphabet, longest)
    assert first.score == other.score
    assert first.loss == pytest.approx(other.loss, rel=1e-3)


def test_score_shared_among_processes_is_complete(engine: Engine, data: Dataset, trained: Path) -> None:
    alphabet = network.load(trained / "best.safetensors")[1].settings.alphabet
    whole = validate(engine, data, alphabet, 300)
    parts: list[list[torch.Tensor]] = []

    class Shard(World):
        def sum(self, values: torch.Tensor) -> torch.Tensor:
            parts[-1].append(values.clone())
            return values if self.rank == 0 else sum(part[len(parts[-1]) - 1] for part in parts)  # type: ignore[return-value]

    for rank in (0, 1):
        parts.append([])
        shard = copy(engine)
        shard.world = Shard(engine.device, rank, rank, 2)
        actual = validate(shard, data, alphabet, 300)
    assert actual == whole


def test_nan_weights_raise_training_error(engine: Engine, data: Dataset, trained: Path) -> None:
    torch.nn.init.constant_(engine.model.output.weight, float("nan"))
    with pytest.raises(TrainingError, match="diverged: the dev loss is not finite"):
        validate(engine, data, network.load(trained / "best.safetensors")[1].settings.alphabet, 300)
