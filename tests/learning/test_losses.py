"""Losses: numbers by hand, the naive formula, gradients by finite differences."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from buir.learning.losses import bootstrap_loss, uniformity_loss
from tests.support import dense


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_bootstrap_loss_by_hand():
    prediction = torch.tensor([[3.0, 0.0], [0.0, 1.0], [-2.0, 0.0], [1.0, 1.0]])
    target = torch.tensor([[1.0, 0.0], [5.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    # cosines 1, 0, -1, 1 / sqrt 2
    assert bootstrap_loss(prediction, target).item() == pytest.approx((0 + 2 + 4 + 2 - math.sqrt(2)) / 4, abs=1e-6)


def test_bootstrap_loss_is_the_squared_distance_of_unit_vectors():
    prediction, target = normal(7, 5), normal(7, 5, seed=1)
    torch.testing.assert_close(
        bootstrap_loss(prediction, target), dense.bootstrap(prediction, target), rtol=0, atol=1e-13
    )


def test_bootstrap_loss_gradient():
    prediction, target = normal(4, 3).requires_grad_(), normal(4, 3, seed=1).requires_grad_()
    bootstrap_loss(prediction, target).backward()
    expected = dense.finite_differences(lambda p: bootstrap_loss(p, target), prediction)
    torch.testing.assert_close(prediction.grad, expected, rtol=0, atol=1e-8)
    assert target.grad is None


def test_uniformity_by_hand():
    # unit vectors at 0, 90 and 180 degrees: squared distances 2, 4, 2, each twice among the ordered pairs
    vectors = torch.tensor([[2.0, 0.0], [0.0, 0.5], [-1.0, 0.0]], dtype=torch.float64)
    expected = math.log((4 * math.exp(-4) + 2 * math.exp(-8)) / 6)
    assert uniformity_loss(vectors).item() == pytest.approx(expected, abs=1e-12)
    expected = math.log((4 * math.exp(-2) + 2 * math.exp(-4)) / 6)
    assert uniformity_loss(vectors, sharpness=1.0).item() == pytest.approx(expected, abs=1e-12)


def test_uniformity_ends_of_its_range():
    same = torch.ones(5, 3, dtype=torch.float64)
    assert uniformity_loss(same).item() == pytest.approx(0, abs=1e-12)
    opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    assert uniformity_loss(opposite).item() == pytest.approx(-8, abs=1e-12)


def test_uniformity_gradient():
    vectors = normal(6, 4).requires_grad_()
    uniformity_loss(vectors).backward()
    torch.testing.assert_close(vectors.grad, dense.finite_differences(uniformity_loss, vectors), rtol=0, atol=1e-8)


def test_uniformity_gradient_exists_where_rows_repeat():
    vectors = normal(4, 3)[[0, 0, 1, 2, 2]].requires_grad_()
    uniformity_loss(vectors).backward()
    torch.testing.assert_close(vectors.grad, dense.finite_differences(uniformity_loss, vectors), rtol=0, atol=1e-8)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 9), st.integers(1, 6), st.integers(0, 10**6), st.floats(0.1, 50))
def test_losses_see_directions_only_and_stay_in_range(n: int, d: int, seed: int, scale: float):
    one, other = normal(n, d, seed=seed), normal(n, d, seed=seed + 1)
    loss, spread = bootstrap_loss(one, other), uniformity_loss(one)
    assert -1e-9 <= loss <= 4 + 1e-9
    assert -8 - 1e-9 <= spread <= 1e-9
    torch.testing.assert_close(bootstrap_loss(scale * one, other / scale), loss, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(uniformity_loss(scale * one), spread, rtol=1e-9, atol=1e-9)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(bootstrap_loss(one[order], other[order]), loss, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(uniformity_loss(one[order]), spread, rtol=1e-9, atol=1e-9)
