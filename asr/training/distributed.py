"""One process among several that train one model together, as torchrun starts them."""

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

# A process that waits for longer than this on one that has died or hangs gives up.
TIMEOUT = timedelta(minutes=10)
# While one process computes features, the others wait.
_PATIENCE = timedelta(days=7)


class PeerError(AsrError):
    """Another process of the same run has ended or cannot be reached."""


@dataclass(frozen=True)
class World:
    """This process's device, its `rank` among `size`, and its `local_rank` among those of its machine."""

    place: torch.device = torch.device("cpu")
    rank: int = 0
    local_rank: int = 0
    size: int = 1
    patient: distributed.ProcessGroup | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.size:
            raise ValueError(f"rank = {self.rank} is not within 0 to {self.size - 1}")

    @property
    def leads(self) -> bool:
        """Tell whether this is the one process that writes the run's files."""
        return self.rank == 0

    def total(self, values: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes; every process must call it."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def least(self, values: Tensor) -> Tensor:
        """Return the least of each value over all processes; every process must call it."""
        if self.size > 1:
            distributed.all_reduce(values, distributed.ReduceOp.MIN)
        return values

    def wait(self) -> None:
        """Wait, for days if need be, until every process has come here."""
        if self.patient is not None:
            distributed.barrier(self.patient)


def asked_for() -> bool:
    """Tell whether torchrun, or another starter that sets the same variables, started this process."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def _own_part(store: Store, rank: int, size: int) -> Store:
    """Return a part of the store that only the processes of this very start use.

    torchrun's store outlives the processes that it restarts, and torch 2.11 then finds the addresses of those that
    have ended. So every process asks under a name of its own, and the first answers each with the name of the part,
    until all have said that they know it: what earlier processes asked is answered too, and nobody listens.
    """
    if rank:
        mine = uuid4().hex
        store.set(f"asr/ask/{rank}", mine)
        name: str = store.get(f"asr/answer/{mine}").decode()
        store.set(f"asr/{name}/{rank}", "known")
        return PrefixStore(name, store)
    name = uuid4().hex
    missing = set(range(1, size))
    while missing:
        for other in sorted(missing):
            asked = store.get(f"asr/ask/{other}").decode()
            store.set(f"asr/answer/{asked}", name)
            if store.check([f"asr/{name}/{other}"]):
                missing.remove(other)
        time.sleep(0.01)
    return PrefixStore(name, store)


@contextmanager
def joined(place: torch.device) -> Iterator[World]:
    """Join the processes that torchrun started, for as long as the context lasts; alone where there are none.

    CUDA devices talk over NCCL, all others over gloo.
    """
    if not asked_for():
        yield World(place)
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if place.type == "cuda":
        place = torch.device("cuda", local)
        torch.cuda.set_device(place)
    try:
        store, rank, size = next(iter(rendezvous("env://", timeout=TIMEOUT)))
        distributed.init_process_group(
            # gloo carries what lies on the CPU.
            "cpu:gloo,cuda:nccl" if place.type == "cuda" else "gloo",
            timeout=TIMEOUT,
            store=_own_part(store, rank, size),
            rank=rank,
            world_size=size,
            device_id=place if place.type == "cuda" else None,
        )
        # Outside the group new_group returns a number; every rank is inside.
        patient: Any = distributed.new_group(backend="gloo", timeout=_PATIENCE)
        yield World(place, rank, local, size, patient)
    except RuntimeError as error:
        # What gloo and NCCL say of a connection that is gone; what went wrong is said where it did.
        if re.search(r"gloo|nccl|connection|peer|timed out", str(error), re.I):
            raise PeerError("another of the processes that train together has ended; its own error says why") from error
        raise
    distributed.destroy_process_group()
