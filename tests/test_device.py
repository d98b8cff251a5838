"""The choice of a device."""

import pytest
import torch

from asr.device import DeviceError, choose


def test_auto_takes_cuda_else_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose("auto").type == "cpu"
    assert choose("mps").type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose("auto").type == "cuda"


def test_a_device_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="device cuda is not there; this machine has cpu"):
        choose("cuda")
    assert choose("cpu").type == "cpu"
