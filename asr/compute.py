"""Where to compute: the name of a device -> the torch device; and how a CPU's memory is handled."""

import ctypes

import torch

from asr.errors import AsrError

# Of glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
DEVICES = ("auto", "cpu", "cuda", "mps")


class DeviceError(AsrError):
    """A device that this machine does not have, or what it cannot do."""


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


def lowered(place: torch.device, precision: str) -> torch.dtype | None:
    """Return the type in which a network computes by autocast, None for float32.

    Raises DeviceError for what the device cannot train in: float16 needs CUDA, bfloat16 CUDA or a CPU.
    """
    if precision == "float32":
        return None
    able = {"float16": ("cuda",), "bfloat16": ("cuda", "cpu")}[precision]
    if place.type not in able:
        raise DeviceError(
            f"training.precision = {precision} is for {' and '.join(able)}, and the device is {place.type}; "
            "take float32"
        )
    found: torch.dtype = getattr(torch, precision)
    return found


def emulates(place: torch.device, kind: torch.dtype | None) -> bool:
    """Say whether bfloat16 is slower here than float32: on a CPU without instructions for it."""
    return (
        kind == torch.bfloat16
        and place.type == "cpu"
        and not (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    )


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
