"""The settings of a training run, as recipe.toml has them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from asr.config import check_choices, check_ranges
from asr.features import FeatureSettings
from asr.features.augment import AugmentSettings
from asr.model import ModelSettings
from asr.model.schedule import learning_rate_factor
from asr.text import TextSettings

PRECISIONS = ("float32", "bfloat16", "float16")
AUTO = "auto"


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of the optimiser and the training loop.

    AdamW's `learning_rate` rises over `warmup_epochs`, is constant until the fraction `hold` of the run, and falls to
    0 along a cosine. `batch_seconds`: audio per batch including padding, or "auto": as much as fits in GPU memory.
    `accumulate`: batches per process and step. `clip`: the maximum gradient norm. `patience`: stop after this many
    epochs without a lower dev WER (0: never).

    `intermediate_weight`: the weight of the CTC loss of the middle layer (Lee and Watanabe, 2021). `phoneme_weight`:
    that of the phonemes' CTC loss in a training with pronunciations. `clean_epochs`: the number of final epochs without
    masks, noise and speed perturbation. `average`: the number of epochs whose weights are averaged after the last
    epoch, those with the `average_of` "best" dev WER or the "last" ones; the average becomes the best model if its dev
    WER is lower.

    `checkpoint_minutes`: the interval between saves of the training state, which is also saved after every epoch; the
    last `checkpoints` of them are kept. `buffer_hours`: the hours of recordings that each process shuffles at a time
    when it trains on shards; they and the next ones are in memory. `precision`: of matrix products; weights and loss
    are always float32. bfloat16 needs CUDA or a CPU with bfloat16 instructions, float16 needs CUDA. `deterministic`:
    use only operations whose results are reproducible, even if a GPU has faster ones. `metric`: the rate of the dev
    set by which epochs are compared, for the best model, `patience` and the growth of the masks: "wer", "cer", or
    "auto": the CER if the words of the language are not separated.
    """

    epochs: int = 30
    seed: int = 1
    batch_seconds: float | str = 60.0
    accumulate: int = 1
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    warmup_epochs: float = 2.0
    hold: float = 0.3
    clip: float = 5.0
    patience: int = 0
    intermediate_weight: float = 0.0
    phoneme_weight: float = 0.5
    clean_epochs: int = 0
    average: int = 0
    average_of: str = "best"
    checkpoint_minutes: float = 10.0
    checkpoints: int = 2
    device: str = AUTO
    precision: str = "float32"
    deterministic: bool = False
    metric: str = AUTO
    buffer_hours: float = 2.0

    def __post_init__(self) -> None:
        check_ranges(
            self,
            epochs=(1, 100_000),
            seed=(0, 2**31 - 1),
            accumulate=(1, 10_000),
            hold=(0, 1),
            intermediate_weight=(0, 0.9),
            phoneme_weight=(0, 1),
            clean_epochs=(0, self.epochs),
            average=(0, 1000),
            checkpoints=(1, 1000),
        )
        if isinstance(self.batch_seconds, str) and self.batch_seconds != AUTO:
            raise ValueError(f'batch_seconds = {self.batch_seconds!r} is neither a number nor "auto"')
        for name in ("batch_seconds", "learning_rate", "clip", "buffer_hours"):
            if getattr(self, name) != AUTO and not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} = {getattr(self, name)} is not more than 0")
        for name in ("weight_decay", "warmup_epochs", "patience", "checkpoint_minutes"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} = {getattr(self, name)} is not 0 or more")
        check_choices(self, average_of=("best", "last"), device=("auto", "cpu", "cuda", "mps"), precision=PRECISIONS)
        check_choices(self, metric=(AUTO, "wer", "cer"))


@dataclass(frozen=True)
class Recipe:
    """The sections of recipe.toml; a recipe lists only what differs from these defaults."""

    name: str = ""
    features: FeatureSettings = FeatureSettings()
    text: TextSettings = TextSettings()
    augment: AugmentSettings = AugmentSettings()
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()

    def __post_init__(self) -> None:
        if self.features.kind == "given" and (unchanged := self.augment.of_audio):
            raise ValueError(
                f'features.kind = "given" has no audio to change: in [augment], set {", ".join(unchanged)}'
            )

    def learning_rate(self, progress: float) -> float:
        """Return the learning rate after `progress` epochs, fractions included."""
        settings = self.training
        hold = settings.hold * settings.epochs
        return settings.learning_rate * learning_rate_factor(progress, settings.epochs, settings.warmup_epochs, hold)

    def mask_strength(self, dev_errors: Sequence[float], progress: float) -> float:
        """Return the fraction of the masks to use after `progress` epochs, fractions included.

        dev_errors: WER or CER of all finished epochs, as fractions. Masks grow from the first one that is below 90 %,
        when the model no longer outputs only blanks.
        """
        learning = next((epoch for epoch, error in enumerate(dev_errors, 1) if error < 0.9), None)
        start, growth = self.augment.mask_start, self.augment.mask_growth
        if learning is None:
            return start
        grown = min((progress - learning) / growth, 1.0) if growth else 1.0
        return start + (1 - start) * grown
