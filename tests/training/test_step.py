"""The gradient, the loss and the result of one training step."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from asr.features import FeatureSettings
from asr.model import CELLS, ModelSettings, network
from asr.model.checkpoint import ModelFileSettings
from asr.text import TextSettings
from asr.training.batch import Batch, pad
from asr.training.distributed import World
from asr.training.recipe import Recipe, TrainingSettings
from asr.training.step import Engine, StepBatches, TrainingError

RECIPE = Recipe(
    features=FeatureSettings(coefficients=6, mel_bands=12),
    text=TextSettings(alphabet=" ABC"),
    model=ModelSettings(cell="gru", layers=2, hidden=8, channels=2, dropout=0),
    training=TrainingSettings(clip=1e9, learning_rate=0.1, weight_decay=0.0, device="cpu"),
)


def engine(recipe: Recipe = RECIPE) -> Engine:
    torch.manual_seed(5)
    return Engine(recipe, network.build(ModelFileSettings(recipe.features, recipe.text, recipe.model)), World())


def batch(*lengths: int, seed: int = 0) -> Batch:
    """Return random features of so many frames, each with as many tokens as fit into a sixth of them."""
    random = np.random.default_rng(seed)
    features = [random.normal(size=(length, 6)).astype(np.float32) for length in lengths]
    return pad(features, [random.integers(1, 5, length // 12).tolist() for length in lengths])


def gradient(first: Engine) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in first.model.parameters() if p.grad is not None])


def test_gradient_is_that_of_the_mean_loss() -> None:
    first = engine()
    data = batch(60, 48, 90)
    outcome = first.step(StepBatches([data], 3), 0.0)
    actual = gradient(first)
    other = engine()
    losses = other.losses(data)
    losses.total.mean().backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(actual, gradient(other))
    assert outcome.loss == pytest.approx(float(losses.plain.detach().sum()), rel=1e-6)
    assert outcome.norm == pytest.approx(float(gradient(other).norm()), rel=1e-5)
    assert (outcome.infinite, outcome.stop) == (0, False)


def test_accumulated_batches_equal_one_batch() -> None:
    whole, parts = engine(), engine()
    whole.step(StepBatches([batch(60, 60, 60)], 3), 0.0)
    random = batch(60, 60, 60)
    pieces = [
        Batch(
            random.features[rows],
            random.feature_lengths[rows],
            random.targets[rows],
            random.target_lengths[rows],
        )
        for rows in (slice(0, 2), slice(2, 3))
    ]
    parts.step(StepBatches(pieces, 3), 0.0)
    torch.testing.assert_close(gradient(parts), gradient(whole), rtol=1e-4, atol=1e-6)


def test_steps_lower_the_loss() -> None:
    first = engine()
    data = StepBatches([batch(60, 48, 90)], 3)
    losses = [first.step(data, 0.01).loss for _ in range(10)]
    assert losses[-1] < 0.8 * losses[0]


def test_gradient_is_clipped_after_its_norm_is_taken() -> None:
    loose, tight = engine(), engine(replace(RECIPE, training=replace(RECIPE.training, clip=0.01)))
    data = StepBatches([batch(60, 48)], 2)
    assert loose.step(data, 0.0).norm == pytest.approx(tight.step(data, 0.0).norm)
    assert float(gradient(tight).norm()) == pytest.approx(0.01, rel=1e-3)


def test_intermediate_loss_is_weighted_in_training_only() -> None:
    settings = replace(RECIPE, training=replace(RECIPE.training, intermediate_weight=0.3))
    plain, weighted = engine(), engine(settings)
    data = batch(60, 48, 90)
    without, losses = plain.losses(data), weighted.losses(data)
    torch.testing.assert_close(losses.plain, without.plain)
    tapped = weighted.model(data.features, data.feature_lengths, tap=1).tapped
    assert tapped is not None
    middle = torch.nn.functional.ctc_loss(
        tapped.transpose(0, 1), data.targets, losses.lengths, data.target_lengths, reduction="none"
    )
    torch.testing.assert_close(losses.total, 0.7 * losses.plain + 0.3 * middle)
    weighted.model.eval()
    torch.testing.assert_close(weighted.losses(data).total, without.plain)


def test_idle_process_has_zero_gradient() -> None:
    first = engine()
    outcome = first.step(StepBatches([batch(60)], 4, idle=True), 0.1)
    assert outcome.loss == 0
    assert not gradient(first).any()


def test_infinite_loss_is_counted_and_has_no_gradient() -> None:
    first, clean = engine(), engine()
    # Five output frames for ten tokens: CTC has no alignment.
    random = np.random.default_rng(0)
    features = [random.normal(size=(length, 6)).astype(np.float32) for length in (60, 20)]
    outcome = first.step(StepBatches([pad(features, [[1, 2], [1, 2] * 5])], 1), 0.0)
    assert outcome.infinite == 1
    assert np.isfinite(outcome.loss)
    clean.step(StepBatches([pad(features[:1], [[1, 2]])], 1), 0.0)
    torch.testing.assert_close(gradient(first), gradient(clean), rtol=1e-4, atol=1e-6)


def test_nan_loss_leaves_parameters_unchanged() -> None:
    first = engine()
    data = batch(60)
    data.features[0, 3, 2] = float("nan")
    before = [parameter.clone() for parameter in first.model.parameters()]
    with pytest.raises(TrainingError, match="diverged: loss nan"):
        first.step(StepBatches([data], 1), 0.1)
    for parameter, old in zip(first.model.parameters(), before, strict=True):
        assert torch.equal(parameter, old)


def test_deterministic_step_has_the_same_loss() -> None:
    plain, exact = engine(), engine(replace(RECIPE, training=replace(RECIPE.training, deterministic=True)))
    try:
        data = StepBatches([batch(60, 48, 90)], 3)
        assert exact.step(data, 0.01).loss == plain.step(data, 0.01).loss
    finally:
        torch.use_deterministic_algorithms(False)


def test_stop_is_in_the_result() -> None:
    assert engine().step(StepBatches([batch(60)], 1), 0.0, stop=True).stop


@pytest.mark.parametrize("cell", CELLS)
def test_bfloat16_gradient_is_close_and_weights_stay_float32(cell: str) -> None:
    model = replace(RECIPE.model, cell=cell)
    exact = engine(replace(RECIPE, model=model))
    lowered = engine(replace(RECIPE, model=model, training=replace(RECIPE.training, precision="bfloat16")))
    data = batch(60, 48, 90)
    losses = lowered.losses(data)
    assert losses.log_probs.dtype == losses.total.dtype == torch.float32
    expected, actual = exact.step(StepBatches([data], 3), 0.1), lowered.step(StepBatches([data], 3), 0.1)
    assert actual.loss != expected.loss
    assert actual.loss == pytest.approx(expected.loss, rel=0.02)
    assert all(parameter.dtype == torch.float32 for parameter in lowered.model.parameters())
    similarity = torch.nn.functional.cosine_similarity(gradient(exact), gradient(lowered), dim=0)
    assert float(similarity) > 0.99


# --- phonemes ---------------------------------------------------------------------------------------------------

SPOKEN = replace(RECIPE, text=TextSettings(alphabet=" ABC", phonemes="xyz"))


def with_phonemes(data: Batch, *lengths: int) -> Batch:
    random = np.random.default_rng(3)
    rows = [random.integers(1, 5, length) if length >= 0 else None for length in lengths]
    return pad(
        [frames[:length].numpy() for frames, length in zip(data.features, data.feature_lengths, strict=True)],
        [row[:length].tolist() for row, length in zip(data.targets, data.target_lengths, strict=True)],
        [None if row is None else row.astype(np.int32) for row in rows],
    )


def test_loss_is_the_weighted_mean_of_characters_and_phonemes() -> None:
    data = with_phonemes(batch(60, 48, 90), 3, 0, 4)
    losses = {}
    for weight in (0.0, 0.3, 1.0):
        first = engine(replace(SPOKEN, training=replace(SPOKEN.training, phoneme_weight=weight)))
        first.model.eval()
        losses[weight] = first.losses(data)
    torch.testing.assert_close(losses[0.0].total, losses[0.0].plain)
    torch.testing.assert_close(losses[0.3].total, 0.7 * losses[0.0].total + 0.3 * losses[1.0].total)
    assert not torch.allclose(losses[1.0].total, losses[0.0].total)
    assert losses[0.3].log_probs.shape[2] == 5
    # As torch computes it for one utterance.
    with torch.no_grad():
        output = first.model(data.features[:1], data.feature_lengths[:1])
    assert data.phonemes is not None
    phonemes = torch.nn.functional.ctc_loss(
        output.log_probs[:, :, 5:].transpose(0, 1),
        data.phonemes[:1, :3],
        output.lengths,
        torch.tensor([3]),
        reduction="sum",
    )
    assert float(losses[1.0].total[0].detach()) == pytest.approx(float(phonemes), rel=1e-5)


def test_utterance_without_pronunciations_has_the_loss_of_its_characters_only() -> None:
    first = engine(SPOKEN)
    first.model.eval()
    known, partly = (first.losses(with_phonemes(batch(60, 48), *lengths)) for lengths in ((3, 2), (3, -1)))
    torch.testing.assert_close(known.total[0], partly.total[0])
    torch.testing.assert_close(partly.total[1], 0.5 * partly.plain[1])
    assert float(known.total[1].detach()) > float(partly.total[1].detach())
