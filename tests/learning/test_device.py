"""The device that a name stands for."""

import re

import pytest
import torch

from buir.learning.loop import training_device


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("gpu", "device is 'gpu'; expected 'auto' or a device of torch, such as 'cpu' or 'cuda'"),
        ("", "device is ''; expected 'auto' or a device of torch"),
        (None, "device is None; expected 'auto' or a device of torch"),
        ("meta", "device is 'meta', which torch does not find here; expected 'auto' or 'cpu'"),
        ("xpu", "device is 'xpu', which torch does not find here; expected 'auto' or 'cpu'"),
    ],
)
def test_a_device_that_is_none(name, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        training_device(name)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "device is 'cuda:2', but torch finds no CUDA here; expected 'auto' or 'cpu'"),
        (2, "device is 'cuda:2', but torch finds CUDA devices 0 to 1 here; expected 'auto' or one such as 'cuda:1'"),
        (3, None),
    ],
)
def test_a_number_beyond_the_cuda_devices(count, text, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    if text is None:
        assert training_device("cuda:2") == torch.device("cuda", 2)
        return
    with pytest.raises(ValueError, match=re.escape(text)):
        training_device("cuda:2")


def test_the_device_of_a_name():
    assert training_device("cpu") == torch.device("cpu")
    assert training_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_another_accelerator_is_taken_where_torch_has_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("mps"))
    assert training_device("mps") == torch.device("mps")
    with pytest.raises(ValueError, match="device is 'xpu'"):
        training_device("xpu")
