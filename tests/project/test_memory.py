"""Errors of too little memory, told from all others."""

import numpy as np
import pytest
import torch

from buir.errors import shortage


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (MemoryError("Unable to allocate 7.28 TiB for an array"), "not enough memory, 7.28 TiB asked for"),
        (
            RuntimeError(
                "DefaultCPUAllocator: can't allocate memory: you tried to allocate 429496729600 bytes. Error code 12"
            ),
            "not enough memory, 400.0 GiB asked for",
        ),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
            "not enough memory, 20.00 GiB asked for",
        ),
        (ValueError("array is too big; `arr.size * arr.dtype.itemsize` is larger"), "not enough memory"),
        (MemoryError(), "not enough memory"),
        (ValueError("user_items has no rows"), None),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), None),
        (OSError("out of memory"), None),
    ],
)
def test_by_hand(error, text):
    assert shortage(error) == text


def test_the_words_of_the_libraries_installed_here():
    with pytest.raises(MemoryError) as of_numpy:
        np.empty(1 << 59)
    with pytest.raises(RuntimeError) as of_torch:
        torch.empty(1 << 60)
    assert shortage(of_numpy.value) == "not enough memory, 4.00 EiB asked for"
    assert (shortage(of_torch.value) or "").startswith("not enough memory")
