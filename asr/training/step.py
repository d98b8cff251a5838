"""One training step: the CTC loss, its gradient through all frames and layers, and the optimiser update."""

import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from asr.compute import autocast_dtype
from asr.errors import AsrError
from asr.model.network import Model
from asr.text import BLANK
from asr.training.batch import Batch
from asr.training.distributed import World
from asr.training.recipe import Recipe


class TrainingError(AsrError):
    """Data that cannot be trained on, a run that diverged, or one that cannot be resumed."""


@dataclass(frozen=True)
class Losses:
    """`total` (B,): nats per utterance including the other losses, 0 where the loss is infinite.

    `plain` (B,): the loss of the characters alone. `log_probs` (B, T', V) of the characters and `lengths` (B,): the
    network's output.
    """

    total: Tensor
    plain: Tensor
    log_probs: Tensor
    lengths: Tensor


@dataclass(frozen=True)
class StepBatches:
    """This process's batches of one step, which has `count` utterances over all processes.

    A process without a batch of its own is `idle`: it computes a batch of another process with a gradient of 0.
    """

    batches: Sequence[Batch]
    count: int
    idle: bool = False


@dataclass(frozen=True)
class StepResult:
    """The result of a step over all processes: the sum of losses in nats, how many were infinite, the gradient norm."""

    loss: float
    infinite: int
    norm: float
    stop: bool


class Engine:
    """The network on this process's device, with its optimiser and gradient scaler.

    `network` is `model`, wrapped if several processes train it. Raises DeviceError for the precision of the recipe.
    """

    def __init__(self, recipe: Recipe, model: Model, world: World) -> None:
        settings, device = recipe.training, world.device
        self.recipe, self.world = recipe, world
        self._dtype = autocast_dtype(device, settings.precision)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        torch.use_deterministic_algorithms(settings.deterministic)
        torch.backends.cudnn.deterministic = settings.deterministic
        if settings.deterministic:
            # cuBLAS requires it.
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        self.model = model.to(device)
        self.optimiser: torch.optim.Optimizer = torch.optim.AdamW(
            model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )
        devices = [device] if device.type == "cuda" else None
        self.network: nn.Module = DistributedDataParallel(model, devices) if world.size > 1 else model
        self.scaler = GradScaler(device.type, enabled=self._dtype == torch.float16)

    @property
    def device(self) -> torch.device:
        """Return the device that the network computes on."""
        return self.world.device

    def losses(self, batch: Batch, network: nn.Module | None = None) -> Losses:
        """Return the CTC losses of a batch. network: the wrapped network; the default is the model."""
        settings = self.recipe.training
        # The intermediate CTC loss regularises the lower layers (Lee and Watanabe, 2021).
        tap = self.recipe.model.layers // 2 if settings.intermediate_weight and self.model.training else 0
        batch = batch.to(self.device)
        with torch.autocast(self.device.type, self._dtype) if self._dtype else nullcontext():
            output = (network or self.model)(batch.features, batch.feature_lengths, None, tap)
        tokens = self.model.tokens
        log_probs, phonemes = output.log_probs[:, :, :tokens], output.log_probs[:, :, tokens:]
        plain = total = self._ctc(log_probs, output.lengths, batch)
        if output.tapped is not None:
            weight = settings.intermediate_weight
            total = (1 - weight) * plain + weight * self._ctc(output.tapped[:, :, :tokens], output.lengths, batch)
        if batch.phonemes is not None and batch.phoneme_lengths is not None:
            known = batch.phoneme_lengths >= 0
            targets = replace(batch, targets=batch.phonemes, target_lengths=batch.phoneme_lengths.clamp(min=0))
            loss = self._ctc(phonemes, output.lengths, targets)
            weight = settings.phoneme_weight
            total = (1 - weight) * total + weight * torch.where(known.to(self.device), loss, 0.0)
        return Losses(total, plain, log_probs, output.lengths)

    def _ctc(self, log_probs: Tensor, lengths: Tensor, batch: Batch, zero_infinity: bool = True) -> Tensor:
        # torch has CTC for the CPU and CUDA only, and a deterministic gradient of it for the CPU only.
        cpu = self.device.type == "mps" or (self.device.type == "cuda" and self.recipe.training.deterministic)
        device = torch.device("cpu") if cpu else self.device
        loss = functional.ctc_loss(
            log_probs.transpose(0, 1).to(device),
            batch.targets.to(device),
            lengths.to(device),
            batch.target_lengths.to(device),
            blank=BLANK,
            reduction="none",
            zero_infinity=zero_infinity,
        )
        return loss.to(self.device)

    def _count_infinite(self, losses: Losses, batch: Batch) -> int:
        """Return how many losses were infinite and set to 0, without a gradient."""
        if not bool(((losses.plain == 0) & (batch.target_lengths > 0).to(self.device)).any()):
            return 0
        with torch.no_grad():
            return int(self._ctc(losses.log_probs, losses.lengths, batch, zero_infinity=False).isinf().sum())

    def step(self, step: StepBatches, learning_rate: float, stop: bool = False) -> StepResult:
        """Train on this process's batches of a step; all processes must call it at the same time.

        The gradient is that of the mean loss over all utterances of the step, for any number of processes. `stop` of
        any process is in the result of all. Raises TrainingError if the loss or the gradient is not finite; the
        parameters are then unchanged.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
        self.optimiser.zero_grad(set_to_none=True)
        sums = torch.tensor([0.0, 0.0, float(stop)], dtype=torch.float64)
        # DistributedDataParallel averages the gradients of processes; the factor `size` makes it their sum.
        scale = 0.0 if step.idle else self.world.size / step.count
        for index, batch in enumerate(step.batches):
            # Processes exchange the accumulated gradients of a step with its last batch.
            last, network = index == len(step.batches) - 1, self.network
            with nullcontext() if last or not isinstance(network, DistributedDataParallel) else network.no_sync():
                losses = self.losses(batch, network)
                self.scaler.scale(losses.total.sum() * scale).backward()  # type: ignore[no-untyped-call]
            if not step.idle:
                sums[0] += losses.plain.detach().double().sum().cpu()
                sums[1] += self._count_infinite(losses, batch)
        self.scaler.unscale_(self.optimiser)
        norm = float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.training.clip))
        loss, infinite, stopping = self.world.sum(sums).tolist()
        if not np.isfinite(loss) or (not np.isfinite(norm) and not self.scaler.is_enabled()):
            raise TrainingError(f"training diverged: loss {loss}, gradient norm {norm}")
        self.scaler.step(self.optimiser)
        self.scaler.update()
        return StepResult(loss, int(infinite), norm, stopping > 0)
