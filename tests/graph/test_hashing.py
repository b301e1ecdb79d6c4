"""Hashes: equal to the plain-integer formulas, uniform, independent across keys and directions."""

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from buir.graph.hashing import bernoulli, mix, permutation, premix, stream, uniform
from tests.support import dense

COUNTER = torch.arange(1 << 17, dtype=torch.int32)
KEYS = [0, 1, -1, 12345, 2**31 - 1, -(2**31), 0x9E3779B9]


@pytest.mark.parametrize("key", KEYS)
def test_mix_equals_integer_arithmetic(key: int):
    values = [0, 1, 2, 77, 2**31 - 1, -1, -(2**31), -123456]
    mixed = mix(torch.tensor(values, dtype=torch.int32), key)
    assert mixed.dtype == torch.int32
    assert mixed.tolist() == [dense.hash_int(value, key) for value in values]


def test_mix_leaves_its_input_alone():
    values = torch.arange(5, dtype=torch.int32)
    mix(values, 3)
    assert values.tolist() == [0, 1, 2, 3, 4]


def test_mix_is_injective():
    assert len(mix(COUNTER, 99).unique()) == len(COUNTER)


@pytest.mark.parametrize("key", KEYS)
def test_uniform_is_uniform(key: int):
    draws = uniform(COUNTER, key)
    assert draws.dtype == torch.float32
    assert draws.min() >= 0
    assert draws.max() < 1
    n = len(draws)
    assert abs(draws.double().mean().item() - 0.5) < 4 * np.sqrt(1 / 12 / n)
    counts = np.bincount((draws * 256).long().numpy(), minlength=256)
    assert stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize("key", KEYS)
def test_every_bit_is_fair(key: int):
    mixed = mix(COUNTER, key).numpy().view(np.uint32)
    shares = [(mixed >> np.uint32(bit) & np.uint32(1)).mean() for bit in range(32)]
    assert np.abs(np.array(shares) - 0.5).max() < 4.5 * 0.5 / np.sqrt(len(mixed))


def test_draws_under_different_keys_are_uncorrelated():
    keys = [stream(5, step) for step in range(6)]
    draws = np.stack([uniform(COUNTER, key).numpy() for key in keys])
    correlation = np.corrcoef(draws) - np.eye(len(keys))
    assert np.abs(correlation).max() < 4.5 / np.sqrt(len(COUNTER))


def test_neighbouring_counters_under_neighbouring_keys_of_a_stream_share_no_draw():
    first, second = (uniform(COUNTER[:4096], stream(8, step)) for step in (0, 1))
    assert np.intersect1d(first.numpy(), second.numpy()).size < 8


@pytest.mark.parametrize("probability", [0.0, 0.05, 0.5, 0.8, 1 - 1e-6, 1.0])
def test_bernoulli_share(probability: float):
    kept = bernoulli(COUNTER, 17, probability)
    assert kept.dtype == torch.bool
    n = len(COUNTER)
    assert abs(kept.double().mean().item() - probability) <= 4 * np.sqrt(probability * (1 - probability) / n) + 1 / n


def test_bernoulli_equals_the_threshold_in_integers():
    kept = bernoulli(torch.arange(200, dtype=torch.int32), 4, 0.3)
    assert kept.tolist() == [(dense.hash_int(i, 4) + 2**31) / 2**32 < 0.3 for i in range(200)]


def test_bernoulli_ends():
    assert not bernoulli(COUNTER, 3, 0.0).any()
    assert bernoulli(COUNTER, 3, 1.0).all()


def test_premix_equals_integer_arithmetic():
    rows = torch.tensor([0, 0, 1, 5, 2**31 - 1, 70_000])
    cols = torch.tensor([0, 1, 0, 9, 2**31 - 1, 3])
    keys = premix(rows, cols)
    assert keys.dtype == torch.int32
    assert keys.tolist() == [dense.hash_pair(r, c) for r, c in zip(rows.tolist(), cols.tolist(), strict=True)]
    assert rows.tolist()[3] == 5


def test_premix_of_swapped_pairs_is_unrelated():
    rows, cols = (part.reshape(-1) for part in torch.meshgrid(torch.arange(300), torch.arange(300, 600), indexing="ij"))
    forward, backward = premix(rows, cols), premix(cols, rows)
    assert (forward == backward).sum() == 0
    kept, also = (bernoulli(keys, 11, 0.5).double().numpy() for keys in (forward, backward))
    assert abs(np.corrcoef(kept, also)[0, 1]) < 4.5 / np.sqrt(len(kept))
    counts = np.bincount(uniform(forward, 0).mul(256).long().numpy(), minlength=256)
    assert stats.chisquare(counts).pvalue > 1e-4


def test_stream_gives_signed_32_bit_keys_that_differ():
    keys = {stream(seed, epoch, step) for seed, epoch, step in itertools.product(range(12), repeat=3)}
    assert len(keys) == 12**3
    assert all(-(2**31) <= key < 2**31 for key in keys)
    assert len({stream(1), stream(1, 0), stream(0, 1), stream(1, 1), stream(), stream(0), stream(-1)}) == 7
    spread = (np.array([stream(0, i) for i in range(4096)]) + 2.0**31) / 2**32
    assert stats.kstest(spread, "uniform").pvalue > 1e-3


def test_stream_takes_numpy_integers():
    assert stream(np.int64(-5), np.int32(3)) == stream(-5, 3)


@pytest.mark.parametrize("n", [0, 1, 2, 1000])
def test_permutation_holds_every_number_once(n: int):
    order = permutation(n, 6, torch.device("cpu"))
    assert order.dtype == torch.int64
    assert sorted(order.tolist()) == list(range(n))


def test_permutations_of_different_keys_are_unrelated():
    one, other = (permutation(10_000, stream(0, epoch), torch.device("cpu")).numpy() for epoch in (1, 2))
    assert abs(stats.spearmanr(one, other).statistic) < 0.05
    assert abs(stats.spearmanr(one, np.arange(10_000)).statistic) < 0.05
    # a random permutation has one fixed point on average
    assert (one == other).sum() < 10


def test_every_order_of_four_is_as_likely():
    orders = [tuple(permutation(4, stream(7, i), torch.device("cpu")).tolist()) for i in range(4800)]
    counts = [orders.count(order) for order in itertools.permutations(range(4))]
    assert stats.chisquare(counts).pvalue > 1e-4
