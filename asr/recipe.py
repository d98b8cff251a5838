"""All settings of a training run, as recipe.toml has them."""

import math
from dataclasses import dataclass

from asr.augment import AugmentSettings
from asr.features import FeatureSettings
from asr.model import ModelSettings
from asr.text import TextSettings


@dataclass(frozen=True)
class TrainingSettings:
    """How a model is trained.

    AdamW's `learning_rate` rises over `warmup_epochs`, holds until the fraction `hold` of the run and falls to 0 as a
    cosine. `batch_seconds`: audio of a batch, padding included. `clip`: the largest gradient norm. `patience`: epochs
    without a better dev WER after which training stops (0: never). `device`: auto, cpu, cuda or mps.
    """

    epochs: int = 30
    seed: int = 1
    batch_seconds: float = 60.0
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    warmup_epochs: float = 2.0
    hold: float = 0.3
    clip: float = 5.0
    patience: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        if not 1 <= self.epochs <= 100_000:
            raise ValueError(f"epochs = {self.epochs} is not within 1 to 100000")
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"seed = {self.seed} is not within 0 to {2**31 - 1}")
        for name in ("batch_seconds", "learning_rate", "clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} = {getattr(self, name)} is not more than 0")
        for name in ("weight_decay", "warmup_epochs", "patience"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} = {getattr(self, name)} is not 0 or more")
        if not 0 <= self.hold <= 1:
            raise ValueError(f"hold = {self.hold} is not within 0 to 1")
        if self.device not in ("auto", "cpu", "cuda", "mps"):
            raise ValueError(f"device = {self.device!r} is not one of auto, cpu, cuda, mps")


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
        fraction = min((progress - held) / (settings.epochs - held), 1.0)
        return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * fraction))
