"""Random numbers as a pure function of a counter: the same on every device, with no state to carry.

Edge masks, walks and batch orders are drawn here, so that a fit on a GPU sees the very same draws as a fit on a CPU and
the backward pass can draw a forward mask again instead of storing it. The generator is a multiply-xorshift hash (the
finaliser of MurmurHash3) on int32.
"""

import torch
from torch import Tensor

_MULTIPLY_1 = -2048144789  # 0x85ebca6b
_MULTIPLY_2 = -1028477387  # 0xc2b2ae35
_SPLIT_1 = -4658895280553007687  # 0xbf58476d1ce4e5b9
_SPLIT_2 = -7723592293110705685  # 0x94d049bb133111eb
_GOLDEN = 0x9E3779B97F4A7C15
_MASK_64 = 0xFFFFFFFFFFFFFFFF


def stream(*numbers: int) -> int:
    """Return a signed 32-bit key for a tuple of integers, such as (seed, epoch, step, encoder).

    Different tuples give independent-looking keys (SplitMix64 on each number in turn).
    """
    state = 0
    for number in numbers:
        state = (state + (int(number) & _MASK_64) + _GOLDEN) & _MASK_64
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK_64
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK_64
        state ^= state >> 31
    return (state >> 32) - (1 << 31)


def premix(rows: Tensor, cols: Tensor) -> Tensor:
    """Return well-mixed int32 keys of ordered pairs: ``premix(a, b)`` and ``premix(b, a)`` are unrelated.

    Parameters
    ----------
    rows, cols
        Non-negative int64 below 2^31, shape (n,).
    """
    state = (rows << 32) | cols
    for shift, multiplier in ((30, _SPLIT_1), (27, _SPLIT_2)):
        # As in ``mix``: the mask makes an arithmetic shift a logical one, and products wrap around.
        state ^= (state >> shift).bitwise_and_((1 << (64 - shift)) - 1)
        state *= multiplier
    return (state >> 32).to(torch.int32)


def mix(keys: Tensor, key: int) -> Tensor:
    """Hash int32 ``keys`` under a 32-bit ``key``; returns int32 of the same shape, uniform over all values."""
    x = keys ^ ((key + 2**31) % 2**32 - 2**31)
    for shift, multiplier in ((16, _MULTIPLY_1), (13, _MULTIPLY_2)):
        # torch shifts int32 arithmetically; the mask makes the shift a logical one.
        x ^= (x >> shift).bitwise_and_((1 << (32 - shift)) - 1)
        x *= multiplier
    x ^= (x >> 16).bitwise_and_(0xFFFF)
    return x


def uniform(keys: Tensor, key: int) -> Tensor:
    """Return float32 numbers in [0, 1), one for each int32 of ``keys``, on a grid of 2^-24."""
    return mix(keys, key).bitwise_and_(0xFFFFFF).to(torch.float32).mul_(2.0**-24)


def bernoulli(keys: Tensor, key: int, probability: float) -> Tensor:
    """Return a boolean for each int32 of ``keys``, True with ``probability`` (resolution 2^-32)."""
    threshold = round(probability * 2**32) - 2**31
    if threshold > 2**31 - 1:
        return torch.ones_like(keys, dtype=torch.bool)
    return mix(keys, key) < threshold


def permutation(n: int, key: int, device: torch.device) -> Tensor:
    """Return a random order of 0..n-1 (int64) that is the same on every device."""
    keys = mix(torch.arange(n, dtype=torch.int32, device=device), key)
    return torch.sort(keys, stable=True).indices
