"""Device choice, precision and memory."""

import ctypes
import os
import subprocess
import sys

import pytest
import torch

from asr import compute as device
from asr.compute import choose_device
from asr.errors import DeviceError
from tests.conftest import ROOT


def test_choose_device_auto_prefers_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto").type == "cpu"
    assert choose_device("mps").type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto").type == "cuda"


def test_choose_device_refuses_missing_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="device cuda is not available; this machine has cpu"):
        choose_device("cuda")
    assert choose_device("cpu").type == "cpu"


def test_keep_freed_memory_sets_malloc_options(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []

    class Library:
        def mallopt(self, option: int, value: int) -> int:
            asked.append((option, value))
            return 1

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library())
    device.keep_freed_memory()
    assert asked == [(-3, 2**31 - 1), (-1, 2**31 - 1)]


def test_keep_freed_memory_without_glibc_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(ctypes, "CDLL", asked.append)
    device.keep_freed_memory()
    assert asked == [None]


def test_autocast_dtype_by_device() -> None:
    cpu, cuda, mps = map(torch.device, ("cpu", "cuda", "mps"))
    assert [device.autocast_dtype(place, "float32") for place in (cpu, cuda, mps)] == [None] * 3
    assert device.autocast_dtype(cpu, "bfloat16") == device.autocast_dtype(cuda, "bfloat16") == torch.bfloat16
    assert device.autocast_dtype(cuda, "float16") == torch.float16
    with pytest.raises(DeviceError, match=r"precision = float16 needs cuda, and the device is cpu; use float32"):
        device.autocast_dtype(cpu, "float16")
    with pytest.raises(DeviceError, match=r"precision = bfloat16 needs cuda or cpu, and the device is mps"):
        device.autocast_dtype(mps, "bfloat16")


def test_emulates_bfloat16_without_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    place = torch.device("cpu")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert device.emulates_bfloat16(place, torch.bfloat16)
    assert not device.emulates_bfloat16(place, None)
    assert not device.emulates_bfloat16(torch.device("cuda"), torch.bfloat16)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    assert not device.emulates_bfloat16(place, torch.bfloat16)


FORK = """
import os, signal, torch
import asr.compute
torch.set_num_threads(2)
matrix = torch.ones(512, 512)
layer = torch.nn.LSTM(512, 512)
layer(matrix), matrix.exp(), matrix @ matrix
child = os.fork()
if child == 0:
    signal.alarm(20)
    layer(matrix), matrix.exp(), matrix @ matrix
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_can_compute() -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-W", "ignore", "-c", FORK]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "7\n"
