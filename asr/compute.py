"""Device choice, autocast precision, and memory settings of the C library."""

import ctypes
import os

import torch

from asr.errors import DeviceError

# Of glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def choose_device(name: str) -> torch.device:
    """Return the torch device `name`; `auto` is CUDA if available, else the CPU.

    MPS is used by name only: at these model sizes it is seldom faster, and CTC has to run on the CPU beside it.
    Raises DeviceError if the device is not available.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = "cuda" if available["cuda"] else "cpu"
    if not available.get(name, False):
        names = ", ".join(device for device, present in available.items() if present)
        raise DeviceError(f"device {name} is not available; this machine has {names}")
    return torch.device(name)


def autocast_dtype(device: torch.device, precision: str) -> torch.dtype | None:
    """Return the dtype for autocast, None for float32.

    Raises DeviceError if the device cannot train in it: float16 needs CUDA, bfloat16 CUDA or a CPU.
    """
    if precision == "float32":
        return None
    supported = {"float16": ("cuda",), "bfloat16": ("cuda", "cpu")}[precision]
    if device.type not in supported:
        raise DeviceError(
            f"training.precision = {precision} needs {' or '.join(supported)}, and the device is {device.type}; "
            "use float32"
        )
    dtype: torch.dtype = getattr(torch, precision)
    return dtype


def emulates_bfloat16(device: torch.device, dtype: torch.dtype | None) -> bool:
    """Return whether `dtype` is bfloat16 and the device a CPU without instructions for it, slower than in float32."""
    return (
        dtype == torch.bfloat16
        and device.type == "cpu"
        and not (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    )


def keep_freed_memory() -> None:
    """Set glibc's malloc to keep freed memory for the next tensors; do nothing with other C libraries.

    By default large blocks go back to the kernel at once, which clears each page of the next block again. That costs
    training on a CPU a tenth to a fifth of its time.
    """
    largest = 2**31 - 1
    try:
        library = ctypes.CDLL(None)
        for option in (_MMAP_THRESHOLD, _TRIM_THRESHOLD):
            library.mallopt(option, largest)
    except (AttributeError, OSError, TypeError):  # another C library, another system
        return


def _use_one_thread() -> None:
    torch.set_num_threads(1)


# OpenMP's threads do not exist in a forked process, which would wait for them forever.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_use_one_thread)
