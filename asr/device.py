"""Where to compute: the name of a device -> the torch device."""

import torch

DEVICES = ("auto", "cpu", "cuda", "mps")


class DeviceError(ValueError):
    """A device that this machine does not have."""


def choose(name: str) -> torch.device:
    """Return the device of that name; `auto`: CUDA, else the CPU.

    MPS is taken only by name: at the sizes used here it is seldom faster, and CTC has to run on the CPU beside it.
    Raises DeviceError if it is not there.
    """
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = "cuda" if there["cuda"] else "cpu"
    if not there.get(name, False):
        found = ", ".join(device for device, present in there.items() if present)
        raise DeviceError(f"device {name} is not there; this machine has {found}")
    return torch.device(name)
