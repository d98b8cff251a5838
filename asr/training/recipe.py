"""All settings of a training run, as recipe.toml has them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from asr.features import FeatureSettings
from asr.features.augment import AugmentSettings
from asr.model import ModelSettings
from asr.text import TextSettings

PRECISIONS = ("float32", "bfloat16", "float16")
AUTO = "auto"


@dataclass(frozen=True)
class TrainingSettings:
    """How a model is trained.

    AdamW's `learning_rate` rises over `warmup_epochs`, holds until the fraction `hold` of the run and falls to 0 as a
    cosine. `batch_seconds`: audio of a batch, padding included, or "auto": as much as the GPU's memory holds.
    `accumulate`: batches (of each process) in one step. `clip`: the largest gradient norm. `patience`: epochs without
    a better dev WER after which training stops (0: never).

    `intermediate_weight`: the share of the loss that is the CTC loss of the middle layer (Lee and Watanabe, 2021).
    `clean_epochs`: this many last epochs have neither masks nor noise nor other speeds. `average`: at the end, the
    weights of so many epochs are averaged, those with the `average_of` "best" dev WER or the "last" ones; the average
    becomes the best model if its dev WER is lower.

    `checkpoint_minutes`: how often what `--resume` needs is saved, besides after every epoch; the `checkpoints` last
    ones are kept. `device`: auto, cpu, cuda or mps. `precision`: of the network's products;
    weights and loss are float32 always. bfloat16 is for CUDA and for CPUs with instructions for it, float16 for CUDA
    alone. `deterministic`: only operations that give the same numbers each time, where a GPU has quicker ones.
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
    clean_epochs: int = 0
    average: int = 0
    average_of: str = "best"
    checkpoint_minutes: float = 10.0
    checkpoints: int = 2
    device: str = AUTO
    precision: str = "float32"
    deterministic: bool = False

    def __post_init__(self) -> None:
        for name, lowest, highest in (
            ("epochs", 1, 100_000),
            ("seed", 0, 2**31 - 1),
            ("accumulate", 1, 10_000),
            ("hold", 0, 1),
            ("intermediate_weight", 0, 0.9),
            ("clean_epochs", 0, self.epochs),
            ("average", 0, 1000),
            ("checkpoints", 1, 1000),
        ):
            if not lowest <= getattr(self, name) <= highest:
                raise ValueError(f"{name} = {getattr(self, name)} is not within {lowest} to {highest}")
        if isinstance(self.batch_seconds, str) and self.batch_seconds != AUTO:
            raise ValueError(f'batch_seconds = {self.batch_seconds!r} is neither a number nor "auto"')
        for name in ("batch_seconds", "learning_rate", "clip"):
            if getattr(self, name) != AUTO and not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} = {getattr(self, name)} is not more than 0")
        for name in ("weight_decay", "warmup_epochs", "patience", "checkpoint_minutes"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} = {getattr(self, name)} is not 0 or more")
        for name, known in (
            ("average_of", ("best", "last")),
            ("device", ("auto", "cpu", "cuda", "mps")),
            ("precision", PRECISIONS),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} = {getattr(self, name)!r} is not one of {', '.join(known)}")


@dataclass(frozen=True)
class Recipe:
    """The sections of recipe.toml; a recipe lists only what differs from these defaults."""

    name: str = ""
    features: FeatureSettings = FeatureSettings()
    text: TextSettings = TextSettings()
    augment: AugmentSettings = AugmentSettings()
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()

    def learning_rate(self, progress: float) -> float:
        """Return the learning rate when `progress` epochs, fractions included, are done."""
        settings = self.training
        if progress < settings.warmup_epochs:
            return settings.learning_rate * max(progress / settings.warmup_epochs, 1e-3)
        held = max(settings.hold * settings.epochs, settings.warmup_epochs)
        if progress <= held:
            return settings.learning_rate
        fraction = min((progress - held) / max(settings.epochs - held, 1e-9), 1.0)
        return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * fraction))

    def mask_strength(self, dev_wers: Sequence[float], progress: float) -> float:
        """Return the fraction of the masks to use when `progress` epochs, fractions included, are done.

        `dev_wers`: of all finished epochs, as fractions. Masks grow once the model has left the plateau on which
        it writes blanks alone.
        """
        learning = next((epoch for epoch, wer in enumerate(dev_wers, 1) if wer < 0.9), None)
        start, growth = self.augment.mask_start, self.augment.mask_growth
        if learning is None:
            return start
        grown = min((progress - learning) / growth, 1.0) if growth else 1.0
        return start + (1 - start) * grown
