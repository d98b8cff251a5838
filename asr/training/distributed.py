"""Training with several processes that torchrun started, or with this one alone."""

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

import torch
from torch import Tensor, distributed
from torch._C._distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from asr.errors import AsrError

# How long a process waits for another that may have died.
TIMEOUT = timedelta(minutes=10)
# How long processes wait while one of them computes features.
_FEATURES_TIMEOUT = timedelta(days=7)


class PeerError(AsrError):
    """Another process of the same run has ended or cannot be reached."""


@dataclass(frozen=True)
class World:
    """This process's device, its `rank` among all `size` processes, and its `local_rank` among those of its machine."""

    device: torch.device = torch.device("cpu")
    rank: int = 0
    local_rank: int = 0
    size: int = 1
    slow_group: distributed.ProcessGroup | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.size:
            raise ValueError(f"rank = {self.rank} is not between 0 and {self.size - 1}")

    @property
    def is_main(self) -> bool:
        """Return whether this is the process that writes the run's files."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes; every process must call it."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def minimum(self, values: Tensor) -> Tensor:
        """Return the element-wise minimum over all processes; every process must call it."""
        if self.size > 1:
            distributed.all_reduce(values, distributed.ReduceOp.MIN)
        return values

    def barrier(self) -> None:
        """Wait, for days if necessary, until every process has called this."""
        if self.slow_group is not None:
            distributed.barrier(self.slow_group)


def _new_store(store: Store, rank: int, size: int) -> Store:
    """Return a part of the store that only the current processes use.

    torchrun's store outlives the processes that it restarts, and torch 2.11 would find the addresses of those that
    have ended. So every process asks under a unique name, and rank 0 answers each with the name of the part until all
    have confirmed it; requests of earlier processes are answered too, without effect.
    """
    if rank:
        request = uuid4().hex
        store.set(f"asr/ask/{rank}", request)
        name: str = store.get(f"asr/answer/{request}").decode()
        store.set(f"asr/{name}/{rank}", "known")
        return PrefixStore(name, store)
    name = uuid4().hex
    missing = set(range(1, size))
    while missing:
        for other in sorted(missing):
            request = store.get(f"asr/ask/{other}").decode()
            store.set(f"asr/answer/{request}", name)
            if store.check([f"asr/{name}/{other}"]):
                missing.remove(other)
        time.sleep(0.01)
    return PrefixStore(name, store)


@contextmanager
def join_processes(device: torch.device) -> Iterator[World]:
    """Connect the processes that torchrun started during the context, with NCCL for CUDA and gloo otherwise.

    Without torchrun (WORLD_SIZE is not set) the world is this process. Raises PeerError if another process ends.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
        yield World(device)
        return
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if device.type == "cuda":
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
    try:
        store, rank, size = next(iter(rendezvous("env://", timeout=TIMEOUT)))
        distributed.init_process_group(
            # gloo reduces the tensors on the CPU.
            "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
            timeout=TIMEOUT,
            store=_new_store(store, rank, size),
            rank=rank,
            world_size=size,
            device_id=device if device.type == "cuda" else None,
        )
        # Any: new_group returns an int to processes outside the group, which do not exist here.
        slow_group: Any = distributed.new_group(backend="gloo", timeout=_FEATURES_TIMEOUT)
        yield World(device, rank, local_rank, size, slow_group)
    except RuntimeError as error:
        if re.search(r"gloo|nccl|connection|peer|timed out", str(error), re.I):
            raise PeerError("another training process has ended; its own error message has the reason") from error
        raise
    distributed.destroy_process_group()
