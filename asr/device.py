"""Where to compute: the name of a device -> the torch device; and how a CPU's memory is handled."""

import ctypes

import torch

# Of glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
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


def keep_memory() -> None:
    """Let this process keep memory that it frees, for the next tensors; where the C library is glibc.

    By default large blocks go back to the kernel at once, and the next ones come as pages to be cleared one by one.
    That costs training on a CPU a tenth to a fifth of its time.
    """
    largest = 2**31 - 1
    try:
        library = ctypes.CDLL(None)
        for option in (_MMAP_THRESHOLD, _TRIM_THRESHOLD):
            library.mallopt(option, largest)
    except (AttributeError, OSError, TypeError):  # another C library, another system
        return
