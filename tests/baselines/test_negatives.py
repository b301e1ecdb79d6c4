"""Negatives: never a positive, evenly among the rest, the same for the same key."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.stats import chisquare

from baselines.negatives import NegativeSampler, bpr_loss

CPU = torch.device("cpu")


def sampler_of(dense: np.ndarray) -> NegativeSampler:
    return NegativeSampler(csr_array(dense.astype(np.float32)), CPU)


def test_is_positive_by_hand():
    sampler = sampler_of(np.array([[0, 1, 0], [0, 0, 0], [1, 0, 1]]))
    users, items = torch.meshgrid(torch.arange(3), torch.arange(3), indexing="ij")
    found = sampler.is_positive(users.ravel(), items.ravel()).reshape(3, 3)
    assert found.int().tolist() == [[0, 1, 0], [0, 0, 0], [1, 0, 1]]


def test_who_lacks_one_item_gets_that_one():
    dense = np.ones((50, 50)) - np.eye(50)
    users = torch.arange(50).repeat(20)
    assert torch.equal(sampler_of(dense).draw(users, key=3), users)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(-(2**31), 2**31 - 1), st.floats(0.05, 0.95))
def test_no_draw_is_a_positive(seed, key, density):
    rng = np.random.default_rng(seed)
    dense = rng.random((9, 14)) < density
    dense[:, rng.integers(1, 14)] = False  # also the user of the pair below lacks an item
    dense[0, 0] = True
    users = torch.from_numpy(rng.integers(0, 9, 300))
    items = sampler_of(dense).draw(users, key)
    assert items.dtype == torch.int64
    assert items.min() >= 0
    assert items.max() < 14
    assert not dense[users.numpy(), items.numpy()].any()


def test_draws_are_even_among_the_items_a_user_lacks():
    dense = np.zeros((2, 20))
    dense[0, [0, 3, 4, 5, 19]] = 1
    dense[1, 7] = 1
    items = sampler_of(dense).draw(torch.tensor([0, 1]).repeat(20_000), key=11).numpy()
    for user in range(2):
        counts = np.bincount(items[user::2], minlength=20)[dense[user] == 0]
        assert chisquare(counts).pvalue > 0.01


def test_the_key_decides_the_draws():
    sampler, users = sampler_of(np.eye(100)), torch.arange(100).repeat(10)
    assert torch.equal(sampler.draw(users, 5), sampler.draw(users, 5))
    assert (sampler.draw(users, 5) == sampler.draw(users, 6)).float().mean() < 0.05


def test_bpr_loss_by_hand():
    assert bpr_loss(torch.tensor([1.0, 1.0]), torch.tensor([1.0, 1.0])).item() == pytest.approx(math.log(2))
    loss = bpr_loss(torch.tensor([2.0, 0.0]), torch.tensor([0.0, 3.0])).item()
    assert loss == pytest.approx((math.log(1 + math.exp(-2)) + math.log(1 + math.exp(3))) / 2)
    # No overflow where a pair is hopeless.
    assert bpr_loss(torch.tensor([-500.0]), torch.tensor([500.0])).item() == 1000
