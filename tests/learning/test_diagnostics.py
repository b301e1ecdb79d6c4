import doctest
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

import buir.learning.diagnostics
from buir.learning.diagnostics import (
    ScoreSample,
    alignment,
    catalogue_share,
    effective_rank,
    target_distance,
    uniformity,
)
from buir.ranking.top_k import FactorScorer


def test_effective_rank_by_hand():
    assert effective_rank(np.eye(5)) == pytest.approx(5)
    assert effective_rank(np.outer(np.arange(1, 9), np.ones(4))) == pytest.approx(1)
    assert effective_rank(np.zeros((3, 4))) == 0
    assert effective_rank(np.empty((0, 4))) == 0
    # Singular values 3 and 1: shares 3/4 and 1/4.
    entropy = -(3 / 4 * math.log(3 / 4) + 1 / 4 * math.log(1 / 4))
    assert effective_rank(np.array([[3.0, 0], [0, 1], [0, 0]])) == pytest.approx(math.exp(entropy))


def test_effective_rank_equals_the_singular_value_decomposition():
    table = np.random.default_rng(0).standard_normal((300, 12)) * np.logspace(0, -3, 12)
    sigma = np.linalg.svd(table, compute_uv=False)
    share = sigma / sigma.sum()
    expected = np.exp(-(share * np.log(share)).sum())
    assert effective_rank(table) == pytest.approx(expected, rel=1e-9)
    assert effective_rank(torch.from_numpy(table).float()) == pytest.approx(expected, rel=1e-5)
    assert effective_rank(1e6 * table) == pytest.approx(expected, rel=1e-9)


def test_effective_rank_of_a_diverged_table():
    with pytest.raises(ValueError, match=r"vectors hold NaN or infinite values.*lower learning rate"):
        effective_rank(np.array([[1.0, np.nan]]))


def test_alignment_by_hand():
    left = np.array([[2.0, 0], [0, 1], [1, 0]])
    right = np.array([[5.0, 0], [0, -3], [0, 1]])
    assert alignment(left, right) == pytest.approx((0 + 4 + 2) / 3)
    assert alignment(left, left) == 0
    assert target_distance(left, right) == alignment(left, right)
    assert math.isnan(alignment(np.empty((0, 2)), np.empty((0, 2))))
    with pytest.raises(ValueError, match=r"left has shape \(3, 2\) and right \(2, 2\), expected partners"):
        alignment(left, right[:2])


def test_uniformity_by_hand():
    assert uniformity(np.array([[1.0, 0], [3, 0]])) == 0
    assert uniformity(np.array([[1.0, 0], [-3, 0]])) == pytest.approx(-8)
    three = np.array([[1.0, 0], [0, 1], [-1, 0]])
    assert uniformity(three) == pytest.approx(math.log((2 * math.exp(-4) + math.exp(-8)) / 3))
    assert math.isnan(uniformity(np.ones((1, 2))))


def test_uniformity_of_a_sample():
    table = np.random.default_rng(1).standard_normal((5000, 16))
    whole = uniformity(table, sample=5000)
    assert uniformity(table, sample=800) == pytest.approx(whole, abs=0.03)
    assert uniformity(table, sample=800) == uniformity(table, sample=800)
    assert uniformity(table, sample=800, seed=1) != uniformity(table, sample=800)
    unit = table[:60] / np.linalg.norm(table[:60], axis=1, keepdims=True)
    kernel = [np.exp(-2 * ((unit[i] - unit[j]) ** 2).sum()) for i in range(60) for j in range(60) if i != j]
    assert uniformity(table[:60]) == pytest.approx(math.log(np.mean(kernel)), rel=1e-9)


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 40), st.integers(1, 8), st.integers(0, 2**32))
def test_ranges_and_order(n, d, seed):
    rng = np.random.default_rng(seed)
    table, other = rng.standard_normal((2, n, d))
    assert 1 - 1e-9 <= effective_rank(table) <= min(n, d) + 1e-9
    assert 0 <= alignment(table, other) <= 4 + 1e-5
    assert -8 - 1e-5 <= uniformity(table) <= 0
    order = rng.permutation(n)
    assert effective_rank(table[order]) == pytest.approx(effective_rank(table))
    assert alignment(table[order], other[order]) == pytest.approx(alignment(table, other), rel=1e-5, abs=1e-6)
    assert uniformity(table[order]) == pytest.approx(uniformity(table), rel=1e-4, abs=1e-5)


def test_catalogue_share_by_hand():
    same = FactorScorer(np.ones((4, 1)), np.arange(10.0)[:, None])
    assert catalogue_share(same, k=2) == 2 / 8  # two items in lists that could show eight
    assert catalogue_share(same, k=5) == 5 / 10
    assert catalogue_share(FactorScorer(np.eye(4), np.eye(4)), k=1) == 1
    own_best = csr_array(np.eye(4, 10)[:, ::-1])
    assert catalogue_share(same, k=2, exclude=own_best) == 3 / 8  # lists 8 7, 9 7, 9 8, 9 8
    assert catalogue_share(same, k=0) == 0


def test_catalogue_share_of_a_sample():
    rng = np.random.default_rng(2)
    scorer = FactorScorer(rng.standard_normal((500, 8)), rng.standard_normal((60, 8)))
    assert catalogue_share(scorer, k=2, sample=20) <= catalogue_share(scorer, k=2, sample=500) <= 1
    assert catalogue_share(scorer, k=2, sample=20) == catalogue_share(scorer, k=2, sample=20)


def test_scores_by_hand():
    scorer = FactorScorer(np.eye(2), np.array([[5.0, 1], [1, 1], [1, 7]]))
    train, valid = csr_array(np.array([[1, 0, 0], [0, 0, 1]])), csr_array(np.array([[0, 1, 0], [0, 0, 0]]))
    found = ScoreSample(train, valid).quantiles(scorer)
    assert found["positive"] == pytest.approx([5.1, 5.5, 6, 6.5, 6.9])  # of 5 and 7
    assert found["held_out"] == found["other"] == [1] * 5
    assert ScoreSample(train, csr_array((2, 3))).quantiles(scorer).keys() == {"positive", "other"}


def test_unobserved_pairs_are_of_the_same_users_and_in_neither_part():
    rng = np.random.default_rng(4)
    train = csr_array(rng.random((30, 50)) < 0.4)
    valid = csr_array((rng.random((30, 50)) < 0.2) & ~train.toarray())
    sample = ScoreSample(train, valid, n=300, seed=1)
    dense = {"positive": train.toarray(), "held_out": valid.toarray(), "other": ~(train + valid).toarray()}
    for name, (users, items) in sample.pairs.items():
        assert dense[name][users, items].all()
        assert len(users) == min(300, dense[name].sum()) or name == "other"
        assert name == "other" or len(np.unique(users * 50 + items)) == len(users)
    assert 270 < len(sample.pairs["other"][0]) <= 300
    full = ScoreSample(csr_array(np.ones((3, 4))), csr_array((3, 4)))
    assert len(full.pairs["other"][0]) == 0


def test_scores_are_the_same_with_factors_and_without():
    rng = np.random.default_rng(5)
    train, valid = csr_array(rng.random((150, 40)) < 0.3), csr_array(rng.random((150, 40)) < 0.1)
    scorer = FactorScorer(rng.standard_normal((150, 6)), rng.standard_normal((40, 6)))

    class Plain:
        n_users, n_items, score_block = 150, 40, scorer.score_block

    sample = ScoreSample(train, valid, n=500)
    plain = sample.quantiles(Plain())
    for name, values in sample.quantiles(scorer).items():
        assert values == pytest.approx(plain[name], abs=1e-5)


def test_examples():
    assert doctest.testmod(buir.learning.diagnostics).failed == 0
