"""One step: the CTC loss of a batch, its gradient through every frame and layer, and the optimiser."""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from asr import compute as device
from asr.errors import AsrError
from asr.features.batching import Batch
from asr.model import Model
from asr.text import BLANK
from asr.training.distributed import World
from asr.training.recipe import Recipe

MEND = "the last good model is kept; a lower training.learning_rate or training.clip may help"


class TrainingError(AsrError):
    """Data that cannot be trained on, a run that diverged, or one that cannot be continued."""


@dataclass(frozen=True)
class Losses:
    """`total` (B,): nats of each utterance, with the intermediate loss where there is one, 0 where it is infinite.

    `plain` (B,): without the intermediate loss. `log_probs` (B, T', V) and `lengths` (B,): the network's output.
    """

    total: Tensor
    plain: Tensor
    log_probs: Tensor
    lengths: Tensor


@dataclass(frozen=True)
class Share:
    """This process's batches of one step, in which all processes together have `count` utterances.

    A process that is `idle` has none of its own and goes along with one that another has, for a gradient of 0.
    """

    batches: Sequence[Batch]
    count: int
    idle: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a step came to, over all processes: the sum of losses in nats and how many were infinite; gradient norm."""

    loss: float
    infinite: int
    norm: float
    stop: bool


@dataclass
class Engine:
    """The network, its optimiser, and where they compute. `network` is `model`, wrapped where several train it.

    `lowered`: the type that the network computes in, where it is not float32.
    """

    recipe: Recipe
    model: Model
    optimiser: torch.optim.Optimizer
    place: torch.device
    world: World
    network: nn.Module
    scaler: GradScaler
    lowered: torch.dtype | None = None

    @classmethod
    def of(cls, recipe: Recipe, model: Model, world: World) -> "Engine":
        """Put a model to this process's device and give it an optimiser. Raises DeviceError for its precision."""
        settings, place = recipe.training, world.place
        lowered = device.autocast_dtype(place, settings.precision)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        torch.use_deterministic_algorithms(settings.deterministic)
        torch.backends.cudnn.deterministic = settings.deterministic
        if settings.deterministic:
            # Without it, cuBLAS refuses to work.
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        model = model.to(place)
        optimiser = torch.optim.AdamW(
            model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )
        devices = [place] if place.type == "cuda" else None
        network = DistributedDataParallel(model, devices) if world.size > 1 else model
        scaler = GradScaler(place.type, enabled=lowered == torch.float16)
        return cls(recipe, model, optimiser, place, world, network, scaler, lowered)

    def losses(self, batch: Batch, network: nn.Module | None = None) -> Losses:
        """Return the CTC losses of a batch; `network` may be the wrapped one."""
        settings = self.recipe.training
        # A layer in the middle learns to spell as well, which helps those under it (Lee and Watanabe, 2021).
        tap = self.recipe.model.layers // 2 if settings.intermediate_weight and self.model.training else 0
        batch = batch.to(self.place)
        with torch.autocast(self.place.type, self.lowered) if self.lowered else nullcontext():
            output = (network or self.model)(batch.features, batch.feature_lengths, None, tap)
        plain = total = self._ctc(output.log_probs, output.lengths, batch)
        if output.tapped is not None:
            share = settings.intermediate_weight
            total = (1 - share) * plain + share * self._ctc(output.tapped, output.lengths, batch)
        return Losses(total, plain, output.log_probs, output.lengths)

    def _ctc(self, log_probs: Tensor, lengths: Tensor, batch: Batch, mend: bool = True) -> Tensor:
        # torch has CTC for the CPU and CUDA alone, and a gradient that is the same each time on the CPU alone.
        elsewhere = self.place.type == "mps" or (self.place.type == "cuda" and self.recipe.training.deterministic)
        place = torch.device("cpu") if elsewhere else self.place
        loss = functional.ctc_loss(
            log_probs.transpose(0, 1).to(place),
            batch.targets.to(place),
            lengths.to(place),
            batch.target_lengths.to(place),
            blank=BLANK,
            reduction="none",
            zero_infinity=mend,
        )
        return loss.to(self.place)

    def _infinite(self, found: Losses, batch: Batch) -> int:
        """Return how many losses were infinite and became 0, for which no gradient flows."""
        if not bool(((found.plain == 0) & (batch.target_lengths > 0).to(self.place)).any()):
            return 0
        with torch.no_grad():
            return int(self._ctc(found.log_probs, found.lengths, batch, mend=False).isinf().sum())

    def step(self, share: Share, learning_rate: float, stop: bool = False) -> Outcome:
        """Train on this process's share of a step; the others must do the same at the same time.

        The gradient is that of the mean loss over all utterances of the step, however many processes share them.
        `stop` is shared as well: one process's is all processes'. Raises TrainingError when the loss or the gradient
        is no number any more; the parameters are then as they were before.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
        self.optimiser.zero_grad(set_to_none=True)
        sums = torch.tensor([0.0, 0.0, float(stop)], dtype=torch.float64)
        # Processes' gradients are averaged; their sum is meant.
        scale = 0.0 if share.idle else self.world.size / share.count
        for number, batch in enumerate(share.batches):
            with self._alone() if number < len(share.batches) - 1 else nullcontext():
                found = self.losses(batch, self.network)
                self.scaler.scale(found.total.sum() * scale).backward()  # type: ignore[no-untyped-call]
            if not share.idle:
                sums[0] += found.plain.detach().double().sum().cpu()
                sums[1] += self._infinite(found, batch)
        self.scaler.unscale_(self.optimiser)
        norm = float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.training.clip))
        loss, infinite, stopping = self.world.total(sums).tolist()
        if not np.isfinite(loss) or (not np.isfinite(norm) and not self.scaler.is_enabled()):
            raise TrainingError(f"training diverged: loss {loss}, gradient norm {norm}")
        self.scaler.step(self.optimiser)
        self.scaler.update()
        return Outcome(loss, int(infinite), norm, stopping > 0)

    def _alone(self) -> AbstractContextManager[None]:
        """Return a context in which gradients are summed up here and not yet with those of other processes."""
        return self.network.no_sync() if isinstance(self.network, DistributedDataParallel) else nullcontext()
